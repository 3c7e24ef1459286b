//! `guard`: holds a result against the one that was recorded, and says what moved.
//!
//! Ratios only, never rates: how many a second is the machine's own business, and a
//! guard that fails on a slower machine is soon ignored. A ratio that moved further
//! than its tolerance to the worse side is a failure; to the better side it is told,
//! so that somebody records it.

mod baseline;
mod measured;

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use self::{
    baseline::{Baseline, Moved, Recorded},
    measured::Measured,
};
use crate::report::table;

/// Compares a result with the recorded baseline.
#[derive(Debug, Args)]
pub struct Guard {
    /// SCENARIO.json of `run --out`, or the saved output of another command, whose last
    /// line is read.
    result: PathBuf,

    /// What was recorded.
    #[arg(long, default_value = "docs/benchmark/baseline.json")]
    baseline: PathBuf,

    /// Records this result instead: its ratios become the baseline of its name; tolerances
    /// that stand there stay.
    #[arg(long)]
    record: bool,
}

impl Guard {
    /// Compares, or records.
    ///
    /// # Errors
    /// When a file cannot be read, or the result cannot be compared with what was
    /// recorded.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let measured = Measured::load(&self.result)?;
        if self.record {
            let mut baseline = Baseline::load_or_new(&self.baseline)?;
            let count = measured.ratios.len();
            let name = measured.name.clone();
            baseline.record(measured);
            baseline.save(&self.baseline)?;
            println!("guard: recorded={count} name={name} baseline={}", self.baseline.display());
            return Ok(ExitCode::SUCCESS);
        }
        let baseline = Baseline::load(&self.baseline)?;
        let recorded = baseline.of(&measured, &self.baseline)?;
        Ok(tell(&measured, recorded))
    }
}

fn tell(measured: &Measured, recorded: &Recorded) -> ExitCode {
    let moved = recorded.against(measured);
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
    let rows: Vec<_> = moved
        .iter()
        .map(|moved| {
            let change =
                moved.change.map_or_else(|| "–".to_owned(), |change| format!("{:+.1} %", change * 100.0));
            vec![
                moved.ratio.clone(),
                shown(moved.was),
                shown(moved.is),
                change,
                moved
                    .tolerance
                    .map_or_else(|| "–".to_owned(), |tolerance| format!("{:.0} %", tolerance * 100.0)),
                moved.moved.word().to_owned(),
            ]
        })
        .collect();
    println!("{}", table(&["ratio", "recorded", "now", "change", "tolerance", "verdict"], &rows));
    let count = |wanted: Moved| moved.iter().filter(|moved| moved.moved == wanted).count();
    for moved in moved.iter().filter(|moved| moved.moved.fails()) {
        eprintln!("moved: {}", moved.sentence());
    }
    println!(
        "guard: name={} ratios={} held={} better={} worse={} missing={} new={}",
        measured.name,
        moved.len(),
        count(Moved::Held),
        count(Moved::Better),
        count(Moved::Worse),
        count(Moved::Missing),
        count(Moved::New)
    );
    if moved.iter().any(|moved| moved.moved.fails()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests;
