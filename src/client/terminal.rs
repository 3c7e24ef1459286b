//! One terminal and its connection: headers, deadlines, retries, traces.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tonic::{Request, Response, Status, transport::Channel};

use super::{CallError, OptionsError, RetryPolicy, TerminalOptions, retry::RetryBudget};
use crate::{
    model::{Clock, Purpose, Rng, SystemClock, SystemRng},
    proto::common::v1::RequestHeader,
};

/// A terminal's connection to its gateway. Cheap to clone; clones share the
/// connection and the retry budget.
///
/// Every typed call takes the whole request, header included, so that what is
/// repeated is what was stored: make the header with [`Terminal::header`], keep
/// the request, send it, and send the very same again when in doubt.
#[derive(Clone)]
pub struct Terminal {
    pub(super) channel: Channel,
    shared: Arc<Shared>,
}

struct Shared {
    deadline: Duration,
    policy: RetryPolicy,
    budget: RetryBudget,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("deadline", &self.shared.deadline).finish_non_exhaustive()
    }
}

impl Terminal {
    /// Connects, so that wrong certificates and addresses are known at once.
    ///
    /// # Errors
    /// When the options cannot be used or the gateway does not answer.
    pub async fn connect(options: &TerminalOptions) -> Result<Self, OptionsError> {
        let channel = options.channel(false).await?;
        Ok(Terminal::over(channel, options))
    }

    /// Connects when the first call is made: for a gate that starts while its
    /// line is down.
    ///
    /// # Errors
    /// When the options are not well formed.
    pub async fn connect_lazy(options: &TerminalOptions) -> Result<Self, OptionsError> {
        let channel = options.channel(true).await?;
        Ok(Terminal::over(channel, options))
    }

    fn over(channel: Channel, options: &TerminalOptions) -> Self {
        Terminal {
            channel,
            shared: Arc::new(Shared {
                deadline: options.deadline,
                policy: options.retry,
                budget: RetryBudget::default(),
                clock: Arc::new(SystemClock),
                rng: Arc::new(SystemRng),
            }),
        }
    }

    /// A header with a fresh request id (UUID v7) and the terminal's time. Store
    /// it before sending; a retry repeats it unchanged.
    pub fn header(&self, purpose: Purpose) -> RequestHeader {
        let now_ms = self.shared.clock.now_ms();
        let mut chance = [0; 10];
        self.shared.rng.fill(&mut chance);
        let id = uuid::Builder::from_unix_timestamp_millis(u64::try_from(now_ms).unwrap_or(0), &chance)
            .into_uuid();
        RequestHeader {
            request_id: id.to_string(),
            terminal_time_ms: now_ms,
            purpose: i32::try_from(purpose.number()).unwrap_or_default(),
            ..RequestHeader::default()
        }
    }

    /// Sends `message` until it is answered or the policy ends: the same message
    /// each time, a new span of the same trace each time.
    ///
    /// # Errors
    /// The last error, with the number of tries.
    pub(super) async fn call<Message, Answer, Send, Sent>(
        &self,
        message: Message,
        send: Send,
    ) -> Result<Answer, CallError>
    where
        Message: Clone,
        Send: Fn(Channel, Request<Message>) -> Sent,
        Sent: Future<Output = Result<Response<Answer>, Status>>,
    {
        let Shared { deadline, policy, budget, rng, .. } = &*self.shared;
        let trace = Trace::new(&**rng);
        let started = Instant::now();
        budget.first_try();
        let mut tries = 0;
        loop {
            tries += 1;
            let request = self.request(message.clone(), *deadline, &trace);
            let sent = send(self.channel.clone(), request);
            // The gateway keeps the deadline itself and answers in time; the
            // slack leaves it the last word.
            let error = match tokio::time::timeout(*deadline + DEADLINE_SLACK, sent).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => CallError::from_status(&status, tries),
                Err(_) => CallError::deadline(tries),
            };
            let Some(pause) = policy.pause(&error, started.elapsed(), &**rng) else {
                return Err(error);
            };
            if !budget.retry() {
                return Err(error);
            }
            tracing::debug!(code = ?error.code, reason = %error.reason, tries, ?pause, "a call is repeated");
            tokio::time::sleep(pause).await;
        }
    }

    fn request<Message>(&self, message: Message, deadline: Duration, trace: &Trace) -> Request<Message> {
        let mut request = Request::new(message);
        request.set_timeout(deadline);
        trace.put(request.metadata_mut(), &*self.shared.rng);
        request
    }

    /// A request of a stream: a trace, and no deadline, for it lives as long as
    /// the gate.
    pub(super) fn stream_request<Message>(&self, message: Message) -> Request<Message> {
        let mut request = Request::new(message);
        Trace::new(&*self.shared.rng).put(request.metadata_mut(), &*self.shared.rng);
        request
    }
}

/// How much longer than the gateway's deadline the terminal listens.
const DEADLINE_SLACK: Duration = Duration::from_millis(250);

/// A W3C trace: one id for a call and all its tries.
struct Trace([u8; 16]);

impl Trace {
    fn new(rng: &dyn Rng) -> Self {
        let mut id = [0; 16];
        rng.fill(&mut id);
        // An id of zeros is not a trace.
        id[15] |= 1;
        Trace(id)
    }

    fn put(&self, metadata: &mut tonic::metadata::MetadataMap, rng: &dyn Rng) {
        let mut span = [0; 8];
        rng.fill(&mut span);
        span[7] |= 1;
        let value = format!("00-{}-{}-01", hex::encode(self.0), hex::encode(span));
        if let Ok(value) = value.parse() {
            metadata.insert("traceparent", value);
        }
    }
}
