//! Pushes our deny list to one peer: at once when it changes, again when the peer
//! was away, and a sign of life in between, so that the peer knows how fresh its
//! copy is.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::PeerClients;
use crate::gateway::Gateway;

/// Without news the peer hears of us this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Waits between tries while a peer is away.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// The push to one peer.
#[derive(Debug)]
pub struct DenySync {
    gateway: Arc<Gateway>,
    peers: Arc<PeerClients>,
    to: u32,
}

impl DenySync {
    pub fn new(gateway: Arc<Gateway>, peers: Arc<PeerClients>, to: u32) -> Self {
        DenySync { gateway, peers, to }
    }

    /// Pushes until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut versions = self.peers.deny_list_versions();
        // How far the peer knows our list; learnt from its first answer.
        let mut known: Option<u64> = None;
        let mut retry = RETRY_FIRST;
        loop {
            versions.borrow_and_update();
            let wait = match self.push(known).await {
                Ok(now_known) => {
                    retry = RETRY_FIRST;
                    let is_behind = now_known < self.gateway.deny_list_version();
                    let moved = known != Some(now_known);
                    known = Some(now_known);
                    if is_behind && moved { Duration::ZERO } else { SIGN_OF_LIFE }
                }
                Err(wait_before_retry) => {
                    let wait = retry;
                    retry = (retry * 2).min(RETRY_MOST);
                    tracing::debug!(peer = self.to, why = %wait_before_retry, "the deny list was not pushed");
                    wait
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                changed = versions.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn push(&self, known: Option<u64>) -> Result<u64, String> {
        let since = known.unwrap_or_else(|| self.gateway.deny_list_version());
        let delta =
            self.gateway.deny_delta(since).await.map_err(|refusal| refusal.reason.code().to_owned())?;
        self.peers.push_deny_delta(self.to, &delta).await.map_err(|error| error.to_string())
    }
}
