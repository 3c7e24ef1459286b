//! The decision over an upload: taps that a gate took while its line was down, each
//! under the terminal's own sequence, all of them one entry. Pure.
//!
//! * A (terminal, sequence) is taken once, however a repeat cuts its uploads: what was
//!   taken before is answered with what stands in the upload that brought it; another
//!   tap under the same sequence changes nothing.
//! * Taps are decided by the rules of [`tap`](super::tap), one after another in the
//!   order of their sequences, each seeing what those before it left; so cutting a queue
//!   in uploads never changes a charge.
//! * What cannot be granted is a line of its own and stops nobody else.
//! * Every charge stands on its line with the purse that pays it and the operator that
//!   gets it; the entry's postings are their sums.
//! * What is personal of a tap stands in the part of its holder alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::{
    book::FareBook,
    taps::{TapRequest, advance, fares, tap_detail},
};
use crate::model::{
    AggregateKey, Assurance, CorruptAggregate, Decision, Detail, Fen, HolderPart, Millis, Outcome,
    PairwiseHolder, ParticipantId, Posting, Reason, Subject, TransactionId, View, Write,
    record::{
        CardFile, DenyFile, Entry, HolderTaps, TapDetail, TransitFile, UploadBlock, UploadDetail, UploadRun,
        UploadedTap,
    },
};

/// Sequences in one block. Must never change: it says where the blocks are.
const BLOCK: u64 = 128;

/// Bytes that tell a tap from another under the same sequence.
const DIGEST: usize = 8;

/// A tap of an upload.
#[derive(Debug, Clone)]
pub struct NumberedTap {
    pub sequence: u64,
    /// Of the whole tap with its MAC.
    pub digest: [u8; DIGEST],
    /// The tap; or why it is nobody's: its MAC does not fit, its card is in no register.
    pub tap: Result<TapRequest, Reason>,
}

/// An upload whose MACs have been checked.
#[derive(Debug, Clone)]
pub struct UploadRequest {
    /// Ends in 0, see [`TransactionId::as_upload`].
    pub transaction: TransactionId,
    /// Names the terminal of the participant.
    pub terminal: [u8; 16],
    pub operator: ParticipantId,
    /// By ascending sequence.
    pub taps: Vec<NumberedTap>,
}

/// The id of the block that has the sequence of a terminal.
pub fn block_id(terminal: &[u8; 16], sequence: u64) -> [u8; 24] {
    let mut id = [0; 24];
    id[..16].copy_from_slice(terminal);
    id[16..].copy_from_slice(&(sequence / BLOCK).to_be_bytes());
    id
}

/// The aggregates that [`upload`] looks at, each once, and the deny file of every card.
pub fn upload_touches(request: &UploadRequest) -> Vec<AggregateKey> {
    let mut keys = Vec::with_capacity(3 * request.taps.len());
    let mut last_block = None;
    let mut cards = HashSet::with_capacity_and_hasher(request.taps.len(), RandomState::default());
    for one in &request.taps {
        let block = block_id(&request.terminal, one.sequence);
        if last_block != Some(block) {
            keys.push(AggregateKey::of::<UploadBlock>(&block));
            last_block = Some(block);
        }
        if let Ok(tap) = &one.tap
            && cards.insert(tap.card)
        {
            keys.push(AggregateKey::of::<TransitFile>(&tap.card));
            keys.push(AggregateKey::of::<DenyFile>(&tap.card));
            if tap.card_is_ours {
                keys.push(AggregateKey::of::<CardFile>(&tap.card));
            }
        }
    }
    keys
}

