//! What was seen of a run: histograms an operation, figures a second.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

/// A minute: whoever waited longer is counted as having waited so long.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Different words (reasons, errors) counted for an operation; the rest is `other`.
const WORDS_MAX: usize = 32;

/// A call sent so much after it was due was sent late.
pub const LATE: Duration = Duration::from_millis(10);

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Approved,
    /// A rule said no: an answer, with its reason.
    Declined(String),
    /// The backend has not said.
    Pending,
    /// Not understood, not allowed or shed, with the reason.
    Refused(String),
    /// No answer at all, with what is known.
    Failed(String),
}

/// One call as the driver saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// When it was due, from the beginning of the run.
    pub(super) due: Duration,
    /// When it was sent.
    pub(super) sent: Duration,
    pub(super) answered: Duration,
}

/// Answers of one operation by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub approved: u64,
    pub declined: u64,
    pub pending: u64,
    pub refused: u64,
    pub failed: u64,
    /// Why those that were not approved were not.
    pub words: BTreeMap<String, u64>,
}

impl Tally {
    /// Calls that ended, whatever way.
    pub fn all(&self) -> u64 {
        self.approved + self.declined + self.pending + self.refused + self.failed
    }

    fn add(&mut self, answer: Answer) {
        let (count, word) = match answer {
            Answer::Approved => (&mut self.approved, None),
            Answer::Pending => (&mut self.pending, None),
            Answer::Declined(word) => (&mut self.declined, Some(word)),
            Answer::Refused(word) => (&mut self.refused, Some(word)),
            Answer::Failed(word) => (&mut self.failed, Some(word)),
        };
        *count += 1;
        let Some(word) = word else { return };
        let word = if self.words.len() < WORDS_MAX || self.words.contains_key(&word) {
            word
        } else {
            "other".to_owned()
        };
        *self.words.entry(word).or_default() += 1;
    }
}

/// One operation over one second of the run; times in microseconds.
#[derive(Debug, Clone)]
pub struct Second {
    /// Due in this second.
    pub due: u64,
    /// Answered in this second, whenever due.
    pub answered: u64,
    /// Latency of those due in it.
    pub latency: Histogram<u64>,
}

/// What was seen of one operation.
#[derive(Debug, Clone)]
pub struct Record {
    /// From the instant due to the answer, microseconds. The figure to read.
    pub latency: Histogram<u64>,
    /// From sending to the answer: what a closed loop would have told.
    pub service: Histogram<u64>,
    /// From the instant due to sending: what the generator itself added.
    pub lag: Histogram<u64>,
    pub tally: Tally,
    /// Calls sent later than [`LATE`] after they were due: the bound of calls under
    /// way was met, or the generator had no time. They keep the instant they were due.
    pub late: u64,
    pub seconds: Vec<Second>,
}

impl Record {
    /// An empty one, for a run of so many seconds.
    pub(super) fn new(seconds: usize) -> Self {
        Record {
            latency: histogram(3),
            service: histogram(3),
            lag: histogram(3),
            tally: Tally::default(),
            late: 0,
            seconds: (0..seconds).map(|_| Second::new()).collect(),
        }
    }

    /// So many calls, one a millisecond, that took as long and ended alike.
    #[cfg(test)]
    pub fn of(calls: u64, took: Duration, answer: &Answer) -> Self {
        let mut record = Record::new(1);
        for call in 0..calls {
            let due = Duration::from_millis(call);
            record.add(Seen { due, sent: due, answered: due + took }, answer.clone());
        }
        record
    }

    pub(super) fn add(&mut self, seen: Seen, answer: Answer) {
        let latency = micros(seen.answered.saturating_sub(seen.due));
        count(&mut self.latency, latency);
        count(&mut self.service, micros(seen.answered.saturating_sub(seen.sent)));
        let lag = seen.sent.saturating_sub(seen.due);
        count(&mut self.lag, micros(lag));
        self.late += u64::from(lag > LATE);
        self.tally.add(answer);
        let due = self.second(seen.due);
        due.due += 1;
        count(&mut due.latency, latency);
        self.second(seen.answered).answered += 1;
    }

    /// The second of an instant; the run's tail makes more of them.
    fn second(&mut self, at: Duration) -> &mut Second {
        let place = at.as_secs() as usize;
        while self.seconds.len() <= place {
            self.seconds.push(Second::new());
        }
        &mut self.seconds[place]
    }
}

impl Second {
    fn new() -> Self {
        Second { due: 0, answered: 0, latency: histogram(2) }
    }
}

/// Grows with what is recorded, so that a quiet second takes little.
fn histogram(digits: u8) -> Histogram<u64> {
    let mut histogram =
        Histogram::new_with_bounds(1, 2, digits).expect("these bounds are constants that hdrhistogram takes");
    histogram.auto(true);
    histogram
}

/// `saturating_record` would not let it grow.
fn count(histogram: &mut Histogram<u64>, micros: u64) {
    histogram.record(micros).expect("a histogram that grows takes what is within a minute");
}

fn micros(of: Duration) -> u64 {
    u64::try_from(of.as_micros()).unwrap_or(u64::MAX).min(LATENCY_MAX_US)
}
