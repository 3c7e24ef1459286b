//! A day of the three regions in a minute or so: metros with their two peaks,
//! counters in office hours, a library in the afternoon and evening.
//!
//! Must hold: whatever the single scenes promise, while all go on at once.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use onecard::model::Purpose;

use super::{About, Doing, Findings, Operation, Plan, Play, Scenario};
use crate::{
    callers::{Counter, Gates, Handover, Pool, REGION_SHARES, Reader, Readers, Shown, region_of},
    open_loop::{Answer, Arrival, BadSchedule, Profile, Record, Schedule, Stream},
    riders::Rider,
    stage::{Post, Stage},
};

pub struct MixedDay;

static ABOUT: About = About {
    name: "mixed-day",
    zh: "混合一日",
    en: "Mixed day",
    told_zh: "把一天压缩到运行时长：三地地铁早晚两峰，服务大厅上班时间核验身份，图书馆下午与晚间借还。\
              各场景的承诺在同时进行时都应成立。",
    told_en: "A day within the run: three metros with two peaks, counters in office hours, a library in the \
              afternoon and evening. What each scene promises must hold while all go on at once.",
    operations: OPERATIONS,
    figures: &["journeys", "cards", "doubled", "receipts", "ended", "left_open", "repeated"],
    rate: 500.0,
    seconds: 96,
};

const TAP_IN: usize = 0;
const TAP_OUT: usize = 1;
const ISSUE: usize = 2;
const CODE: usize = 3;
const CHIP: usize = 4;
const DOCUMENT: usize = 5;
const BORROW: usize = 6;
const GIVE_BACK: usize = 7;

static OPERATIONS: &[Operation] = &[
    Operation { name: "tap_in", zh: "进站", en: "tap in" },
    Operation { name: "tap_out", zh: "出站", en: "tap out" },
    Operation { name: "issue_code", zh: "手机取码", en: "phone gets a code" },
    Operation { name: "code", zh: "扫码核验", en: "code scanned" },
    Operation { name: "chip", zh: "芯片核验（两次调用）", en: "chip, two calls" },
    Operation { name: "document", zh: "证件核验", en: "document shown" },
    Operation { name: "borrow", zh: "借书", en: "book borrowed" },
    Operation { name: "give_back", zh: "还书", en: "book returned" },
    Operation { name: "account", zh: "查读者账户", en: "reader's account" },
];

/// Hour by hour from midnight to midnight, as shares of each one's own peak.
const METRO: [f64; 25] = [
    0.02, 0.01, 0.01, 0.01, 0.03, 0.15, 0.45, 0.9, 1.0, 0.6, 0.35, 0.3, 0.35, 0.35, 0.3, 0.35, 0.5, 0.9, 1.0,
    0.6, 0.35, 0.25, 0.15, 0.06, 0.02,
];
const OFFICE: [f64; 25] = [
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.4, 1.0, 1.0, 0.9, 0.5, 0.5, 0.9, 0.9, 0.7, 0.3, 0.05, 0.0,
    0.0, 0.0, 0.0, 0.0, 0.0,
];
const LIBRARY: [f64; 25] = [
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.4, 0.5, 0.5, 0.5, 0.6, 0.8, 0.9, 1.0, 1.0, 1.0, 0.9, 0.7,
    0.2, 0.0, 0.0, 0.0,
];

/// What each has of the rate at its own peak. Entries bring exits, phones scanners.
const SHARES: [(usize, f64, &[f64; 25]); 5] = [
    (TAP_IN, 0.4, &METRO),
    (ISSUE, 0.06, &OFFICE),
    (CHIP, 0.08, &OFFICE),
    (DOCUMENT, 0.05, &OFFICE),
    (ACCOUNT, 0.05, &LIBRARY),
];
const ACCOUNT: usize = 8;

/// The sandbox's library has ten books, each out for about a second.
const LOANS_PER_SECOND: f64 = 3.0;
const LOAN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(1_500));
const ITEMS: u32 = 10;

/// A ride takes this share of the day, and up to twice as much.
const RIDE: f64 = 0.02;

const TO_THE_SCANNER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(600));

/// Beijing: where counter and library are.
const HERE: usize = 0;

const READERS: usize = 60;

impl Scenario for MixedDay {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn schedule(&self, plan: &Plan) -> Result<Schedule, BadSchedule> {
        let stream = |operation, peak: f64, day: &[f64; 25]| Stream {
            operation,
            profile: Profile::curve(peak, plan.length, day),
            spacing: plan.spacing,
        };
        let mut streams: Vec<_> =
            SHARES.iter().map(|(operation, share, day)| stream(*operation, plan.rate * share, day)).collect();
        streams.push(stream(BORROW, LOANS_PER_SECOND.min(plan.rate * 0.05), &LIBRARY));
        let ride = plan.length.mul_f64(RIDE);
        Ok(Schedule::of(&streams, plan.seed)?
            .followed(TAP_IN, TAP_OUT, |dice| dice.between(ride, ride * 2))
            .followed(ISSUE, CODE, |dice| dice.between(TO_THE_SCANNER.0, TO_THE_SCANNER.1))
            .followed(BORROW, GIVE_BACK, |dice| dice.between(LOAN.0, LOAN.1)))
    }

