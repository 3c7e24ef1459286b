//! Metro gates of the three regions, and those who ride there with cards of any
//! region.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use onecard::{
    client::Terminal,
    proto::{
        common::v1::Purpose,
        transit::v1::{ListJourneysRequest, TapKind, TapRequest, TapResponse},
    },
};

use super::{Pool, Witness, settled};
use crate::{
    dice::Dice,
    open_loop::Answer,
    riders::{BEIJING, Rider},
    stage::{Post, Stage},
};

/// Stations of a line of each region, with a fare between any two.
const STATIONS: [&[&str]; 3] = [
    BEIJING,
    &["刘园", "瑞景新苑", "佳园里", "本溪路", "勤俭道", "洪湖里", "西站", "西北角"],
    &["西王", "时光街", "长城桥", "和平医院", "烈士陵园", "新百广场", "解放广场", "平安大街"],
];

/// How the taps divide among the regions, percent: as their metros do, roughly.
pub const REGION_SHARES: [u64; 3] = [60, 25, 15];

/// Journeys that one question answers; a card that rode more often is not asked
/// about.
const JOURNEYS_MAX: usize = 100;

/// Cards of each region whose journeys are asked for afterwards.
const CARDS_ASKED_MAX: usize = 400;

/// In which region an arrival taps.
pub fn region_of(nth: u32) -> usize {
    let at = Dice::new(u64::from(nth) ^ 0x6a7e).below(100);
    if at < REGION_SHARES[0] {
        0
    } else if at < REGION_SHARES[0] + REGION_SHARES[1] {
        1
    } else {
        2
    }
}

/// Gates of all regions.
pub struct Gates {
    regions: Vec<Region>,
    /// Requests sent again because they were not answered.
    pub repeats: AtomicU64,
}

struct Region {
    gates: Vec<Terminal>,
    turn: AtomicUsize,
    riders: Pool<Rider>,
    witness: Witness,
    /// Approved exits by card.
    exits: Mutex<BTreeMap<String, HashSet<String>>>,
}

/// What was found afterwards.
#[derive(Debug, Default)]
pub struct GatesAudit {
    /// Cards whose journeys were asked for.
    pub cards: u64,
    pub journeys: u64,
    /// Journeys beyond the approved exits.
    pub doubled: u64,
    pub receipts: u64,
    pub broken: Vec<String>,
}

impl Gates {
    /// Opens gates with riders of this many cards in each region: half of them from
    /// there, a quarter from each of the others.
    ///
    /// # Errors
    /// When there are too few cards or a gateway is not there.
    pub async fn open(stage: &Stage, riders: [usize; 3], connections: usize) -> anyhow::Result<Self> {
        let mut regions = Vec::new();
        for (region, stations) in STATIONS.into_iter().enumerate() {
            let mut here = Vec::new();
            for home in 0..3 {
                let share =
                    if home == region { riders[region].div_ceil(2) } else { riders[region].div_ceil(4) };
                let cards = stage.cards(home, share)?;
                here.extend(cards.into_iter().map(|card| Rider::on(stations, card)));
            }
            regions.push(Region {
                gates: stage.connect(region, Post::MetroGate, connections).await?,
                turn: AtomicUsize::new(0),
                riders: Pool::of(mixed(here)),
                witness: Witness::default(),
                exits: Mutex::default(),
            });
        }
        Ok(Gates { regions, repeats: AtomicU64::new(0) })
    }

    /// Cards of each home that [`Gates::open`] takes for as many riders.
    pub fn cards_each(riders: [usize; 3]) -> usize {
        let of_home = |home: usize| -> usize {
            let share = |region: usize| riders[region].div_ceil(if home == region { 2 } else { 4 });
            (0..3).map(share).sum()
        };
        (0..3).map(of_home).max().unwrap_or(0)
    }

    /// Somebody who stands before a gate of the region. Give them back.
    pub async fn rider(&self, region: usize) -> Rider {
        self.regions[region].riders.take().await
    }

