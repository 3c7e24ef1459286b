//! The ratios of a result, whichever command it came from.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;

use crate::outcome::Outcome;

/// What was measured, as far as a guard looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The scenario or the command.
    pub name: String,
    /// What must be the same for two results to be compared: build and load.
    pub conditions: BTreeMap<String, String>,
    pub recorded_at: String,
    /// The machine in one line, for people.
    pub machine: String,
    pub ratios: BTreeMap<String, f64>,
    /// Invariants that did not hold; such a result is not recorded and not compared.
    pub broken: Vec<String>,
}

impl Measured {
    /// Reads a result: the JSON of `run`, or a text whose last line is
    /// `name: key=value …`, of which the ratios are taken.
    ///
    /// # Errors
    /// When it is neither, or what was measured does not hold.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let measured = if text.trim_start().starts_with('{') {
            Measured::of_outcome(Outcome::load(path)?)
        } else {
            of_last_line(&text).with_context(|| {
                format!("{} is neither a result of `run` nor ends with `name: key=value …`", path.display())
            })?
        };
        anyhow::ensure!(
            measured.broken.is_empty(),
            "the run broke its promises, so its figures say nothing: {}",
            measured.broken.join("; ")
        );
        anyhow::ensure!(!measured.ratios.is_empty(), "{} has no ratios", path.display());
        Ok(measured)
    }

    fn of_outcome(outcome: Outcome) -> Self {
        let Outcome { build, plan, machine, .. } = outcome;
        let conditions = [
            ("profile", build.profile),
            ("rate", format!("{}", plan.rate)),
            ("seconds", plan.seconds.to_string()),
            ("spacing", plan.spacing),
            ("in_flight", plan.in_flight.to_string()),
            ("connections", plan.connections.to_string()),
            ("cores", machine.cores.to_string()),
        ];
        Measured {
            name: outcome.scenario,
            conditions: conditions.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            recorded_at: outcome.recorded_at,
            machine: format!("{}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel),
            ratios: outcome.ratios,
            broken: outcome.broken,
        }
    }
}

/// A ratio is called `…_ratio` or `…_to_…`; all else on the line is a rate or a
/// count.
fn of_last_line(text: &str) -> Option<Measured> {
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let (name, figures) = line.split_once(": ")?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let mut ratios = BTreeMap::new();
    for figure in figures.split_ascii_whitespace() {
        let (key, value) = figure.split_once('=')?;
        if key.ends_with("_ratio") || key.contains("_to_") {
            ratios.insert(key.to_owned(), value.parse().ok()?);
        }
    }
    is_name.then(|| Measured {
        name: name.to_owned(),
        conditions: BTreeMap::new(),
        recorded_at: String::new(),
        machine: String::new(),
        ratios,
        broken: Vec::new(),
    })
}