/// Decides an upload. The upload itself is always taken; what became of each tap is in
/// its line. A card whose file cannot be read, or says what no file may say, is
/// declined as an error of ours and told to `unreadable`.
///
/// # Errors
/// When what was taken of the terminal before cannot be read.
pub fn upload(
    view: &View,
    request: &UploadRequest,
    committed_at_ms: Millis,
    book: &FareBook,
    unreadable: &mut dyn FnMut(&CorruptAggregate),
) -> Result<Decision, CorruptAggregate> {
    let mut taken = Taken { view, request, blocks: BTreeMap::new() };
    let mut riders = Riders { view, all: Vec::new(), by_subject: HashMap::default() };
    let mut sums: Sums = SmallVec::new();
    let mut lines = Vec::with_capacity(request.taps.len());
    for (place, one) in request.taps.iter().enumerate() {
        let mut line = UploadedTap { sequence: one.sequence, ..UploadedTap::default() };
        match taken.take(place as u32, one)? {
            Before::Another => line.misused = true,
            Before::Same { upload, place } => (line.earlier_upload, line.earlier_place) = (upload, place),
            Before::Nothing => match &one.tap {
                Err(reason) => line.reason = reason.code().to_owned(),
                Ok(tap) => {
                    let (at, rider) = riders.of(tap);
                    line.holder = at + 1;
                    let granted = rider
                        .file(view, tap)
                        .and_then(|file| advance(file, view, tap, committed_at_ms, book))
                        .unwrap_or_else(|corrupt| {
                            unreadable(&corrupt);
                            Err(Reason::Internal)
                        });
                    let charge = match granted {
                        Err(reason) => {
                            line.reason = reason.code().to_owned();
                            None
                        }
                        Ok(due) => due.map(|due| {
                            charge_line(&mut line, tap, &due.operator, due.charge.amount_fen);
                            add(&mut sums, tap.card_province, due.operator, due.charge.amount_fen);
                            due.charge
                        }),
                    };
                    rider.taps.places.push(place as u32);
                    rider.taps.taps.push(tap_detail(tap, charge));
                }
            },
        }
        lines.push(line);
    }
    let mut decision = Decision::new(Outcome::Approved);
    decision.assurance = Some(Assurance::TransitRead);
    decision.detail = Detail::open(&UploadDetail { taps: lines });
    decision.writes = taken.blocks.iter().map(|(id, block)| Write::put(id, block)).collect();
    decision.parts = riders.all.into_iter().map(Rider::part).collect();
    decision.postings = postings(sums);
    Ok(decision)
}

fn charge_line(line: &mut UploadedTap, tap: &TapRequest, operator: &ParticipantId, amount_fen: i64) {
    (line.amount_fen, line.purse) = (amount_fen, tap.card_province);
    if *operator != tap.operator {
        line.operator = operator.as_str().to_owned();
    }
}

/// What each operator gets from the purses of each province.
type Sums = SmallVec<[(u32, ParticipantId, Fen); 4]>;

fn add(sums: &mut Sums, province: u32, operator: ParticipantId, amount_fen: i64) {
    let more = Fen::new(amount_fen);
    match sums.iter_mut().find(|(purse, to, _)| *purse == province && *to == operator) {
        // 128 fares stay far below what a number holds.
        Some((_, _, sum)) => *sum = sum.plus(more).unwrap_or(*sum),
        None => sums.push((province, operator, more)),
    }
}

fn postings(sums: Sums) -> Vec<Posting> {
    sums.into_iter().flat_map(|(province, operator, sum)| fares(province, operator.as_str(), sum)).collect()
}

/// What is known of a sequence.
enum Before {
    Nothing,
    Same { upload: Vec<u8>, place: u32 },
    Another,
}

/// The sequences that were taken, as far as the upload needs them.
struct Taken<'a> {
    view: &'a View,
    request: &'a UploadRequest,
    /// Only those that the upload changes.
    blocks: BTreeMap<[u8; 24], UploadBlock>,
}

impl Taken<'_> {
    /// Takes a sequence for the tap at `place`, when nothing was taken under it.
    fn take(&mut self, place: u32, one: &NumberedTap) -> Result<Before, CorruptAggregate> {
        let id = block_id(&self.request.terminal, one.sequence);
        let mut loaded = None;
        let block = match self.blocks.get_mut(&id) {
            Some(block) => block,
            None => loaded.insert(self.view.get::<UploadBlock>(&id)?.unwrap_or_default()),
        };
        if let Some((run, at)) = run_with(block, one.sequence) {
            let digest = run.digests.get(at * DIGEST..(at + 1) * DIGEST);
            return Ok(match digest == Some(one.digest.as_slice()) {
                true => Before::Same { upload: run.upload.clone(), place: run.place + at as u32 },
                false => Before::Another,
            });
        }
        let upload = self.request.transaction.as_bytes();
        match block.runs.last_mut().filter(|run| run.upload == upload && follows(run, one.sequence, place)) {
            Some(run) => run.digests.extend_from_slice(&one.digest),
            None => block.runs.push(UploadRun {
                first: one.sequence,
                upload: upload.to_vec(),
                place,
                digests: one.digest.to_vec(),
            }),
        }
        if let Some(loaded) = loaded {
            self.blocks.insert(id, loaded);
        }
        Ok(Before::Nothing)
    }
}

fn follows(run: &UploadRun, sequence: u64, place: u32) -> bool {
    let taps = run.digests.len() / DIGEST;
    run.first + taps as u64 == sequence && run.place + taps as u32 == place
}

/// The run that has a sequence, and the sequence's place in it.
fn run_with(block: &UploadBlock, sequence: u64) -> Option<(&UploadRun, usize)> {
    block.runs.iter().find_map(|run| {
        let at = usize::try_from(sequence.checked_sub(run.first)?).ok()?;
        (at < run.digests.len() / DIGEST).then_some((run, at))
    })
}

