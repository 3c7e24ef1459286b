//! What of a configuration is taken at the start only: listeners, keys, store, log,
//! and the lines to peers and libraries are made once. A reload compares, so that
//! nobody believes in a change that waits for a restart.

use toml::{Table, Value};

use super::Loaded;
use crate::config::{Change, diff};

/// What a gateway was started with and keeps until it ends. Holds no secrets:
/// the configuration only says where they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    province: u32,
    options: Value,
}

/// A reload that is not taken, whatever else it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "region.province: {started} → {wanted}；运行中的网关不能更换地区，配置未采用 / a running gateway cannot become another region, the configuration was not taken"
)]
pub struct OtherProvince {
    started: u32,
    wanted: u32,
}

impl Fixed {
    /// The part of a checked configuration that is taken at the start only.
    ///
    /// # Errors
    /// When it cannot be written as TOML, such as a path that is not Unicode.
    pub fn of(loaded: &Loaded) -> Result<Self, toml::ser::Error> {
        let file = &loaded.file;
        let mut options = Table::new();
        options.insert("region".into(), Value::try_from(&file.region)?);
        options.insert("listen".into(), Value::try_from(file.listen)?);
        options.insert("tls".into(), Value::try_from(&file.tls)?);
        options.insert("vault".into(), Value::try_from(&file.vault)?);
        options.insert("store".into(), Value::try_from(&file.store)?);
        options.insert("log".into(), Value::try_from(&file.log)?);
        options.insert("trust".into(), Value::Table(peers(loaded)));
        options.insert("libraries".into(), Value::Table(lines(loaded)?));
        Ok(Fixed { province: file.region.province, options: Value::Table(options) })
    }

    /// What another configuration wants and only a restart gives, in the words of
    /// the files: `listen.peers: 127.0.0.1:7112 → 127.0.0.1:7199`.
    ///
    /// # Errors
    /// When it is the configuration of another region.
    pub fn needs_restart(&self, wanted: &Fixed) -> Result<Vec<Change>, OtherProvince> {
        if wanted.province != self.province {
            return Err(OtherProvince { started: self.province, wanted: wanted.province });
        }
        Ok(diff(&self.options, &wanted.options))
    }
}

/// The trust list's members as lines are made to them. Their public keys are not
/// here: those are asked for at every message and follow a reload.
fn peers(loaded: &Loaded) -> Table {
    let line = |endpoint: &str, tls_name: &str| {
        let line = [("endpoint", endpoint), ("tls_name", tls_name)];
        Value::Table(line.map(|(name, value)| (name.to_owned(), Value::from(value))).into_iter().collect())
    };
    let members = loaded.live.trust.members();
    members.map(|member| (member.region.to_string(), line(&member.endpoint, &member.tls_name))).collect()
}

/// The line to each library. Names, mappings and rules of a library are not here:
/// they follow a reload.
fn lines(loaded: &Loaded) -> Result<Table, toml::ser::Error> {
    let mut lines = Table::new();
    for library in &loaded.live.libraries.libraries {
        if let Some(line) = loaded.sip2.get(&library.code) {
            lines.insert(library.code.clone(), Value::try_from(line)?);
        }
    }
    Ok(lines)
}
