//! The socket of the simulated insurer.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::Notify, task::AbortHandle};

use super::{
    Fault, Insured, InsurerOptions, Totals,
    book::{Ask, Book},
    message::{self, Message, No},
};
use crate::model::Millis;

/// Longest body: `input`'s 40,000 characters, a file as numbers.
const BODY_MAX: usize = 64 * 1_024 * 1_024;
/// How long a silent insurer keeps a connection.
const SILENCE: Duration = Duration::from_secs(120);
const DAY_MS: Millis = 86_400_000;

/// A simulated insurer that listens.
pub struct Insurer;

/// Steers a running insurer and looks into its books. Cheap to clone; the insurer
/// stops when the last handle is dropped.
#[derive(Clone)]
pub struct InsurerHandle {
    shared: Arc<Shared>,
    _stop: Arc<Stop>,
}

struct Stop(AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    options: InsurerOptions,
    book: Mutex<Book>,
    /// Faults for the next messages of a transaction.
    faults: Mutex<BTreeMap<String, VecDeque<Fault>>>,
    heard: Mutex<BTreeMap<String, u64>>,
    hears: Notify,
    /// The answer given last, for [`Fault::Stale`].
    last: Mutex<Option<Value>>,
    is_away: Mutex<bool>,
}

impl Insurer {
    /// Listens on an address; port 0 takes any free one.
    ///
    /// # Errors
    /// When the address cannot be taken.
    pub async fn bind(
        addr: SocketAddr,
        options: InsurerOptions,
    ) -> std::io::Result<(SocketAddr, InsurerHandle)> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let path = options.path.clone();
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new(&options)),
            options,
            faults: Mutex::default(),
            heard: Mutex::default(),
            hears: Notify::new(),
            last: Mutex::default(),
            is_away: Mutex::default(),
        });
        let router = Router::new()
            .route(&path, post(answer))
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .with_state(shared.clone());
        let serving = tokio::spawn(async move {
            // It ends with the task; a broken connection is nobody's loss here.
            let _ = axum::serve(listener, router).await;
        });
        Ok((addr, InsurerHandle { shared, _stop: Arc::new(Stop(serving.abort_handle())) }))
    }
}

impl InsurerHandle {
    /// The next message of this transaction (for example `2207`) goes wrong; several
    /// wait for each other.
    pub fn fail_next(&self, infno: &str, fault: Fault) {
        lock(&self.shared.faults).entry(infno.to_owned()).or_default().push_back(fault);
    }

    /// Answers nobody, as if the line were cut, or comes back.
    pub fn set_away(&self, away: bool) {
        *lock(&self.shared.is_away) = away;
    }

    /// Insures somebody more.
    pub fn insure(&self, person: Insured) {
        lock(&self.shared.book).insure(person);
    }

    /// Forgets who has signed in.
    pub fn sign_all_out(&self) {
        lock(&self.shared.book).sign_all_out();
    }

    /// The books of an institution, or of all.
    pub fn totals(&self, institution: Option<&str>) -> Totals {
        lock(&self.shared.book).totals(institution)
    }

    /// A person's account with an insurance, fen.
    pub fn balance(&self, psn_no: &str, insutype: &str) -> Option<i64> {
        let book = lock(&self.shared.book);
        let insurances = &book.persons.get(psn_no)?.insurances;
        insurances.iter().find(|insurance| insurance.kind == insutype).map(|it| it.balance_fen)
    }

    /// Whether a visit has a settlement in effect.
    pub fn is_settled(&self, mdtrt_id: &str) -> bool {
        lock(&self.shared.book).visits.get(mdtrt_id).is_some_and(|visit| visit.settled.is_some())
    }

    /// Messages of a transaction that were heard.
    pub fn heard(&self, infno: &str) -> u64 {
        lock(&self.shared.heard).get(infno).copied().unwrap_or(0)
    }

