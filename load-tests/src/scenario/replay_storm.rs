//! Every request is sent twice: half of them side by side, on two connections, half
//! again after a while, as terminals do that did not hear the answer.
//!
//! Must hold: both are the same transaction with the same outcome; a card's
//! journeys are exactly its exits; the library was asked for each hold once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use onecard::{
    client::Answered,
    model::Purpose,
    proto::{
        auth::v1::PresentDocumentRequest,
        common::v1::{Answer as Told, Decision},
        library::v1::PlaceHoldRequest,
        transit::v1::TapRequest,
    },
};
use tokio::sync::OnceCell;

use super::{About, Doing, Findings, Operation, Plan, Play, Scenario};
use crate::{
    callers::{Counter, Gates, Pool, REGION_SHARES, Reader, Readers, Shown, Witness, region_of},
    open_loop::{Answer, Arrival, BadSchedule, Profile, Record, Schedule, Stream},
    riders::Rider,
    stage::{Post, Stage},
};

pub struct ReplayStorm;

static ABOUT: About = About {
    name: "replay-storm",
    zh: "重发风暴",
    en: "Replay storm",
    told_zh: "每个请求都发两遍：一半在两条连接上同时发，一半隔一会儿原样重发。两次应是同一笔交易、同一结果；\
              行程不多不少，图书馆对每次预约只被问一次。",
    told_en: "Every request is sent twice: half side by side on two connections, half again after a while. Both \
              must be the same transaction with the same outcome; no journey too many, and the library asked for \
              each hold once.",
    operations: OPERATIONS,
    figures: &["pairs", "same", "doubled", "journeys", "cards", "holds", "asked", "receipts", "repeated"],
    rate: 400.0,
    seconds: 60,
};

const TAP: usize = 0;
const DOCUMENT: usize = 1;
const HOLD: usize = 2;
/// The repeat of an operation stands this many places behind it.
const AGAIN: usize = 3;

static OPERATIONS: &[Operation] = &[
    Operation { name: "tap", zh: "刷卡", en: "tap" },
    Operation { name: "document", zh: "证件核验", en: "document shown" },
    Operation { name: "hold", zh: "预约", en: "hold" },
    Operation { name: "tap_again", zh: "刷卡（重发）", en: "tap, again" },
    Operation { name: "document_again", zh: "证件核验（重发）", en: "document, again" },
    Operation { name: "hold_again", zh: "预约（重发）", en: "hold, again" },
];

/// Shares of the rate, which each pays twice. A library is slower than the rest.
const SHARES: [(usize, f64); 3] = [(TAP, 0.38), (DOCUMENT, 0.1), (HOLD, 0.02)];

/// A late repeat comes after so long.
const LATE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(2_000));

/// Beijing: where counter and library are.
const HERE: usize = 0;

/// The items of the sandbox's library; a reader stands in each queue once.
const ITEMS: usize = 10;

impl Scenario for ReplayStorm {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn schedule(&self, plan: &Plan) -> Result<Schedule, BadSchedule> {
        let streams = SHARES.map(|(operation, share)| Stream {
            operation,
            profile: Profile::flat(plan.rate * share, plan.length),
            spacing: plan.spacing,
        });
        let twice = |schedule: Schedule, operation| {
            schedule.followed(operation, operation + AGAIN, |dice| {
                if dice.below(2) == 0 { Duration::ZERO } else { dice.between(LATE.0, LATE.1) }
            })
        };
        Ok([TAP, DOCUMENT, HOLD].into_iter().fold(Schedule::of(&streams, plan.seed)?, twice))
    }

    fn cards_each(&self, plan: &Plan, schedule: &Schedule) -> usize {
        Gates::cards_each(riders(plan)) + people(plan) + readers(schedule).div_ceil(3)
    }

    fn open<'a>(
        &'a self,
        stage: &'a Stage,
        plan: &'a Plan,
        schedule: &'a Schedule,
    ) -> Doing<'a, anyhow::Result<Arc<dyn Play>>> {
        Box::pin(async move {
            let gates = Gates::open(stage, riders(plan), plan.connections).await?;
            let purpose = Purpose::IdentityCheck;
            let counter = Counter::open(stage, HERE, Post::HallCounter, purpose, plan.connections).await?;
            let mut enrolled = Vec::new();
            for home in 0..3 {
                let cards = stage.cards(home, readers(schedule).div_ceil(3))?;
                enrolled.extend(cards.into_iter().map(|card| Shown { card, home }));
            }
            let (library, readers) = Readers::enrol(stage, HERE, enrolled, plan.connections).await?;
            let people = stage.cards(HERE, people(plan))?;
            let people = people.into_iter().map(|card| Shown { card, home: HERE }).collect();
            Ok(Arc::new(Storm {
                gates,
                taps: Twins::new(schedule.count(TAP)),
                counter,
                people: Pool::of(people),
                documents: Twins::new(schedule.count(DOCUMENT)),
                library,
                readers,
                holds: Twins::new(schedule.count(HOLD)),
                wrong: Witness::default(),
            }) as Arc<dyn Play>)
        })
    }
}

