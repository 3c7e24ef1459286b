//! Readers of a library with a session each, and what they ask of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use onecard::{
    client::{Answered, Terminal, TransactionKey},
    model::Purpose,
    proto::{
        common::v1::{Decision, RequestHeader, TransactionStatus},
        library::v1::{
            CheckinRequest, CheckinResponse, CheckoutRequest, CheckoutResponse, GetPatronRequest,
            GetPatronResponse, PlaceHoldRequest, PlaceHoldResponse,
        },
    },
};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use super::{Counter, Settled, Shown, Witness, once};
use crate::stage::{Post, Stage};

/// Sessions made at once before the run.
const ENROLLING: usize = 16;

/// The town inquires within seconds, ten times at most and two seconds apart.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Somebody at the library's desk.
#[derive(Debug, Clone)]
pub struct Reader {
    /// For their session at the desk; ten minutes.
    session: String,
}

/// A library of one region, its desk and what was told there.
pub struct Readers {
    region: usize,
    desks: Vec<Terminal>,
    /// For questions after the run.
    auditor: Terminal,
    turn: AtomicUsize,
    witness: Witness,
    /// What was left open: answered as pending, or not answered at all.
    open: Mutex<Vec<TransactionKey>>,
    /// Place in an item's queue → the transactions that were told it.
    places: Mutex<HashMap<(String, u32), HashSet<String>>>,
    /// Orders sent, repeats not counted.
    pub orders: AtomicU64,
}

/// How the transactions ended that were left open.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub completed: u64,
    pub reversed: u64,
    pub declined: u64,
    /// Refused before anything was written.
    pub never: u64,
    /// Still open when patience ended.
    pub left: u64,
}

impl Readers {
    /// Opens the desk and lets `people` show their cards, by chip.
    ///
    /// # Errors
    /// When somebody gets no session.
    pub async fn enrol(
        stage: &Stage,
        region: usize,
        people: Vec<Shown>,
        connections: usize,
    ) -> anyhow::Result<(Self, Vec<Reader>)> {
        let counter =
            Counter::open(stage, region, Post::LibraryDesk, Purpose::LibraryLoan, connections).await?;
        let (counter, at_once) = (Arc::new(counter), Arc::new(Semaphore::new(ENROLLING)));
        let mut enrolling = JoinSet::new();
        for shown in people {
            let (counter, at_once) = (Arc::clone(&counter), Arc::clone(&at_once));
            enrolling.spawn(async move {
                let _place = at_once.acquire_owned().await?;
                let (answer, session) = counter.chip(&shown).await;
                let session = session.map(|session| session.session);
                session.ok_or_else(|| anyhow::anyhow!("a reader got no session: {answer:?}"))
            });
        }
        let mut readers = Vec::new();
        while let Some(session) = enrolling.join_next().await {
            readers.push(Reader { session: session?? });
        }
        let readers_of = Readers {
            region,
            desks: stage.connect(region, Post::LibraryDesk, connections).await?,
            auditor: stage.auditor(region, Post::LibraryDesk).await?,
            turn: AtomicUsize::new(0),
            witness: Witness::default(),
            open: Mutex::default(),
            places: Mutex::default(),
            orders: AtomicU64::new(0),
        };
        Ok((readers_of, readers))
    }

    /// A request for a place in an item's queue.
    pub fn hold(&self, reader: &Reader, item: &str) -> PlaceHoldRequest {
        self.orders.fetch_add(1, Ordering::Relaxed);
        PlaceHoldRequest { header: Some(self.header(reader)), item: item.to_owned(), ..Default::default() }
    }

    /// Sends it once, and keeps the place that was told.
    pub async fn send_hold(&self, request: &PlaceHoldRequest) -> Settled<PlaceHoldResponse> {
        let settled = once(self.desk().place_hold(request.clone())).await;
        self.note(request.header.as_ref(), &settled);
        let Some(response) = &settled.response else { return settled };
        let approved = response.answer.as_ref().filter(|answer| answer.decision() == Decision::Approved);
        // A hold that ended by inquiry is answered without a place.
        if let Some(answer) = approved.filter(|_| response.queue_position > 0) {
            let place = (request.item.clone(), response.queue_position);
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.entry(place).or_default().insert(answer.transaction_id.clone());
            if response.available != (response.queue_position == 1) {
                self.witness
                    .fault(format!("{} is ready for place {}", request.item, response.queue_position));
            }
        }
        settled
    }

