//! Tickets are released: for a minute very many ask for few places, press again,
//! and most go empty-handed.
//!
//! The admission scene is not built yet; today the few places are the first places
//! in the queues of a library's few books (holds). When admission exists, its
//! booking takes the place of the hold in this file.
//!
//! Must hold: no place in a queue is given to two, an item is ready for the first
//! in its queue and for nobody else, a reader who asks again stands there once,
//! the library holds as many places as were told, what was left open ends.

use std::sync::Arc;

use super::{About, Doing, Findings, Operation, Plan, Play, Scenario};
use crate::{
    callers::{Pool, Reader, Readers, Shown},
    open_loop::{Answer, Arrival, BadSchedule, Profile, Record, Schedule, Stream},
    stage::Stage,
};

pub struct MuseumRelease;

static ABOUT: About = About {
    name: "museum-release",
    zh: "博物馆放票",
    en: "Museum release",
    told_zh: "放票的一分钟：极多人抢极少的名额，反复点击。入馆预约场景尚未建成，目前以图书馆少量馆藏的预约代替。\
              一个名次只给一人，每件只有队首可取，同一读者重复点击只排一次，馆内名次数与告知的一致，悬而未决的都有结局。",
    told_en: "The minute of a release: very many ask for few places and press again. The admission scene is not \
              built yet, so the places are those in the queues of a few library books. No place may go to two, an \
              item be ready for the first in its queue alone, and a reader stand in a queue once.",
    operations: OPERATIONS,
    figures: &["places", "doubled", "ended", "left_open", "readers"],
    rate: 400.0,
    seconds: 60,
};

const HOLD: usize = 0;

static OPERATIONS: &[Operation] =
    &[Operation { name: "hold", zh: "抢位（预约）", en: "place asked for" }];

/// The few items.
const ITEMS: [&str; 4] = ["B0001", "B0002", "B0003", "B0004"];

/// Beijing.
const HERE: usize = 0;

/// More readers only make the preparation longer: they come back and press again.
const READERS_MAX: usize = 1_500;

impl Scenario for MuseumRelease {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn schedule(&self, plan: &Plan) -> Result<Schedule, BadSchedule> {
        let at = |share: f64| plan.length.mul_f64(share);
        let profile = Profile::through([
            (at(0.0), plan.rate * 0.02),
            (at(0.1), plan.rate * 0.05),
            (at(0.1), plan.rate),
            (at(0.5), plan.rate * 0.9),
            (at(0.8), plan.rate * 0.2),
            (at(1.0), plan.rate * 0.05),
        ]);
        Schedule::of(&[Stream { operation: HOLD, profile, spacing: plan.spacing }], plan.seed)
    }

    fn cards_each(&self, _: &Plan, schedule: &Schedule) -> usize {
        readers(schedule).div_ceil(3)
    }

    fn open<'a>(
        &'a self,
        stage: &'a Stage,
        plan: &'a Plan,
        schedule: &'a Schedule,
    ) -> Doing<'a, anyhow::Result<Arc<dyn Play>>> {
        Box::pin(async move {
            let mut people = Vec::new();
            for home in 0..3 {
                let cards = stage.cards(home, readers(schedule).div_ceil(3))?;
                people.extend(cards.into_iter().map(|card| Shown { card, home }));
            }
            let (library, readers) = Readers::enrol(stage, HERE, people, plan.connections).await?;
            let count = readers.len() as u64;
            Ok(Arc::new(Release { library, readers: Pool::of(readers), count }) as Arc<dyn Play>)
        })
    }
}

fn readers(schedule: &Schedule) -> usize {
    schedule.count(HOLD).clamp(3, READERS_MAX)
}

struct Release {
    library: Readers,
    readers: Pool<Reader>,
    count: u64,
}

impl Play for Release {
    fn call(self: Arc<Self>, arrival: Arrival) -> Doing<'static, Answer> {
        Box::pin(async move {
            let reader = self.readers.take().await;
            let request = self.library.hold(&reader, ITEMS[arrival.nth as usize % ITEMS.len()]);
            let settled = self.library.send_hold(&request).await;
            self.readers.give(reader);
            settled.answer
        })
    }

    fn audit<'a>(&'a self, _: &'a Stage, records: &'a [Record]) -> Doing<'a, anyhow::Result<Findings>> {
        Box::pin(async move {
            let mut findings = Findings::default();
            let ended = self.library.ended().await?;
            let (places, doubled) = self.library.places();
            findings.demand(ended.reversed > 0 || doubled == 0, || {
                format!("{doubled} places were given to two readers")
            });
            let approved = records[HOLD].tally.approved;
            // Every approval names a place; one that ended by inquiry names none.
            findings.demand(places <= approved, || format!("{approved} approvals and {places} places"));
            let mut held = 0;
            while let Some(reader) = self.readers.try_take() {
                let holds = self.library.holds(&reader).await?;
                findings.demand(holds as usize <= ITEMS.len(), || {
                    format!("a reader stands in {holds} queues of {}", ITEMS.len())
                });
                held += u64::from(holds);
            }
            let told = approved + ended.completed;
            findings.demand(held == told, || format!("the library holds {held} places and {told} were told"));
            findings.broken.extend(self.library.told());
            findings.count("places", held);
            findings.count("doubled", doubled);
            findings.count("ended", ended.completed + ended.reversed + ended.declined);
            findings.count("left_open", ended.left);
            findings.count("readers", self.count);
            Ok(findings)
        })
    }
}
