//! Uploads of numbered taps: every MAC, then all of them in one commit.

use std::collections::{HashMap, hash_map::Entry};

use prost::Message as _;
use quick_cache::sync::Cache;

use super::{Call, Gateway, Header, Refusal, RefusalKind, TapAsk, authentication::suite_refusal};
use crate::{
    crypto::{SuiteError, sm3},
    identity::CardIdentifier,
    limits,
    model::{
        CorruptAggregate, ParticipantId, Reason, Subject, TerminalId, TransactionId,
        record::{ChargeDetail, HolderTaps, UploadBlock, UploadDetail},
    },
    scenes::{
        card::{self, Who},
        transit::{self, NumberedTap, TapRequest, UploadRequest},
    },
    store::Committed,
};

/// A tap with the terminal's number of it.
#[derive(Clone)]
pub struct OfflineAsk {
    pub sequence: u64,
    pub tap: TapAsk,
}

/// What became of an upload.
#[derive(Debug, Clone)]
pub struct Uploaded {
    pub committed: Committed,
    pub taps: UploadDetail,
    /// The earlier uploads that brought taps of this one.
    pub earlier: HashMap<TransactionId, Committed>,
}

/// Holders of cards as the journal and a participant name them, so that a card that
/// comes again is not looked up for it. A card's holder never changes; whether the
/// card may ride is decided from its file.
pub(super) type KnownHolders = Cache<(CardIdentifier, ParticipantId), Who>;

pub(super) fn known_holders() -> KnownHolders {
    Cache::new(limits::HOLDERS_KNOWN_MAX)
}

impl Gateway {
    /// Decides an upload of taps that were taken while the line was down, as one entry.
    /// What cannot be granted is told in its own line.
    ///
    /// # Errors
    /// A purpose the scene does not accept; a store or a vault that fails.
    pub async fn upload_chunk(
        &self,
        call: &Call,
        header: Header,
        taps: Vec<OfflineAsk>,
    ) -> Result<Committed, Refusal> {
        self.live.load().policy.accepts(call.method.scene, header.purpose).map_err(Refusal::forbidden)?;
        let mut ask = self.ask(call, &header);
        let terminal = terminal_name(ask.participant(), ask.terminal());
        // With the terminal's numbers, so that a store of several shards has them in one.
        if let Some(first) = taps.first() {
            let block = transit::block_id(&terminal, first.sequence);
            ask = ask.near(&crate::model::AggregateKey::of::<UploadBlock>(&block));
        }
        ask.transaction = ask.transaction.as_upload();
        let mut numbered = Vec::with_capacity(taps.len());
        for (place, one) in taps.into_iter().enumerate() {
            let digest = digest(&one.tap);
            let tap = self.numbered(ask.transaction.of_tap(place as u32), ask.participant(), one.tap).await?;
            numbered.push(NumberedTap { sequence: one.sequence, digest, tap });
        }
        let mut request = UploadRequest {
            transaction: ask.transaction,
            terminal,
            operator: ask.participant().clone(),
            taps: numbered,
        };
        let touches = transit::upload_touches(&request);
        let live = self.live();
        // The upload's transaction leads to the line; what is the holder's stays out.
        let transaction = ask.transaction;
        let mut unreadable = move |corrupt: &CorruptAggregate| {
            tracing::error!(
                transaction = %transaction,
                kind = ?corrupt.kind,
                "a stored file of a card in an upload cannot be read; its tap was declined"
            );
        };
        self.commit(&ask, touches, move |view, now| {
            for one in &mut request.taps {
                if let Ok(tap) = &mut one.tap
                    && tap.denied.is_none()
                    && let Ok(card) = CardIdentifier::from_bytes(tap.card)
                {
                    match card::denial(view, &card, now) {
                        Ok(denied) => tap.denied = denied,
                        Err(corrupt) => {
                            unreadable(&corrupt);
                            one.tap = Err(Reason::Internal);
                        }
                    }
                }
            }
            transit::upload(view, &request, now, &live.fares, &mut unreadable)
        })
        .await
    }

    /// A tap with what must be known of its card; or why it is nobody's.
    async fn numbered(
        &self,
        transaction: TransactionId,
        operator: &ParticipantId,
        tap: TapAsk,
    ) -> Result<Result<TapRequest, Reason>, Refusal> {
        match self.check_tap_mac(&tap) {
            Ok(()) => {}
            Err(SuiteError::MacWrong) => return Ok(Err(Reason::MacWrong)),
            Err(error) => return Err(suite_refusal(error)),
        }
        let card_is_ours = self.is_ours(&tap.card);
        let who = match self.holder_of(tap.card, card_is_ours, operator).await {
            Ok(who) => who,
            Err(refusal) if refusal.kind == RefusalKind::NotFound => return Ok(Err(refusal.reason)),
            Err(refusal) => return Err(refusal),
        };
        // Whatever it says of itself, it comes after the fact.
        let tap = TapAsk { offline: true, ..tap };
        Ok(Ok(self.tap_request(transaction, operator, tap, who)))
    }

    async fn holder_of(
        &self,
        card: CardIdentifier,
        is_ours: bool,
        operator: &ParticipantId,
    ) -> Result<Who, Refusal> {
        let key = (card, operator.clone());
        if let Some(who) = self.holders.get(&key) {
            return Ok(who);
        }
        let who = match is_ours {
            true => self.known_card(card, operator).await?.who,
            false => self.foreign_card(card, operator)?,
        };
        self.holders.insert(key, who);
        Ok(who)
    }

