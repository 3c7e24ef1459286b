//! Envelopes: signed over the very bytes that travel, fresh, for us, and once.
//!
//! Once: a question names the run of the process it is for, so that what another
//! process has seen is nothing here (docs/decisions/0014), and the ids of a run are
//! remembered as long as its envelopes are fresh.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use prost::Message as _;

use crate::{
    crypto::{KeyName, KeyVault, VaultError, sm3},
    limits,
    model::{Clock, Millis, Rng},
    proto::federation::v1::{Envelope, EnvelopeHeader, Message, message::Content},
    trust::TrustList,
};

/// What is signed begins with this, so that no other signature of the same key
/// can be taken for an envelope.
const DOMAIN: &[u8] = b"onecard/federation/envelope/v1\0";

/// The version of the interchange standard that we speak.
pub const STANDARD_VERSION: u32 = 1;

/// Why a message between regions was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeRefused {
    #[error("the envelope cannot be read")]
    Malformed,
    #[error("the trust list is not valid now")]
    ListExpired,
    #[error("the sender is not on the trust list")]
    UnknownMember,
    #[error("the envelope is for another region")]
    NotForUs,
    #[error("the sender of the envelope is not who the certificate names")]
    NotTheCaller,
    #[error("the standard's version is not spoken here")]
    Version,
    #[error("the envelope is stale or from the future")]
    Stale,
    #[error("the body is not the one that was signed")]
    Altered,
    #[error("the signature is not the sender's")]
    SignatureWrong,
    #[error("the envelope is for another run of this gateway")]
    OtherRun,
    #[error("the envelope was seen before")]
    Replayed,
    #[error("the answer belongs to another question")]
    NotTheAnswer,
    #[error("more envelopes a minute than can be remembered")]
    TooMany,
}

/// An envelope that was found right.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Province of the sender.
    pub from: u32,
    pub id: [u8; 16],
    pub traceparent: String,
    pub content: Content,
}

/// A process of a gateway from its start to its end, by a random id.
pub type RunId = [u8; 16];

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// A question to a run of the receiver; `None` when it has not told its run yet.
    Question { to_run: Option<RunId> },
    /// The answer to the question of this id.
    AnswerTo([u8; 16]),
}

/// Seals our envelopes and opens others'.
pub struct Envelopes {
    province: u32,
    run: RunId,
    vault: Arc<dyn KeyVault>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    seen: Mutex<Memory>,
}

impl std::fmt::Debug for Envelopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelopes").field("province", &self.province).finish_non_exhaustive()
    }
}

impl Envelopes {
    pub fn new(province: u32, vault: Arc<dyn KeyVault>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        let mut run = RunId::default();
        rng.fill(&mut run);
        Envelopes { province, run, vault, clock, rng, seen: Mutex::default() }
    }

    /// The run that questions to us must name.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// Seals a message to `to`. Returns the envelope and its id. Signs: 70 µs.
    ///
    /// # Errors
    /// When the vault cannot sign.
    pub fn seal(
        &self,
        to: u32,
        content: Content,
        sealed: Sealed,
        traceparent: &str,
        trust: &TrustList,
    ) -> Result<(Envelope, [u8; 16]), VaultError> {
        let body = Message { content: Some(content) }.encode_to_vec();
        let mut id = [0; 16];
        self.rng.fill(&mut id);
        let (in_reply_to, to_run) = match sealed {
            Sealed::Question { to_run } => (Vec::new(), to_run.map(Vec::from).unwrap_or_default()),
            Sealed::AnswerTo(question) => (question.to_vec(), Vec::new()),
        };
        let header = EnvelopeHeader {
            id: id.to_vec(),
            in_reply_to,
            from: member_code(self.province),
            to: member_code(to),
            standard_version: STANDARD_VERSION,
            trust_list_version: trust.version(),
            sent_at_ms: self.clock.now_ms(),
            body_hash: sm3(&[&body]).to_vec(),
            traceparent: traceparent.to_owned(),
            to_run,
        };
        let header = header.encode_to_vec();
        let signature = self.vault.sign(KeyName::Federation, &signed_bytes(&header, &body))?;
        Ok((Envelope { header: header.into(), body: body.into(), signature: signature.to_vec().into() }, id))
    }