    /// Waits until so many messages of a transaction have been heard.
    pub async fn until_heard(&self, infno: &str, count: u64) {
        loop {
            let told = self.shared.hears.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.heard(infno) >= count {
                return;
            }
            told.await;
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let options = &shared.options;
    let now_ms = options.clock.now_ms();
    if *lock(&shared.is_away) {
        return silence().await;
    }
    if let Some((account, token)) = &options.header {
        let header = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        if !message::header_is_signed(header, (account, token), now_ms) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
    }
    let message = match message::read(&body, options.signature.as_ref()) {
        Ok(message) => message,
        Err(no) => return shared.told(Err(no), now_ms).into_response(),
    };
    *lock(&shared.heard).entry(message.infno.clone()).or_default() += 1;
    shared.hears.notify_waiters();
    shared.carry_out(&message, now_ms).await
}

impl Shared {
    async fn carry_out(&self, message: &Message, now_ms: Millis) -> Response {
        if message.infno == "9102" {
            let file = lock(&self.book).download(Ask { message, now_ms });
            return match file {
                Ok(bytes) => ([(CONTENT_TYPE, "application/zip")], bytes).into_response(),
                Err(no) => self.told(Err(no), now_ms).into_response(),
            };
        }
        let fault = self.fault_of(message);
        if let Some(fault) = fault.filter(|fault| !fault.books()) {
            return match fault {
                Fault::System => self.told(Err(No::System("系统异常".into())), now_ms).into_response(),
                _ => silence().await,
            };
        }
        let answer = lock(&self.book).answer(Ask { message, now_ms });
        if self.options.answer_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.options.answer_ms)).await;
        }
        self.break_it(fault, answer, now_ms).await
    }

    /// Does to an answer what the fault wants.
    async fn break_it(&self, fault: Option<Fault>, answer: Result<Value, No>, now_ms: Millis) -> Response {
        match fault {
            None => self.told(answer, now_ms).into_response(),
            Some(Fault::SilentBefore | Fault::SilentAfter) => silence().await,
            Some(Fault::System | Fault::SystemAfter) => {
                self.told(Err(No::System("系统异常".into())), now_ms).into_response()
            }
            Some(Fault::Slow) => {
                tokio::time::sleep(Duration::from_millis(self.options.slow_ms)).await;
                self.told(answer, now_ms).into_response()
            }
            Some(Fault::Sums) => self.told(answer.map(with_wrong_sums), now_ms).into_response(),
            Some(Fault::Clock) => self.told(answer, now_ms - DAY_MS).into_response(),
            Some(Fault::Stale) => {
                let last = lock(&self.last).clone();
                match last {
                    Some(last) => json_of(&last),
                    None => self.told(answer, now_ms).into_response(),
                }
            }
        }
    }

    fn told(&self, answer: Result<Value, No>, now_ms: Millis) -> Response {
        let serial = lock(&self.book).number();
        let options = &self.options;
        let told = message::write(answer, serial, options.province, now_ms, options.code_as_text);
        *lock(&self.last) = Some(told.clone());
        json_of(&told)
    }

    fn fault_of(&self, message: &Message) -> Option<Fault> {
        let ordered = lock(&self.faults).get_mut(&message.infno).and_then(VecDeque::pop_front);
        let asked = || lock(&self.book).fault_asked(message);
        // Signing in and statements go well: a storm is about visits.
        let is_spared = message.infno.starts_with('9') || message.infno.starts_with('3');
        let rolled = || self.options.dice.filter(|_| !is_spared).and_then(|dice| dice.roll(&message.msgid));
        ordered.or_else(asked).or_else(rolled)
    }
}

/// A fen too much from the fund: the sums do not add up any more.
fn with_wrong_sums(mut output: Value) -> Value {
    if let Some(fund) = output.pointer_mut("/setlinfo/fund_pay_sumamt") {
        let fen = super::decimal::read(fund, super::decimal::MONEY_PLACES).unwrap_or(0);
        *fund = super::decimal::money(fen + 1);
    }
    output
}

fn json_of(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json;charset=UTF-8")], value.to_string()).into_response()
}

async fn silence() -> Response {
    tokio::time::sleep(SILENCE).await;
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
