//! A proof as a file that a third party can check with nothing but the region's
//! public key. The format is described in docs/journal.md.
//!
//! What does not live here: finding the entries (`offline`), the check of one
//! receipt (`merkle`).

use prost::Message;
use serde::{Deserialize, Serialize};

use super::{BadReceipt, Proof, chain::key_id};
use crate::{
    crypto::{Digest32, Sm2PublicKey},
    model::{Receipt, TransactionId, record},
};

/// What a file of this form says of itself.
pub const PROOF_FORMAT: &str = "onecard/journal/proof/v1";

/// The largest file that is looked at: a few steps of at most 64 KiB each, in
/// hexadecimal.
pub const PROOF_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: String,
    transaction_id: String,
    steps: Vec<WireStep>,
}

/// Bytes are in hexadecimal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStep {
    public_part: String,
    sealed_digest: String,
    index: u32,
    path: Vec<String>,
    batch_header: String,
    signature: String,
}

/// A proof as it was read; nothing in it is believed before [`ProofFile::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    pub transaction: TransactionId,
    /// Oldest first.
    pub steps: Vec<Proof>,
}

/// A step that is proven.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvenStep {
    pub entry: record::Entry,
    pub header: record::BatchHeader,
}

/// A file that has not the form of a proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAProof {
    #[error("it is not JSON of the form onecard/journal/proof/v1: {0}")]
    Form(String),
    #[error("its format is {0:?}, known here is {PROOF_FORMAT:?}")]
    Format(String),
    #[error("the field {0} is not what it should be")]
    Field(&'static str),
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    #[error("it has no step")]
    Empty,
    #[error("step {step}: {reason}")]
    Step { step: usize, reason: BadReceipt },
    #[error("step {step}: its batch is signed with key {needs}, the key that was given is {given}")]
    OtherKey { step: usize, needs: String, given: String },
    #[error("step {step}: the entry cannot be read")]
    Entry { step: usize },
    #[error("step {step}: the entry is of another transaction")]
    OtherTransaction { step: usize },
    #[error("step {step}: the entry has another time of commitment than its batch")]
    OtherTime { step: usize },
    /// Something was cut out of the middle, or put elsewhere.
    #[error("step {found} stands where step {step} belongs: none may be missing from the first on")]
    Order { step: usize, found: u32 },
}

impl ProofFile {
    /// The file's text.
    pub fn to_json(&self) -> String {
        let step = |proof: &Proof| WireStep {
            public_part: hex::encode(&proof.public_part),
            sealed_digest: hex::encode(proof.sealed_digest),
            index: proof.receipt.index,
            path: proof.receipt.path.iter().map(hex::encode).collect(),
            batch_header: hex::encode(&proof.receipt.batch_header),
            signature: hex::encode(proof.receipt.signature),
        };
        let wire = Wire {
            format: PROOF_FORMAT.to_owned(),
            transaction_id: self.transaction.to_string(),
            steps: self.steps.iter().map(step).collect(),
        };
        let mut text = serde_json::to_string_pretty(&wire).expect("strings and numbers");
        text.push('\n');
        text
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// When it has not the form of a proof.
    pub fn parse(text: &str) -> Result<Self, NotAProof> {
        let wire: Wire = serde_json::from_str(text).map_err(|error| NotAProof::Form(error.to_string()))?;
        if wire.format != PROOF_FORMAT {
            return Err(NotAProof::Format(wire.format));
        }
        let transaction = wire.transaction_id.parse().map_err(|_| NotAProof::Field("transaction_id"))?;
        let steps = wire.steps.into_iter().map(WireStep::parse).collect::<Result<_, _>>()?;
        Ok(ProofFile { transaction, steps })
    }

    /// Checks every step with the region's public key alone. None is missing from the
    /// first on; whether others came after the last one, no proof can tell.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self, key: &Sm2PublicKey) -> Result<Vec<ProvenStep>, Forged> {
        let given = key_id(&key.to_bytes());
        let mut proven: Vec<ProvenStep> = Vec::with_capacity(self.steps.len());
        for (step, proof) in self.steps.iter().enumerate() {
            // Before the signature: who took the wrong key should read so.
            if let Ok(header) = record::BatchHeader::decode(proof.receipt.batch_header.clone())
                && header.key_id != given
            {
                return Err(Forged::OtherKey { step, needs: header.key_id, given });
            }
            let header = proof
                .check(&|message, signature| key.verify(message, signature).is_ok())
                .map_err(|reason| Forged::Step { step, reason })?;
            let entry =
                record::Entry::decode(proof.public_part.clone()).map_err(|_| Forged::Entry { step })?;
            if entry.transaction_id != self.transaction.as_bytes() {
                return Err(Forged::OtherTransaction { step });
            }
            if entry.committed_at_ms != header.committed_at_ms {
                return Err(Forged::OtherTime { step });
            }
            if usize::try_from(entry.step) != Ok(step) {
                return Err(Forged::Order { step, found: entry.step });
            }
            proven.push(ProvenStep { entry, header });
        }
        if proven.is_empty() { Err(Forged::Empty) } else { Ok(proven) }
    }
}

impl WireStep {
    fn parse(self) -> Result<Proof, NotAProof> {
        let path = self.path.iter().map(|hash| digest(hash, "path")).collect::<Result<Vec<_>, _>>()?;
        let public_part = bytes(&self.public_part, "public_part")?;
        let sealed_digest = digest(&self.sealed_digest, "sealed_digest")?;
        let receipt = Receipt {
            leaf: super::chain::leaf_of_digests(&crate::crypto::sm3(&[&public_part]), &sealed_digest),
            path,
            index: self.index,
            batch_header: bytes(&self.batch_header, "batch_header")?.into(),
            signature: bytes(&self.signature, "signature")?
                .try_into()
                .map_err(|_| NotAProof::Field("signature"))?,
        };
        Ok(Proof { public_part: public_part.into(), sealed_digest, receipt })
    }
}

fn bytes(text: &str, field: &'static str) -> Result<Vec<u8>, NotAProof> {
    hex::decode(text).map_err(|_| NotAProof::Field(field))
}

fn digest(text: &str, field: &'static str) -> Result<Digest32, NotAProof> {
    bytes(text, field)?.try_into().map_err(|_| NotAProof::Field(field))
}
