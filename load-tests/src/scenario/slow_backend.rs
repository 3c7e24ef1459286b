//! A library's system becomes slow in the middle of the run: it books and answers
//! after five seconds, long after the gateway has stopped waiting.
//!
//! Must hold: gates do not feel it; a loan at the slow library is told as pending or
//! as not possible now, never as done; and what is pending ends.

use std::sync::{Arc, atomic::Ordering};

use super::{About, Doing, Findings, Operation, Plan, Play, Scenario};
use crate::{
    callers::{Gates, Pool, Reader, Readers, Shown},
    open_loop::{Answer, Arrival, BadSchedule, Profile, Record, Schedule, Stream},
    stage::Stage,
};

pub struct SlowBackend;

static ABOUT: About = About {
    name: "slow-backend",
    zh: "后端变慢",
    en: "Slow backend",
    told_zh: "运行到一半，北京图书馆系统变慢：记了账，五秒后才应答。闸机应毫无察觉；借书只答“待确认”或“暂不可用”，\
              绝不说已办妥；待确认的最终都有结局。前后两段各自计时。",
    told_en: "Half-way the Beijing library becomes slow: it books, and answers after five seconds. Gates must not \
              feel it; a loan is told as pending or not possible now, never as done; what is pending ends. Before \
              and during are measured apart.",
    operations: OPERATIONS,
    figures: &["pending", "refused", "ended", "left_open", "journeys", "doubled", "repeated"],
    rate: 400.0,
    seconds: 60,
};

const TAP_BEFORE: usize = 0;
const TAP_DURING: usize = 1;
const LIBRARY_BEFORE: usize = 2;
const LIBRARY_DURING: usize = 3;

static OPERATIONS: &[Operation] = &[
    Operation { name: "tap_before", zh: "刷卡（正常时）", en: "tap, before" },
    Operation { name: "tap_during", zh: "刷卡（变慢后）", en: "tap, during" },
    Operation { name: "library_before", zh: "图书馆（正常时）", en: "library, before" },
    Operation { name: "library_during", zh: "图书馆（变慢后）", en: "library, during" },
];

/// Of the rate; the rest are taps.
const LIBRARY_SHARE: f64 = 0.1;

/// Beijing.
const HERE: usize = 0;

const READERS: usize = 90;
const ITEMS: usize = 10;

/// Half of the time the gateway waits for the library in this town: a tap that waits
/// for the library's threads, connections or locks waits longer.
const FELT_US: u64 = 250_000;

/// A percentile of fewer calls is one unlucky call.
const CALLS_FOR_P99: u64 = 1_000;

impl Scenario for SlowBackend {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn schedule(&self, plan: &Plan) -> Result<Schedule, BadSchedule> {
        let half = plan.length / 2;
        let stream = |operation, share: f64, during: bool| {
            let rate = plan.rate * share;
            let profile = if during {
                Profile::through([(half, rate), (plan.length, rate)])
            } else {
                Profile::flat(rate, half)
            };
            Stream { operation, profile, spacing: plan.spacing }
        };
        let streams = [
            stream(TAP_BEFORE, 1.0 - LIBRARY_SHARE, false),
            stream(TAP_DURING, 1.0 - LIBRARY_SHARE, true),
            stream(LIBRARY_BEFORE, LIBRARY_SHARE, false),
            stream(LIBRARY_DURING, LIBRARY_SHARE, true),
        ];
        Schedule::of(&streams, plan.seed)
    }

    fn cards_each(&self, plan: &Plan, _: &Schedule) -> usize {
        Gates::cards_each(riders(plan)) + READERS / 3
    }