    fn cards_each(&self, plan: &Plan, _: &Schedule) -> usize {
        Gates::cards_each(riders(plan)) + people(plan) + READERS / 3
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
            let (mut people, mut locals, mut enrolled) = (Vec::new(), Vec::new(), Vec::new());
            for home in 0..3 {
                let shown = |card| Shown { card, home };
                let mut here: Vec<_> =
                    stage.cards(home, self::people(plan))?.into_iter().map(shown).collect();
                if home == HERE {
                    locals = here.split_off(here.len() / 2);
                }
                people.extend(here);
                enrolled.extend(stage.cards(home, READERS / 3)?.into_iter().map(shown));
            }
            let (library, readers) = Readers::enrol(stage, HERE, enrolled, plan.connections).await?;
            Ok(Arc::new(Day {
                gates,
                rides: Handover::new(schedule.count(TAP_IN)),
                counter,
                people: Pool::of(people),
                locals: Pool::of(locals),
                codes: Handover::new(schedule.count(ISSUE)),
                library,
                readers: Pool::of(readers),
                shelf: Pool::of((1..=ITEMS).map(|number| format!("B{number:04}")).collect()),
                loans: Handover::new(schedule.count(BORROW)),
            }) as Arc<dyn Play>)
        })
    }
}

fn riders(plan: &Plan) -> [usize; 3] {
    let riding =
        plan.rate * 0.4 * plan.length.mul_f64(RIDE * 2.0).max(Duration::from_millis(200)).as_secs_f64();
    REGION_SHARES.map(|share| (riding * 1.3 * share as f64 / 100.0) as usize + plan.in_flight / 8 + 16)
}

fn people(plan: &Plan) -> usize {
    plan.in_flight + (plan.rate * 0.06 * TO_THE_SCANNER.1.as_secs_f64()) as usize + 32
}

struct Day {
    gates: Gates,
    rides: Handover<Option<Rider>>,
    counter: Counter,
    people: Pool<Shown>,
    /// Who shows a document, which is done in the home region only.
    locals: Pool<Shown>,
    codes: Handover<(Shown, Option<String>)>,
    library: Readers,
    readers: Pool<Reader>,
    shelf: Pool<String>,
    /// Books that are out; `None` where none was lent.
    loans: Handover<Option<String>>,
}

impl Day {
    async fn borrow(&self, nth: u32) -> Answer {
        let (reader, item) = (self.readers.take().await, self.shelf.take().await);
        let settled = self.library.borrow(&reader, &item).await;
        self.readers.give(reader);
        // A book whose loan is not certain stays out: it is not to be lent twice.
        self.loans.give(nth, (settled.answer == Answer::Approved).then_some(item));
        settled.answer
    }

    async fn give_back(&self, nth: u32) -> Answer {
        let Some(item) = self.loans.take(nth).await else {
            return Answer::Failed("was not lent".to_owned());
        };
        let settled = self.library.give_back(&item).await;
        if settled.answer == Answer::Approved {
            self.shelf.give(item);
        }
        settled.answer
    }

    async fn scanned(&self, nth: u32) -> Answer {
        let (shown, code) = self.codes.take(nth).await;
        let answer = match code {
            Some(code) => self.counter.code(&shown, code).await.0,
            None => Answer::Failed("the phone got no code".to_owned()),
        };
        self.people.give(shown);
        answer
    }
}

impl Play for Day {
    fn call(self: Arc<Self>, arrival: Arrival) -> Doing<'static, Answer> {
        Box::pin(async move {
            let (nth, region) = (arrival.nth, region_of(arrival.nth));
            match arrival.operation {
                TAP_IN => {
                    let mut rider = self.gates.rider(region).await;
                    let answer = self.gates.tap(region, &rider.tap()).await;
                    self.rides.give(nth, (answer == Answer::Approved).then_some(rider));
                    answer
                }
                TAP_OUT => {
                    let Some(mut rider) = self.rides.take(nth).await else {
                        return Answer::Failed("did not get in".to_owned());
                    };
                    let answer = self.gates.tap(region, &rider.tap()).await;
                    if answer == Answer::Approved {
                        self.gates.leave(region, rider);
                    }
                    answer
                }
                ISSUE => {
                    let shown = self.people.take().await;
                    let (answer, code) = self.counter.phone(&shown).await;
                    self.codes.give(nth, (shown, code));
                    answer
                }
                CODE => self.scanned(nth).await,
                CHIP => {
                    let shown = self.people.take().await;
                    let (answer, _) = self.counter.chip(&shown).await;
                    self.people.give(shown);
                    answer
                }
                DOCUMENT => {
                    let shown = self.locals.take().await;
                    let settled = self.counter.send_document(&self.counter.document(&shown)).await;
                    self.counter.saw(&shown, &settled);
                    self.locals.give(shown);
                    settled.answer
                }
                BORROW => self.borrow(nth).await,
                GIVE_BACK => self.give_back(nth).await,
                _ => {
                    let reader = self.readers.take().await;
                    let settled = self.library.account(&reader).await;
                    self.readers.give(reader);
                    settled.answer
                }
            }
        })
    }

    fn audit<'a>(&'a self, stage: &'a Stage, records: &'a [Record]) -> Doing<'a, anyhow::Result<Findings>> {
        Box::pin(async move {
            let mut findings = Findings::default();
            // A library may be unsure; nobody else may.
            for (operation, record) in OPERATIONS.iter().zip(records).take(BORROW) {
                findings.all_approved(operation, record);
            }
            let ended = self.library.ended().await?;
            let audit = self.gates.audit(stage).await?;
            let (receipts, broken) = self.counter.audit(stage)?;
            findings.broken.extend(audit.broken);
            findings.broken.extend(broken);
            findings.broken.extend(self.library.told());
            findings.count("journeys", audit.journeys);
            findings.count("cards", audit.cards);
            findings.count("doubled", audit.doubled);
            findings.count("receipts", audit.receipts + receipts);
            findings.count("ended", ended.completed + ended.reversed + ended.declined);
            findings.count("left_open", ended.left);
            let repeats = &[&self.gates.repeats, &self.counter.repeats];
            findings.count("repeated", repeats.iter().map(|count| count.load(Ordering::Relaxed)).sum());
            Ok(findings)
        })
    }
}