fn riders(plan: &Plan) -> [usize; 3] {
    // A rider is free as soon as one of the two taps is answered.
    REGION_SHARES.map(|share| (plan.rate * 0.2 * share as f64 / 100.0) as usize + plan.in_flight / 4 + 4)
}

fn people(plan: &Plan) -> usize {
    plan.in_flight + 16
}

fn readers(schedule: &Schedule) -> usize {
    schedule.count(HOLD).div_ceil(ITEMS).max(3)
}

/// A request for each arrival of a stream, made by whichever of its two calls comes
/// first, with the one who is free once either is answered.
struct Twins<Request, Who> {
    requests: Vec<OnceCell<(Request, Mutex<Option<Who>>)>>,
    /// The answer to the first of the two, by arrival.
    told: Mutex<HashMap<u32, Told>>,
}

impl<Request: Clone, Who> Twins<Request, Who> {
    fn new(count: usize) -> Self {
        Twins { requests: (0..count).map(|_| OnceCell::new()).collect(), told: Mutex::default() }
    }

    async fn request(&self, nth: u32, make: impl AsyncFnOnce() -> (Request, Who)) -> Request {
        let made = self.requests[nth as usize].get_or_init(|| async {
            let (request, who) = make().await;
            (request, Mutex::new(Some(who)))
        });
        made.await.0.clone()
    }

    /// Who made the request; once.
    fn free(&self, nth: u32) -> Option<Who> {
        let (_, who) = self.requests[nth as usize].get()?;
        who.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps the answer of the first, holds that of the second against it. True for
    /// the first.
    fn told(&self, nth: u32, answer: &Told, wrong: &Witness) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = told.remove(&nth) else {
            told.insert(nth, answer.clone());
            return true;
        };
        let pending = [&first, answer].into_iter().any(|told| told.decision() == Decision::Pending);
        // While one is still being worked on the other is told so, under the same id.
        let same_outcome =
            first.decision == answer.decision && first.committed_at_ms == answer.committed_at_ms;
        if first.transaction_id != answer.transaction_id || !(pending || same_outcome) {
            wrong.fault(format!(
                "a request sent twice became {} {:?} and {} {:?}",
                first.transaction_id,
                first.decision(),
                answer.transaction_id,
                answer.decision()
            ));
        } else {
            wrong.saw(answer);
        }
        false
    }
}

struct Storm {
    gates: Gates,
    taps: Twins<TapRequest, Rider>,
    counter: Counter,
    people: Pool<Shown>,
    documents: Twins<PresentDocumentRequest, Shown>,
    library: Readers,
    readers: Vec<Reader>,
    holds: Twins<PlaceHoldRequest, ()>,
    /// Pairs that were the same; and what was not.
    wrong: Witness,
}

impl Storm {
    async fn tap(&self, nth: u32) -> Answer {
        let region = region_of(nth);
        let make = async || {
            let mut rider = self.gates.rider(region).await;
            (rider.tap(), rider)
        };
        let request = self.taps.request(nth, make).await;
        let (answer, response) = self.gates.send(region, &request).await;
        if let Some(told) = response.as_ref().and_then(Answered::answer)
            && self.taps.told(nth, told, &self.wrong)
            && let Some(response) = &response
        {
            self.gates.witness(region, &request, response);
        }
        // A rider whose tap nobody answered stays away: where they stand is unknown.
        if answer == Answer::Approved
            && let Some(rider) = self.taps.free(nth)
        {
            self.gates.leave(region, rider);
        }
        answer
    }

    async fn document(&self, nth: u32) -> Answer {
        let make = async || {
            let shown = self.people.take().await;
            (self.counter.document(&shown), shown)
        };
        let request = self.documents.request(nth, make).await;
        let settled = self.counter.send_document(&request).await;
        let first = settled
            .response
            .as_ref()
            .and_then(Answered::answer)
            .is_some_and(|told| self.documents.told(nth, told, &self.wrong));
        if let Some(shown) = self.documents.free(nth) {
            if first {
                self.counter.saw(&shown, &settled);
            }
            self.people.give(shown);
        }
        settled.answer
    }

