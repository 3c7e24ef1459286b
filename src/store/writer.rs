//! The writer: closes a batch with its header, writes and syncs it while the
//! signature is made on another thread, shows it to everyone and answers who
//! waits. Only here is anything acknowledged.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use bytes::Bytes;
use prost::Message;

use super::{
    Committed, Disk, StoreError, StoreObserver,
    chain::{batch_hash, checkpoint_digest, is_signed, signed_bytes},
    checkpoint::{Interval, Tally},
    committer::{OpenBatch, Shared},
    disk::DiskFile,
    effects::{Effects, EntryEffects},
    frame,
    inbox::Answer,
    merkle::Tree,
    reader::Reader,
    segment::{self, FIRST_FRAME, SPARE, SegmentHeader, Segments},
};
use crate::{
    crypto::{Digest32, KeyName, KeyVault, Sealer, VaultError},
    fault,
    model::{Millis, Receipt, record},
};

pub(super) const HEADER_SCHEMA: u32 = 1;

/// Who writes the chain.
#[derive(Debug, Clone)]
pub(super) struct ChainName {
    pub(super) region: u32,
    pub(super) node: String,
    pub(super) epoch: u64,
    pub(super) key_id: String,
}

/// The end of the chain: what the next batch continues.
#[derive(Debug, Clone)]
pub(super) struct ChainEnd {
    /// Of the last batch.
    pub(super) epoch: u64,
    /// 0 before the first batch.
    pub(super) sequence: u64,
    pub(super) hash: Digest32,
    pub(super) committed_at: Millis,
    /// Of the last batch; `None` when it has no entries or there is none.
    pub(super) signature: Option<[u8; 64]>,
}

/// Where the next frame goes.
#[derive(Debug, Clone)]
pub(super) struct WritePlace {
    pub(super) segment: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) offset: u64,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) segments: Arc<Segments>,
    pub(super) reader: Arc<Reader>,
    pub(super) sealer: Arc<dyn Sealer>,
    pub(super) observer: Arc<dyn StoreObserver>,
    pub(super) name: ChainName,
    pub(super) end: ChainEnd,
    /// `None` in a journal without segments.
    pub(super) place: Option<WritePlace>,
    pub(super) tally: Tally,
    pub(super) interval: Interval,
    pub(super) segment_bytes: u64,
    pub(super) notary: Notary,
    pub(super) spares: Spares,
    pub(super) to_indexer: SyncSender<Arc<Effects>>,
}

/// A batch that is on disk, with what its receipts need.
struct Durable {
    tree: Tree,
    header: Bytes,
    signature: [u8; 64],
    effects: Arc<Effects>,
    bytes: usize,
}

impl Writer {
    /// Runs until the committer has gone; then ends the journal with a batch that
    /// carries the last signature. What no checkpoint tells yet is told before.
    pub(super) fn run(mut self, batches: Receiver<OpenBatch>) {
        while let Ok(batch) = batches.recv() {
            self.commit(batch);
            self.shared.inbox.writer_is_free();
        }
        if self.tally.has_news() {
            self.write_empty(true);
        }
        if self.end.signature.is_some() {
            self.write_empty(false);
        }
    }

    fn write_empty(&mut self, checkpoint: bool) {
        if self.shared.health.error().is_none() {
            self.write_or_stop(self.end.committed_at, Vec::new(), Vec::new(), Vec::new(), checkpoint);
        }
    }

    fn commit(&mut self, mut batch: OpenBatch) {
        if let Some(stopped) = self.shared.health.error() {
            return batch.fail(&stopped);
        }
        if !batch.stored.is_empty() {
            let stored = std::mem::take(&mut batch.stored);
            let leaves = std::mem::take(&mut batch.leaves);
            let effects = std::mem::take(&mut batch.effects);
            match self.write_or_stop(batch.committed_at, stored, leaves, effects, false) {
                Some(durable) => {
                    answer(&mut batch, &durable);
                    fault::point(fault::Point::BatchAnswered);
                }
                None => {
                    let stopped = self.shared.health.error();
                    return batch.fail(&stopped.unwrap_or(StoreError::Stopped("the disk failed".into())));
                }
            }
        }
        for (reply, replay) in batch.replays {
            let _ = reply.send(Ok(Answer::Replay(replay)));
        }
    }

    /// Makes a batch durable and shows it. After any failure the store is
    /// stopped: what is on disk is not known until it has been read back. With
    /// `checkpoint` the batch carries one, due or not.
    fn write_or_stop(
        &mut self,
        committed_at: Millis,
        stored: Vec<record::StoredEntry>,
        leaves: Vec<Digest32>,
        effects: Vec<Arc<EntryEffects>>,
        checkpoint: bool,
    ) -> Option<Durable> {
        let started = Instant::now();
        match self.write(committed_at, stored, leaves, effects, checkpoint) {
            Ok(durable) => {
                let entries = durable.effects.entries.len();
                self.shared.overlay.publish(Arc::clone(&durable.effects));
                self.shared.committed_at.store(self.end.committed_at, Ordering::Release);
                self.shared.durable.store(self.end.sequence, Ordering::Release);
                self.observer.batch_committed(entries, durable.bytes, started.elapsed());
                if self.to_indexer.send(Arc::clone(&durable.effects)).is_err() {
                    self.shared.health.stop("the indexer has gone");
                }
                Some(durable)
            }
            Err(error) => {
                self.shared.health.stop(error.to_string());
                None
            }
        }
    }