    fn open<'a>(
        &'a self,
        stage: &'a Stage,
        plan: &'a Plan,
        _: &'a Schedule,
    ) -> Doing<'a, anyhow::Result<Arc<dyn Play>>> {
        Box::pin(async move {
            let gates = Gates::open(stage, riders(plan), plan.connections).await?;
            let mut enrolled = Vec::new();
            for home in 0..3 {
                let cards = stage.cards(home, READERS / 3)?;
                enrolled.extend(cards.into_iter().map(|card| Shown { card, home }));
            }
            let (library, readers) = Readers::enrol(stage, HERE, enrolled, plan.connections).await?;
            Ok(Arc::new(Slow { gates, library, readers: Pool::of(readers) }) as Arc<dyn Play>)
        })
    }
}

/// All at the gates of the region whose library is slow.
fn riders(plan: &Plan) -> [usize; 3] {
    [plan.in_flight + 64, 1, 1]
}

struct Slow {
    gates: Gates,
    library: Readers,
    readers: Pool<Reader>,
}

impl Slow {
    async fn tap(&self) -> Answer {
        let mut rider = self.gates.rider(HERE).await;
        let answer = self.gates.tap(HERE, &rider.tap()).await;
        if answer == Answer::Approved {
            self.gates.leave(HERE, rider);
        }
        answer
    }

    async fn library(&self, arrival: Arrival) -> Answer {
        let reader = self.readers.take().await;
        let answer = if arrival.operation == LIBRARY_BEFORE {
            // Holds, because there are ten books only; a second one for the same
            // book is declined, which is an answer as good.
            let item = format!("B{:04}", arrival.nth as usize % ITEMS + 1);
            self.library.send_hold(&self.library.hold(&reader, &item)).await.answer
        } else {
            // The sandbox's switch: the library books such an item and answers late.
            self.library.borrow(&reader, &format!("SLOW-{:06}", arrival.nth)).await.answer
        };
        self.readers.give(reader);
        answer
    }
}

impl Play for Slow {
    fn call(self: Arc<Self>, arrival: Arrival) -> Doing<'static, Answer> {
        Box::pin(async move {
            match arrival.operation {
                TAP_BEFORE | TAP_DURING => self.tap().await,
                _ => self.library(arrival).await,
            }
        })
    }

    fn audit<'a>(&'a self, stage: &'a Stage, records: &'a [Record]) -> Doing<'a, anyhow::Result<Findings>> {
        Box::pin(async move {
            let mut findings = Findings::default();
            let (before, during) = (&records[TAP_BEFORE], &records[TAP_DURING]);
            findings.all_approved(&OPERATIONS[TAP_BEFORE], before);
            findings.all_approved(&OPERATIONS[TAP_DURING], during);
            let fewest = before.latency.len().min(during.latency.len());
            let quantile = if fewest >= CALLS_FOR_P99 { 0.99 } else { 0.9 };
            let (was, is) =
                (before.latency.value_at_quantile(quantile), during.latency.value_at_quantile(quantile));
            findings.demand(is <= was + FELT_US, || {
                format!("gates feel the library: p{:.0} was {was} µs and is {is} µs", quantile * 100.0)
            });
            let slow = &records[LIBRARY_DURING].tally;
            findings.demand(slow.approved == 0, || {
                format!("{} loans were told as done by a library that had not said so", slow.approved)
            });
            findings.demand(slow.pending > 0, || {
                "the slow library left no loan pending: what was to be shown did not happen".to_owned()
            });
            let ended = self.library.ended().await?;
            let audit = self.gates.audit(stage).await?;
            findings.broken.extend(audit.broken);
            findings.broken.extend(self.library.told());
            findings.count("pending", slow.pending);
            findings.count("refused", slow.refused + slow.declined);
            findings.count("ended", ended.completed + ended.reversed + ended.declined);
            findings.count("left_open", ended.left);
            findings.count("journeys", audit.journeys);
            findings.count("doubled", audit.doubled);
            findings.count("repeated", self.gates.repeats.load(Ordering::Relaxed));
            let p99 = |record: &Record| record.latency.value_at_quantile(0.99).max(1) as f64;
            findings.ratios.push(("tap_p99_during_to_before", p99(during) / p99(before)));
            Ok(findings)
        })
    }
}
