//! Pushes our deny list to one peer: at once when it changes, again when the peer
//! was away, and a sign of life in between, so that the peer knows how fresh its
//! copy is. Where the list was begun anew, the peer is asked what it knows of it.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{PeerClients, client::PeerKnows};
use crate::{
    gateway::{Gateway, Heard, Refusal},
    limits,
    telemetry::metrics,
    trust::DenyPosition,
};

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
    /// The epoch in which the peer has told what it knows.
    told_in: Option<u64>,
}

impl DenySync {
    pub fn new(gateway: Arc<Gateway>, peers: Arc<PeerClients>, to: u32) -> Self {
        DenySync { gateway, peers, to, told_in: None }
    }

    /// Pushes until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut versions = self.peers.deny_list_versions();
        // How far the peer knows our list; learnt from its first answer.
        let mut known: Option<DenyPosition> = None;
        let mut retry = RETRY_FIRST;
        loop {
            versions.borrow_and_update();
            let wait = match self.exchange(known).await {
                Ok(now_known) => {
                    retry = RETRY_FIRST;
                    let is_behind = now_known < self.gateway.deny_list_at();
                    let moved = known != Some(now_known);
                    known = Some(now_known);
                    if is_behind && moved { Duration::ZERO } else { SIGN_OF_LIFE }
                }
                Err(why) => {
                    let wait = retry;
                    retry = (retry * 2).min(RETRY_MOST);
                    tracing::debug!(peer = self.to, why, "the deny list was not pushed");
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

    /// Pushes what the peer does not know yet; what it knows afterwards.
    async fn exchange(&mut self, known: Option<DenyPosition>) -> Result<DenyPosition, String> {
        let at = self.gateway.deny_list_at();
        let since = known.map_or(at.version, |known| known.within(at.epoch));
        let delta = self.gateway.deny_delta(since).await.map_err(reason)?;
        let told = DenyPosition { epoch: delta.epoch, version: delta.version };
        let PeerKnows { version, epoch } =
            self.peers.push_deny_delta(self.to, &delta).await.map_err(|error| error.to_string())?;
        // A peer without epochs counts on: our versions never go back.
        let heard = DenyPosition { epoch: epoch.unwrap_or(told.epoch), version };
        if heard > told && heard > self.gateway.deny_list_at() {
            let became = self.gateway.was_put_back(self.to, heard).await.map_err(reason)?;
            return Ok(after_claim(became, known, told, heard));
        }
        if epoch.is_some()
            && let Err(why) = self.ask(told.epoch).await
        {
            // Asked again with the next push; that must not wait for it.
            tracing::debug!(peer = self.to, why, "the peer has not told what it knows of the deny list");
        }
        Ok(DenyPosition { epoch: told.epoch, version: heard.within(told.epoch) })
    }

    /// Has the peer tell what it knows of our list, once an epoch.
    async fn ask(&mut self, epoch: u64) -> Result<(), String> {
        if self.told_in == Some(epoch) {
            return Ok(());
        }
        if !self.gateway.deny_list_told_by(self.to).await.map_err(reason)? {
            metrics::deny_list_untold(self.to, true);
            let mut after = None;
            for _ in 0..limits::DENY_TOLD_PARTS_MAX {
                let told =
                    self.peers.ask_deny_list(self.to, after).await.map_err(|error| error.to_string())?;
                self.gateway.take_up_denials(self.to, &told.facts).await.map_err(reason)?;
                after = told.facts.last().map(|(_, fact)| *fact.card.as_bytes());
                if !told.more {
                    break;
                }
            }
            self.gateway.note_deny_list_told(self.to, epoch).await.map_err(reason)?;
        }
        metrics::deny_list_untold(self.to, false);
        self.told_in = Some(epoch);
        Ok(())
    }
}

/// How far a peer is taken to know our list that has claimed to know more of it.
/// Where it is not believed it hears the list from its beginning, once, and then on
/// from what it was sent: it takes the denials, whatever it answers.
fn after_claim(
    became: Heard,
    known: Option<DenyPosition>,
    sent: DenyPosition,
    heard: DenyPosition,
) -> DenyPosition {
    match (became, known) {
        (Heard::ToldByAnotherNode, _) => heard,
        (Heard::Begun, _) => DenyPosition::default(),
        (Heard::NotBelieved, None) => DenyPosition { version: 0, ..sent },
        (Heard::NotBelieved, Some(_)) => sent,
    }
}

#[allow(clippy::needless_pass_by_value)] // what `map_err` hands over
fn reason(refusal: Refusal) -> String {
    refusal.reason.code().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_not_believed_hears_the_whole_list_once() {
        let at = |version| DenyPosition { epoch: 100, version };
        let claim = DenyPosition { epoch: 900, version: 900 };
        let after_claim = |became, known, sent| after_claim(became, known, sent, claim);
        let begin = after_claim(Heard::NotBelieved, None, at(500));
        assert_eq!(begin, at(0), "nothing was sent yet");
        let first = after_claim(Heard::NotBelieved, Some(begin), at(300));
        assert_eq!(first, at(300), "on from the first part");
        assert_eq!(after_claim(Heard::NotBelieved, Some(first), at(500)), at(500));
        assert_eq!(after_claim(Heard::Begun, Some(at(500)), at(500)), DenyPosition::default());
        assert_eq!(after_claim(Heard::ToldByAnotherNode, None, at(500)), claim);
    }
}
