//! The scenarios: who comes when, what they do, and what must hold of the answers.
//!
//! A scenario is one file: a type that implements [`Scenario`], and one line in
//! [`ALL`]. It says its operations and its schedule; it opens in a town that is
//! ready; then it is called once for every arrival, and at the end it holds the
//! answers against each other. How calls are timed and what is made of the figures
//! is not its business.

mod hospital_opening;
mod metro_morning_peak;
mod mixed_day;
mod museum_release;
mod replay_storm;
mod slow_backend;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{
    open_loop::{Answer, Arrival, BadSchedule, Record, Schedule, Spacing},
    stage::Stage,
};

/// Every scenario there is.
pub static ALL: &[&dyn Scenario] = &[
    &metro_morning_peak::MetroMorningPeak,
    &hospital_opening::HospitalOpening,
    &museum_release::MuseumRelease,
    &mixed_day::MixedDay,
    &replay_storm::ReplayStorm,
    &slow_backend::SlowBackend,
];

/// Something that is done while others are.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a scenario is, for people and for the command line.
#[derive(Debug)]
pub struct About {
    /// As it is typed.
    pub name: &'static str,
    pub zh: &'static str,
    pub en: &'static str,
    /// One paragraph each: what is played, and what must hold.
    pub told_zh: &'static str,
    pub told_en: &'static str,
    /// Arrivals refer to these by their place.
    pub operations: &'static [Operation],
    /// Keys of the last line beyond those of every scenario.
    pub figures: &'static [&'static str],
    /// Arrivals a second at the peak, unless told otherwise.
    pub rate: f64,
    pub seconds: u64,
}

/// One kind of call, measured by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// In keys of the last line: lower case letters and `_`.
    pub name: &'static str,
    pub zh: &'static str,
    pub en: &'static str,
}

/// How much is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Arrivals a second at the peak.
    pub rate: f64,
    pub length: Duration,
    pub seed: u64,
    pub spacing: Spacing,
    /// Connections of each terminal.
    pub connections: usize,
    /// Calls under way at once.
    pub in_flight: usize,
}

/// A scenario before it is played.
pub trait Scenario: Send + Sync {
    fn about(&self) -> &'static About;

    /// When every call is due.
    ///
    /// # Errors
    /// When there would be too many.
    fn schedule(&self, plan: &Plan) -> Result<Schedule, BadSchedule>;

    /// Cards that are needed of each region.
    fn cards_each(&self, plan: &Plan, schedule: &Schedule) -> usize;

    /// Takes cards, opens connections, makes sessions: whatever is not measured.
    fn open<'a>(
        &'a self,
        stage: &'a Stage,
        plan: &'a Plan,
        schedule: &'a Schedule,
    ) -> Doing<'a, anyhow::Result<Arc<dyn Play>>>;
}

/// A scenario that is being played.
pub trait Play: Send + Sync {
    /// Does what is due.
    fn call(self: Arc<Self>, arrival: Arrival) -> Doing<'static, Answer>;

    /// Afterwards: holds what was answered against itself and against what the
    /// gateways and libraries say now.
    fn audit<'a>(&'a self, stage: &'a Stage, records: &'a [Record]) -> Doing<'a, anyhow::Result<Findings>>;
}

/// What a scenario found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Invariants that do not hold, one sentence each.
    pub broken: Vec<String>,
    /// Counts for the last line, under [`About::figures`].
    pub figures: Vec<(&'static str, f64)>,
    /// Ratios of the scenario's own for the guard.
    pub ratios: Vec<(&'static str, f64)>,
}

impl Findings {
    /// Adds a count.
    pub fn count(&mut self, key: &'static str, count: u64) {
        self.figures.push((key, count as f64));
    }

    /// Breaks when it does not hold.
    pub fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// Demands that every call of an operation was approved.
    pub fn all_approved(&mut self, operation: &Operation, record: &Record) {
        let tally = &record.tally;
        self.demand(tally.approved == tally.all(), || {
            format!(
                "{} of {} calls `{}` were approved: {:?}",
                tally.approved,
                tally.all(),
                operation.name,
                tally.words
            )
        });
    }
}

/// The scenario of a name.
pub fn named(name: &str) -> Option<&'static dyn Scenario> {
    ALL.iter().copied().find(|scenario| scenario.about().name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn plan(scenario: &dyn Scenario, seed: u64) -> Plan {
        let about = scenario.about();
        let length = Duration::from_secs(about.seconds);
        Plan { rate: about.rate, length, seed, spacing: Spacing::Poisson, connections: 4, in_flight: 512 }
    }

    #[test]
    fn names_and_keys_are_what_a_command_line_takes() {
        let mut names = HashSet::new();
        for scenario in ALL {
            let about = scenario.about();
            assert!(names.insert(about.name), "{} is there twice", about.name);
            let plain = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(about.operations.iter().all(|operation| plain(operation.name)), "{}", about.name);
            assert!(about.figures.iter().all(|figure| plain(figure)), "{}", about.name);
            let distinct: HashSet<_> = about.operations.iter().map(|operation| operation.name).collect();
            assert_eq!(distinct.len(), about.operations.len(), "{}", about.name);
        }
    }

    #[test]
    fn every_schedule_follows_from_its_seed_and_keeps_its_rate() {
        for scenario in ALL {
            let name = scenario.about().name;
            let of = |seed| scenario.schedule(&plan(*scenario, seed)).expect(name);
            let (schedule, plan) = (of(3), plan(*scenario, 3));
            assert_eq!(schedule, of(3), "{name}");
            assert_ne!(schedule.arrivals(), of(4).arrivals(), "{name}");
            for operation in 0..scenario.about().operations.len() {
                assert!(schedule.count(operation) > 0, "{name} never does its operation {operation}");
            }
            // The rate is the peak's: over no two seconds much more may be due, and
            // over some nearly as much must be.
            let busiest = (0..=schedule.length().as_secs())
                .map(|second| {
                    let due = |arrival: &&Arrival| arrival.at.as_secs() / 2 == second / 2;
                    schedule.arrivals().iter().filter(due).count()
                })
                .max()
                .expect("a second") as f64
                / 2.0;
            assert!(busiest < plan.rate * 1.3 + 10.0, "{name}: {busiest} a second of {}", plan.rate);
            assert!(busiest > plan.rate * 0.7 - 10.0, "{name}: {busiest} a second of {}", plan.rate);
        }
    }

    #[test]
    fn a_scenario_is_found_by_its_name() {
        assert!(named("mixed-day").is_some());
        assert!(named("mixed_day").is_none());
    }
}
