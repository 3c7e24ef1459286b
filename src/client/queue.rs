//! Taps taken while the line was down: on disk before the gate opens, uploaded
//! exactly once. "Once" is the gateway's promise for a repeated header; the
//! queue's part is that header and tap are never lost and never made anew.
//!
//! The file is a row of frames: length (u32), CRC-32C (u32) of what follows, a
//! kind byte, the body. Kind 1 is a `TapRequest`; kind 2 the request id of a tap
//! that has its answer. A torn last frame was never acknowledged and is cut off;
//! it is kept beside the queue all the same, because a bad disk looks alike.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use prost::Message;
use tonic::Code;

use super::{CallError, Terminal};
use crate::{
    limits,
    proto::transit::v1::{TapOutcome, TapRequest, UploadTapsRequest, tap_outcome},
};

const FRAME_HEAD_BYTES: usize = 8;
const KIND_TAP: u8 = 1;
const KIND_DONE: u8 = 2;

/// The queue cannot keep or give back a tap.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the queue `{path}` cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the queue `{0}` is in use by another process")]
    InUse(PathBuf),
    #[error("the queue holds {0} taps and takes no more")]
    Full(usize),
    #[error("a tap without a request id cannot be queued")]
    NoRequestId,
    #[error("a tap with this request id is queued already")]
    Duplicate,
}

/// An upload did not come to its end; what is done is marked, the rest stays.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("the gateway answered {answered} of {sent} taps, or in another order")]
    OtherOutcomes { sent: usize, answered: usize },
}

/// A durable queue of taps in one file. Its calls block on the disk for as long
/// as a sync takes.
#[derive(Debug)]
pub struct OfflineQueue {
    path: PathBuf,
    file: File,
    /// In the order they were taken; `None` once answered.
    taps: Vec<Option<TapRequest>>,
    places: HashMap<String, usize>,
}

impl OfflineQueue {
    /// Opens or makes the queue at `path`. What was acknowledged before a crash
    /// is there again.
    ///
    /// # Errors
    /// When the file cannot be read or another process has it.
    pub fn open(path: &Path) -> Result<Self, QueueError> {
        let failed = |source| QueueError::Io { path: path.to_owned(), source };
        let made = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(QueueError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if made {
            sync_folder(path).map_err(failed)?;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let mut queue =
            OfflineQueue { path: path.to_owned(), file, taps: Vec::new(), places: HashMap::new() };
        let sound = queue.replay(&bytes);
        if sound < bytes.len() {
            queue.set_aside(&bytes[sound..])?;
            queue.cut(sound as u64)?;
        }
        Ok(queue)
    }

    /// Keeps a tap. When this returns the tap is on disk and the gate may open.
    ///
    /// # Errors
    /// When the queue is full, the tap has no request id or a queued one, or the
    /// disk fails; then the gate must stay shut.
    pub fn push(&mut self, tap: &TapRequest) -> Result<(), QueueError> {
        let id = tap.header.as_ref().map(|header| header.request_id.as_str()).unwrap_or_default();
        if id.is_empty() {
            return Err(QueueError::NoRequestId);
        }
        if self.places.contains_key(id) {
            return Err(QueueError::Duplicate);
        }
        if self.places.len() >= limits::OFFLINE_TAPS_MAX {
            return Err(QueueError::Full(self.places.len()));
        }
        self.append(&frame(KIND_TAP, &tap.encode_to_vec()))?;
        self.take(id.to_owned(), tap.clone());
        Ok(())
    }

    /// Taps that have no answer yet.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The oldest taps without an answer, at most `most`.
    pub fn pending(&self, most: usize) -> Vec<TapRequest> {
        self.taps.iter().flatten().take(most).cloned().collect()
    }

    /// Marks taps as answered. Marking is allowed to be lost: the tap is then
    /// uploaded again under its old header and the gateway repeats its answer.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn mark<'a>(&mut self, request_ids: impl IntoIterator<Item = &'a str>) -> Result<(), QueueError> {
        let mut frames = Vec::new();
        for id in request_ids {
            if self.forget(id) {
                frames.extend(frame(KIND_DONE, id.as_bytes()));
            }
        }
        if self.places.is_empty() {
            self.taps.clear();
            return self.cut(0);
        }
        self.append(&frames)?;
        if self.taps.len() > 2 * self.places.len() + limits::UPLOAD_TAPS_MAX {
            self.compact()?;
        }
        Ok(())
    }

    /// Writes the queue anew without what is answered, in a file beside it that
    /// then takes its name.
    fn compact(&mut self) -> Result<(), QueueError> {
        let beside = self.path.with_extension("new");
        let kept: Vec<TapRequest> = self.taps.drain(..).flatten().collect();
        let bytes: Vec<u8> = kept.iter().flat_map(|tap| frame(KIND_TAP, &tap.encode_to_vec())).collect();
        self.places.clear();
        for tap in kept {
            let id = tap.header.as_ref().map(|header| header.request_id.clone()).unwrap_or_default();
            self.take(id, tap);
        }
        self.file = (|| {
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&beside)?;
            file.try_lock()?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            fs::rename(&beside, &self.path)?;
            sync_folder(&self.path)?;
            Ok(file)
        })()
        .map_err(|source: io::Error| self.failed(source))?;
        Ok(())
    }

