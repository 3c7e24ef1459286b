//! `onecard check`: reads a configuration whole, opens neither keys
//! nor journal.

use std::path::PathBuf;

use clap::Args;

use super::{
    load::{self, Loaded},
    options::{GatewayFile, StoreEngine},
};
use crate::scenes::medical::Institution;

/// Reads a configuration whole and says everything that is wrong.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The region's folder of the configuration, for example config/tianjin.
    #[arg(long)]
    config: PathBuf,
}

/// Runs `onecard check`.
///
/// # Errors
/// Everything that is wrong.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let loaded = load::load(&args.config)?;
    load::check_material(&loaded.file)?;
    for notice in &loaded.notices {
        println!("注意 / note: {notice}");
    }
    let registry = &loaded.live.registry;
    print!("{}", store_told(&loaded.file));
    print!("{}", institutions_told(&loaded));
    println!(
        "配置正确 / the configuration is right: {} ({}), {} participants, {} terminals, {} members",
        loaded.file.region.name_zh,
        loaded.file.region.name_en,
        registry.participants().len(),
        registry.terminal_count(),
        loaded.live.trust.members().count(),
    );
    Ok(())
}

/// Who settles with which insurer.
fn institutions_told(loaded: &Loaded) -> String {
    let mut told = String::new();
    for institution in &loaded.live.medical.institution {
        let Institution { participant, code, name, region, insurer } = institution;
        let url = loaded.nhsa.get(insurer).map_or("", |line| &line.url);
        told += &format!(
            "医保结算 / settles: `{participant}` as {code} {name} in {region}, over {insurer} at {url}\n"
        );
    }
    for (province, insurer) in &loaded.live.medical.home {
        let url = loaded.nhsa.get(insurer).map_or("", |line| &line.url);
        told += &format!("异地参保 / insured elsewhere: {province}…, over {insurer} at {url}\n");
    }
    told
}

/// What the store's keys come to.
fn store_told(file: &GatewayFile) -> String {
    let store = &file.store;
    if let (StoreEngine::Postgres, Some(postgres)) = (store.engine, &store.postgres) {
        let tls = match &postgres.tls_roots {
            Some(roots) => format!("checked against {}", roots.display()),
            None => "off: only a socket of this machine, or sslmode=disable in the address".to_owned(),
        };
        return format!(
            "账本 / journal: PostgreSQL, its address in the environment variable {}; {} shard(s) if the database is new; {} lane(s) each; TLS {tls}\n",
            postgres.url_env, postgres.shards, postgres.lanes,
        );
    }
    let witness = store.head_file.as_ref().map_or_else(
        || "无见证文件 / no head_file: an older state put back whole is not noticed".to_owned(),
        |path| format!("见证文件 / witness: {}", path.display()),
    );
    format!(
        "账本 / journal: {}, segments of {} MiB, a checkpoint every {} entries or {} minutes\n\
         内存 / memory: index {} MiB, recent aggregates {} MiB, at most {} entries not yet indexed\n{witness}\n",
        store.dir.display(),
        store.segment_mib,
        store.checkpoint_entries,
        store.checkpoint_minutes,
        store.index_cache_mib,
        store.recent_mib,
        store.index_lag_max,
    )
}
