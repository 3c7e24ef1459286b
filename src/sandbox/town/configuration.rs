//! The configuration of a town: the built-in one with the town's ports, and with the
//! waits of the impatient.

use std::{collections::BTreeMap, path::Path};

use toml::{Table, Value};

use super::{PrepareError, RegionPlan, TownPlan, prepare::write};
use crate::config::assets;

/// The first lines of what follows from the ports.
const WRITTEN_HEAD: &str = "\
# 沙箱每次启动都会重写本文件及本目录，改动不会保留；要保留请复制目录后用 `onecard serve` 运行。
# The sandbox rewrites this file, and its folder, at every start: edits are not kept. To
# keep some, copy the folder and run `onecard serve` with the copy.
";

/// The built-in configuration with this town's ports. It is written anew at every
/// start, so that a newer program never meets an older folder.
pub(super) fn configuration(data: &Path, plan: &TownPlan) -> Result<(), PrepareError> {
    let folder = data.join("config");
    let mut rewritten = BTreeMap::new();
    for region in &plan.regions {
        rewritten.insert(format!("{}/gateway.toml", region.name), gateway_toml(region)?);
        rewritten.insert(format!("{}/libraries.toml", region.name), libraries_toml(region, plan.impatient)?);
        rewritten.insert(format!("{}/insurers.toml", region.name), insurers_toml(region, plan.impatient)?);
        rewritten.insert(format!("{}/medical.toml", region.name), medical_toml(region, plan.impatient)?);
    }
    for path in assets::list("") {
        let target = folder.join(path.as_ref());
        match rewritten.get(path.as_ref()) {
            Some(table) => {
                let text = toml::to_string_pretty(table).map_err(|error| PrepareError::Config {
                    path: path.to_string(),
                    detail: error.to_string(),
                })?;
                let text = format!("{WRITTEN_HEAD}{text}");
                write(&target, text.as_bytes(), 0o644)?;
            }
            None => write(&target, &assets::read(&path).unwrap_or_default(), 0o644)?,
        }
    }
    Ok(())
}

pub(super) fn gateway_asset(region: &RegionPlan) -> Result<Table, PrepareError> {
    table_of(&format!("{}/gateway.toml", region.name))
}

fn gateway_toml(region: &RegionPlan) -> Result<Table, PrepareError> {
    let mut gateway = gateway_asset(region)?;
    gateway.insert("data_root".to_owned(), Value::from("../.."));
    let listen = [("terminals", region.grpc), ("operators", region.ops), ("peers", region.peers)]
        .map(|(name, port)| (name.to_owned(), Value::from(RegionPlan::at(port).to_string())));
    gateway.insert("listen".to_owned(), Value::Table(listen.into_iter().collect()));
    Ok(gateway)
}

fn libraries_toml(region: &RegionPlan, impatient: bool) -> Result<Table, PrepareError> {
    let path = format!("{}/libraries.toml", region.name);
    let mut libraries = table_of(&path)?;
    let line = only_line(&mut libraries, "sip2", &path)?;
    line.insert("address".to_owned(), Value::from(RegionPlan::at(region.library).to_string()));
    if impatient {
        line.insert("request_timeout_ms".to_owned(), Value::from(500));
        libraries.insert("inquiry".to_owned(), Value::Table(waits(Table::new())));
    }
    Ok(libraries)
}

fn insurers_toml(region: &RegionPlan, impatient: bool) -> Result<Table, PrepareError> {
    let path = format!("{}/insurers.toml", region.name);
    let mut insurers = table_of(&path)?;
    let line = only_line(&mut insurers, "nhsa", &path)?;
    let url = line.get("url").and_then(Value::as_str).and_then(|url| url.parse::<http::Uri>().ok());
    let Some(url) = url else {
        return Err(PrepareError::Config { path, detail: "the line has no url".to_owned() });
    };
    let url = format!("http://{}{}", RegionPlan::at(region.insurer), url.path());
    line.insert("url".to_owned(), Value::from(url));
    if impatient {
        line.insert("timeout_ms".to_owned(), Value::from(1_000));
    }
    Ok(insurers)
}

fn medical_toml(region: &RegionPlan, impatient: bool) -> Result<Table, PrepareError> {
    let mut medical = table_of(&format!("{}/medical.toml", region.name))?;
    if impatient {
        let unknown = medical.get("unknown").and_then(Value::as_table).cloned().unwrap_or_default();
        medical.insert("unknown".to_owned(), Value::Table(waits(unknown)));
    }
    Ok(medical)
}

/// The only line of a region to a kind of backend.
fn only_line<'a>(file: &'a mut Table, kind: &str, path: &str) -> Result<&'a mut Table, PrepareError> {
    let lines = file.get_mut(kind).and_then(Value::as_table_mut).filter(|lines| lines.len() == 1);
    let line = lines.and_then(|lines| lines.iter_mut().next()).and_then(|(_, line)| line.as_table_mut());
    line.ok_or_else(|| PrepareError::Config {
        path: path.to_owned(),
        detail: format!("one [{kind}.…] a region is expected"),
    })
}

/// The waits of the impatient.
fn waits(mut table: Table) -> Table {
    for (name, ms) in [("first_after_ms", 1_000), ("at_most_ms", 2_000)] {
        table.insert(name.to_owned(), Value::from(ms));
    }
    table
}

pub(super) fn asset(path: &str) -> Result<String, PrepareError> {
    assets::read_text(path)
        .ok_or_else(|| PrepareError::Config { path: path.to_owned(), detail: "it is missing".to_owned() })
}

fn table_of(path: &str) -> Result<Table, PrepareError> {
    asset(path)?.parse().map_err(|error: toml::de::Error| PrepareError::Config {
        path: path.to_owned(),
        detail: error.to_string(),
    })
}