    fn set_aside(&self, bytes: &[u8]) -> Result<(), QueueError> {
        let kept = OpenOptions::new().create(true).append(true).open(self.path.with_extension("torn"));
        kept.and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_data()
        })
        .map_err(|source| self.failed(source))
    }

    fn take(&mut self, id: String, tap: TapRequest) {
        self.places.insert(id, self.taps.len());
        self.taps.push(Some(tap));
    }

    fn forget(&mut self, id: &str) -> bool {
        match self.places.remove(id) {
            Some(place) => {
                self.taps[place] = None;
                true
            }
            None => false,
        }
    }

    /// Takes up what the file says; returns how many of its bytes are sound.
    fn replay(&mut self, bytes: &[u8]) -> usize {
        let mut sound = 0;
        while let Some((kind, body)) = read_frame(&bytes[sound..]) {
            match kind {
                KIND_TAP => {
                    let Ok(tap) = TapRequest::decode(body) else { break };
                    let id = tap.header.as_ref().map(|h| h.request_id.clone()).unwrap_or_default();
                    self.take(id, tap);
                }
                KIND_DONE => {
                    self.forget(&String::from_utf8_lossy(body));
                }
                _ => break,
            }
            sound += FRAME_HEAD_BYTES + 1 + body.len();
        }
        sound
    }

    fn append(&mut self, frames: &[u8]) -> Result<(), QueueError> {
        let start = self.file.seek(SeekFrom::End(0)).map_err(|source| self.failed(source))?;
        let written = self.file.write_all(frames).and_then(|()| self.file.sync_data());
        written.map_err(|source| {
            // Half a frame must not stand before the next one.
            let _ = self.file.set_len(start);
            self.failed(source)
        })
    }

    fn cut(&mut self, length: u64) -> Result<(), QueueError> {
        self.file.set_len(length).and_then(|()| self.file.sync_data()).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> QueueError {
        QueueError::Io { path: self.path.clone(), source }
    }
}

impl Terminal {
    /// Uploads every queued tap, in order, and marks what was answered: approved,
    /// declined and refused alike. A tap that the gateway had no capacity for
    /// stays queued, and the upload ends there.
    ///
    /// # Errors
    /// When a call fails or the queue cannot be written; what was answered
    /// before stays marked.
    pub async fn upload_queue(&self, queue: &mut OfflineQueue) -> Result<Vec<TapOutcome>, UploadError> {
        let mut outcomes = Vec::new();
        while !queue.is_empty() {
            let taps = queue.pending(limits::UPLOAD_TAPS_MAX);
            let answer = self.upload_taps(UploadTapsRequest { taps: taps.clone() }).await?;
            if !belong_together(&taps, &answer.outcomes) {
                return Err(UploadError::OtherOutcomes { sent: taps.len(), answered: answer.outcomes.len() });
            }
            let (done, waiting): (Vec<_>, Vec<_>) = answer.outcomes.into_iter().partition(is_final);
            queue.mark(done.iter().map(|outcome| outcome.request_id.as_str()))?;
            outcomes.extend(done);
            if !waiting.is_empty() {
                outcomes.extend(waiting);
                break;
            }
        }
        Ok(outcomes)
    }
}

fn belong_together(taps: &[TapRequest], outcomes: &[TapOutcome]) -> bool {
    taps.len() == outcomes.len()
        && taps.iter().zip(outcomes).all(|(tap, outcome)| {
            tap.header.as_ref().is_some_and(|header| header.request_id == outcome.request_id)
        })
}

/// Whether sending the tap again would bring nothing new. A gate that is not known
/// at this moment may be again after a mend of the registry; its taps wait.
fn is_final(outcome: &TapOutcome) -> bool {
    match &outcome.result {
        Some(tap_outcome::Result::Tap(_)) => true,
        Some(tap_outcome::Result::Refusal(refusal)) => !matches!(
            Code::from_i32(refusal.code),
            Code::Unavailable
                | Code::ResourceExhausted
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Aborted
                | Code::Internal
                | Code::Unauthenticated
        ),
        None => false,
    }
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 1).expect("a tap is far smaller than 4 GiB");
    let mut out = Vec::with_capacity(FRAME_HEAD_BYTES + 1 + body.len());
    out.extend(length.to_le_bytes());
    out.extend([0; 4]);
    out.push(kind);
    out.extend(body);
    let sum = crc32c::crc32c(&out[FRAME_HEAD_BYTES..]);
    out[4..8].copy_from_slice(&sum.to_le_bytes());
    out
}

/// The first frame of `bytes`, when it is whole and sound.
fn read_frame(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let sum = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    let framed = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES.checked_add(length)?)?;
    if crc32c::crc32c(framed) != sum {
        return None;
    }
    let (kind, body) = framed.split_first()?;
    Some((*kind, body))
}

/// Makes a new file's name durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    fs::File::open(folder)?.sync_all()
}