    /// Borrows an item.
    pub async fn borrow(&self, reader: &Reader, item: &str) -> Settled<CheckoutResponse> {
        self.orders.fetch_add(1, Ordering::Relaxed);
        let request = CheckoutRequest {
            header: Some(self.header(reader)),
            item: item.to_owned(),
            ..Default::default()
        };
        let header = request.header.clone();
        let settled = once(self.desk().checkout(request)).await;
        self.note(header.as_ref(), &settled);
        settled
    }

    /// Brings an item back; nobody needs to be known for it.
    pub async fn give_back(&self, item: &str) -> Settled<CheckinResponse> {
        let desk = self.desk();
        let header = Some(desk.header(Purpose::LibraryLoan));
        let request = CheckinRequest { header: header.clone(), item: item.to_owned(), ..Default::default() };
        let settled = once(desk.checkin(request)).await;
        self.note(header.as_ref(), &settled);
        settled
    }

    /// Looks at the reader's account.
    pub async fn account(&self, reader: &Reader) -> Settled<GetPatronResponse> {
        let request = GetPatronRequest { header: Some(self.header(reader)), ..Default::default() };
        once(self.desk().patron(request)).await
    }

    /// In how many queues the reader stands, asked after the run.
    ///
    /// # Errors
    /// When the library does not say.
    pub async fn holds(&self, reader: &Reader) -> anyhow::Result<u32> {
        let request = GetPatronRequest { header: Some(self.header(reader)), ..Default::default() };
        let account = self.auditor.patron(request).await?;
        let answer = account.answer.unwrap_or_default();
        anyhow::ensure!(answer.decision() == Decision::Approved, "the library declined: {}", answer.reason);
        Ok(account.holds)
    }

    /// Places given in the queues, and how many of them were given to two. A hold
    /// that was taken back frees its place, so ask only where none was.
    pub fn places(&self) -> (u64, u64) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let doubled = places.values().filter(|transactions| transactions.len() > 1).count();
        (places.len() as u64, doubled as u64)
    }

    /// Remembers what the caller was not told the outcome of.
    fn note<R: Answered>(&self, header: Option<&RequestHeader>, settled: &Settled<R>) {
        let answer = settled.response.as_ref().and_then(Answered::answer);
        let key = match answer {
            Some(answer) if answer.decision() == Decision::Pending => {
                TransactionKey::Transaction(answer.transaction_id.clone())
            }
            Some(_) => return,
            None => {
                TransactionKey::Request(header.map(|header| header.request_id.clone()).unwrap_or_default())
            }
        };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }

    /// Asks after everything that was left open until it has ended: unknown stays
    /// unknown, and ends. What does not end is a fault.
    ///
    /// # Errors
    /// When a transaction cannot be asked for.
    pub async fn ended(&self) -> anyhow::Result<Ended> {
        let mut open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut ended, until) = (Ended::default(), Instant::now() + ENDS_WITHIN);
        // A pending request that was sent twice stands here twice.
        let mut seen = HashSet::new();
        while !open.is_empty() && Instant::now() < until {
            let mut still = Vec::new();
            for key in open {
                let found = match self.auditor.transaction(key.clone()).await {
                    Ok(found) => found.answer.unwrap_or_default(),
                    // It was refused before anything was written.
                    Err(error) if error.reason == "TRANSACTION_UNKNOWN" => {
                        ended.never += 1;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let first = !seen.contains(&found.transaction_id);
                let count = match found.status() {
                    TransactionStatus::Completed => &mut ended.completed,
                    TransactionStatus::Reversed => &mut ended.reversed,
                    TransactionStatus::Declined => &mut ended.declined,
                    TransactionStatus::Pending
                    | TransactionStatus::Received
                    | TransactionStatus::Authorised
                    | TransactionStatus::Reserved
                    | TransactionStatus::Unspecified => {
                        still.push(key);
                        continue;
                    }
                };
                *count += u64::from(first);
                seen.insert(found.transaction_id);
            }
            open = still;
            tokio::time::sleep(ASK_EVERY).await;
        }
        ended.left = open.len() as u64;
        if ended.left > 0 {
            self.witness.fault(format!(
                "{} transactions are still pending after {} s in {}",
                ended.left,
                ENDS_WITHIN.as_secs(),
                crate::stage::REGIONS[self.region]
            ));
        }
        Ok(ended)
    }

    /// What does not hold.
    pub fn told(&self) -> Vec<String> {
        self.witness.told()
    }

    fn desk(&self) -> &Terminal {
        &self.desks[self.turn.fetch_add(1, Ordering::Relaxed) % self.desks.len()]
    }

    fn header(&self, reader: &Reader) -> RequestHeader {
        let header = self.desks[0].header(Purpose::LibraryLoan);
        RequestHeader { holder_session: reader.session.clone(), ..header }
    }
}
