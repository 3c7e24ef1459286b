//! What a decision leaves behind.

use bytes::Bytes;
use prost::Message;

use super::{AggregateBody, AggregateKey, Assurance, Fen, Outcome, PairwiseHolder, Status, Subject, Task};

/// One side of a double entry: debit positive, credit negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// Account path, for example `participant/bj-metro/fares`.
    pub account: String,
    pub amount: Fen,
}

/// A change to one aggregate. The store gives the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub key: AggregateKey,
    pub schema: u32,
    /// `None` deletes.
    pub body: Option<Bytes>,
}

impl Write {
    pub fn put<T: AggregateBody>(id: &[u8], body: &T) -> Self {
        Write { key: AggregateKey::of::<T>(id), schema: T::SCHEMA, body: Some(body.encode_to_vec().into()) }
    }

    pub fn delete<T: AggregateBody>(id: &[u8]) -> Self {
        Write { key: AggregateKey::of::<T>(id), schema: T::SCHEMA, body: None }
    }
}

/// The scene's own record of a step, encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    pub schema: u32,
    pub bytes: Bytes,
    /// Personal detail is sealed under the subject's key.
    pub personal: bool,
}

impl Detail {
    pub fn personal(message: &impl Message) -> Self {
        Detail { schema: 1, bytes: message.encode_to_vec().into(), personal: true }
    }

    pub fn open(message: &impl Message) -> Self {
        Detail { schema: 1, bytes: message.encode_to_vec().into(), personal: false }
    }
}

/// A record of the journal from its bytes; `None` when they are none.
pub fn decoded<T: Message + Default>(bytes: &[u8]) -> Option<T> {
    T::decode(bytes).ok()
}

/// What of an entry about several holders is about one of them: sealed under the key
/// of that holder alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderPart {
    pub subject: Subject,
    pub pairwise: PairwiseHolder,
    /// The scene's record of it, encoded.
    pub detail: Bytes,
    /// Personal aggregates of this holder.
    pub writes: Vec<Write>,
}

/// What `decide` says: the outcome and everything that becomes true with it, in
/// one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub outcome: Outcome,
    pub status: Status,
    pub assurance: Option<Assurance>,
    /// Whom the entry is about; needed when anything in it is personal.
    pub subject: Option<Subject>,
    pub pairwise: Option<PairwiseHolder>,
    pub detail: Detail,
    pub writes: Vec<Write>,
    pub postings: Vec<Posting>,
    /// The step of the same transaction whose postings these correct.
    pub corrects: Option<u32>,
    pub tasks: Vec<Task>,
    /// For an entry about several holders; then `subject` is `None`, `detail` is open
    /// and `writes` holds what is not personal. Each holder once.
    pub parts: Vec<HolderPart>,
}

impl Decision {
    /// A decision with this outcome that changes nothing else yet. The status
    /// follows from the outcome.
    pub fn new(outcome: Outcome) -> Self {
        let status = match outcome {
            Outcome::Approved => Status::Completed,
            Outcome::Declined(_) => Status::Declined,
            Outcome::Pending => Status::Pending,
        };
        Decision {
            outcome,
            status,
            assurance: None,
            subject: None,
            pairwise: None,
            detail: Detail::default(),
            writes: Vec::new(),
            postings: Vec::new(),
            corrects: None,
            tasks: Vec::new(),
            parts: Vec::new(),
        }
    }
}

/// Proof that an entry stands in the journal; see `onecard.common.v1.Receipt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub leaf: [u8; 32],
    pub path: Vec<[u8; 32]>,
    pub index: u32,
    /// Encoded `record::BatchHeader`, exactly as signed.
    pub batch_header: Bytes,
    /// r ‖ s.
    pub signature: [u8; 64],
}
