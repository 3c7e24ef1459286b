//! `reconciliation.toml`: how far two sides may be apart, who clears what, and what
//! the files of each participant look like.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    adapters::settlement_file::Format,
    ledger::matching::{ExceptionKind, Owner, Rules, Tolerance},
    model::ParticipantId,
};

/// The files of participants that have no line of their own.
const DEFAULT: &str = "default";

/// The file as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconciliationFile {
    tolerance: BTreeMap<String, Tolerance>,
    owner: BTreeMap<ExceptionKind, Owner>,
    format: BTreeMap<String, Format>,
    files: BTreeMap<String, FilesLine>,
}

/// The formats of one participant's files, by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesLine {
    participant: String,
    bank: String,
}

/// A file that was checked.
#[derive(Debug, Clone)]
pub struct Reconciliation {
    pub rules: Rules,
    formats: BTreeMap<String, Format>,
    files: BTreeMap<String, FilesLine>,
}

impl ReconciliationFile {
    /// Checks the whole file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(self) -> Result<Reconciliation, Vec<String>> {
        let mut problems = Vec::new();
        let rules = Rules::build(self.tolerance, self.owner).map_err(|mut wrong| problems.append(&mut wrong));
        for (name, format) in &self.format {
            problems.extend(format.problems().into_iter().map(|problem| format!("format.{name}.{problem}")));
        }
        if !self.files.contains_key(DEFAULT) {
            problems.push("files.default: 缺少；未单列的参与方用它 / is missing; participants without their own line use it".into());
        }
        for (participant, line) in &self.files {
            if participant.parse::<ParticipantId>().is_err() {
                problems.push(format!("files.{participant}: 不是参与方编号 / is no participant"));
            }
            for name in [&line.participant, &line.bank] {
                if !self.format.contains_key(name) {
                    problems.push(format!(
                        "files.{participant}: 未声明格式 {name}，请增加 [format.{name}] / no format {name}; add [format.{name}]"
                    ));
                }
            }
        }
        match rules {
            Ok(rules) if problems.is_empty() => {
                Ok(Reconciliation { rules, formats: self.format, files: self.files })
            }
            Ok(_) | Err(()) => Err(problems),
        }
    }
}

impl Reconciliation {
    /// The format of the file that a participant sends.
    pub fn participant_file(&self, participant: &ParticipantId) -> Option<&Format> {
        self.formats.get(&self.line(participant)?.participant)
    }

    /// The format of the file that the bank sends about a participant.
    pub fn bank_file(&self, participant: &ParticipantId) -> Option<&Format> {
        self.formats.get(&self.line(participant)?.bank)
    }

    fn line(&self, participant: &ParticipantId) -> Option<&FilesLine> {
        self.files.get(participant.as_str()).or_else(|| self.files.get(DEFAULT))
    }
}