/// The upload that brought a sequence, and its place there.
pub fn find_in_block(block: &UploadBlock, sequence: u64) -> Option<(TransactionId, u32)> {
    let (run, at) = run_with(block, sequence)?;
    let upload = <[u8; 16]>::try_from(run.upload.as_slice()).ok()?;
    Some((TransactionId::from_bytes(upload), run.place + at as u32))
}

/// The holders of an upload, in the order in which they come first.
struct Riders<'a> {
    view: &'a View,
    all: Vec<Rider>,
    by_subject: HashMap<Subject, usize, RandomState>,
}

/// A holder with what the upload changes for them.
struct Rider {
    subject: Subject,
    pairwise: PairwiseHolder,
    taps: HolderTaps,
    /// Nearly always one card, with the counter it came with.
    cards: SmallVec<[([u8; 16], u32, TransitFile); 1]>,
}

impl Riders<'_> {
    fn of(&mut self, tap: &TapRequest) -> (u32, &mut Rider) {
        debug_assert!(self.view.names(&AggregateKey::of::<TransitFile>(&tap.card)));
        let at = *self.by_subject.entry(tap.subject).or_insert_with(|| {
            self.all.push(Rider {
                subject: tap.subject,
                pairwise: tap.pairwise,
                taps: HolderTaps::default(),
                cards: SmallVec::new(),
            });
            self.all.len() - 1
        });
        (at as u32, &mut self.all[at])
    }
}

impl Rider {
    /// The file of a card as the taps before this one left it.
    fn file(&mut self, view: &View, tap: &TapRequest) -> Result<&mut TransitFile, CorruptAggregate> {
        let at = match self.cards.iter().position(|(card, _, _)| *card == tap.card) {
            Some(at) => at,
            None => {
                let file: TransitFile = view.get(&tap.card)?.unwrap_or_default();
                self.cards.push((tap.card, file.counter, file));
                self.cards.len() - 1
            }
        };
        Ok(&mut self.cards[at].2)
    }

    fn part(self) -> HolderPart {
        // Every change of a file takes a counter.
        let changed = self.cards.iter().filter(|(_, counter, file)| file.counter != *counter);
        HolderPart {
            subject: self.subject,
            pairwise: self.pairwise,
            writes: changed.map(|(card, _, file)| Write::put(card, file)).collect(),
            detail: prost::Message::encode_to_vec(&self.taps).into(),
        }
    }
}

/// One tap of an upload as an entry of its own: what it would have been, had it come
/// alone. `parts` are the details of the upload's holders.
///
/// `None` where the place does not exist or has no answer of its own: the sequence was
/// taken before.
pub fn tap_in_upload(
    upload: &Entry,
    taps: &UploadDetail,
    holder: Option<&HolderTaps>,
    place: u32,
) -> Option<(Entry, TapDetail)> {
    let line = taps.taps.get(place as usize)?;
    if line.misused || !line.earlier_upload.is_empty() {
        return None;
    }
    let id = TransactionId::from_bytes(<[u8; 16]>::try_from(upload.transaction_id.as_slice()).ok()?);
    let about = (line.holder as usize).checked_sub(1).and_then(|at| upload.holders.get(at));
    let outcome = Reason::from_code(&line.reason).map_or(Outcome::Approved, Outcome::Declined);
    let operator = if line.operator.is_empty() { &upload.participant } else { &line.operator };
    let postings = fares(line.purse, operator, Fen::new(line.amount_fen));
    let detail = holder.and_then(|taps| {
        let at = taps.places.iter().position(|at| *at == place)?;
        taps.taps.get(at).cloned()
    });
    let entry = Entry {
        schema: upload.schema,
        transaction_id: id.of_tap(place).as_bytes().to_vec(),
        committed_at_ms: upload.committed_at_ms,
        participant: upload.participant.clone(),
        terminal: upload.terminal.clone(),
        operator_id: upload.operator_id.clone(),
        purpose: upload.purpose,
        request_id: upload.request_id.clone(),
        scene: upload.scene.clone(),
        method: upload.method.clone(),
        status: Decision::new(outcome).status.number(),
        reason: line.reason.clone(),
        subject: about.map(|holder| holder.subject.clone()).unwrap_or_default(),
        pairwise_holder: about.map(|holder| holder.pairwise_holder.clone()).unwrap_or_default(),
        assurance: if about.is_some() { upload.assurance } else { 0 },
        terminal_time_ms: upload.terminal_time_ms,
        trace_id: upload.trace_id.clone(),
        postings: postings
            .into_iter()
            .map(|posting| crate::model::record::Posting {
                account: posting.account,
                amount_fen: posting.amount.get(),
            })
            .collect(),
        detail_schema: upload.detail_schema,
        ..Entry::default()
    };
    Some((entry, detail.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
