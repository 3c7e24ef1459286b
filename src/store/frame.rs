//! A frame: how one batch lies in a segment. Magic, length, sequence and CRC-32C
//! stand before the encoded batch; zeros fill up to the next multiple of 512.
//!
//! Frames begin on disk sectors, so that writing one never touches the sector of
//! a frame that was acknowledged before. Sectors of 512 rather than pages of
//! 4,096 bytes: at a quiet site a batch is one entry of some 700 bytes, and the
//! journal would be five times its size.

use std::io;

use prost::Message;

use super::disk::DiskFile;
use crate::{limits, model::record};

/// Frames begin at multiples of this.
pub(super) const ALIGN: u64 = 512;

const MAGIC: [u8; 4] = *b"OCB1";

/// magic 4 ‖ length 4 ‖ sequence 8 ‖ CRC-32C 4, numbers little endian; the
/// checksum covers length, sequence and body.
pub(super) const HEADER: usize = 20;

/// No whole frame is larger: entries, their framing, header and signature, a
/// checkpoint.
const BODY_MAX: usize = limits::BATCH_BYTES_MAX
    + limits::ENTRY_BYTES_MAX
    + 64 * limits::BATCH_ENTRIES_MAX
    + limits::CHECKPOINT_BYTES_MAX;

/// Encodes a batch with its frame, filled up to a multiple of [`ALIGN`].
pub(super) fn encode(sequence: u64, batch: &record::Batch) -> Vec<u8> {
    let body = batch.encoded_len();
    assert!(body <= BODY_MAX, "the committer closes a batch before it outgrows a frame");
    let mut frame = Vec::with_capacity((HEADER + body).next_multiple_of(ALIGN as usize));
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&(body as u32).to_le_bytes());
    frame.extend_from_slice(&sequence.to_le_bytes());
    frame.extend_from_slice(&[0; 4]);
    batch.encode(&mut frame).expect("a Vec grows as needed");
    let crc = checksum(&frame[4..16], &frame[HEADER..]);
    frame[16..HEADER].copy_from_slice(&crc.to_le_bytes());
    frame.resize(frame.len().next_multiple_of(ALIGN as usize), 0);
    frame
}

/// Encodes a batch that was made smaller so that its frame takes `room` bytes as
/// before; `None` when it does not fit.
pub(super) fn encode_in(sequence: u64, batch: &mut record::Batch, room: u64) -> Option<Vec<u8>> {
    batch.filler.clear();
    // The shortest body of a frame of that size. What names the filler and its length
    // is some bytes more, within the last sector.
    let shortest = usize::try_from(room.checked_sub(ALIGN)?).ok()?.saturating_sub(HEADER) + 1;
    batch.filler = vec![0; shortest.saturating_sub(batch.encoded_len())];
    let frame = encode(sequence, batch);
    (frame.len() as u64 == room).then_some(frame)
}

/// How many bytes a frame around a body of `body` bytes takes.
pub(super) fn size_around(body: usize) -> u64 {
    ((HEADER + body) as u64).next_multiple_of(ALIGN)
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), body)
}

/// What lies at a place of a segment.
#[derive(Debug)]
pub(super) enum Found {
    Frame(Frame),
    /// The sector is zeros or the segment ends: no frame was written here.
    Nothing,
    /// Something that is not a whole frame.
    Bad(&'static str),
}

/// A whole frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) sequence: u64,
    pub(super) body: Vec<u8>,
    /// Where the next frame may begin.
    pub(super) next: u64,
}

/// Reads what lies at `offset` of a file that is `size` bytes long.
pub(super) fn read(file: &dyn DiskFile, offset: u64, size: u64) -> io::Result<Found> {
    let mut sector = [0; ALIGN as usize];
    if offset + ALIGN > size {
        return Ok(Found::Nothing);
    }
    file.read_at(offset, &mut sector)?;
    if sector.iter().all(|byte| *byte == 0) {
        return Ok(Found::Nothing);
    }
    let (head, _) = sector.split_at(HEADER);
    if head[..4] != MAGIC {
        return Ok(Found::Bad("no frame begins here"));
    }
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
    let end = offset + size_around(length);
    if length == 0 || length > BODY_MAX || end > size {
        return Ok(Found::Bad("the frame's length is not possible"));
    }
    let mut whole = vec![0; size_around(length) as usize];
    file.read_at(offset, &mut whole)?;
    let crc = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
    if checksum(&whole[4..16], &whole[HEADER..HEADER + length]) != crc {
        return Ok(Found::Bad("the frame's checksum does not fit"));
    }
    if whole[HEADER + length..].iter().any(|byte| *byte != 0) {
        return Ok(Found::Bad("the frame's filling is not zeros"));
    }
    let mut sequence = [0; 8];
    sequence.copy_from_slice(&head[8..16]);
    whole.truncate(HEADER + length);
    whole.drain(..HEADER);
    Ok(Found::Frame(Frame { sequence: u64::from_le_bytes(sequence), body: whole, next: end }))
}

/// The first whole frame at or after `offset`, where there is one.
pub(super) fn find_after(
    file: &dyn DiskFile,
    mut offset: u64,
    size: u64,
) -> io::Result<Option<(u64, Frame)>> {
    while let Some(at) = first_non_zero(file, offset, size)? {
        offset = at - at % ALIGN;
        if let Found::Frame(frame) = read(file, offset, size)? {
            return Ok(Some((offset, frame)));
        }
        offset += ALIGN;
    }
    Ok(None)
}

/// The first byte at or after `offset` that is not zero.
pub(super) fn first_non_zero(file: &dyn DiskFile, mut offset: u64, size: u64) -> io::Result<Option<u64>> {
    let mut piece = vec![0; 1 << 18];
    while offset < size {
        let length = usize::try_from(size - offset).unwrap_or(usize::MAX).min(piece.len());
        file.read_at(offset, &mut piece[..length])?;
        if let Some(at) = piece[..length].iter().position(|byte| *byte != 0) {
            return Ok(Some(offset + at as u64));
        }
        offset += length as u64;
    }
    Ok(None)
}