    /// Lets a rider go.
    pub fn leave(&self, region: usize, rider: Rider) {
        self.regions[region].riders.give(rider);
    }

    /// Sends a tap until it is answered, and witnesses the answer.
    pub async fn tap(&self, region: usize, request: &TapRequest) -> Answer {
        let (answer, response) = self.send(region, request).await;
        if let Some(response) = &response {
            self.witness(region, request, response);
        }
        answer
    }

    /// Sends a tap until it is answered.
    pub async fn send(&self, region: usize, request: &TapRequest) -> (Answer, Option<TapResponse>) {
        let here = &self.regions[region];
        let gate = &here.gates[here.turn.fetch_add(1, Ordering::Relaxed) % here.gates.len()];
        let settled = settled(&self.repeats, || gate.tap(request.clone())).await;
        (settled.answer, settled.response)
    }

    /// Keeps what was answered, once a request.
    pub fn witness(&self, region: usize, request: &TapRequest, response: &TapResponse) {
        let here = &self.regions[region];
        let (Some(answer), Some(tap)) = (&response.answer, &request.tap) else { return };
        here.witness.saw(answer);
        if answer.reason.is_empty() && tap.kind() == TapKind::Exit {
            if response.charge.as_ref().is_none_or(|charge| charge.amount_fen <= 0) {
                here.witness.fault(format!("the exit {} cost nothing", answer.transaction_id));
            }
            let card = tap.read.as_ref().map(|read| hexadecimal(&read.card_identifier)).unwrap_or_default();
            let mut exits = here.exits.lock().unwrap_or_else(PoisonError::into_inner);
            exits.entry(card).or_default().insert(answer.transaction_id.clone());
        }
    }

    /// Checks receipts, and holds the journeys of cards against their exits: none
    /// missing, none twice.
    ///
    /// # Errors
    /// When a gateway cannot be asked.
    pub async fn audit(&self, stage: &Stage) -> anyhow::Result<GatesAudit> {
        let mut audit = GatesAudit::default();
        for (place, region) in self.regions.iter().enumerate() {
            audit.receipts += region.witness.check_receipts(&stage.journal_key(place)?);
            let auditor = stage.auditor(place, Post::MetroGate).await?;
            let exits = std::mem::take(&mut *region.exits.lock().unwrap_or_else(PoisonError::into_inner));
            for (card, exits) in
                exits.iter().filter(|(_, exits)| exits.len() <= JOURNEYS_MAX).take(CARDS_ASKED_MAX)
            {
                let found = journeys(&auditor, card).await?;
                audit.cards += 1;
                audit.journeys += found.len() as u64;
                let distinct: HashSet<&String> = found.iter().collect();
                let missing = exits.iter().filter(|exit| !distinct.contains(exit)).count();
                let kept = exits.len() - missing;
                audit.doubled += (found.len() - kept) as u64;
                if missing > 0 {
                    region.witness.fault(format!("{missing} of {} exits left no journey", exits.len()));
                }
                if found.len() > kept {
                    region.witness.fault(format!("{} journeys of {kept} exits", found.len()));
                }
            }
            audit.broken.extend(region.witness.told());
        }
        Ok(audit)
    }
}

async fn journeys(auditor: &Terminal, card: &str) -> anyhow::Result<Vec<String>> {
    let ask = ListJourneysRequest {
        purpose: Purpose::TransitRide.into(),
        card_identifier: card.to_owned(),
        page_size: JOURNEYS_MAX as u32,
    };
    let list = auditor.list_journeys(ask).await?;
    Ok(list.journeys.into_iter().map(|journey| journey.transaction_id).collect())
}

/// Deals riders of several homes into one queue, so that they come in turn.
fn mixed(riders: Vec<Rider>) -> Vec<Rider> {
    let mut dealt: Vec<_> = riders.into_iter().enumerate().collect();
    dealt.sort_by_key(|(place, _)| Dice::new(*place as u64).next());
    dealt.into_iter().map(|(_, rider)| rider).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
