//! Reads: a few connections that many callers share, each request on its own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Mutex;
use tokio_postgres::Row as PgRow;

use super::{
    line::{Line, Trouble},
    options::Dial,
    sql::Request,
};
use crate::{
    limits,
    store::{StoreError, effects::corrupt},
};

/// Shared connections for requests outside of transactions.
pub(super) struct Reads {
    dial: Dial,
    shards: u16,
    lines: Vec<Mutex<Option<Arc<Line>>>>,
    next: AtomicUsize,
}

impl Reads {
    pub(super) fn over(dial: Dial, shards: u16) -> Self {
        let lines = (0..limits::DATABASE_READ_LINES).map(|_| Mutex::default()).collect();
        Reads { dial, shards, lines, next: AtomicUsize::new(0) }
    }

    pub(super) fn shards(&self) -> u16 {
        self.shards
    }

    /// Every shard.
    pub(super) fn all(&self) -> impl Iterator<Item = i32> + use<> {
        0..i32::from(self.shards)
    }

    async fn line(&self) -> Result<Arc<Line>, Trouble> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.lines.len();
        let mut kept = self.lines[at].lock().await;
        match &*kept {
            Some(line) if !line.is_closed() => Ok(Arc::clone(line)),
            Some(_) | None => {
                let line = Arc::new(Line::open(&self.dial).await?);
                // A server that came back from a crash shows commits that its
                // standbys may not have. After this one is acknowledged they do.
                line.client().batch_execute(SETTLE).await?;
                *kept = Some(Arc::clone(&line));
                Ok(line)
            }
        }
    }

    /// One request on any line; asked once more on another where the first was
    /// lost, so it must be one that may be repeated.
    pub(super) async fn ask(&self, request: Request) -> Result<Vec<PgRow>, Trouble> {
        let again =
            Request { name: request.name, text: request.text.clone(), params: request.params.clone() };
        match self.ask_once(request).await {
            Err(Trouble::Lost(_)) => self.ask_once(again).await,
            answer => answer,
        }
    }

    async fn ask_once(&self, request: Request) -> Result<Vec<PgRow>, Trouble> {
        let asked = async { self.line().await?.ask(request).await };
        let answer = tokio::time::timeout(limits::DATABASE_ANSWER_MAX, asked).await;
        answer.unwrap_or_else(|_| Err(Trouble::Lost("no answer in time".to_owned())))
    }
}

const SETTLE: &str = "INSERT INTO onecard.settings (name, value) VALUES ('settled', now()::text) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Lost(_) | Trouble::Again(_) => StoreError::Busy,
            Trouble::Refused(_) => corrupt(trouble.to_string()),
        }
    }
}
