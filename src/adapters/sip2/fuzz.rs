//! What a library may send, under a fuzzer: any bytes in any pieces.

use super::{
    Charset, map,
    wire::{
        date,
        frame::{ErrorDetection, Frame},
        response::Response,
        splitter::Splitter,
    },
};
use crate::{
    model::{Millis, fuzz},
    scenes::library::LibraryAct,
};

/// Without a trailer, so that an edit does not end at the checksum.
const SEEDS: [&str; 9] = [
    "941",
    "98YYYYYY00500320240927    1015002.00AOLIB|AMLibrary|BXYYYYYYYYYYYYYYYY|AFhello|AF again|",
    "24              00120240927    101500AEName|AAX1|BLY|CQY|BV12.50|AFok|",
    "64              00120240927    101500000100020003000400050006AOLIB|AAX1|AEName|ASitem|AUitem|CDitem|BV¥3|",
    "121NNY20240927    101500AOLIB|AAX1|ABitem|AJtitle|AH20241027    235959|",
    "101YNN20240927    101500AOLIB|ABitem|AQshelf|AJtitle|",
    "161Y20240927    101500ABitem|AJtitle|BR3|",
    "1803010120240927    101500ABitem|AJtitle|AH2026-12-22 23:59:59|",
    "36Y20240927    101500AOLIB|AAX1|",
];

/// Cuts bytes into messages and reads each, as every kind of line would.
///
/// # Panics
/// When a reader does, or a frame is not what it was when written and read again.
pub fn messages(data: &[u8]) {
    let seeds = SEEDS.map(|seed| format!("{seed}\r").into_bytes());
    let input = fuzz::input(&seeds, data);
    let mut splitter = Splitter::default();
    // Pieces of a length that the input chooses: a stream breaks anywhere.
    let piece = usize::from(data.first().copied().unwrap_or(1) % 7) + 1;
    for piece in input.chunks(piece) {
        splitter.push(piece);
        match splitter.next_line() {
            Ok(Some(line)) => message(&line),
            Ok(None) => {}
            Err(_) => return,
        }
    }
    message(&input);
}

fn message(line: &[u8]) {
    for charset in [Charset::UTF_8, Charset::GBK] {
        for detection in [ErrorDetection::On, ErrorDetection::Off] {
            if let Ok(frame) = Frame::decode(line, charset, detection) {
                answer(&frame);
                again(&frame, charset);
            }
        }
    }
}

fn answer(frame: &Frame) {
    match Response::read(frame) {
        Ok(Response::PatronStatus(patron)) => {
            let _ = (map::fees(&patron), map::may_borrow(&patron));
        }
        Ok(Response::PatronInformation(patron)) => drop(map::account(&patron)),
        Ok(Response::Item(item)) => {
            let _ = (map::reason(LibraryAct::Checkout, None, Some(&item)), map::is_charged(item.circulation));
        }
        Ok(_) | Err(_) => {}
    }
    for (_, value) in &frame.fields {
        let at: Millis = date::read(value);
        let _ = (date::write(at), map::fen(value));
    }
}

/// What can be written is read back the same, blanks before a field aside.
fn again(frame: &Frame, charset: Charset) {
    let numbered = Frame { sequence: frame.sequence.or(Some(0)), ..frame.clone() };
    let Ok(mut bytes) = numbered.encode(charset, ErrorDetection::On) else { return };
    assert_eq!(bytes.pop(), Some(b'\r'));
    let read = Frame::decode(&bytes, charset, ErrorDetection::On).expect("our own message");
    assert!(read == numbered, "{read:?} is not {numbered:?}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_library_sends_is_read_in_total() {
        crate::model::fuzz::smoke(3_000, super::messages);
    }
}
