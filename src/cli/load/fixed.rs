//! What of a configuration is taken at the start only: listeners, keys, store and
//! log. A reload compares, so that nobody believes in a change that waits for a
//! restart.

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
