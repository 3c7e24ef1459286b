//! Requests by method, outcome and participant. Hot: one lookup in a snapshot,
//! two counters and one histogram, no lock and no allocation.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use metrics::{Counter, Histogram, SharedString, counter, histogram};

use super::{catalogue as name, labels::label};
use crate::{limits::PARTICIPANT_LABELS_MAX, model::Rank};

label! {
    /// How a request ended, as one looks at a dashboard: the four answers, and
    /// the ways to get none.
    RequestOutcome {
        Approved = "approved",
        Declined = "declined",
        Pending = "pending",
        /// Not understood: the caller's mistake.
        Invalid = "invalid",
        /// Not allowed.
        Denied = "denied",
        /// Shed, or over a rate.
        Shed = "shed",
        /// Not answered in time.
        Deadline = "deadline",
        /// The gateway's fault.
        Failed = "failed",
    }
}

label! {
    /// Why a call was refused before the way of a request began.
    RequestRefusal {
        /// Not POST.
        Method = "method",
        /// Not a gRPC content type.
        ContentType = "content-type",
        /// `grpc-timeout` is not well formed.
        Timeout = "timeout",
        /// A message is longer than its method takes.
        TooLarge = "too-large",
        /// A unary call with no message or with two.
        Cardinality = "cardinality",
        /// Compressed, which is not spoken here.
        Compressed = "compressed",
        /// The deadline came first.
        Deadline = "deadline",
    }
}

type Outcomes = [Counter; RequestOutcome::ALL.len()];

/// The handles of one method. Make one a method at start and keep it: making it
/// registers, using it does not.
#[derive(Clone)]
pub struct MethodMetrics {
    method: SharedString,
    latency: Histogram,
    outcomes: Arc<ArcSwap<HashMap<Box<str>, Arc<Outcomes>>>>,
    others: Arc<Outcomes>,
}

impl MethodMetrics {
    /// `method` is the full name without the leading slash, for example
    /// `onecard.transit.v1.TransitService/TapIn`.
    pub fn new(method: impl Into<SharedString>) -> Self {
        let method = method.into();
        MethodMetrics {
            latency: histogram!(name::REQUEST_SECONDS, "method" => method.clone()),
            outcomes: Arc::default(),
            others: Arc::new(register(&method, "other".into())),
            method,
        }
    }

    /// A request ended. `participant` is a name of the registry; beyond
    /// [`PARTICIPANT_LABELS_MAX`] of them it counts as `other`.
    pub fn done(&self, participant: &str, outcome: RequestOutcome, took: Duration) {
        self.latency.record(took.as_secs_f64());
        match self.outcomes.load().get(participant) {
            Some(counters) => counters[outcome as usize].increment(1),
            None => self.first_of(participant)[outcome as usize].increment(1),
        }
    }

    /// A request of nobody known ended: refused before a participant was found.
    pub fn done_by_nobody(&self, outcome: RequestOutcome, took: Duration) {
        self.latency.record(took.as_secs_f64());
        self.others[outcome as usize].increment(1);
    }

    #[cold]
    fn first_of(&self, participant: &str) -> Arc<Outcomes> {
        if self.outcomes.load().len() >= PARTICIPANT_LABELS_MAX {
            return self.others.clone();
        }
        let counters = Arc::new(register(&self.method, participant.to_owned().into()));
        self.outcomes.rcu(|known| {
            let mut more = HashMap::clone(known);
            more.insert(participant.into(), counters.clone());
            more
        });
        counters
    }
}

fn register(method: &SharedString, participant: SharedString) -> Outcomes {
    RequestOutcome::ALL.map(|outcome| {
        counter!(name::REQUESTS, "method" => method.clone(), "participant" => participant.clone(), "outcome" => outcome.name())
    })
}

static SHED: LazyLock<[Counter; 4]> = LazyLock::new(|| {
    [Rank::Background, Rank::Normal, Rank::High, Rank::Critical]
        .map(|rank| counter!(name::SHED, "rank" => rank.name()))
});

/// A request was shed to keep the higher ranks quick.
pub fn shed(rank: Rank) {
    SHED[rank as usize].increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;

    /// Not a promise but a measurement: run it with `--release --ignored
    /// --nocapture` before changing this file.
    #[test]
    #[ignore = "a measurement"]
    fn what_counting_a_request_costs() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let method = MethodMetrics::new("onecard.test.v1.Test/Call");
            let (rounds, began) = (200_000, std::time::Instant::now());
            for _ in 0..rounds {
                method.done("bj-metro", RequestOutcome::Approved, Duration::from_micros(300));
            }
            println!("{} ns a request", began.elapsed().as_nanos() / rounds);
        });
    }

    #[test]
    fn participants_beyond_the_bound_share_one_label() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let method = MethodMetrics::new("onecard.test.v1.Test/Call");
            for number in 0..PARTICIPANT_LABELS_MAX + 10 {
                method.done(&format!("p-{number}"), RequestOutcome::Approved, Duration::from_millis(3));
            }
            method.done("p-0", RequestOutcome::Declined, Duration::from_millis(3));
        });
        let text = handle.render();
        let approved = |participant: &str| {
            format!(
                "{}{{method=\"onecard.test.v1.Test/Call\",participant=\"{participant}\",outcome=\"approved\"}}",
                name::REQUESTS
            )
        };
        assert!(text.contains(&format!("{} 1\n", approved("p-0"))), "{text}");
        assert!(text.contains(&format!("{} 10\n", approved("other"))), "{text}");
        assert!(!text.contains(&format!("participant=\"p-{}\"", PARTICIPANT_LABELS_MAX)));
    }
}
