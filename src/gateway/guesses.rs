//! Guessing at a counter: whoever tries names against a document's number learns
//! whose it is, and a name is personal data. A document that does not fit costs a
//! try, of the terminal and of the number; tries come back slowly. What fits costs
//! nothing, so a busy counter is not slowed down.
//!
//! The counts are in memory and begin anew with the process: they bound a rate, as
//! the other rates do, and every try that failed is in the journal.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Call, Refusal, RefusalKind};
use crate::{
    limits,
    model::{Millis, ParticipantId, Reason, TerminalId},
    store::Committed,
    telemetry::metrics::{self, GuessLimit},
};

/// The tries that are left.
#[derive(Debug)]
pub(super) struct Guesses {
    terminals: Mutex<Tries<(ParticipantId, TerminalId)>>,
    /// By the keyed hash of kind and number.
    documents: Mutex<Tries<[u8; 16]>>,
}

impl Default for Guesses {
    fn default() -> Self {
        let terminals = Rule {
            at_once: limits::DOCUMENT_TRIES_PER_TERMINAL,
            back_after_ms: limits::DOCUMENT_TRY_BACK_PER_TERMINAL_MS,
            most: limits::CONNECTIONS_MAX,
        };
        let documents = Rule {
            at_once: limits::DOCUMENT_TRIES_PER_NUMBER,
            back_after_ms: limits::DOCUMENT_TRY_BACK_PER_NUMBER_MS,
            most: limits::DOCUMENTS_TRIED_MAX,
        };
        Guesses { terminals: Mutex::new(Tries::by(terminals)), documents: Mutex::new(Tries::by(documents)) }
    }
}

impl Guesses {
    /// Takes a try of the terminal and of the document, before the register is asked:
    /// guesses that are made at the same time are counted as well.
    ///
    /// # Errors
    /// `DocumentTriesExceeded` with the time after which a try is back; then none was
    /// taken.
    pub(super) fn take(&self, call: &Call, document: &[u8; 16], now: Millis) -> Result<(), Refusal> {
        let exceeded = |limit, wait| {
            metrics::guess_limited(limit);
            Refusal::later(RefusalKind::Exhausted, Reason::DocumentTriesExceeded, wait)
        };
        let terminal = terminal_of(call);
        held(&self.terminals)
            .take(terminal.clone(), now)
            .map_err(|wait| exceeded(GuessLimit::Terminal, wait))?;
        held(&self.documents).take(*document, now).map_err(|wait| {
            held(&self.terminals).give_back(&terminal);
            exceeded(GuessLimit::Document, wait)
        })
    }

    /// Gives the try back that was taken, unless the caller has learnt what does not
    /// fit.
    pub(super) fn settle(&self, call: &Call, document: &[u8; 16], answered: &Result<Committed, Refusal>) {
        if !is_a_guess(answered) {
            held(&self.terminals).give_back(&terminal_of(call));
            held(&self.documents).give_back(document);
        }
    }
}

fn terminal_of(call: &Call) -> (ParticipantId, TerminalId) {
    (call.caller.participant.id.clone(), call.caller.terminal.clone())
}

fn held<T>(tries: &Mutex<T>) -> MutexGuard<'_, T> {
    tries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an answer tells that number and name do not belong together, or what
/// stands in the register behind a number alone.
fn is_a_guess(answered: &Result<Committed, Refusal>) -> bool {
    match answered {
        Ok(committed) => {
            let declined = Reason::from_code(&committed.entry.reason);
            // A repeat tells nothing that was not told.
            !committed.replayed
                && matches!(declined, Some(Reason::DocumentMismatch | Reason::DocumentUnknown))
        }
        Err(refusal) => match refusal.kind {
            RefusalKind::Forbidden | RefusalKind::NotFound => true,
            RefusalKind::Invalid
            | RefusalKind::Unauthenticated
            | RefusalKind::Misused
            | RefusalKind::Exhausted
            | RefusalKind::Unavailable
            | RefusalKind::DeadlineExceeded
            | RefusalKind::Internal => false,
        },
    }
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    at_once: u32,
    back_after_ms: i64,
    /// Keys that are remembered.
    most: usize,
}

/// When each key has all its tries again; one that has them all is forgotten.
#[derive(Debug)]
struct Tries<K> {
    rule: Rule,
    whole_at: HashMap<K, Millis>,
}

impl<K: Hash + Eq> Tries<K> {
    fn by(rule: Rule) -> Self {
        Tries { rule, whole_at: HashMap::new() }
    }

    fn take(&mut self, key: K, now: Millis) -> Result<(), Duration> {
        let Rule { at_once, back_after_ms, most } = self.rule;
        let whole_at = self.whole_at.get(&key).copied().unwrap_or(now).max(now);
        let wait = whole_at - now - i64::from(at_once - 1) * back_after_ms;
        if wait > 0 {
            return Err(Duration::from_millis(wait.unsigned_abs()));
        }
        if self.whole_at.len() >= most && !self.whole_at.contains_key(&key) {
            self.whole_at.retain(|_, whole_at| *whole_at > now);
            if self.whole_at.len() >= most {
                return Err(Duration::from_millis(back_after_ms.unsigned_abs()));
            }
        }
        self.whole_at.insert(key, whole_at + back_after_ms);
        Ok(())
    }

    fn give_back(&mut self, key: &K) {
        if let Some(whole_at) = self.whole_at.get_mut(key) {
            *whole_at -= self.rule.back_after_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { at_once: 3, back_after_ms: 1_000, most: 2 };

    #[test]
    fn tries_come_back_one_by_one() {
        let mut tries = Tries::by(RULE);
        for _ in 0..3 {
            assert_eq!(tries.take('a', 0), Ok(()));
        }
        assert_eq!(tries.take('a', 0), Err(Duration::from_millis(1_000)));
        assert_eq!(tries.take('a', 400), Err(Duration::from_millis(600)));
        assert_eq!(tries.take('a', 1_000), Ok(()));
        assert_eq!(tries.take('a', 1_000), Err(Duration::from_millis(1_000)));
        tries.give_back(&'a');
        assert_eq!(tries.take('a', 1_000), Ok(()));
    }

    #[test]
    fn as_many_keys_as_fit_are_remembered_and_none_slips_through() {
        let mut tries = Tries::by(RULE);
        assert_eq!((tries.take('a', 0), tries.take('b', 500)), (Ok(()), Ok(())));
        assert!(tries.take('c', 999).is_err(), "there is no room to remember it");
        assert_eq!(tries.take('c', 1_000), Ok(()), "a has all its tries again");
        assert_eq!(tries.whole_at.len(), 2);
    }
}
