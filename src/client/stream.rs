//! A gate's long-lived stream of taps.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{CallError, Terminal};
use crate::{
    limits,
    proto::transit::v1::{
        TapRequest, TapStreamRequest, TapStreamResponse, transit_service_client::TransitServiceClient,
    },
};

/// Taps in, answers out, in the order of commitment; an answer names the request
/// it belongs to. When the stream ends, open another and send again what has no
/// answer yet: under its own request id that is always safe.
#[derive(Debug)]
pub struct TapStream {
    taps: mpsc::Sender<TapStreamRequest>,
    answers: Streaming<TapStreamResponse>,
}

impl Terminal {
    /// Opens a stream of taps. It has no deadline and is not retried by itself,
    /// because only the gate knows which taps are still unanswered.
    ///
    /// # Errors
    /// When the gateway refuses the stream or cannot be reached.
    pub async fn tap_stream(&self) -> Result<TapStream, CallError> {
        let (taps, outgoing) = mpsc::channel(limits::CLIENT_STREAM_QUEUE_MAX);
        let request = self.stream_request(ReceiverStream::new(outgoing));
        let answers = TransitServiceClient::new(self.channel.clone())
            .tap_stream(request)
            .await
            .map_err(|status| CallError::from_status(&status, 1))?
            .into_inner();
        Ok(TapStream { taps, answers })
    }
}

impl TapStream {
    /// Sends a tap; waits while too many are on their way.
    ///
    /// # Errors
    /// When the stream has ended; [`TapStream::next`] says why.
    pub async fn send(&self, tap: TapRequest) -> Result<(), CallError> {
        let ended = |_| CallError::from_status(&Status::unavailable("the stream of taps has ended"), 1);
        self.taps.send(TapStreamRequest { tap: Some(tap) }).await.map_err(ended)
    }

    /// The next answer; `None` when the gateway closed the stream in order.
    ///
    /// # Errors
    /// When the stream broke.
    pub async fn next(&mut self) -> Result<Option<TapStreamResponse>, CallError> {
        self.answers.message().await.map_err(|status| CallError::from_status(&status, 1))
    }

    /// Says that no tap follows and drains what is still to be answered.
    ///
    /// # Errors
    /// When the stream broke before every answer was here.
    pub async fn finish(mut self) -> Result<Vec<TapStreamResponse>, CallError> {
        drop(self.taps);
        let mut rest = Vec::new();
        while let Some(answer) =
            self.answers.message().await.map_err(|status| CallError::from_status(&status, 1))?
        {
            rest.push(answer);
        }
        Ok(rest)
    }
}
