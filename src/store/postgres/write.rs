//! The second half of a batch: entries are sealed, hashed and signed, and
//! everything is written in one transaction. From here on a lost connection
//! leaves open what became of it.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use prost::Message as _;

use super::{
    decide::Decided,
    job::{Answer, Reply},
    keys::Keys,
    line::{Line, Trouble},
    rows::{Place, requests},
    sql,
    value::{Day, Value},
};
use crate::{
    crypto::{Digest32, KeyName, KeyVault},
    identity::business_date,
    model::{Millis, Receipt, Rng, record},
    store::{
        Committed, StoreError, Tree,
        chain::{batch_hash, leaf_hash, signed_bytes},
        draft::{Made, stored_size},
        effects::{ClaimKey, corrupt},
        writer::HEADER_SCHEMA,
    },
};

/// Who writes, and where the chain stands.
pub(super) struct Chain<'a> {
    pub(super) shard: i32,
    pub(super) name: &'a str,
    pub(super) region: u32,
    pub(super) key_id: &'a str,
    pub(super) epoch: i64,
    /// Of the batch that is written now.
    pub(super) sequence: u64,
    pub(super) previous: Digest32,
    pub(super) committed_at: Millis,
    pub(super) shards: u16,
}

/// What a batch needs besides the database.
pub(super) struct Tools {
    pub(super) vault: Arc<dyn KeyVault>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) keys: Arc<Keys>,
}

/// A batch that is ready to be written.
pub(super) struct Sealed {
    pub(super) made: Vec<Made>,
    tree: Tree,
    header: Vec<u8>,
    pub(super) hash: Digest32,
    /// Made before the commit is sent.
    signature: OnceLock<[u8; 64]>,
}

impl Sealed {
    pub(super) fn bytes(&self) -> usize {
        self.made.iter().map(|made| stored_size(&made.stored)).sum()
    }
}

/// Why a batch could not be sealed. The database knows nothing of it yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSealed {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error(transparent)]
    Data(#[from] StoreError),
}

/// Seals what was decided and closes the batch with its header.
pub(super) async fn seal(
    decided: &mut Decided,
    chain: &Chain<'_>,
    tools: &Tools,
) -> Result<Sealed, NotSealed> {
    let subjects: BTreeSet<_> = decided.settled.iter().flat_map(|settled| settled.sealed_for()).collect();
    let sealer = tools.keys.ready(&subjects, true).await?;
    let settled = std::mem::take(&mut decided.settled);
    let made = settled.into_iter().map(|settled| settled.seal(&*sealer, &*tools.rng));
    let made = made.collect::<Result<Vec<_>, _>>()?;
    // Before anything is committed: a journal must not hold what nobody can open.
    sealer.make_durable().map_err(|error| corrupt(error.to_string()))?;
    let leaves = made.iter().map(|made| leaf_hash(&made.stored.public_part, &made.stored.sealed_part));
    let tree = Tree::over(leaves.collect());
    let header = record::BatchHeader {
        schema: HEADER_SCHEMA,
        region: chain.region,
        node: chain.name.to_owned(),
        epoch: u64::try_from(chain.epoch).unwrap_or(0),
        sequence: chain.sequence,
        previous: chain.previous.to_vec(),
        root: tree.root().to_vec(),
        count: u32::try_from(made.len()).unwrap_or(u32::MAX),
        committed_at_ms: chain.committed_at,
        key_id: chain.key_id.to_owned(),
        checkpoint_digest: Vec::new(),
    }
    .encode_to_vec();
    let hash = batch_hash(&header);
    Ok(Sealed { made, tree, header, hash, signature: OnceLock::new() })
}

/// What else becomes of what was locked: claims without an entry go, those of later
/// steps get their number, places that stay empty go.
pub(super) struct Rest {
    pub(super) claims: Vec<(i32, ClaimKey)>,
    /// Claims of later steps with their number.
    pub(super) later: Vec<(i32, ClaimKey, u32)>,
    pub(super) places: BTreeSet<(i32, Vec<u8>)>,
}

