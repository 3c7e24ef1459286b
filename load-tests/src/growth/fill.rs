//! Fills a state: cards by the product's own import, taps through the gateway's own way,
//! in this process and without a network, so that it takes minutes and not hours. What
//! comes out is what a gateway writes: sealed parts, MACs checked, claims, receipts.
//!
//! Cards and taps grow together, so that a state that was stopped half-way is a smaller
//! state and goes on from there.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use onecard::{
    api::fingerprint,
    cli::{load, open},
    crypto::{Passphrase, SoftVault},
    gateway::{Call, Caller, Gateway, Header, RefusalKind, TapAsk, TapSide, method},
    identity::CardIdentifier,
    model::{
        AggregateKey, PeerCertificate, Purpose, RequestId, SystemClock,
        record::{CardFile, TransitFile},
    },
    proto::transit::v1::{TapKind, TapRequest},
    sandbox::people::{RESIDENTS_MAX, import_lines},
};
use prost::Message as _;

use super::{
    population::{holder, rider},
    standings::Standings,
};
use crate::dice::Dice;

/// Fills a state (a child of `growth`).
#[derive(Debug, Args)]
pub struct Fill {
    /// The region's folder of the configuration.
    #[arg(long)]
    config: PathBuf,
    /// The file of standings.
    #[arg(long)]
    standings: PathBuf,
    #[arg(long)]
    cards: u32,
    #[arg(long)]
    transactions: u64,
}

/// Cards, and taps, of one step.
const STEP: u32 = 16_384;

/// The last cards, among which an import that was killed may have left holes.
const TORN: u32 = 2 * STEP;

/// Taps under way at once in each worker; two workers fill a batch and decide the next.
const AT_ONCE: usize = 1_024;
const WORKERS: u32 = 2;

const TOLD_EVERY: Duration = Duration::from_secs(10);

impl Fill {
    /// Fills until there is enough, or until it is interrupted, and closes in order.
    ///
    /// # Errors
    /// When the store cannot be opened, or does not take a card or a tap.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.fill())
    }

    async fn fill(self) -> anyhow::Result<()> {
        let loaded = load::load(&self.config)?;
        let options = loaded.file.vault.clone();
        let passphrase = options.passphrase_env.as_deref().context("the passphrase is in the environment")?;
        let passphrase = Passphrase::from_env(passphrase)?;
        let vault = Arc::new(SoftVault::open_file(&options.file, &passphrase)?);
        let opened = open::open(loaded, Arc::new(SystemClock)).await?;
        let gateway = Arc::clone(&opened.gateway);
        let (known, torn) = match Standings::read(&self.standings)? {
            Some(known) => (known, 0),
            None => (read_back(&gateway).await?, TORN),
        };
        Standings::open(&self.standings)?;
        let mut filling = Filling {
            taps: known.taps(),
            standings: Arc::new(Mutex::new(known)),
            gateway,
            vault,
            seed: 0,
            began: Instant::now(),
            told: Instant::now(),
            done: 0,
            stop: Arc::default(),
        };
        let stop = Arc::clone(&filling.stop);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.store(true, Ordering::Relaxed);
            }
        });
        filling.import_again(torn).await?;
        let filled = filling.until(self.cards, self.transactions).await;
        opened.store.close().await;
        filled?;
        filling.locked().close(&self.standings)?;
        Ok(())
    }
}

/// How a state stands, from its files of cards: after a kill.
async fn read_back(gateway: &Arc<Gateway>) -> anyhow::Result<Standings> {
    let (mut known, mut unknown) = (0, RESIDENTS_MAX);
    let mut standings = Standings::default();
    while unknown - known > 1 {
        let middle = match known {
            0 => 1,
            _ if unknown == RESIDENTS_MAX => (known * 2).min(unknown - 1),
            _ => known + (unknown - known) / 2,
        };
        let key = AggregateKey::of::<CardFile>(&identifier(middle)?);
        match gateway.store().load(&key).await? {
            Some(_) => known = middle,
            None => unknown = middle,
        }
    }
    if known > 0 {
        println!("reading back how {known} cards stand …");
    }
    standings.grow(known);
    for number in 1..=known {
        let key = AggregateKey::of::<TransitFile>(&identifier(number)?);
        if let Some(stored) = gateway.store().load(&key).await? {
            standings.set(number, TransitFile::decode(stored.body)?.counter);
        }
    }
    Ok(standings)
}

