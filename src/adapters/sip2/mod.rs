//! Libraries over SIP2 2.00: implements the port of `scenes/library`.
//!
//! * [`options`]: what is configured for a library;
//! * [`wire`]: the codec; wire types never leave this folder;
//! * `connection`: one connection, one request in flight;
//! * `pool`: a few connections, logged in and checked before use;
//! * [`map`]: what the answers mean to the scene;
//! * `ask`: which messages an order becomes, and how an inquiry is made.
//!
//! What must stay true: an answer is given to the request it answers, or to
//! nobody; after anything unexpected the connection is dropped. Once the last byte
//! of a request has been written, its outcome is unknown until it is answered; it
//! is never sent again on a new connection.

mod ask;
mod charset;
mod connection;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod map;
pub mod options;
mod pool;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tracing::Instrument as _;

pub use self::charset::{BadCharset, Charset};
pub use self::options::{BadSip2Options, Sip2Options};
use self::pool::{Lost, Pool};
use super::{
    CallEnd, Observer,
    gate::{Gate, Health},
};
use crate::{
    model::{BreakerState, Clock, Reason, Resting},
    scenes::library::{
        Before, Declined, Inquiry, LibraryAnswer, LibraryOrder, LibraryPort, NotSent, PortError, Unknown,
    },
};

/// The libraries that speak SIP2, by their code in the policy. Cheap to clone.
#[derive(Clone)]
pub struct Sip2Adapter {
    backends: Arc<BTreeMap<String, Arc<Backend>>>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

struct Backend {
    pool: Pool,
    gate: Gate,
}

/// What is asked of a library in one admitted call.
#[derive(Clone, Copy)]
enum Ask {
    Observe,
    Call,
    Inquire(Before),
}

/// What came of it.
enum Got {
    Before(Before),
    Answer(LibraryAnswer),
    Inquiry(Inquiry),
}

impl Sip2Adapter {
    /// An adapter for these libraries. Opens no connection yet.
    ///
    /// # Errors
    /// When options contradict themselves or a password cannot be read.
    pub fn new(
        libraries: BTreeMap<String, Sip2Options>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, BadSip2Options> {
        let none = Sip2Adapter { backends: Arc::default(), clock, observer };
        none.with(libraries)
    }

    /// An adapter for other libraries, as a reload brings them. A library whose line is
    /// as it was keeps its connections, its breaker and its budget; one that is gone or
    /// changed keeps its old line for the calls under way in this adapter, and loses it
    /// with them.
    ///
    /// # Errors
    /// As [`Sip2Adapter::new`]; this adapter is as it was.
    pub fn with(&self, libraries: BTreeMap<String, Sip2Options>) -> Result<Self, BadSip2Options> {
        let mut backends = BTreeMap::new();
        for (code, options) in libraries {
            let (clock, observer) = (self.clock.clone(), self.observer.clone());
            let gate = Gate::new(code.clone(), options.breaker.clone(), clock, observer);
            let pool = Pool::new(code.clone(), options, self.clock.clone(), self.observer.clone())?;
            let backend = match self.backends.get(&code) {
                Some(known) if known.pool.is_as(&pool) => Arc::clone(known),
                Some(_) | None => Arc::new(Backend { pool, gate }),
            };
            backends.insert(code, backend);
        }
        let (clock, observer) = (self.clock.clone(), self.observer.clone());
        Ok(Sip2Adapter { backends: Arc::new(backends), clock, observer })
    }

    /// The codes of the libraries it serves.
    pub fn libraries(&self) -> impl Iterator<Item = &str> {
        self.backends.keys().map(String::as_str)
    }

    /// State of a library's breaker; `None` for an unknown code.
    pub fn breaker_state(&self, library: &str) -> Option<BreakerState> {
        self.backends.get(library).map(|backend| backend.gate.state())
    }

    /// Asks for the status on connections that have been idle for long, once. The
    /// caller repeats it as often as [`Sip2Adapter::keep_alive_every`] says.
    pub async fn keep_alive(&self) {
        for backend in self.backends.values() {
            backend.pool.keep_alive().await;
        }
    }

    /// The shortest keep-alive of all libraries; `None` without libraries.
    pub fn keep_alive_every(&self) -> Option<Duration> {
        self.backends.values().map(|backend| backend.pool.keep_alive_every()).min()
    }

    /// Keeps connections alive until it is dropped. Run it as a task.
    pub async fn run(self) {
        let Some(every) = self.keep_alive_every() else { return };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.keep_alive().await;
        }
    }

    async fn ask(&self, order: LibraryOrder, ask: Ask, within: Duration) -> Result<Got, PortError> {
        let Some(backend) = self.backends.get(&*order.library) else {
            return Err(declined(Reason::LibraryUnknown, String::new()));
        };
        let trace = order.trace_id.map(hex::encode);
        let span =
            tracing::info_span!("sip2", library = %order.library, act = order.act.name(), trace_id = trace);
        let began = self.clock.now_ms();
        let got = self.admitted(backend, &order, ask, within).instrument(span).await;
        let took = Duration::from_millis(u64::try_from(self.clock.now_ms() - began).unwrap_or(0));
        let name = match ask {
            Ask::Call => order.act.name(),
            Ask::Observe => "observe",
            Ask::Inquire(_) => "inquire",
        };
        match &got {
            Ok(_) | Err(PortError::Declined(_)) => {}
            Err(PortError::NotSent(NotSent { why }) | PortError::Unknown(Unknown { why })) => {
                let (library, transaction) = (&order.library, &order.transaction);
                let end = end_of(&got).name();
                tracing::warn!(%library, %transaction, act = name, end, %why, "The library did not answer.");
            }
        }
        self.observer.called(&order.library, name, end_of(&got), took);
        got
    }

