//! In which run a peer is asked: learnt from what it sends back.

use std::sync::{Mutex, PoisonError};

use super::envelope::RunId;
use crate::{gateway::PeerError, proto::federation::v1::message::Content};

/// What came back for one envelope.
#[derive(Debug)]
pub(super) enum Came {
    Answer(Box<Content>),
    /// Nothing was done: the peer goes on in this run.
    SentBack(RunId),
}

/// The run that a peer wants to be asked in, once it has told it.
#[derive(Debug, Default)]
pub(super) struct PeerRun(Mutex<Option<RunId>>);

impl PeerRun {
    /// Seals and sends a message for the run we know. A peer that was started since, or
    /// another of its nodes, sends it back with the run to name: then once more.
    ///
    /// # Errors
    /// What `send` fails with; `Unreachable` when it came back twice.
    pub async fn ask<S>(&self, send: impl Fn(Option<RunId>) -> S) -> Result<Content, PeerError>
    where
        S: Future<Output = Result<Came, PeerError>>,
    {
        for _ in 0..2 {
            match send(self.known()).await? {
                Came::Answer(content) => return Ok(*content),
                Came::SentBack(run) => self.learn(run),
            }
        }
        Err(PeerError::Unreachable("sent back in the run it named".into()))
    }

    fn known(&self) -> Option<RunId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, run: RunId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::proto::federation::v1::DenyListAccepted;

    const FIRST: RunId = [1; 16];
    const SECOND: RunId = [2; 16];

    fn answer() -> Content {
        Content::DenyListAccepted(DenyListAccepted { version: 7, epoch: None })
    }

    /// Asks a peer that goes on in the run that `goes_on_in` tells for each try; which
    /// runs were named.
    async fn asked(
        run: &PeerRun,
        goes_on_in: impl Fn(usize) -> RunId,
    ) -> (Result<Content, PeerError>, Vec<Option<RunId>>) {
        let named = RefCell::new(Vec::new());
        let said = run
            .ask(|to_run| {
                let goes_on = goes_on_in(named.borrow().len());
                named.borrow_mut().push(to_run);
                let came = if to_run == Some(goes_on) {
                    Came::Answer(Box::new(answer()))
                } else {
                    Came::SentBack(goes_on)
                };
                std::future::ready(Ok(came))
            })
            .await;
        (said, named.into_inner())
    }

    #[tokio::test]
    async fn a_peer_that_was_started_again_costs_one_more_exchange() {
        let run = PeerRun::default();
        assert_eq!(asked(&run, |_| FIRST).await, (Ok(answer()), vec![None, Some(FIRST)]));
        assert_eq!(asked(&run, |_| FIRST).await, (Ok(answer()), vec![Some(FIRST)]));
        assert_eq!(asked(&run, |_| SECOND).await, (Ok(answer()), vec![Some(FIRST), Some(SECOND)]));
        assert_eq!(asked(&run, |_| SECOND).await, (Ok(answer()), vec![Some(SECOND)]));
    }

    #[tokio::test]
    async fn a_peer_that_names_another_run_each_time_is_not_asked_for_ever() {
        let run = PeerRun::default();
        let (said, named) = asked(&run, |attempt| [attempt as u8 + 3; 16]).await;
        assert!(matches!(said, Err(PeerError::Unreachable(_))), "{said:?}");
        assert_eq!(named, [None, Some([3; 16])]);
    }

    #[tokio::test]
    async fn a_line_that_fails_teaches_nothing() {
        let run = PeerRun::default();
        assert!(asked(&run, |_| FIRST).await.0.is_ok());
        let failed = run.ask(|_| std::future::ready(Err(PeerError::Unreachable("cut".into())))).await;
        assert_eq!(failed, Err(PeerError::Unreachable("cut".into())));
        assert_eq!(run.known(), Some(FIRST));
    }
}
