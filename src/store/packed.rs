//! A packed segment: closed, compressed in pieces, read at any place. It is read as
//! the segment it was; nothing can be written to it.
//!
//! Form, numbers little endian: magic 8 ‖ bytes of the segment 8 ‖ pieces 4, then a
//! line a piece (offset 8 ‖ length 4 ‖ CRC-32C of what is stored 4), CRC-32C of all
//! that 4, then the pieces: LZ4 blocks of 64 KiB each, the last one shorter.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    sync::{Mutex, PoisonError},
};

use super::disk::DiskFile;

/// What is appended to a segment's name.
pub(super) const SUFFIX: &str = ".pak";

const MAGIC: [u8; 8] = *b"OCPAK1\0\0";
const HEAD: usize = 20;
const LINE: usize = 16;
const PIECE: usize = 64 * 1024;

/// No segment has more: 4 GiB.
const PIECES_MAX: usize = (1 << 32) / PIECE;

/// Packs `bytes` of a segment.
pub(super) fn pack(segment: &dyn DiskFile, to: &mut File) -> io::Result<()> {
    let size = segment.size()?;
    let pieces = usize::try_from(size.div_ceil(PIECE as u64)).map_err(io::Error::other)?;
    if pieces > PIECES_MAX {
        return Err(io::Error::other("a segment of more than 4 GiB"));
    }
    let mut table = Vec::with_capacity(HEAD + pieces * LINE + 4);
    table.extend_from_slice(&MAGIC);
    table.extend_from_slice(&size.to_le_bytes());
    table.extend_from_slice(&(pieces as u32).to_le_bytes());
    let mut offset = (HEAD + pieces * LINE + 4) as u64;
    let mut piece = vec![0; PIECE];
    for number in 0..pieces {
        let from = (number * PIECE) as u64;
        let length = piece_length(size, number);
        segment.read_at(from, &mut piece[..length])?;
        let packed = lz4_flex::block::compress(&piece[..length]);
        to.write_all_at(&packed, offset)?;
        table.extend_from_slice(&offset.to_le_bytes());
        table.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        table.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        offset += packed.len() as u64;
    }
    table.extend_from_slice(&crc32c::crc32c(&table).to_le_bytes());
    to.write_all(&table)
}

fn piece_length(size: u64, number: usize) -> usize {
    usize::try_from(size - (number * PIECE) as u64).unwrap_or(PIECE).min(PIECE)
}

/// A packed segment, open.
#[derive(Debug)]
pub(super) struct PackedFile {
    file: File,
    size: u64,
    pieces: Vec<Piece>,
    /// The piece that was read last: a walk reads one after another.
    last: Mutex<Option<(usize, Vec<u8>)>>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    offset: u64,
    length: u32,
    crc: u32,
}

impl PackedFile {
    pub(super) fn open(file: File) -> io::Result<Self> {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        let (size, count) = (number(&head[8..16]), number(&head[16..20]) as usize);
        if head[..8] != MAGIC || count > PIECES_MAX || size.div_ceil(PIECE as u64) != count as u64 {
            return Err(bad("no packed segment"));
        }
        let mut table = vec![0; HEAD + count * LINE + 4];
        file.read_exact_at(&mut table, 0)?;
        let (table, crc) = table.split_at(HEAD + count * LINE);
        if u64::from(crc32c::crc32c(table)) != number(crc) {
            return Err(bad("the table of a packed segment is damaged"));
        }
        let line = |line: &[u8]| Piece {
            offset: number(&line[..8]),
            length: number(&line[8..12]) as u32,
            crc: number(&line[12..16]) as u32,
        };
        let pieces = table[HEAD..].chunks_exact(LINE).map(line).collect();
        Ok(PackedFile { file, size, pieces, last: Mutex::default() })
    }

    fn piece(&self, number: usize) -> io::Result<Vec<u8>> {
        let piece = self.pieces.get(number).ok_or(io::ErrorKind::UnexpectedEof)?;
        if piece.length as usize > lz4_flex::block::get_maximum_output_size(PIECE) {
            return Err(bad("a packed piece cannot be so long"));
        }
        let mut packed = vec![0; piece.length as usize];
        self.file.read_exact_at(&mut packed, piece.offset)?;
        if crc32c::crc32c(&packed) != piece.crc {
            return Err(bad("a packed piece is damaged"));
        }
        let mut bytes = vec![0; piece_length(self.size, number)];
        match lz4_flex::block::decompress_into(&packed, &mut bytes) {
            Ok(length) if length == bytes.len() => Ok(bytes),
            Ok(_) | Err(_) => Err(bad("a packed piece is damaged")),
        }
    }
}

impl DiskFile for PackedFile {
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        if offset + bytes.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        while done < bytes.len() {
            let at = offset + done as u64;
            let number = usize::try_from(at / PIECE as u64).map_err(io::Error::other)?;
            if last.as_ref().is_none_or(|(kept, _)| *kept != number) {
                *last = Some((number, self.piece(number)?));
            }
            let Some((_, piece)) = last.as_ref() else { continue };
            let from = usize::try_from(at % PIECE as u64).map_err(io::Error::other)?;
            let take = (piece.len() - from).min(bytes.len() - done);
            bytes[done..done + take].copy_from_slice(&piece[from..from + take]);
            done += take;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