    /// Opens an envelope from the member whose certificate was shown. Cheap checks
    /// come first, so that garbage costs no signature check (170 µs).
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn open(
        &self,
        envelope: &Envelope,
        certificate_of: u32,
        answers: Option<[u8; 16]>,
        trust: &TrustList,
    ) -> Result<Opened, EnvelopeRefused> {
        let header =
            EnvelopeHeader::decode(envelope.header.clone()).map_err(|_| EnvelopeRefused::Malformed)?;
        let id: [u8; 16] = header.id.as_slice().try_into().map_err(|_| EnvelopeRefused::Malformed)?;
        let from: u32 = header.from.parse().map_err(|_| EnvelopeRefused::Malformed)?;
        if header.to != member_code(self.province) {
            return Err(EnvelopeRefused::NotForUs);
        }
        if from != certificate_of {
            return Err(EnvelopeRefused::NotTheCaller);
        }
        if header.standard_version != STANDARD_VERSION {
            return Err(EnvelopeRefused::Version);
        }
        let now = self.clock.now_ms();
        if !trust.is_valid_at(now) {
            return Err(EnvelopeRefused::ListExpired);
        }
        let member = trust.member(from).ok_or(EnvelopeRefused::UnknownMember)?;
        // The time is not believed yet and may be any number.
        if header.sent_at_ms.abs_diff(now) > limits::ENVELOPE_SKEW_MS.unsigned_abs() {
            return Err(EnvelopeRefused::Stale);
        }
        let is_the_answer = match answers {
            None => header.in_reply_to.is_empty(),
            Some(question) => header.in_reply_to == question,
        };
        if !is_the_answer {
            return Err(EnvelopeRefused::NotTheAnswer);
        }
        // An answer names our question, which no other run has asked.
        if answers.is_none() && header.to_run != self.run {
            return Err(EnvelopeRefused::OtherRun);
        }
        let body_hash = sm3(&[&envelope.body]);
        if header.body_hash != body_hash {
            return Err(EnvelopeRefused::Altered);
        }
        let signature = envelope.signature.as_ref().try_into().map_err(|_| EnvelopeRefused::Malformed)?;
        member
            .federation_key
            .verify(&signed_bytes(&envelope.header, &envelope.body), &signature)
            .map_err(|_| EnvelopeRefused::SignatureWrong)?;
        self.remember(from, id, now)?;
        let content = Message::decode(envelope.body.clone())
            .ok()
            .and_then(|message| message.content)
            .ok_or(EnvelopeRefused::Malformed)?;
        Ok(Opened { from, id, traceparent: header.traceparent, content })
    }

    /// Only what is signed is remembered, so that nobody can fill the memory with
    /// garbage.
    fn remember(&self, from: u32, id: [u8; 16], now: Millis) -> Result<(), EnvelopeRefused> {
        let mut seen = match self.seen.lock() {
            Ok(seen) => seen,
            Err(poisoned) => poisoned.into_inner(),
        };
        seen.remember(from, id, now)
    }
}

/// What each member has sent: one that sends too much is refused alone.
#[derive(Debug, Default)]
struct Memory {
    by_member: BTreeMap<u32, Seen>,
}

impl Memory {
    /// Only members of the trust list come here, so that there are few.
    fn remember(&mut self, from: u32, id: [u8; 16], now: Millis) -> Result<(), EnvelopeRefused> {
        self.by_member.entry(from).or_default().remember(id, now)
    }
}

/// Envelope ids of one member's last minutes.
#[derive(Debug, Default)]
struct Seen {
    ids: HashSet<[u8; 16]>,
    by_time: VecDeque<(Millis, [u8; 16])>,
}

impl Seen {
    fn remember(&mut self, id: [u8; 16], now: Millis) -> Result<(), EnvelopeRefused> {
        while let Some((at, old)) = self.by_time.front().copied()
            && at + limits::ENVELOPE_MEMORY_MS < now
        {
            self.by_time.pop_front();
            self.ids.remove(&old);
        }
        if self.ids.contains(&id) {
            return Err(EnvelopeRefused::Replayed);
        }
        if self.ids.len() as u64 >= limits::ENVELOPES_PER_MEMBER_MAX {
            return Err(EnvelopeRefused::TooMany);
        }
        self.ids.insert(id);
        self.by_time.push_back((now, id));
        Ok(())
    }
}

pub(super) fn signed_bytes(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = DOMAIN.to_vec();
    bytes.extend_from_slice(&sm3(&[header]));
    bytes.extend_from_slice(&sm3(&[body]));
    bytes
}

fn member_code(province: u32) -> String {
    format!("{province:06}")
}

#[cfg(test)]
mod tests;
