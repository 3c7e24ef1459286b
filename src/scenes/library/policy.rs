//! What is configured for the library scene.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Assurance, Backoff, Jitter, Millis, PairwiseHolder};

/// The libraries that are connected and what holds for all of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LibraryPolicy {
    pub libraries: Vec<Library>,
    pub inquiry: InquiryPolicy,
}

/// One connected library.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// Its code, for example `capital-library`; names the adapter's options too.
    pub code: String,
    pub name_zh: String,
    #[serde(default)]
    pub name_en: String,
    /// How sure the gateway must be of the holder.
    #[serde(default = "code_suffices")]
    pub minimum_assurance: Assurance,
    #[serde(default)]
    pub patron: PatronMapping,
}

/// How the library knows the holder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatronMapping {
    /// By the pairwise holder id, 32 hexadecimal digits: the library enrols the
    /// reader under it and learns nothing more.
    #[default]
    Pairwise,
    /// By a reader number the library gave before: pairwise holder id → number.
    Table(BTreeMap<String, String>),
}

/// When an unknown outcome is inquired about, and when that ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InquiryPolicy {
    /// From the call to the first inquiry. Longer than the library's own slowest
    /// commit, or an inquiry may come before the act.
    pub first_after_ms: i64,
    /// Waits double up to this.
    pub at_most_ms: i64,
    /// Inquiries before the act is taken back.
    pub inquiries_max: u32,
    /// Attempts to take it back before people are called.
    pub undo_tries_max: u32,
}

impl Default for InquiryPolicy {
    fn default() -> Self {
        InquiryPolicy { first_after_ms: 5_000, at_most_ms: 60_000, inquiries_max: 6, undo_tries_max: 4 }
    }
}

/// The policy contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLibraryPolicy {
    #[error("library {0} is configured twice")]
    Twice(String),
    #[error("library code {0:?} is not 1 to 64 of a-z, 0-9, '-', '_', '.'")]
    Code(String),
    #[error("the inquiry waits must satisfy 0 < first_after_ms <= at_most_ms, with at least one inquiry")]
    Waits,
}

impl LibraryPolicy {
    /// Checks the policy as a whole.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), BadLibraryPolicy> {
        for (at, library) in self.libraries.iter().enumerate() {
            if library.code.parse::<crate::model::ParticipantId>().is_err() {
                return Err(BadLibraryPolicy::Code(library.code.clone()));
            }
            if self.libraries[..at].iter().any(|other| other.code == library.code) {
                return Err(BadLibraryPolicy::Twice(library.code.clone()));
            }
        }
        let inquiry = &self.inquiry;
        if inquiry.first_after_ms <= 0
            || inquiry.first_after_ms > inquiry.at_most_ms
            || inquiry.inquiries_max == 0
        {
            return Err(BadLibraryPolicy::Waits);
        }
        Ok(())
    }

    /// The library of a code.
    pub fn library(&self, code: &str) -> Option<&Library> {
        self.libraries.iter().find(|library| library.code == code)
    }
}

impl Library {
    /// The reader number of a holder; `None` when the library has given none.
    pub fn patron_of(&self, holder: &PairwiseHolder) -> Option<String> {
        match &self.patron {
            PatronMapping::Pairwise => Some(holder.to_string()),
            PatronMapping::Table(numbers) => numbers.get(&holder.to_string()).cloned(),
        }
    }
}

impl InquiryPolicy {
    /// The wait before attempt `tries` (0 for the first), with nothing taken off.
    pub fn wait_ms(&self, tries: u32) -> Millis {
        self.backoff().wait_ms(tries, Jitter::NONE)
    }

    pub fn backoff(&self) -> Backoff {
        Backoff { first_ms: self.first_after_ms, most_ms: self.at_most_ms }
    }

    /// The longest a transaction stays pending, calls not counted: shown beside
    /// the metric of pending transactions.
    pub fn bound_ms(&self) -> Millis {
        let turns = self.inquiries_max.saturating_add(self.undo_tries_max);
        (0..turns).fold(0_i64, |sum, tries| sum.saturating_add(self.wait_ms(tries)))
    }
}

fn code_suffices() -> Assurance {
    Assurance::Code
}
