//! A connection to PostgreSQL: how it is made, what it has prepared, and what its
//! errors mean. Requests of one line are sent one behind the other without
//! waiting for answers.

use std::{
    collections::HashMap,
    error::Error as _,
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{TryStreamExt as _, future::BoxFuture};
use tokio_postgres::{Client, Row, Statement, error::SqlState};

use super::{options::Dial, sql::Request};

/// What is set on every connection. A commit is acknowledged when it is on disk,
/// here and where the server has synchronous standbys; a connection that hangs in
/// the middle of a transaction gives its locks back.
const SETTINGS: &str = "SET synchronous_commit = on; SET lock_timeout = '4s'; \
    SET statement_timeout = '8s'; SET idle_in_transaction_session_timeout = '8s'; \
    SET client_min_messages = 'warning'; SET search_path = 'pg_catalog'; \
    SET plan_cache_mode = 'force_generic_plan'; SET enable_seqscan = off";

/// Why a request had no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// The connection has gone, or the server is going. What was under way may
    /// have happened.
    #[error("there is no connection to the database ({0})")]
    Lost(String),
    /// The server undid the transaction and another try may do.
    #[error("the database asks to try again ({0})")]
    Again(String),
    /// The server refused: schema and program do not fit.
    #[error("the database refused ({0})")]
    Refused(String),
}

/// How the client's library names a failure of TLS; it has no code for it.
const TLS_FAILED: &str = "error performing TLS handshake";

const TLS_NEEDED: &str = "tls_roots asks for TLS with a certificate under those roots / \
    已配置 tls_roots，数据库服务器须启用 TLS 并出示该根证书签发的证书";

impl From<tokio_postgres::Error> for Trouble {
    /// By the code alone: messages and names differ between servers, and messages
    /// may quote data.
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            // Without its sources: those of a conversion may quote data as well. Those
            // of TLS speak of certificates.
            let told = match (error.to_string(), error.source()) {
                (what, Some(why)) if what == TLS_FAILED => format!("{why}; {TLS_NEEDED}"),
                (what, _) => what,
            };
            return Trouble::Lost(told);
        };
        let told = format!("SQLSTATE {}", code.code());
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
        ];
        let lost = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ];
        if lost.contains(code) || code.code().starts_with("08") {
            Trouble::Lost(told)
        } else if again.contains(code) || code.code().starts_with("53") {
            Trouble::Again(told)
        } else {
            Trouble::Refused(told)
        }
    }
}

/// What a request brought.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
}

/// An open connection.
pub(super) struct Line {
    client: Client,
    prepared: Mutex<HashMap<(&'static str, usize), Statement>>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("closed", &self.client.is_closed()).finish_non_exhaustive()
    }
}

impl Line {
    /// Connects to the server that takes writes.
    pub(super) async fn open(dial: &Dial) -> Result<Self, Trouble> {
        let client = dial.connect().await?;
        client.batch_execute(SETTINGS).await?;
        Ok(Line { client, prepared: Mutex::default() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    async fn statement(&self, request: &Request) -> Result<Statement, Trouble> {
        let known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(&request.name).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(&request.text).await?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.insert(request.name, statement.clone());
        Ok(statement)
    }

    /// One request and its rows.
    pub(super) async fn ask(&self, request: Request) -> Result<Vec<Row>, Trouble> {
        let statement = self.statement(&request).await?;
        Ok(fetch(&self.client, statement, request.params).await?.rows)
    }

    /// Begins a pipeline.
    pub(super) fn pipeline(&self) -> Pipeline<'_> {
        Pipeline { line: self, slots: Vec::new() }
    }

    /// Undoes what was begun; an error shows in the next request.
    pub(super) async fn roll_back(&self) -> Result<(), Trouble> {
        Ok(self.client.batch_execute("ROLLBACK").await?)
    }
}

async fn fetch(
    client: &Client,
    statement: Statement,
    params: Vec<super::value::Value>,
) -> Result<Answer, tokio_postgres::Error> {
    let stream = client.query_raw(&statement, params).await?;
    Ok(Answer { rows: stream.try_collect().await? })
}

enum Slot<'a> {
    Waiting(BoxFuture<'a, Result<Answer, tokio_postgres::Error>>),
    Done(Result<Answer, tokio_postgres::Error>),
}

/// Requests under way on one line, in order. A request is on its way when it has
/// been polled once; every poll goes through them from the first to the last.
pub(super) struct Pipeline<'a> {
    line: &'a Line,
    slots: Vec<Slot<'a>>,
}

impl<'a> Pipeline<'a> {
    /// A bare word: `BEGIN`, `COMMIT`.
    pub(super) fn say(&mut self, word: &'static str) {
        let line = self.line;
        self.slots.push(Slot::Waiting(Box::pin(async move {
            line.client.batch_execute(word).await.map(|()| Answer::default())
        })));
    }

    /// Sends a request. Waits only where its text is not prepared yet.
    pub(super) async fn send(&mut self, request: Request) -> Result<(), Trouble> {
        let line = self.line;
        // What was put before it goes out first.
        let statement = self.meanwhile(line.statement(&request)).await?;
        self.slots.push(Slot::Waiting(Box::pin(fetch(&line.client, statement, request.params))));
        Ok(())
    }

    /// Drives the requests while something else is awaited.
    pub(super) async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        std::future::poll_fn(|cx| {
            let _ = self.poll(cx);
            other.as_mut().poll(cx)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut all = Poll::Ready(());
        for slot in &mut self.slots {
            if let Slot::Waiting(request) = slot {
                match Pin::new(request).poll(cx) {
                    Poll::Ready(answer) => *slot = Slot::Done(answer),
                    Poll::Pending => all = Poll::Pending,
                }
            }
        }
        all
    }

    /// Waits for all answers. The first error in order counts: what comes behind it
    /// in a transaction fails because of it.
    pub(super) async fn finish(mut self) -> Result<Vec<Answer>, Trouble> {
        std::future::poll_fn(|cx| self.poll(cx)).await;
        let answers = self.slots.into_iter().map(|slot| match slot {
            Slot::Done(answer) => answer.map_err(Trouble::from),
            Slot::Waiting(_) => Err(Trouble::Lost("a request was given up".to_owned())),
        });
        answers.collect()
    }
}

/// The pause before another try to connect.
pub(super) fn pause(tries: u32) -> Duration {
    Duration::from_millis(20 << tries.min(5))
}
