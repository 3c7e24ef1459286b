//! Who calls: gates, counters, readers of a library; each knows what it sends, what
//! answer it must get, and what it was told before. Scenarios put them together.

mod counters;
mod gates;
mod handover;
mod pool;
mod readers;
mod witness;

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use onecard::{
    client::{Answered, CallError},
    proto::common::v1::Decision,
};
use tokio::time::Instant;

pub use counters::{Counter, Shown};
pub use gates::{Gates, REGION_SHARES, region_of};
pub use handover::Handover;
pub use pool::Pool;
pub use readers::{Reader, Readers};
pub use witness::Witness;

use crate::open_loop::Answer;

/// How long somebody goes on repeating a request that was not answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries of one request, where the gateway asks for no more.
const PAUSE: Duration = Duration::from_millis(50);

/// What came of a request, repeats included.
pub struct Settled<R> {
    pub answer: Answer,
    pub response: Option<R>,
}

/// Sends the same request until it is answered or patience ends, and counts the
/// repeats. The time of all of it is the caller's latency.
pub async fn settled<R, Sent>(repeats: &AtomicU64, mut send: impl FnMut() -> Sent) -> Settled<R>
where
    R: Answered,
    Sent: Future<Output = Result<R, CallError>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match send().await {
            Ok(response) => return Settled { answer: told(&response), response: Some(response) },
            Err(error) => error,
        };
        let pause = error.retry_after.unwrap_or(PAUSE).max(PAUSE);
        if !error.may_pass() || Instant::now() + pause > until {
            return Settled { answer: refused(&error), response: None };
        }
        repeats.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
    }
}

/// Sends once: for those whom a refusal is an answer.
pub async fn once<R: Answered>(sent: impl Future<Output = Result<R, CallError>>) -> Settled<R> {
    match sent.await {
        Ok(response) => Settled { answer: told(&response), response: Some(response) },
        Err(error) => Settled { answer: refused(&error), response: None },
    }
}

fn told(response: &impl Answered) -> Answer {
    let Some(answer) = response.answer() else {
        return Answer::Failed("an answer without its common part".to_owned());
    };
    match answer.decision() {
        Decision::Approved => Answer::Approved,
        Decision::Declined => Answer::Declined(answer.reason.clone()),
        Decision::Pending => Answer::Pending,
        Decision::Unspecified => Answer::Failed("an answer without a decision".to_owned()),
    }
}

fn refused(error: &CallError) -> Answer {
    if error.reason.is_empty() {
        // What the transport says of it is long and names its own insides.
        Answer::Failed(format!("no answer ({:?})", error.code))
    } else {
        Answer::Refused(error.reason.clone())
    }
}
