//! An entry as a JSON line: its public part without what only the region may see,
//! the sealed part as a hash.

use std::{collections::HashSet, io, path::Path};

use jiff::{Timestamp, tz::Offset};
use serde_json::{Value, json};

use crate::{
    crypto::{ERASED, read_erased, sm3},
    model::{Millis, RequestId, Status, Subject, TransactionId},
    store::OfflineEntry,
};

/// The entry as one JSON object. The holder within the region, the ids of
/// aggregates and bodies are left out: participants' records would meet at them.
pub(super) fn json(read: &OfflineEntry, erased: &Erased) -> Value {
    let (entry, header) = (&read.entry, &read.batch.header);
    let hash = |bytes: &[u8]| (!bytes.is_empty()).then(|| hex::encode(sm3(&[bytes])));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "batch": header.sequence,
        "index": read.index,
        "epoch": header.epoch,
        "committed_at": instant(entry.committed_at_ms),
        "transaction_id": transaction(read),
        "step": entry.step,
        "status": status(read),
        "reason": text(&entry.reason),
        "scene": entry.scene,
        "method": entry.method,
        "participant": entry.participant,
        "terminal": entry.terminal,
        "operator": text(&entry.operator_id),
        "purpose": entry.purpose,
        "assurance": entry.assurance,
        "pairwise_holder": text(&hex::encode(&entry.pairwise_holder)),
        "terminal_time": (entry.terminal_time_ms != 0).then(|| instant(entry.terminal_time_ms)),
        "request_id": <[u8; 16]>::try_from(entry.request_id.as_slice()).ok()
            .map(|id| RequestId::from_bytes(id).to_string()),
        "fingerprint": text(&hex::encode(&entry.fingerprint)),
        "postings": entry.postings.iter()
            .map(|posting| json!({ "account": posting.account, "amount_fen": posting.amount_fen }))
            .collect::<Vec<_>>(),
        "tasks": entry.tasks.iter()
            .map(|task| json!({ "kind": task.kind, "due_at": instant(task.due_at_ms), "done": task.done }))
            .collect::<Vec<_>>(),
        "writes": entry.writes.iter()
            .map(|write| json!({ "kind": write.kind, "revision": write.revision, "deleted": write.deleted }))
            .collect::<Vec<_>>(),
        "detail_sm3": hash(&entry.detail),
        "sealed_sm3": read.sealed_digest.map(hex::encode),
        "sealed": erased.sealed_part_of(read),
        "leaf": hex::encode(read.leaf),
        "batch_hash": hex::encode(read.batch.hash),
    })
}

/// Who was erased, of a journal whose store is there.
#[derive(Debug, Default)]
pub(super) struct Erased(HashSet<Subject>);

impl Erased {
    /// The list in the store to whose journal `dir` belongs; of a journal alone nobody
    /// is known to be erased.
    pub(super) fn beside(dir: &Path) -> io::Result<Self> {
        let store = dir.parent().unwrap_or(Path::new(".."));
        read_erased(&store.join("holder-keys").join(ERASED)).map(Erased)
    }

    /// What has become of the sealed part: `dropped` after its scene's term, `erased`
    /// with its holder's key.
    fn sealed_part_of(&self, read: &OfflineEntry) -> Option<&'static str> {
        read.sealed_digest?;
        let subject = Subject::from_slice(&read.entry.subject);
        Some(match subject.is_ok_and(|subject| self.0.contains(&subject)) {
            _ if read.sealed_bytes == 0 => "dropped",
            true => "erased",
            false => "kept",
        })
    }
}

/// The entry as people read it in a terminal.
pub(super) fn words(read: &OfflineEntry) -> String {
    let entry = &read.entry;
    let mut line = format!(
        "{} {:>8} {} #{} {:<9} {}.{} {} {}",
        local(entry.committed_at_ms),
        read.batch.header.sequence,
        transaction(read),
        entry.step,
        status(read),
        entry.scene,
        entry.method,
        entry.participant,
        entry.terminal,
    );
    if !entry.reason.is_empty() {
        line.push_str(&format!(" {}", entry.reason));
    }
    for posting in &entry.postings {
        line.push_str(&format!(" {}:{:+}", posting.account, posting.amount_fen));
    }
    line
}

pub(super) fn transaction(read: &OfflineEntry) -> String {
    match <[u8; 16]>::try_from(read.entry.transaction_id.as_slice()) {
        Ok(id) => TransactionId::from_bytes(id).to_string(),
        Err(_) => hex::encode(&read.entry.transaction_id),
    }
}

pub(super) fn status(read: &OfflineEntry) -> String {
    Status::from_number(read.entry.status)
        .map_or_else(|| read.entry.status.to_string(), |status| status.name().to_owned())
}

/// The instant in UTC.
pub(in crate::cli) fn instant(at_ms: Millis) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

/// The instant on Shanghai time.
pub(super) fn local(at_ms: Millis) -> String {
    let Ok(at) = Timestamp::from_millisecond(at_ms) else { return at_ms.to_string() };
    Offset::constant(8).to_datetime(at).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