    fn write(
        &mut self,
        committed_at: Millis,
        stored: Vec<record::StoredEntry>,
        leaves: Vec<Digest32>,
        entries: Vec<Arc<EntryEffects>>,
        checkpoint: bool,
    ) -> io::Result<Durable> {
        let tree = Tree::over(leaves);
        let sequence = self.end.sequence + 1;
        let count = u32::try_from(stored.len()).map_err(io::Error::other)?;
        let checkpoint = self.checkpoint(checkpoint, committed_at);
        let header = record::BatchHeader {
            schema: HEADER_SCHEMA,
            region: self.name.region,
            node: self.name.node.clone(),
            epoch: self.name.epoch,
            sequence,
            previous: self.end.hash.to_vec(),
            root: tree.root().to_vec(),
            count,
            committed_at_ms: committed_at,
            key_id: self.name.key_id.clone(),
            checkpoint_digest: match checkpoint.is_empty() {
                true => Vec::new(),
                false => checkpoint_digest(&checkpoint).to_vec(),
            },
        };
        let needs_signature = is_signed(&header);
        let header = header.encode_to_vec();
        if needs_signature {
            self.notary.ask(&header);
        }
        let previous_signature = self.end.signature.map(|signature| signature.to_vec()).unwrap_or_default();
        let filler = Vec::new();
        let batch = record::Batch { header, entries: stored, previous_signature, checkpoint, filler };
        let frame = frame::encode(sequence, &batch);
        // Before the frame is written: a journal must not hold what nobody can open.
        self.sealer.make_durable().map_err(io::Error::other)?;
        let (segment, offset) = self.append(sequence, &frame)?;
        let signature = if needs_signature { self.notary.answer()? } else { [0; 64] };

        let hash = batch_hash(&batch.header);
        let epoch = self.name.epoch;
        let kept = needs_signature.then_some(signature);
        self.end = ChainEnd { epoch, sequence, hash, committed_at, signature: kept };
        self.reader.head_is(sequence, signature);
        let carries = !batch.checkpoint.is_empty();
        self.tally.head_is(self.name.region, &self.name.node, epoch, sequence, &hash);
        let postings = entries.iter().flat_map(|entry| &entry.postings);
        self.tally.take_up(committed_at, carries, u64::from(count), postings);
        let offset = u32::try_from(offset).map_err(io::Error::other)?;
        let effects = Effects { sequence, hash, segment, offset, committed_at, checkpoint: carries, entries };
        let effects = Arc::new(effects);
        Ok(Durable { tree, header: batch.header.into(), signature, effects, bytes: frame.len() })
    }

    /// The checkpoint that the next batch carries; empty when none is due.
    fn checkpoint(&mut self, now: bool, committed_at: Millis) -> Vec<u8> {
        if !now && !self.tally.is_due(self.interval, committed_at) {
            return Vec::new();
        }
        let head = record::ChainHead {
            region: self.name.region,
            node: self.name.node.clone(),
            epoch: self.end.epoch,
            sequence: self.end.sequence,
            hash: self.end.hash.to_vec(),
        };
        let checkpoint = self.tally.checkpoint(head, self.interval.bytes);
        if checkpoint.is_none() {
            self.tally.put_off(committed_at);
            tracing::warn!("the ledger's totals do not fit a checkpoint: a start will read back further");
        }
        checkpoint.unwrap_or_default()
    }

    /// Writes a frame and syncs it; rolls to the next segment when it does not
    /// fit.
    fn append(&mut self, sequence: u64, frame: &[u8]) -> io::Result<(u64, u64)> {
        let fits = self.place.as_ref().is_some_and(|place| {
            place.file.size().is_ok_and(|size| place.offset + frame.len() as u64 <= size)
        });
        if !fits {
            self.roll(sequence)?;
        }
        let Some(place) = &mut self.place else {
            return Err(io::Error::other("there is no segment"));
        };
        place.file.write_at(place.offset, frame)?;
        fault::point(fault::Point::BatchWritten);
        place.file.sync_data()?;
        fault::point(fault::Point::BatchSynced);
        let at = (place.segment, place.offset);
        place.offset += frame.len() as u64;
        self.shared.room.used(place.offset, self.segment_bytes);
        Ok(at)
    }