    /// Breaker, then the attempt, then one retry where it is safe and paid for.
    async fn admitted(
        &self,
        backend: &Backend,
        order: &LibraryOrder,
        ask: Ask,
        within: Duration,
    ) -> Result<Got, PortError> {
        let until = tokio::time::Instant::now() + within;
        let patient = within >= backend.pool.patience();
        let resting = |resting: Resting| PortError::NotSent(NotSent { why: resting.to_string() });
        let pass = backend.gate.admit().map_err(resting)?;
        let mut got = backend.attempt(order, ask, until).await;
        let is_read = match ask {
            Ask::Observe | Ask::Inquire(_) => true,
            Ask::Call => order.act.is_read(),
        };
        // A step that changes something is repeated only when nothing was sent.
        let repeats = match &got {
            Err(Lost::NotSent(_)) => true,
            Err(Lost::Unknown(_)) => is_read,
            Err(Lost::Busy | Lost::Declined(_)) | Ok(_) => false,
        };
        if repeats && backend.gate.may_repeat() {
            got = backend.attempt(order, ask, until).await;
        }
        pass.report(health_of(&got, patient));
        got.map_err(|lost| port_error(lost, is_read))
    }
}

impl Backend {
    async fn attempt(
        &self,
        order: &LibraryOrder,
        ask: Ask,
        until: tokio::time::Instant,
    ) -> Result<Got, Lost> {
        let mut lease = self.pool.take(until).await?;
        let got = match ask {
            Ask::Observe => ask::observe(&mut lease, order).await.map(Got::Before),
            Ask::Call => ask::call(&mut lease, order).await.map(Got::Answer),
            Ask::Inquire(before) => ask::inquire(&mut lease, order, &before).await.map(Got::Inquiry),
        };
        // Only a conversation that ended as it should leaves a connection behind
        // that the next one may use.
        if matches!(got, Ok(_) | Err(Lost::Declined(_))) {
            lease.give_back();
        }
        got
    }
}

impl LibraryPort for Sip2Adapter {
    fn observe(&self, order: LibraryOrder, within: Duration) -> BoxFuture<'_, Result<Before, PortError>> {
        Box::pin(async move {
            match self.ask(order, Ask::Observe, within).await? {
                Got::Before(before) => Ok(before),
                Got::Answer(_) | Got::Inquiry(_) => Ok(Before::default()),
            }
        })
    }

    fn call(&self, order: LibraryOrder, within: Duration) -> BoxFuture<'_, Result<LibraryAnswer, PortError>> {
        Box::pin(async move {
            match self.ask(order, Ask::Call, within).await? {
                Got::Answer(answer) => Ok(answer),
                Got::Before(_) | Got::Inquiry(_) => {
                    Err(PortError::Unknown(Unknown { why: "the adapter mixed up its questions".into() }))
                }
            }
        })
    }

    fn inquire(
        &self,
        order: LibraryOrder,
        before: Before,
        within: Duration,
    ) -> BoxFuture<'_, Result<Inquiry, PortError>> {
        Box::pin(async move {
            match self.ask(order, Ask::Inquire(before), within).await? {
                Got::Inquiry(inquiry) => Ok(inquiry),
                Got::Before(_) | Got::Answer(_) => Ok(Inquiry::CannotTell),
            }
        })
    }
}

/// A caller who could not wait for a usual answer proves nothing against the
/// library, or one terminal with short deadlines would close it for all.
fn health_of(got: &Result<Got, Lost>, patient: bool) -> Health {
    match got {
        Ok(_) | Err(Lost::Declined(_)) => Health::Well,
        Err(Lost::NotSent(_) | Lost::Unknown(_)) if patient => Health::Sick,
        Err(Lost::NotSent(_) | Lost::Unknown(_) | Lost::Busy) => Health::Unclear,
    }
}

/// A read whose answer was lost changed nothing, so it counts as not sent.
fn port_error(lost: Lost, is_read: bool) -> PortError {
    match lost {
        Lost::Busy => PortError::NotSent(NotSent { why: "all connections are in use".into() }),
        Lost::NotSent(why) => PortError::NotSent(NotSent { why }),
        Lost::Unknown(why) if is_read => PortError::NotSent(NotSent { why }),
        Lost::Unknown(why) => PortError::Unknown(Unknown { why }),
        Lost::Declined(declined) => PortError::Declined(declined),
    }
}

fn declined(reason: Reason, screen_message: String) -> PortError {
    PortError::Declined(Declined { reason, screen_message })
}

fn end_of(got: &Result<Got, PortError>) -> CallEnd {
    match got {
        Ok(_) => CallEnd::Answered,
        Err(PortError::Declined(_)) => CallEnd::Declined,
        Err(PortError::NotSent(_)) => CallEnd::NotSent,
        Err(PortError::Unknown(_)) => CallEnd::Unknown,
    }
}
