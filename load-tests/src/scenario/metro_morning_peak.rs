//! The morning: gates of three metros, a ramp to the peak and down again; every
//! rider who entered leaves some time later.
//!
//! Must hold: every tap is approved under a transaction of its own, every exit
//! costs something, a card's journeys are exactly its exits, receipts check.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{About, Doing, Findings, Operation, Plan, Play, Scenario};
use crate::{
    callers::{Gates, Handover, region_of},
    open_loop::{Answer, Arrival, BadSchedule, Profile, Record, Schedule, Stream},
    riders::Rider,
    stage::Stage,
};

pub struct MetroMorningPeak;

static ABOUT: About = About {
    name: "metro-morning-peak",
    zh: "地铁早高峰",
    en: "Metro morning peak",
    told_zh: "京津冀三地地铁闸机，客流先升后降；每位进站的乘客稍后出站。三地的卡混行。每次刷卡都应通过、\
              各成一笔、出站必有票款；事后逐卡核对行程与出站一一对应。",
    told_en: "Gates of three metros, up to the peak and down; whoever enters leaves later; cards of all \
              regions mix. Every tap must be approved as a transaction of its own, every exit cost something, \
              and a card's journeys be exactly its exits.",
    operations: OPERATIONS,
    figures: &["journeys", "cards", "doubled", "receipts", "repeated"],
    rate: 1_000.0,
    seconds: 60,
};

const TAP_IN: usize = 0;
const TAP_OUT: usize = 1;

static OPERATIONS: &[Operation] = &[
    Operation { name: "tap_in", zh: "进站", en: "tap in" },
    Operation { name: "tap_out", zh: "出站", en: "tap out" },
];

/// A ride takes this share of the run, and up to half as much more.
const RIDE: f64 = 0.12;

/// Quiet, up, the peak, down; shares of the peak.
const MORNING: [f64; 9] = [0.15, 0.3, 0.6, 0.95, 1.0, 1.0, 0.8, 0.45, 0.25];

impl Scenario for MetroMorningPeak {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn schedule(&self, plan: &Plan) -> Result<Schedule, BadSchedule> {
        // Entries and exits share the rate; exits go on while the last riders ride.
        let entering = plan.length.mul_f64(1.0 - RIDE * 1.5);
        let profile = Profile::curve(plan.rate / 2.0, entering, &MORNING);
        let entries = Stream { operation: TAP_IN, profile, spacing: plan.spacing };
        let ride = plan.length.mul_f64(RIDE);
        let schedule = Schedule::of(&[entries], plan.seed)?;
        Ok(schedule.followed(TAP_IN, TAP_OUT, |dice| dice.between(ride, ride.mul_f64(1.5))))
    }

    fn cards_each(&self, plan: &Plan, _: &Schedule) -> usize {
        Gates::cards_each(riders(plan))
    }

    fn open<'a>(
        &'a self,
        stage: &'a Stage,
        plan: &'a Plan,
        schedule: &'a Schedule,
    ) -> Doing<'a, anyhow::Result<Arc<dyn Play>>> {
        Box::pin(async move {
            let gates = Gates::open(stage, riders(plan), plan.connections).await?;
            let rides = Handover::new(schedule.count(TAP_IN));
            Ok(Arc::new(Morning { gates, rides }) as Arc<dyn Play>)
        })
    }
}

/// Enough that somebody stands before the gate whenever one is due: all who ride at
/// the peak, those whose calls are under way, and some.
fn riders(plan: &Plan) -> [usize; 3] {
    let riding =
        plan.rate / 2.0 * plan.length.mul_f64(RIDE * 1.5).max(Duration::from_millis(200)).as_secs_f64();
    crate::callers::REGION_SHARES.map(|share| {
        let here = riding * share as f64 / 100.0;
        (here * 1.3) as usize + plan.in_flight / 8 + 16
    })
}

struct Morning {
    gates: Gates,
    /// Riders on their way, by their arrival; `None` for one who was not let in.
    rides: Handover<Option<Rider>>,
}

impl Play for Morning {
    fn call(self: Arc<Self>, arrival: Arrival) -> Doing<'static, Answer> {
        Box::pin(async move {
            let region = region_of(arrival.nth);
            if arrival.operation == TAP_IN {
                let mut rider = self.gates.rider(region).await;
                let answer = self.gates.tap(region, &rider.tap()).await;
                self.rides.give(arrival.nth, (answer == Answer::Approved).then_some(rider));
                return answer;
            }
            let Some(mut rider) = self.rides.take(arrival.nth).await else {
                return Answer::Failed("did not get in".to_owned());
            };
            let answer = self.gates.tap(region, &rider.tap()).await;
            if answer == Answer::Approved {
                self.gates.leave(region, rider);
            }
            answer
        })
    }

    fn audit<'a>(&'a self, stage: &'a Stage, records: &'a [Record]) -> Doing<'a, anyhow::Result<Findings>> {
        Box::pin(async move {
            let mut findings = Findings::default();
            for (operation, record) in OPERATIONS.iter().zip(records) {
                findings.all_approved(operation, record);
            }
            let audit = self.gates.audit(stage).await?;
            findings.broken.extend(audit.broken);
            findings.count("journeys", audit.journeys);
            findings.count("cards", audit.cards);
            findings.count("doubled", audit.doubled);
            findings.count("receipts", audit.receipts);
            findings.count("repeated", self.gates.repeats.load(Ordering::Relaxed));
            Ok(findings)
        })
    }
}
