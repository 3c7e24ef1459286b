//! `UploadChunk`: numbered taps in, a line for each out.

use std::{collections::HashMap, sync::Arc};

use prost::Message as _;

use super::{
    answer::{answer, transaction_text},
    door::Door,
    parse::Fields,
    transit::{charge, tap_ask},
};
use crate::{
    gateway::{Call, OfflineAsk, Refusal, Uploaded},
    limits,
    model::{Outcome, Reason, TransactionId, record},
    proto::{common::v1::Decision, transit::v1 as wire},
    store::Committed,
};

/// The way of an upload behind the door.
pub(super) async fn upload_chunk(
    door: &Door,
    call: &Arc<Call>,
    upload: wire::UploadChunkRequest,
) -> Result<(wire::UploadChunkResponse, Outcome, bool), Refusal> {
    let (committed, outcome, replayed) = door
        .work(
            call,
            upload,
            |fields, upload| taps(fields, upload.taps),
            |gateway, call, header, ask| async move { gateway.upload_chunk(&call, header, ask).await },
            |committed| Ok(committed.clone()),
        )
        .await?;
    let uploaded = door.gateway().uploaded(committed).await?;
    Ok((told(&uploaded)?, outcome, replayed))
}

pub(super) fn taps(fields: &mut Fields, taps: Vec<wire::OfflineTap>) -> Option<Vec<OfflineAsk>> {
    if taps.is_empty() || taps.len() > limits::CHUNK_TAPS_MAX {
        fields.wrong("taps", "每批须为 1 至 128 笔", "must be 1 to 128 taps");
        return None;
    }
    let mut asks = Vec::with_capacity(taps.len());
    let mut before = 0;
    for (place, one) in taps.into_iter().enumerate() {
        let mut of_tap = Fields::default();
        if !(before + 1..=limits::TAP_SEQUENCE_MAX).contains(&one.sequence) {
            of_tap.wrong(
                "sequence",
                "流水号须为 1 至 2^53 并逐笔递增",
                "must be 1 to 2^53 and greater than that of the tap before",
            );
        }
        before = one.sequence.min(limits::TAP_SEQUENCE_MAX);
        let request = wire::TapRequest { header: None, tap: one.tap };
        let tap = tap_ask(&mut of_tap, request, true);
        match (tap, of_tap.is_clean()) {
            (Some(tap), true) => asks.push(OfflineAsk { sequence: one.sequence, tap }),
            (Some(_) | None, _) => fields.add_under(&format!("taps[{place}]"), of_tap),
        }
    }
    Some(asks)
}

/// An upload and the details of its holders, decoded once.
struct Read<'a> {
    upload: &'a Committed,
    taps: &'a record::UploadDetail,
    details: HashMap<u32, record::TapDetail>,
}

impl<'a> Read<'a> {
    fn of(upload: &'a Committed, taps: &'a record::UploadDetail) -> Result<Self, Refusal> {
        let mut details = HashMap::with_capacity(taps.taps.len());
        for part in upload.parts.iter().flatten() {
            let part = record::HolderTaps::decode(part.clone()).map_err(|_| Refusal::internal())?;
            details.extend(part.places.into_iter().zip(part.taps));
        }
        Ok(Read { upload, taps, details })
    }

    /// The line of the tap at `place`.
    fn line(&self, place: u32, repeated: bool) -> Option<wire::OfflineTapOutcome> {
        let line = self.taps.taps.get(place as usize)?;
        let id = <[u8; 16]>::try_from(self.upload.entry.transaction_id.as_slice()).ok()?;
        let decision = if line.reason.is_empty() { Decision::Approved } else { Decision::Declined };
        Some(wire::OfflineTapOutcome {
            sequence: line.sequence,
            decision: decision.into(),
            reason: line.reason.clone(),
            transaction_id: transaction_text(TransactionId::from_bytes(id).of_tap(place).as_bytes()),
            charge: self.details.get(&place).and_then(|tap| tap.charge.clone()).map(charge),
            repeated,
        })
    }
}

/// What is answered to an upload: first answer and repeats from the same entries.
fn told(uploaded: &Uploaded) -> Result<wire::UploadChunkResponse, Refusal> {
    let here = Read::of(&uploaded.committed, &uploaded.taps)?;
    let mut details = HashMap::with_capacity(uploaded.earlier.len());
    for (id, upload) in &uploaded.earlier {
        let taps = record::UploadDetail::decode(upload.entry.detail.as_slice());
        details.insert(*id, (upload, taps.map_err(|_| Refusal::internal())?));
    }
    let mut earlier = HashMap::with_capacity(details.len());
    for (id, (upload, taps)) in &details {
        earlier.insert(id.as_bytes().as_slice(), Read::of(upload, taps)?);
    }
    let mut outcomes = Vec::with_capacity(uploaded.taps.taps.len());
    for (place, line) in uploaded.taps.taps.iter().enumerate() {
        let outcome = if line.misused {
            Some(wire::OfflineTapOutcome {
                sequence: line.sequence,
                reason: Reason::SequenceMisused.code().to_owned(),
                ..wire::OfflineTapOutcome::default()
            })
        } else if line.earlier_upload.is_empty() {
            here.line(place as u32, false)
        } else {
            let there = earlier.get(line.earlier_upload.as_slice());
            there.and_then(|there| there.line(line.earlier_place, true))
        };
        outcomes.push(outcome.ok_or_else(Refusal::internal)?);
    }
    Ok(wire::UploadChunkResponse { answer: Some(answer(&uploaded.committed)), outcomes })
}