/// Writes a batch and commits. The signature is made while the database writes.
pub(super) async fn write(
    line: &Line,
    chain: &Chain<'_>,
    sealed: &Sealed,
    unused: &Rest,
    tools: &Tools,
) -> Result<(), NotWritten> {
    let signing = {
        let (vault, bytes) = (Arc::clone(&tools.vault), signed_bytes(&sealed.header));
        tokio::task::spawn_blocking(move || vault.sign(KeyName::Journal, &bytes))
    };
    let day = business_date(chain.committed_at);
    let place = Place {
        chain: chain.name,
        epoch: chain.epoch,
        sequence: chain.sequence,
        batch_shard: chain.shard,
        committed_at: chain.committed_at,
        day: Day::of(day).0,
    };
    let mut pipeline = line.pipeline();
    for request in requests(&sealed.made, &place, chain.shards) {
        pipeline.send(request).await?;
    }
    for (shard, key) in &unused.claims {
        let keys = Value::ManyBytes(vec![key.to_vec()]);
        pipeline.send(sql::DROP_CLAIMS.on(*shard, [keys])).await?;
    }
    for (shard, key, step) in &unused.later {
        let number = [Value::from(key.as_slice()), Value::step(*step)];
        pipeline.send(sql::NUMBER_CLAIM.on(*shard, number)).await?;
    }
    for (shard, key) in &unused.places {
        let keys = Value::ManyBytes(vec![key.clone()]);
        pipeline.send(sql::DROP_AGGREGATES.on(*shard, [keys])).await?;
    }
    if !sealed.made.is_empty() {
        let signed = pipeline.meanwhile(signing).await.map_err(|_| NotWritten::Unsigned)?;
        let signed = signed.map_err(|_| NotWritten::Unsigned)?;
        let signature = *sealed.signature.get_or_init(|| signed);
        for request in close(chain, sealed, &signature) {
            pipeline.send(request).await?;
        }
    }
    pipeline.say("COMMIT");
    pipeline.finish().await?;
    Ok(())
}

/// Why a batch was not written, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// Nothing was committed: the signature comes first.
    #[error("the batch could not be signed")]
    Unsigned,
}

/// The batch's own row, and the chain's new head.
fn close(chain: &Chain<'_>, sealed: &Sealed, signature: &[u8; 64]) -> [sql::Request; 2] {
    let leaves: Vec<u8> = (0..sealed.made.len()).filter_map(|at| sealed.tree.leaf(at)).flatten().collect();
    let batch = sql::ADD_BATCH.on(
        chain.shard,
        [
            Value::from(chain.name),
            Value::Big(chain.epoch),
            Value::count(chain.sequence),
            Value::Int(i32::try_from(sealed.made.len()).unwrap_or(i32::MAX)),
            Value::At(chain.committed_at),
            Value::from(sealed.header.as_slice()),
            Value::Bytes(leaves.into()),
            Value::from(signature.as_slice()),
        ],
    );
    let head = sql::MOVE_HEAD.on(
        chain.shard,
        [
            Value::from(chain.name),
            Value::count(chain.sequence),
            Value::from(sealed.hash.as_slice()),
            Value::Big(chain.committed_at),
        ],
    );
    [batch, head]
}

/// Answers everyone who waits for a batch that is committed.
pub(super) fn answer(decided: Decided, sealed: Sealed) {
    let signature = sealed.signature.get().copied().unwrap_or([0; 64]);
    let header = Bytes::from(sealed.header);
    for (index, (reply, made)) in decided.waiting.into_iter().zip(sealed.made).enumerate() {
        let receipt = Receipt {
            leaf: sealed.tree.leaf(index).unwrap_or_default(),
            path: sealed.tree.path(index),
            index: index as u32,
            batch_header: header.clone(),
            signature,
        };
        let entry = Arc::new(made.entry);
        let committed = Committed { entry, detail: made.detail, parts: made.parts, receipt, replayed: false };
        let _ = reply.send(Ok(Answer::Done(Box::new(committed))));
    }
    for (reply, answer) in decided.after {
        let _ = reply.send(answer);
    }
}

/// Tells everyone who waits that nothing was committed, or that it is not known.
/// What is an error of a unit stays one.
pub(super) fn fail(decided: Decided, error: &StoreError) {
    let send = |reply: Reply, answer| {
        // Who has gone away asks again under the same request id.
        let _ = reply.send(answer);
    };
    decided.waiting.into_iter().for_each(|reply| send(reply, Err(error.clone())));
    for (reply, answer) in decided.after {
        send(reply, answer.and(Err(error.clone())));
    }
}