fn identifier(number: u32) -> anyhow::Result<[u8; 16]> {
    let card: CardIdentifier = holder(number).card_identifier.parse()?;
    Ok(*card.as_bytes())
}

struct Filling {
    standings: Arc<Mutex<Standings>>,
    taps: u64,
    gateway: Arc<Gateway>,
    vault: Arc<SoftVault>,
    seed: u64,
    began: Instant,
    told: Instant,
    done: u64,
    /// Somebody wants the state as it is.
    stop: Arc<AtomicBool>,
}

impl Filling {
    fn locked(&self) -> std::sync::MutexGuard<'_, Standings> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until(&mut self, cards: u32, taps: u64) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let known = self.locked().cards();
            let cards_due = known < cards
                && (self.taps >= taps || u64::from(known) * taps <= self.taps * u64::from(cards));
            if cards_due {
                let step = STEP.min(cards - known);
                self.import(known, step).await?;
                self.done += u64::from(step);
            } else if self.taps < taps {
                let step = u64::from(STEP).min(taps - self.taps);
                self.tap(u32::try_from(step)?).await?;
                self.taps += step;
                self.done += step;
            } else {
                return Ok(());
            }
            self.tell(cards, taps);
        }
        println!("interrupted; it goes on from here the next time");
        Ok(())
    }

    fn tell(&mut self, cards: u32, taps: u64) {
        let known = self.locked().cards();
        let left = u64::from(cards.saturating_sub(known)) + taps.saturating_sub(self.taps);
        if self.told.elapsed() < TOLD_EVERY && left > 0 {
            return;
        }
        self.told = Instant::now();
        #[allow(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
        let (rate, left) = (self.done as f64 / self.began.elapsed().as_secs_f64(), left as f64);
        println!(
            "{known} cards, {} transactions; {rate:.0} a second, {:.1} minutes left",
            self.taps,
            left / rate / 60.0
        );
    }

    async fn import(&self, after: u32, count: u32) -> anyhow::Result<()> {
        self.import_those(after, count).await?;
        self.locked().grow(after + count);
        Ok(())
    }

    /// Takes the last cards in once more: an import that was torn may have left holes.
    async fn import_again(&self, count: u32) -> anyhow::Result<()> {
        let known = self.locked().cards();
        let count = count.min(known);
        self.import_those(known - count, count).await
    }

    async fn import_those(&self, after: u32, count: u32) -> anyhow::Result<()> {
        let holders: Vec<_> =
            tokio::task::block_in_place(|| (after + 1..=after + count).map(holder).collect());
        let report = self.gateway.import_cards(&import_lines(&holders, self.gateway.now_ms())).await?;
        anyhow::ensure!(report.wrong.is_empty(), "cards were not taken: {:?}", report.wrong);
        Ok(())
    }

    async fn tap(&mut self, count: u32) -> anyhow::Result<()> {
        self.seed += 1;
        let workers = (0..WORKERS).map(|share| {
            let worker = Worker {
                standings: Arc::clone(&self.standings),
                gateway: Arc::clone(&self.gateway),
                vault: Arc::clone(&self.vault),
                dice: Dice::new(self.taps ^ self.seed << 32 ^ u64::from(share)),
                share,
                caller: caller(&self.gateway)?,
            };
            let of_it = count / WORKERS + u32::from(share < count % WORKERS);
            Ok(tokio::spawn(worker.tap(of_it)))
        });
        for worker in workers.collect::<anyhow::Result<Vec<_>>>()? {
            worker.await??;
        }
        Ok(())
    }
}

