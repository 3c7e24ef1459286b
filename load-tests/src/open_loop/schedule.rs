//! When every call of a run is due, made ahead from a seed.

use std::time::Duration;

use clap::ValueEnum;

use super::Profile;
use crate::dice::Dice;

/// A run of an hour at 2,000 a second; each arrival takes 24 bytes.
const ARRIVALS_MAX: f64 = 7_200_000.0;

/// How arrivals lie between each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Spacing {
    /// As people come: each on their own, so that some come together.
    Poisson,
    /// As a machine sends: at even distances.
    Uniform,
}

/// Arrivals of one operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Place in the scenario's list of operations.
    pub operation: usize,
    pub profile: Profile,
    pub spacing: Spacing,
}

/// One call that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// From the beginning of the run.
    pub at: Duration,
    pub operation: usize,
    /// Counts the arrivals of its stream from 0; what follows an arrival (an exit
    /// its entry, a repeat its first) has the same.
    pub nth: u32,
}

/// All arrivals of a run, in the order they are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    arrivals: Vec<Arrival>,
    seed: u64,
}

/// The schedule would be none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    #[error("some {0} arrivals are more than a run may have ({max}); lower --rate or --seconds", max = ARRIVALS_MAX)]
    TooMany(u64),
}

impl Schedule {
    /// The arrivals of all streams. The same seed gives the same schedule; a stream
    /// has random numbers of its own, so that one more changes no other.
    ///
    /// # Errors
    /// When there would be too many.
    pub fn of(streams: &[Stream], seed: u64) -> Result<Self, BadSchedule> {
        let expected: f64 = streams.iter().map(|stream| stream.profile.total()).sum();
        if expected > ARRIVALS_MAX {
            return Err(BadSchedule::TooMany(expected as u64));
        }
        let mut schedule = Schedule { arrivals: Vec::new(), seed };
        for stream in streams {
            let mut dice = schedule.dice(stream.operation);
            schedule.arrivals.extend(arrivals(stream, &mut dice));
        }
        schedule.arrivals.sort_unstable();
        Ok(schedule)
    }

    /// Lets every arrival of `first` be followed by one of `then` after a time
    /// that `wait` rolls.
    #[must_use]
    pub fn followed(
        mut self,
        first: usize,
        then: usize,
        mut wait: impl FnMut(&mut Dice) -> Duration,
    ) -> Self {
        let mut dice = self.dice(then);
        let followers: Vec<_> = self
            .arrivals
            .iter()
            .filter(|arrival| arrival.operation == first)
            .map(|arrival| Arrival { at: arrival.at + wait(&mut dice), operation: then, nth: arrival.nth })
            .collect();
        self.arrivals.extend(followers);
        self.arrivals.sort_unstable();
        self
    }

    /// The arrivals in order.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// Arrivals of an operation.
    pub fn count(&self, operation: usize) -> usize {
        self.arrivals.iter().filter(|arrival| arrival.operation == operation).count()
    }

    /// When the last one is due.
    pub fn length(&self) -> Duration {
        self.arrivals.last().map_or(Duration::ZERO, |last| last.at)
    }

    /// A stream's own random numbers.
    fn dice(&self, operation: usize) -> Dice {
        let mut dice = Dice::new(self.seed);
        Dice::new(dice.next() ^ (operation as u64 + 1).wrapping_mul(0x9e37_79b9))
    }
}

/// Points of a Poisson process of rate 1, or even ones, taken through the profile:
/// where more are expected, more fall.
fn arrivals(stream: &Stream, dice: &mut Dice) -> Vec<Arrival> {
    let mut found = Vec::with_capacity(stream.profile.total() as usize + 16);
    let mut expected = match stream.spacing {
        Spacing::Poisson => exponential(dice),
        // The first stands in the middle of its own share.
        Spacing::Uniform => 0.5,
    };
    while let Some(at) = stream.profile.when(expected) {
        found.push(Arrival { at, operation: stream.operation, nth: found.len() as u32 });
        expected += match stream.spacing {
            Spacing::Poisson => exponential(dice),
            Spacing::Uniform => 1.0,
        };
    }
    found
}

/// A waiting time of mean 1.
fn exponential(dice: &mut Dice) -> f64 {
    // 53 bits, and never 0, whose logarithm is none.
    let uniform = ((dice.next() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    -uniform.ln()
}
