//! A gate that taps card after card and remembers what it was told.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use onecard::{
    client::Terminal,
    proto::{
        common::v1::{Answer, Decision},
        transit::v1::{TapKind, TapRequest},
    },
};

use crate::riders::Rider;

/// Taps of one card: a hundred journeys, which is what one question answers.
const TAPS_PER_CARD: u32 = 200;

/// A gateway comes back within seconds; whoever is not answered for this long
/// never will be.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries of one request.
const PAUSE: Duration = Duration::from_millis(25);

/// Where a card was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Home,
    Foreign,
}

/// Cards that nobody has tapped yet, and how far all writers are.
#[derive(Debug)]
pub struct Crowd {
    home: Mutex<Vec<Rider>>,
    foreign: Mutex<Vec<Rider>>,
    acknowledged: AtomicU64,
    stopped: AtomicBool,
}

impl Crowd {
    /// A crowd with these cards.
    pub fn new(home: Vec<Rider>, foreign: Vec<Rider>) -> Self {
        Crowd {
            home: Mutex::new(home),
            foreign: Mutex::new(foreign),
            acknowledged: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Tells the writers to finish the call they are in and begin no other.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether they were told.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Taps acknowledged to all writers so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// A fresh card; a foreign one when those of Beijing are used up.
    fn card(&self, origin: Origin) -> Option<Rider> {
        let take = |from: &Mutex<Vec<Rider>>| from.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match origin {
            Origin::Home => take(&self.home).or_else(|| take(&self.foreign)),
            Origin::Foreign => take(&self.foreign),
        }
    }
}

/// A tap that was acknowledged, with all that a repeat needs.
#[derive(Debug, Clone)]
pub struct Tapped {
    /// As it was sent.
    pub request: TapRequest,
    /// As it was acknowledged.
    pub transaction_id: String,
    pub decision: i32,
    pub status: i32,
    pub committed_at_ms: i64,
}

impl Tapped {
    /// What a tap was answered with, as it must be found again.
    pub fn new(request: TapRequest, answer: &Answer) -> Self {
        Tapped {
            request,
            transaction_id: answer.transaction_id.clone(),
            decision: answer.decision,
            status: answer.status,
            committed_at_ms: answer.committed_at_ms,
        }
    }

    /// Whether another answer to the same request says the same.
    pub fn says_the_same(&self, answer: &Answer) -> bool {
        self.transaction_id == answer.transaction_id
            && self.decision == answer.decision
            && self.status == answer.status
            && self.committed_at_ms == answer.committed_at_ms
    }

    /// The id its terminal gave it.
    pub fn request_id(&self) -> &str {
        self.request.header.as_ref().map(|header| header.request_id.as_str()).unwrap_or_default()
    }

    /// Whether it ended a journey.
    pub fn is_exit(&self) -> bool {
        self.request.tap.as_ref().is_some_and(|tap| tap.kind == i32::from(TapKind::Exit))
    }

    /// AAZ501 of its card.
    pub fn card(&self) -> &[u8] {
        let read = self.request.tap.as_ref().and_then(|tap| tap.read.as_ref());
        read.map(|read| read.card_identifier.as_slice()).unwrap_or_default()
    }
}

/// What writers did.
#[derive(Debug, Default)]
pub struct Written {
    pub taps: Vec<Tapped>,
    /// Calls that brought no answer and were sent again.
    pub repeated: u64,
    /// What must not have happened, one sentence each.
    pub wrong: Vec<String>,
}

impl Written {
    /// Adds what another writer did.
    pub fn add(&mut self, other: Written) {
        self.taps.extend(other.taps);
        self.repeated += other.repeated;
        self.wrong.extend(other.wrong);
    }
}

/// One gate.
pub struct Writer {
    terminal: Terminal,
    crowd: Arc<Crowd>,
    /// One card of Beijing and one of another region, in turn.
    riders: VecDeque<(Origin, Rider)>,
    written: Written,
}

impl Writer {
    /// A gate on this connection, with cards of this crowd.
    pub fn new(terminal: Terminal, crowd: Arc<Crowd>) -> Self {
        Writer { terminal, crowd, riders: VecDeque::new(), written: Written::default() }
    }

    /// Taps until told to stop, or until the cards run out.
    pub async fn write(mut self) -> Written {
        self.take_card(Origin::Home);
        self.take_card(Origin::Foreign);
        while !self.crowd.is_stopped() {
            let Some((origin, mut rider)) = self.riders.pop_front() else { break };
            // The request exists before it is sent, and stays the same however
            // often it is.
            let request = rider.tap();
            match self.settle(&request).await {
                Ok(answer) => self.acknowledged(request, &answer),
                Err(what) => {
                    self.written.wrong.push(what);
                    self.crowd.stop();
                    break;
                }
            }
            if rider.taps() < TAPS_PER_CARD {
                self.riders.push_back((origin, rider));
            } else {
                self.take_card(origin);
            }
        }
        self.written
    }

    fn take_card(&mut self, origin: Origin) {
        self.riders.extend(self.crowd.card(origin).map(|rider| (origin, rider)));
    }

    /// Sends until there is an answer.
    async fn settle(&mut self, request: &TapRequest) -> Result<Answer, String> {
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.terminal.tap(request.clone()).await {
                Ok(told) => return told.answer.ok_or_else(|| "an answer without its common part".to_owned()),
                Err(error) if error.may_pass() && Instant::now() < patience => {
                    self.written.repeated += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(format!("a tap was refused: {:?} {error}", error.code)),
            }
        }
    }

    fn acknowledged(&mut self, request: TapRequest, answer: &Answer) {
        if answer.decision != i32::from(Decision::Approved) {
            self.written.wrong.push(format!("a tap in order was not approved: {}", answer.reason));
        }
        self.written.taps.push(Tapped::new(request, answer));
        self.crowd.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}