    async fn hold(&self, nth: u32) -> Answer {
        let make = async || {
            let reader = &self.readers[nth as usize / ITEMS % self.readers.len()];
            (self.library.hold(reader, &format!("B{:04}", nth as usize % ITEMS + 1)), ())
        };
        let request = self.holds.request(nth, make).await;
        let settled = self.library.send_hold(&request).await;
        if let Some(told) = settled.response.as_ref().and_then(Answered::answer) {
            self.holds.told(nth, told, &self.wrong);
        }
        settled.answer
    }
}

impl Play for Storm {
    fn call(self: Arc<Self>, arrival: Arrival) -> Doing<'static, Answer> {
        Box::pin(async move {
            match arrival.operation % AGAIN {
                TAP => self.tap(arrival.nth).await,
                DOCUMENT => self.document(arrival.nth).await,
                _ => self.hold(arrival.nth).await,
            }
        })
    }

    fn audit<'a>(&'a self, stage: &'a Stage, records: &'a [Record]) -> Doing<'a, anyhow::Result<Findings>> {
        Box::pin(async move {
            let mut findings = Findings::default();
            for place in [TAP, DOCUMENT, TAP + AGAIN, DOCUMENT + AGAIN] {
                findings.all_approved(&OPERATIONS[place], &records[place]);
            }
            let ended = self.library.ended().await?;
            let audit = self.gates.audit(stage).await?;
            let (receipts, broken) = self.counter.audit(stage)?;
            let holds = self.library.orders.load(Ordering::Relaxed);
            let asked = stage.library(HERE).heard("15");
            // Taking a hold back is a message of the same code.
            let asked_twice = if ended.reversed == 0 { asked.saturating_sub(holds) } else { 0 };
            findings.demand(asked_twice == 0, || {
                format!("{holds} holds and the library was asked {asked} times")
            });
            let (_, placed_twice) = self.library.places();
            findings.demand(ended.reversed > 0 || placed_twice == 0, || {
                format!("{placed_twice} places were given to two")
            });
            let (same, different) = (self.wrong.transactions(), self.wrong.faults());
            let pairs = same + different;
            findings.demand(pairs > 0 && same == pairs, || {
                format!("{same} of {pairs} pairs were the same; all must be, and there must be some")
            });
            findings.broken.extend(self.wrong.told());
            findings.broken.extend(audit.broken);
            findings.broken.extend(broken);
            findings.broken.extend(self.library.told());
            findings.count("pairs", pairs);
            findings.count("same", same);
            findings.count("doubled", different + audit.doubled + asked_twice);
            findings.count("journeys", audit.journeys);
            findings.count("cards", audit.cards);
            findings.count("holds", holds);
            findings.count("asked", asked);
            findings.count("receipts", audit.receipts + receipts);
            let repeats = &[&self.gates.repeats, &self.counter.repeats];
            findings.count("repeated", repeats.iter().map(|count| count.load(Ordering::Relaxed)).sum());
            Ok(findings)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(transaction: &str, decision: Decision, committed_at_ms: i64) -> Told {
        Told {
            transaction_id: transaction.to_owned(),
            decision: decision.into(),
            committed_at_ms,
            ..Told::default()
        }
    }

    #[track_caller]
    fn check(first: &Told, second: &Told, same: bool) {
        let (twins, wrong) = (Twins::<(), ()>::new(1), Witness::default());
        assert!(twins.told(0, first, &wrong), "the first is the first");
        assert!(!twins.told(0, second, &wrong));
        assert_eq!(wrong.faults() == 0, same, "{first:?} and {second:?}: {:?}", wrong.told());
        assert_eq!(wrong.transactions() == 1, same);
    }

    #[test]
    fn a_pair_is_one_transaction_with_one_outcome() {
        let approved = told("a", Decision::Approved, 5);
        check(&approved, &approved, true);
        check(&approved, &told("b", Decision::Approved, 5), false);
        check(&approved, &told("a", Decision::Declined, 5), false);
        check(&approved, &told("a", Decision::Approved, 6), false);
        check(&approved, &told("a", Decision::Pending, 4), true);
        check(&approved, &told("b", Decision::Pending, 4), false);
    }

    #[tokio::test]
    async fn a_request_is_made_once_and_frees_its_maker_once() {
        let twins = Twins::new(1);
        let made = std::sync::atomic::AtomicU32::new(0);
        let make = async || (made.fetch_add(1, Ordering::Relaxed), "rider");
        assert_eq!((twins.request(0, make).await, twins.request(0, make).await), (0, 0));
        assert_eq!((twins.free(0), twins.free(0)), (Some("rider"), None));
    }
}
