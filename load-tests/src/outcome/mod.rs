//! What a run leaves behind: one JSON file that a program reads, one page that a
//! person reads. Both are made from [`Outcome`] alone.

mod gather;
mod machine;
mod page;
mod plot;

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use gather::{Gathered, gather};
pub use machine::Machine;

/// Names the shape of the JSON. A reader refuses another; fields are only added.
pub const SCHEMA: &str = "onecard.load/1";

/// One run of one scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub schema: String,
    pub scenario: String,
    pub title_zh: String,
    pub title_en: String,
    pub told_zh: String,
    pub told_en: String,
    /// RFC 3339, UTC.
    pub recorded_at: String,
    pub build: Build,
    pub plan: Planned,
    pub machine: Machine,
    pub beside: Beside,
    pub operations: Vec<OperationOutcome>,
    pub gateways: Vec<GatewayOutcome>,
    /// Invariants that do not hold, one sentence each.
    pub broken: Vec<String>,
    /// Counts of the scenario's own.
    pub figures: BTreeMap<String, f64>,
    /// What `guard` compares: figures that another machine may be measured by too.
    pub ratios: BTreeMap<String, f64>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub version: String,
    /// `release`, or `debug`, whose figures are of no interest.
    pub profile: String,
}

/// What was wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Arrivals a second at the peak.
    pub rate: f64,
    pub seconds: u64,
    pub seed: u64,
    /// `poisson` or `uniform`.
    pub spacing: String,
    pub arrivals: u64,
    pub in_flight: u64,
    pub connections: u64,
}

/// What the machine did beside the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    pub load_average_before: String,
    pub load_average_after: String,
    /// A plain `fdatasync` of 4 KiB on the disk of the journals, measured just
    /// before and just after the run, microseconds.
    pub fdatasync_us: Quantiles,
}

/// Of some durations, microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// A histogram whole: its quantiles, and its filled buckets as value and count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    #[serde(flatten)]
    pub quantiles: Quantiles,
    /// Microseconds (the highest of the bucket) and count; three digits are kept.
    pub buckets: Vec<(u64, u64)>,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationOutcome {
    pub name: String,
    pub zh: String,
    pub en: String,
    pub approved: u64,
    pub declined: u64,
    pub pending: u64,
    pub refused: u64,
    pub failed: u64,
    /// Sent more than 10 ms after they were due.
    pub late: u64,
    /// Reasons of what was not approved.
    pub words: BTreeMap<String, u64>,
    /// From the instant due to the answer.
    pub latency_us: Distribution,
    /// From sending to the answer: what a closed loop would have told.
    pub service_us: Distribution,
    /// From the instant due to sending.
    pub lag_us: Quantiles,
    pub seconds: Vec<SecondOutcome>,
}

/// One second of an operation, by the instants its calls were due.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondOutcome {
    pub due: u64,
    /// Answered in this second, whenever due.
    pub answered: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

/// A gateway as its metrics told it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayOutcome {
    pub region: String,
    pub entries: u64,
    pub batches: u64,
    pub seconds: Vec<GatewaySecond>,
}

/// One second of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewaySecond {
    /// When the second ended, from the beginning of the run.
    pub at_s: f64,
    pub entries: u64,
    pub batches: u64,
    /// Entries in a batch, mean; `None` when there was none.
    pub batch: Option<f64>,
    /// Making a batch durable, mean of the second, milliseconds.
    pub commit_ms: Option<f64>,
    /// Entries journalled and not yet indexed, at its end.
    pub index_lag: u64,
}

impl OperationOutcome {
    /// Calls that ended.
    pub fn all(&self) -> u64 {
        self.approved + self.declined + self.pending + self.refused + self.failed
    }
}

impl Outcome {
    /// Reads a result.
    ///
    /// # Errors
    /// When it is no result, or of another schema.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let read: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no result of a load run", path.display()))?;
        anyhow::ensure!(read.schema == SCHEMA, "{} has schema {}, not {SCHEMA}", path.display(), read.schema);
        Ok(read)
    }

    /// Writes `SCENARIO.json` and `SCENARIO.html` into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let json = serde_json::to_string(self)? + "\n";
        let path = |ending: &str| folder.join(format!("{}.{ending}", self.scenario));
        std::fs::write(path("json"), json)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        std::fs::write(path("html"), page::page(self))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
