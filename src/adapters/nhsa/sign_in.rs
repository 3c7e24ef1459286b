//! 9001 by itself: the sign_no of each institution, taken once a day.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::time::Instant;

use super::{envelope::Answered, line::Line, options::SignInOptions, write};
use crate::{
    identity::business_date,
    model::Millis,
    scenes::medical::{MedicalAct, MedicalOrder, MsgId, NotSent, PortError, Refused, Sender},
};

/// Sequences of a second that sign-ins use; orders have the ones below.
const SEQUENCES: std::ops::Range<u32> = 9_900..10_000;

/// An institution's sign_no and the day it is for.
struct Held {
    number: Arc<str>,
    day: jiff::civil::Date,
}

/// The sign-ins of a platform.
pub(super) struct SignIns {
    options: SignInOptions,
    held: Mutex<HashMap<Arc<str>, Held>>,
    /// One at a time an institution: callers that come meanwhile use what it brings.
    turns: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
    sequence: AtomicU32,
}

impl SignIns {
    pub(super) fn new(options: SignInOptions) -> Self {
        SignIns { options, held: Mutex::default(), turns: Mutex::default(), sequence: AtomicU32::new(0) }
    }

    pub(super) fn are_needed(&self) -> bool {
        self.options.needed
    }

    /// The institution's sign_no; signs in where there is none for the day.
    pub(super) async fn number(
        &self,
        line: &Line,
        sender: &Sender,
        until: Instant,
        now_ms: Millis,
    ) -> Result<Arc<str>, PortError> {
        if let Some(number) = self.held(&sender.institution, now_ms) {
            return Ok(number);
        }
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(sender.institution.clone()).or_default())
        };
        let Ok(_turn) = tokio::time::timeout_at(until, turn.lock()).await else {
            return Err(NotSent { why: "nobody signed in in time".into() }.into());
        };
        if let Some(number) = self.held(&sender.institution, now_ms) {
            return Ok(number);
        }
        let sequence =
            SEQUENCES.start + self.sequence.fetch_add(1, Ordering::Relaxed) % SEQUENCES.len() as u32;
        let msgid = MsgId::at(&sender.institution, now_ms, sequence)
            .map_err(|error| NotSent { why: error.to_string() })?;
        let own = Sender { msgid, insured_region: String::new(), sent_at_ms: now_ms, ..sender.clone() };
        let input = write::input(&MedicalOrder::SignIn, &own, line.options());
        // Nothing was sent of the order itself, whatever becomes of the sign-in.
        let answered = line
            .send(&own, MedicalAct::SignIn, "", &input, until)
            .await
            .map_err(|error| NotSent { why: format!("sign-in: {}", why_of(&error)) })?;
        self.learn(sender, &answered, now_ms);
        self.held(&sender.institution, now_ms)
            .ok_or_else(|| NotSent { why: "the sign-in brought no sign_no".into() }.into())
    }

    /// Keeps what an answer to 9001 brought.
    pub(super) fn learn(&self, sender: &Sender, answered: &Answered, now_ms: Millis) {
        let node = answered.output.get("signinoutb").unwrap_or(&answered.output);
        let number = node.get("sign_no").and_then(serde_json::Value::as_str).unwrap_or_default();
        if !number.is_empty() {
            let held = Held { number: number.into(), day: business_date(now_ms) };
            self.lock().insert(sender.institution.clone(), held);
        }
    }

    /// Whether a refusal says that the sign-in is over.
    pub(super) fn is_over(&self, refused: &Refused) -> bool {
        self.options.over.iter().any(|word| refused.message.contains(word.as_str()))
    }

    /// Forgets a number, unless another has come meanwhile.
    pub(super) fn forget(&self, sender: &Sender, number: &str) {
        let mut held = self.lock();
        if held.get(&sender.institution).is_some_and(|held| &*held.number == number) {
            held.remove(&sender.institution);
        }
    }

    fn held(&self, institution: &Arc<str>, now_ms: Millis) -> Option<Arc<str>> {
        let held = self.lock();
        let of_today = held.get(institution).filter(|held| held.day == business_date(now_ms));
        of_today.map(|held| held.number.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What kept a sign-in from working, without the platform's own words: they are never
/// logged.
fn why_of(error: &PortError) -> String {
    match error {
        PortError::Refused(refused) => format!("refused with {}", refused.code),
        other => other.to_string(),
    }
}
