//! The hospital opens: for some time nobody, then everybody at the minute, then a
//! long tail. People of all three regions show who they are, by code, chip or
//! document, and some ask what became of it.
//!
//! The medical scene is not built yet; what a hospital's counter does with us today
//! is to find out who stands there. When registration and settlement exist, they
//! are further operations of this file.
//!
//! Must hold: every credential is accepted under a transaction of its own, a holder
//! is the same to this participant every time, a transaction is found as it was
//! answered, receipts check.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use onecard::model::Purpose;

use super::{About, Doing, Findings, Operation, Plan, Play, Scenario};
use crate::{
    callers::{Counter, Handover, Pool, Shown},
    dice::Dice,
    open_loop::{Answer, Arrival, BadSchedule, Profile, Record, Schedule, Stream},
    stage::{Post, Stage},
};

pub struct HospitalOpening;

static ABOUT: About = About {
    name: "hospital-opening",
    zh: "医院开诊",
    en: "Hospital opening",
    told_zh: "开诊前几乎无人，整分一到众人涌入，随后缓缓回落；三地居民以电子社保卡码、芯片或证件在北京柜台核验身份，\
              部分随后查询结果。医疗场景尚未建成，目前只做身份核验与交易查询。每次核验都应通过、各成一笔；\
              同一持卡人对同一机构始终是同一化名。",
    told_en: "Nobody, then everybody at the minute, then a tail: people of three regions show code, chip or \
              document at a counter in Beijing, and some ask what became of it. The medical scene is not built \
              yet, so this is authentication and inquiry. Every credential must be accepted as a transaction of \
              its own, and a holder be the same to the participant each time.",
    operations: OPERATIONS,
    figures: &["receipts", "repeated"],
    rate: 150.0,
    seconds: 60,
};

const ISSUE: usize = 0;
const CODE: usize = 1;
const CHIP: usize = 2;
const DOCUMENT: usize = 3;
const INQUIRY: usize = 4;

static OPERATIONS: &[Operation] = &[
    Operation { name: "issue_code", zh: "手机取码", en: "phone gets a code" },
    Operation { name: "code", zh: "扫码核验", en: "code scanned" },
    Operation { name: "chip", zh: "芯片核验（两次调用）", en: "chip, two calls" },
    Operation { name: "document", zh: "证件核验", en: "document shown" },
    Operation { name: "inquiry", zh: "交易查询", en: "inquiry" },
];

/// Shares of the calls: a code is two of them, by phone and by counter.
const SHARES: [(usize, f64); 4] = [(ISSUE, 0.25), (CHIP, 0.25), (DOCUMENT, 0.15), (INQUIRY, 0.1)];

/// From opening the app to holding the phone under the scanner.
const TO_THE_SCANNER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(600));

/// Of a hundred people, so many are from Beijing, Tianjin, Hebei.
const HOMES: [u64; 3] = [70, 10, 20];

/// Beijing: where the hospital is.
const HERE: usize = 0;

/// The rate over the run, as shares of the peak: the doors open after a quarter.
fn opening(peak: f64, length: Duration) -> Profile {
    let at = |share: f64| length.mul_f64(share);
    Profile::through([
        (at(0.0), peak * 0.05),
        (at(0.25), peak * 0.1),
        (at(0.25), peak),
        (at(0.45), peak),
        (at(0.65), peak * 0.5),
        (at(1.0), peak * 0.25),
    ])
}

impl Scenario for HospitalOpening {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn schedule(&self, plan: &Plan) -> Result<Schedule, BadSchedule> {
        let streams = SHARES.map(|(operation, share)| Stream {
            operation,
            profile: opening(plan.rate * share, plan.length),
            spacing: plan.spacing,
        });
        let schedule = Schedule::of(&streams, plan.seed)?;
        Ok(schedule.followed(ISSUE, CODE, |dice| dice.between(TO_THE_SCANNER.0, TO_THE_SCANNER.1)))
    }

    fn cards_each(&self, plan: &Plan, _: &Schedule) -> usize {
        people(plan) * 2
    }

    fn open<'a>(
        &'a self,
        stage: &'a Stage,
        plan: &'a Plan,
        schedule: &'a Schedule,
    ) -> Doing<'a, anyhow::Result<Arc<dyn Play>>> {
        Box::pin(async move {
            let purpose = Purpose::IdentityCheck;
            let counter = Counter::open(stage, HERE, Post::HallCounter, purpose, plan.connections).await?;
            let crowd = |home: usize| -> anyhow::Result<Pool<Shown>> {
                let cards = stage.cards(home, people(plan))?;
                Ok(Pool::of(cards.into_iter().map(|card| Shown { card, home }).collect()))
            };
            let people = [crowd(0)?, crowd(1)?, crowd(2)?];
            let codes = Handover::new(schedule.count(ISSUE));
            Ok(Arc::new(Opening { counter, people, codes }) as Arc<dyn Play>)
        })
    }
}

/// People of each region: those who are being served at the peak, and those who walk
/// to the scanner.
fn people(plan: &Plan) -> usize {
    plan.in_flight + (plan.rate * TO_THE_SCANNER.1.as_secs_f64()) as usize + 16
}

struct Opening {
    counter: Counter,
    /// By home region.
    people: [Pool<Shown>; 3],
    /// Who walks to the scanner with which code.
    codes: Handover<(Shown, Option<String>)>,
}

impl Opening {
    async fn somebody(&self, arrival: Arrival) -> Shown {
        let at = Dice::new(u64::from(arrival.nth) ^ 0x0de5).below(100);
        let home = if at < HOMES[0] {
            0
        } else if at < HOMES[0] + HOMES[1] {
            1
        } else {
            2
        };
        self.people[home].take().await
    }
}

impl Play for Opening {
    fn call(self: Arc<Self>, arrival: Arrival) -> Doing<'static, Answer> {
        Box::pin(async move {
            let (answer, shown) = match arrival.operation {
                ISSUE => {
                    let shown = self.somebody(arrival).await;
                    let (answer, code) = self.counter.phone(&shown).await;
                    self.codes.give(arrival.nth, (shown, code));
                    return answer;
                }
                CODE => {
                    let (shown, code) = self.codes.take(arrival.nth).await;
                    let answer = match code {
                        Some(code) => self.counter.code(&shown, code).await.0,
                        None => Answer::Failed("the phone got no code".to_owned()),
                    };
                    (answer, shown)
                }
                CHIP => {
                    let shown = self.somebody(arrival).await;
                    (self.counter.chip(&shown).await.0, shown)
                }
                DOCUMENT => {
                    // Done in the home region only.
                    let shown = self.people[HERE].take().await;
                    let settled = self.counter.send_document(&self.counter.document(&shown)).await;
                    self.counter.saw(&shown, &settled);
                    (settled.answer, shown)
                }
                _ => return self.counter.inquiry(arrival.nth).await,
            };
            self.people[shown.home].give(shown);
            answer
        })
    }

    fn audit<'a>(&'a self, stage: &'a Stage, records: &'a [Record]) -> Doing<'a, anyhow::Result<Findings>> {
        Box::pin(async move {
            let mut findings = Findings::default();
            for (operation, record) in OPERATIONS.iter().zip(records).take(INQUIRY) {
                findings.all_approved(operation, record);
            }
            let (receipts, broken) = self.counter.audit(stage)?;
            findings.broken.extend(broken);
            findings.count("receipts", receipts);
            findings.count("repeated", self.counter.repeats.load(Ordering::Relaxed));
            Ok(findings)
        })
    }
}
