//! `town.toml`: where the sandbox's gateways listen and who its terminals are.
//! The town writes it; `onecard terminal`, the examples and the tests read it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The file's name in the data folder.
pub const TOWN_FILE: &str = "town.toml";

/// The three regions as they run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Town {
    #[serde(rename = "region")]
    pub regions: Vec<TownRegion>,
}

/// One region's gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TownRegion {
    /// `beijing`, `tianjin`, `hebei`; also the gateway's name in its certificate
    /// (`beijing.onecard`).
    pub name: String,
    /// GB/T 2260 province, 6 digits.
    pub code: u32,
    /// host:port for terminals.
    pub grpc: String,
    /// host:port for metrics, health and console.
    pub ops: String,
    /// host:port for peers.
    pub peers: String,
    /// SM2 public key of the journal, 04 ‖ x ‖ y in hexadecimal; receipts are
    /// checked against it.
    pub journal_key: String,
    #[serde(rename = "terminal", default, skip_serializing_if = "Vec::is_empty")]
    pub terminals: Vec<TownTerminal>,
}

/// A terminal of a region, with a certificate in `pki/terminals/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TownTerminal {
    /// File name of the certificate, unique in the town; what people type.
    pub name: String,
    pub participant: String,
    pub terminal: String,
    /// Scenes it may use, by their stable name (`transit`). The first terminal of
    /// a scene is the default of the commands of that scene.
    pub scenes: Vec<String>,
}

/// The town cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TownError {
    #[error("`{path}` cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("`{path}` is not a town: {detail}")]
    Malformed { path: PathBuf, detail: String },
    #[error("there is no region `{wanted}`; there are {known}")]
    NoRegion { wanted: String, known: String },
    #[error("region `{region}` has no terminal for the scene `{scene}`")]
    NoTerminal { region: String, scene: String },
}

impl Town {
    /// Reads `town.toml` of a data folder.
    ///
    /// # Errors
    /// When it is missing or malformed.
    pub fn load(data: &Path) -> Result<Self, TownError> {
        let path = data.join(TOWN_FILE);
        let text =
            fs::read_to_string(&path).map_err(|source| TownError::Io { path: path.clone(), source })?;
        toml::from_str(&text).map_err(|error| TownError::Malformed { path, detail: error.to_string() })
    }

    /// Writes `town.toml` into a data folder, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, data: &Path) -> Result<(), TownError> {
        let path = data.join(TOWN_FILE);
        let text = toml::to_string_pretty(self)
            .map_err(|error| TownError::Malformed { path: path.clone(), detail: error.to_string() })?;
        super::files::replace(&path, text.as_bytes(), 0o644).map_err(|source| TownError::Io { path, source })
    }

    /// A region by name (`beijing`) or code (`110000`).
    ///
    /// # Errors
    /// When there is none; the error lists those there are.
    pub fn region(&self, wanted: &str) -> Result<&TownRegion, TownError> {
        self.regions
            .iter()
            .find(|region| region.name == wanted || region.code.to_string() == wanted)
            .ok_or_else(|| TownError::NoRegion {
                wanted: wanted.to_owned(),
                known: self.regions.iter().map(|region| region.name.as_str()).collect::<Vec<_>>().join(", "),
            })
    }
}

impl TownRegion {
    /// The first terminal that may use the scene.
    ///
    /// # Errors
    /// When no terminal of the region may.
    pub fn terminal_for(&self, scene: &str) -> Result<&TownTerminal, TownError> {
        self.terminals
            .iter()
            .find(|terminal| terminal.scenes.iter().any(|may| may == scene))
            .ok_or_else(|| TownError::NoTerminal { region: self.name.clone(), scene: scene.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_town_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let town = Town {
            regions: vec![TownRegion {
                name: "beijing".to_owned(),
                code: 110_000,
                grpc: "127.0.0.1:7101".to_owned(),
                ops: "127.0.0.1:7102".to_owned(),
                peers: "127.0.0.1:7103".to_owned(),
                journal_key: "04".repeat(65),
                terminals: vec![TownTerminal {
                    name: "bj-gate-01".to_owned(),
                    participant: "bj-metro".to_owned(),
                    terminal: "gate-01".to_owned(),
                    scenes: vec!["transit".to_owned()],
                }],
            }],
        };
        town.save(folder.path()).expect("written");
        assert_eq!(Town::load(folder.path()).expect("read"), town);
        assert_eq!(town.region("110000").expect("by code").name, "beijing");
        assert_eq!(town.regions[0].terminal_for("transit").expect("a gate").name, "bj-gate-01");
        assert!(town.region("shanghai").is_err());
        assert!(town.regions[0].terminal_for("library").is_err());
    }
}