    /// Takes the prepared segment. Its name and its header are durable before
    /// anything else is written to it: a frame in a segment without a header is
    /// damage, never a power loss.
    fn roll(&mut self, first: u64) -> io::Result<()> {
        let file = self.spares.take()?;
        let disk = self.segments.disk();
        disk.rename(SPARE, &segment::name(first))?;
        disk.sync_dir()?;
        let before = self.place.as_ref().map_or(0, |place| place.segment);
        let header = SegmentHeader { first, before, previous: self.end.hash, dropped_as_of: 0 };
        file.write_at(0, &header.encode())?;
        file.sync_data()?;
        self.segments.add(first, Arc::clone(&file));
        self.place = Some(WritePlace { segment: first, file, offset: FIRST_FRAME });
        self.spares.prepare_next();
        Ok(())
    }
}

fn answer(batch: &mut OpenBatch, durable: &Durable) {
    for (index, waiting) in std::mem::take(&mut batch.replies).into_iter().enumerate() {
        let receipt = Receipt {
            leaf: durable.tree.leaf(index).unwrap_or_default(),
            path: durable.tree.path(index),
            index: index as u32,
            batch_header: durable.header.clone(),
            signature: durable.signature,
        };
        let committed = Committed {
            entry: waiting.entry,
            detail: waiting.detail,
            parts: waiting.parts,
            receipt,
            replayed: false,
        };
        let _ = waiting.reply.send(Ok(Answer::Done(Box::new(committed))));
    }
}

/// Questions a helper may be behind; its owner has one or two open.
const HELPER_QUEUE: usize = 4;

/// A thread that does one thing after another and is waited for when its owner
/// goes, so that nothing holds the folder after the store is closed.
struct Helper<Q: Send + 'static, A: Send + 'static> {
    asks: Option<SyncSender<Q>>,
    answers: Receiver<A>,
    thread: Option<JoinHandle<()>>,
}

impl<Q: Send + 'static, A: Send + 'static> Helper<Q, A> {
    fn start(name: &str, work: impl Fn(Q) -> A + Send + 'static) -> io::Result<Self> {
        let (asks, asked) = sync_channel::<Q>(HELPER_QUEUE);
        let (answer, answers) = sync_channel(HELPER_QUEUE);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(ask) = asked.recv() {
                if answer.send(work(ask)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Helper { asks: Some(asks), answers, thread: Some(thread) })
    }

    fn ask(&self, ask: Q) {
        // A thread that has gone shows when the answer is fetched.
        let _ = self.asks.as_ref().map(|asks| asks.send(ask));
    }

    fn answer(&self) -> io::Result<A> {
        self.answers.recv().map_err(|_| io::Error::other("a helper thread of the journal has gone"))
    }
}

impl<Q: Send + 'static, A: Send + 'static> Drop for Helper<Q, A> {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Signs headers on a thread of its own, so that the signature costs no time
/// beside the sync.
pub(super) struct Notary(Helper<Vec<u8>, Result<[u8; 64], VaultError>>);

impl Notary {
    pub(super) fn start(vault: Arc<dyn KeyVault>) -> io::Result<Self> {
        let sign = move |bytes: Vec<u8>| vault.sign(KeyName::Journal, &bytes);
        Helper::start("journal-notary", sign).map(Notary)
    }

    fn ask(&self, header: &[u8]) {
        self.0.ask(signed_bytes(header));
    }

    fn answer(&self) -> io::Result<[u8; 64]> {
        self.0.answer()?.map_err(|error| io::Error::other(format!("the batch could not be signed: {error}")))
    }
}

/// Prepares the next segment on a thread of its own, so that rolling does not
/// wait for 64 MiB of zeros.
pub(super) struct Spares {
    helper: Helper<(), io::Result<Arc<dyn DiskFile>>>,
    shared: Arc<Shared>,
}

impl Drop for Spares {
    fn drop(&mut self) {
        // The thread may wait for room, and is waited for.
        self.shared.room.close();
    }
}

impl Spares {
    /// Starts with the first one. While the disk is full it is tried again and
    /// again, until the store is closed.
    pub(super) fn start(disk: Arc<dyn Disk>, bytes: u64, shared: Arc<Shared>) -> io::Result<Self> {
        let retries = Arc::clone(&shared);
        let helper = Helper::start("journal-spare", move |()| {
            loop {
                match disk.create(SPARE, bytes) {
                    Err(error) if is_full(&error) => {
                        // What was made of it takes the room that others need.
                        let _ = disk.remove(SPARE);
                        retries.room.missing(true);
                        if !retries.room.wait() {
                            return Err(error);
                        }
                    }
                    made => {
                        retries.room.missing(false);
                        return made;
                    }
                }
            }
        })?;
        helper.ask(());
        Ok(Spares { helper, shared })
    }

    /// The prepared segment; waits for room on a full disk.
    fn take(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.shared.room.waited_for(true);
        let spare = self.helper.answer()?;
        self.shared.room.waited_for(false);
        spare
    }

    fn prepare_next(&self) {
        self.helper.ask(());
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
