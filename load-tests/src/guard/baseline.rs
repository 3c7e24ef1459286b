//! The file of what was recorded, and how far a ratio may move.

use std::{collections::BTreeMap, io, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::Measured;

/// Names the shape of the file.
const SCHEMA: &str = "onecard.baseline/1";

/// Which way is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Higher,
    Lower,
    /// Neither: a change is told and fails in no direction.
    Neither,
}

/// Everything recorded, by scenario or command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    schema: String,
    runs: BTreeMap<String, Recorded>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    recorded_at: String,
    /// For people; another machine may be compared.
    machine: String,
    /// Must be the same, or the two are not comparable.
    conditions: BTreeMap<String, String>,
    ratios: BTreeMap<String, Bound>,
}

/// A ratio as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub value: f64,
    pub better: Better,
    /// How far it may move to the worse side, as a share of the value. Edit it here;
    /// recording again keeps it.
    pub tolerance: f64,
}

/// What became of a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    Held,
    Better,
    Worse,
    /// Recorded and not measured: whatever made it is gone.
    Missing,
    /// Measured and not recorded.
    New,
}

/// One ratio then and now.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub ratio: String,
    pub was: Option<f64>,
    pub is: Option<f64>,
    /// As a share of what it was.
    pub change: Option<f64>,
    pub tolerance: Option<f64>,
    pub moved: Moved,
}

impl Moved {
    pub const fn word(self) -> &'static str {
        match self {
            Moved::Held => "held",
            Moved::Better => "better",
            Moved::Worse => "WORSE",
            Moved::Missing => "MISSING",
            Moved::New => "new",
        }
    }

    /// Whether the guard fails for it.
    pub const fn fails(self) -> bool {
        match self {
            Moved::Worse | Moved::Missing => true,
            Moved::Held | Moved::Better | Moved::New => false,
        }
    }
}

impl Comparison {
    /// What moved and by how much, for a person.
    pub fn sentence(&self) -> String {
        match (self.was, self.is, self.change) {
            (Some(was), Some(is), Some(change)) => format!(
                "{} was {was:.3} and is {is:.3} ({:+.1} %, tolerance {:.0} %)",
                self.ratio,
                change * 100.0,
                self.tolerance.unwrap_or(0.0) * 100.0
            ),
            (was, is, _) => format!("{} was {was:?} and is {is:?}", self.ratio),
        }
    }
}

impl Baseline {
    /// Reads the file.
    ///
    /// # Errors
    /// When there is none or it is not understood; the first says how to make one.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let read: Self = serde_json::from_str(&text)
                    .with_context(|| format!("{} is no baseline", path.display()))?;
                anyhow::ensure!(
                    read.schema == SCHEMA,
                    "{} has schema {}, not {SCHEMA}",
                    path.display(),
                    read.schema
                );
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                anyhow::bail!("nothing is recorded at {}; record a result with --record", path.display())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Reads the file, or begins one.
    ///
    /// # Errors
    /// When there is one that is not understood: it is not overwritten.
    pub fn load_or_new(path: &Path) -> anyhow::Result<Self> {
        if path.exists() {
            return Baseline::load(path);
        }
        Ok(Baseline { schema: SCHEMA.to_owned(), runs: BTreeMap::new() })
    }

    /// Writes the file for people to read and edit.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes a result as what later ones are held against. Directions and tolerances
    /// that people set stay.
    pub fn record(&mut self, measured: Measured) {
        let before = self.runs.remove(&measured.name);
        let bound = |(name, value): (String, f64)| {
            let known = before.as_ref().and_then(|before| before.ratios.get(&name));
            let (better, tolerance) =
                known.map_or_else(|| usual(&name), |known| (known.better, known.tolerance));
            (name, Bound { value: rounded(value), better, tolerance })
        };
        let recorded = Recorded {
            recorded_at: measured.recorded_at,
            machine: measured.machine,
            conditions: measured.conditions,
            ratios: measured.ratios.into_iter().map(bound).collect(),
        };
        self.runs.insert(measured.name, recorded);
    }

    /// What was recorded of the same thing under the same conditions.
    ///
    /// # Errors
    /// When there is none, or the conditions differ.
    pub fn of(&self, measured: &Measured, path: &Path) -> anyhow::Result<&Recorded> {
        let recorded = self.runs.get(&measured.name).with_context(|| {
            format!("nothing is recorded of {} at {}; record it with --record", measured.name, path.display())
        })?;
        let differ: Vec<_> = recorded
            .conditions
            .iter()
            .filter(|(name, was)| measured.conditions.get(*name) != Some(*was))
            .map(|(name, was)| {
                let is = measured.conditions.get(name).map_or("unknown", String::as_str);
                format!("{name} was {was} and is {is}")
            })
            .collect();
        anyhow::ensure!(differ.is_empty(), "not comparable with what was recorded: {}", differ.join(", "));
        Ok(recorded)
    }
}

impl Recorded {
    /// Every ratio then and now, those that moved furthest first.
    pub fn against(&self, measured: &Measured) -> Vec<Comparison> {
        let known = self.ratios.iter().map(|(name, bound)| compare(name, *bound, measured.ratios.get(name)));
        let new = measured.ratios.iter().filter(|(name, _)| !self.ratios.contains_key(*name));
        let new = new.map(|(name, is)| Comparison {
            ratio: name.clone(),
            was: None,
            is: Some(*is),
            change: None,
            tolerance: None,
            moved: Moved::New,
        });
        let mut all: Vec<_> = known.chain(new).collect();
        let furthest = |comparison: &Comparison| comparison.change.map_or(0.0, f64::abs);
        all.sort_by(|a, b| b.moved.fails().cmp(&a.moved.fails()).then(furthest(b).total_cmp(&furthest(a))));
        all
    }
}

fn compare(name: &str, bound: Bound, is: Option<&f64>) -> Comparison {
    let base = Comparison {
        ratio: name.to_owned(),
        was: Some(bound.value),
        is: is.copied(),
        change: None,
        tolerance: Some(bound.tolerance),
        moved: Moved::Missing,
    };
    let Some(is) = is else { return base };
    // A ratio of 0 moves by all or nothing.
    let change = match bound.value {
        was if was.abs() > f64::EPSILON => is / was - 1.0,
        _ if is.abs() <= f64::EPSILON => 0.0,
        _ => f64::INFINITY.copysign(*is),
    };
    // As far to the better side as would take the same tolerance to come back from.
    let (was, tolerance) = (bound.value, bound.tolerance);
    let (worse, better) = match bound.better {
        Better::Higher => (*is < was * (1.0 - tolerance), *is * (1.0 - tolerance) > was),
        Better::Lower => (*is > was * (1.0 + tolerance), *is * (1.0 + tolerance) < was),
        Better::Neither => (false, false),
    };
    let moved = match (worse, better) {
        (true, _) => Moved::Worse,
        (false, true) => Moved::Better,
        (false, false) => Moved::Held,
    };
    Comparison { change: Some(change), moved, ..base }
}

/// A file that people read has no use for the digits beyond.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The direction and tolerance of a ratio that is recorded for the first time, by
/// what its name says it is. Tails of a shared machine stray by half; shares of calls
/// that were approved do not stray at all.
fn usual(name: &str) -> (Better, f64) {
    if name.ends_with("_approved_to_all") {
        (Better::Higher, 0.01)
    } else if name == "entries_to_batches" {
        (Better::Neither, 0.5)
    } else if name.contains("_p99_") {
        (Better::Lower, 1.0)
    } else if name.contains("_p50_") {
        (Better::Lower, 0.5)
    } else {
        (Better::Higher, 0.1)
    }
}