    /// An upload with the earlier ones that have the answers to its repeats.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn uploaded(&self, committed: Committed) -> Result<Uploaded, Refusal> {
        let taps = upload_detail(&committed)?;
        let mut earlier = HashMap::new();
        for line in taps.taps.iter().filter(|line| !line.earlier_upload.is_empty()) {
            let id = <[u8; 16]>::try_from(line.earlier_upload.as_slice());
            let id = id.map(TransactionId::from_bytes).map_err(|_| Refusal::internal())?;
            if let Entry::Vacant(vacant) = earlier.entry(id) {
                let upload = self.store.steps(id).await?.into_iter().next().ok_or_else(Refusal::internal)?;
                vacant.insert(upload);
            }
        }
        Ok(Uploaded { committed, taps, earlier })
    }

    /// The tap that a terminal uploaded under a sequence.
    pub(super) async fn tap_under(
        &self,
        participant: &ParticipantId,
        terminal: &TerminalId,
        sequence: u64,
    ) -> Result<Option<TransactionId>, Refusal> {
        let block = transit::block_id(&terminal_name(participant, terminal), sequence);
        let block: Option<UploadBlock> = self.peek(&block).await?;
        let found = block.and_then(|block| transit::find_in_block(&block, sequence));
        Ok(found.map(|(upload, place)| upload.of_tap(place)))
    }

    /// The steps of a transaction; a tap of an upload is told as the entry it would
    /// have been alone, with the receipt of the upload.
    pub(super) async fn steps_of(&self, id: TransactionId) -> Result<Vec<Committed>, Refusal> {
        let steps = self.store.steps(id).await?;
        let (true, Some((upload, place))) = (steps.is_empty(), id.tap_of()) else {
            return Ok(steps);
        };
        let Some(upload) = self.store.steps(upload).await?.into_iter().next() else {
            return Ok(Vec::new());
        };
        Ok(one_tap(&upload, place)?.into_iter().collect())
    }
}

/// Names a terminal where its uploads are kept: terminals of two participants may have
/// the same name.
fn terminal_name(participant: &ParticipantId, terminal: &TerminalId) -> [u8; 16] {
    let digest = sm3(&[participant.as_str().as_bytes(), &[0], terminal.as_str().as_bytes()]);
    let mut name = [0; 16];
    name.copy_from_slice(&digest[..16]);
    name
}

/// What tells a tap from another under the same sequence. The card's MAC is part of
/// it, so nobody finds the card by trying.
fn digest(tap: &TapAsk) -> [u8; 8] {
    let digest = sm3(&[tap_record(tap).encode().as_slice(), &tap.mac]);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    first
}

pub(super) fn tap_record(tap: &TapAsk) -> crate::crypto::TapRecord<'_> {
    crate::crypto::TapRecord {
        kind: u8::try_from(tap.side.number()).unwrap_or(0),
        station: &tap.station,
        line: &tap.line,
        tapped_at_ms: tap.tapped_at_ms,
        counter: tap.counter,
        card: *tap.card.as_bytes(),
        valid_until: tap.valid_until,
    }
}

fn upload_detail(upload: &Committed) -> Result<UploadDetail, Refusal> {
    UploadDetail::decode(upload.entry.detail.as_slice()).map_err(|_| Refusal::internal())
}

/// What the part of the holder at `at` tells; nothing of one who was erased.
fn holder_taps(upload: &Committed, at: usize) -> Result<Option<HolderTaps>, Refusal> {
    let part = upload.parts.get(at).cloned().flatten();
    part.map(|part| HolderTaps::decode(part).map_err(|_| Refusal::internal())).transpose()
}

fn one_tap(upload: &Committed, place: u32) -> Result<Option<Committed>, Refusal> {
    if upload.entry.method != super::method::UPLOAD_CHUNK.name {
        return Ok(None);
    }
    let taps = upload_detail(upload)?;
    let holder = taps.taps.get(place as usize).and_then(|line| (line.holder as usize).checked_sub(1));
    let holder = holder.map(|at| holder_taps(upload, at)).transpose()?.flatten();
    let told = transit::tap_in_upload(&upload.entry, &taps, holder.as_ref(), place);
    Ok(told.map(|(entry, detail)| Committed {
        entry: std::sync::Arc::new(entry),
        detail: detail.encode_to_vec().into(),
        parts: Vec::new(),
        ..upload.clone()
    }))
}

/// The rides of a holder that an upload ended, the last tap first, at most `most`.
pub(super) fn rides_in(
    upload: &Committed,
    subject: Subject,
    most: usize,
) -> Result<Vec<(Vec<u8>, ChargeDetail)>, Refusal> {
    let at = upload.entry.holders.iter().position(|holder| holder.subject == subject.as_bytes());
    let Some(taps) = at.map(|at| holder_taps(upload, at)).transpose()?.flatten() else {
        return Ok(Vec::new());
    };
    let id = <[u8; 16]>::try_from(upload.entry.transaction_id.as_slice());
    let id = TransactionId::from_bytes(id.map_err(|_| Refusal::internal())?);
    let rides = taps.places.into_iter().zip(taps.taps).rev();
    let rides = rides.filter_map(|(place, tap)| Some((id.of_tap(place).as_bytes().to_vec(), tap.charge?)));
    Ok(rides.take(most).collect())
}