fn caller(gateway: &Gateway) -> anyhow::Result<Arc<Caller>> {
    let certificate = PeerCertificate {
        serial: "01".to_owned(),
        not_after: 0,
        common_name: None,
        uris: vec!["onecard:terminal:bj-metro:gate-01".to_owned()],
        fingerprint: [0; 32],
    };
    gateway.caller(&certificate).context("the gate is not registered")
}

/// Taps cards of its own share, at random.
struct Worker {
    standings: Arc<Mutex<Standings>>,
    gateway: Arc<Gateway>,
    vault: Arc<SoftVault>,
    dice: Dice,
    share: u32,
    caller: Arc<Caller>,
}

impl Worker {
    async fn tap(mut self, count: u32) -> anyhow::Result<()> {
        let (mut begun, mut busy) = (0, HashSet::new());
        let mut under_way = FuturesUnordered::new();
        while begun < count || !under_way.is_empty() {
            while begun < count && under_way.len() < AT_ONCE {
                let Some((number, taps)) = self.next_card(&busy) else { break };
                busy.insert(number);
                begun += 1;
                let request = rider(number, taps, &self.vault)?.tap();
                let (gateway, caller) = (Arc::clone(&self.gateway), Arc::clone(&self.caller));
                under_way.push(async move { (number, taps, sent(&gateway, caller, request).await) });
            }
            if let Some((number, taps, sent)) = under_way.next().await {
                sent.with_context(|| format!("tap {} of card {number}", taps + 1))?;
                busy.remove(&number);
                self.standings.lock().unwrap_or_else(PoisonError::into_inner).set(number, taps + 1);
            } else {
                anyhow::bail!("there are too few cards to tap");
            }
        }
        Ok(())
    }

    fn next_card(&mut self, busy: &HashSet<u32>) -> Option<(u32, u32)> {
        const TRIES: usize = 1_000;
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        (0..TRIES).find_map(|_| {
            let of_share = self.dice.below(u64::from(standings.cards() / WORKERS));
            let number = u32::try_from(of_share).ok()? * WORKERS + self.share + 1;
            let taps = standings.of(number).filter(|_| !busy.contains(&number))?;
            Some((number, taps))
        })
    }
}

/// Sends a tap into the gateway as its edge does once a call was let in.
async fn sent(gateway: &Gateway, caller: Arc<Caller>, request: TapRequest) -> anyhow::Result<()> {
    let fingerprint = fingerprint(&request);
    let (header, tap) = (request.header.context("a header")?, request.tap.context("a tap")?);
    let read = tap.read.context("a read card")?;
    let header = Header {
        request: RequestId::from_bytes(*uuid::Uuid::parse_str(&header.request_id)?.as_bytes()),
        fingerprint,
        terminal_time_ms: header.terminal_time_ms,
        purpose: Purpose::TransitRide,
        operator: Arc::from(""),
        session: None,
    };
    let ask = TapAsk {
        side: if tap.kind == i32::from(TapKind::Exit) { TapSide::Exit } else { TapSide::Entry },
        station: tap.station,
        line: tap.line,
        tapped_at_ms: tap.tapped_at_ms,
        card: CardIdentifier::from_bytes(read.card_identifier.as_slice().try_into()?)?,
        counter: read.counter,
        mac: read.mac.as_slice().try_into()?,
        valid_until: read.valid_until,
        offline: false,
    };
    let call = Call {
        caller,
        method: &method::TAP,
        deadline: gateway.default_deadline(),
        traceparent: String::new(),
        trace_id: None,
        permit: None,
    };
    loop {
        match gateway.tap(&call, header.clone(), ask.clone()).await {
            Ok(committed) => {
                let reason = &committed.entry.reason;
                anyhow::ensure!(reason.is_empty(), "it was declined: {reason}");
                return Ok(());
            }
            Err(refusal) if refusal.kind == RefusalKind::Exhausted => {
                tokio::time::sleep(refusal.retry_after.unwrap_or(Duration::from_millis(50))).await;
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
}
