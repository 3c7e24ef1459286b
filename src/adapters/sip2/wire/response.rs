//! The messages we understand. Fields we do not know are passed over; fixed
//! numbers may be padded with blanks.

use super::{WireError, date, frame::Frame};
use crate::model::Millis;

/// 98: what the library serves now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcsStatus {
    pub online: bool,
    pub checkin: bool,
    pub checkout: bool,
    pub renewal: bool,
    /// Tenths of a second; `None` where the server left blanks.
    pub timeout: Option<u32>,
    /// 97 is understood, as far as BX says so.
    pub resends: bool,
    pub screen_message: String,
}

/// 24 and the common part of 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatronStatus {
    /// Fourteen flags; `true` is a restriction.
    pub flags: [bool; 14],
    /// BL; absent counts as valid.
    pub valid: bool,
    /// BV as text.
    pub fees: String,
    pub screen_message: String,
}

/// 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatronInformation {
    pub status: PatronStatus,
    /// Counts as stated: holds, overdue, charged, fines, recalls, unavailable holds.
    pub counts: [u32; 6],
    /// AS.
    pub holds: Vec<String>,
    /// AU.
    pub charged: Vec<String>,
    /// CD.
    pub unavailable_holds: Vec<String>,
}

/// 12 and 30.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoanAnswer {
    pub ok: bool,
    /// AA, AB as the server repeats them; empty where it does not.
    pub patron: String,
    pub item: String,
    pub title: String,
    pub due_at_ms: Millis,
    pub screen_message: String,
}

/// 10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckinAnswer {
    pub ok: bool,
    pub alert: bool,
    pub item: String,
    pub title: String,
    pub permanent_location: String,
    pub screen_message: String,
}

/// 16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldAnswer {
    pub ok: bool,
    pub available: bool,
    pub queue_position: u32,
    pub item: String,
    pub title: String,
    pub screen_message: String,
}

/// 18.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemAnswer {
    /// Circulation status, 1 to 13; 0 where it is no number.
    pub circulation: u32,
    pub item: String,
    pub title: String,
    pub due_at_ms: Millis,
    pub screen_message: String,
}

/// An answer of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    Login {
        ok: bool,
    },
    AcsStatus(AcsStatus),
    PatronStatus(PatronStatus),
    PatronInformation(PatronInformation),
    Checkout(LoanAnswer),
    Renew(LoanAnswer),
    Checkin(CheckinAnswer),
    Hold(HoldAnswer),
    Item(ItemAnswer),
    EndSession {
        ended: bool,
        screen_message: String,
    },
    FeePaid {
        accepted: bool,
        screen_message: String,
    },
    /// 96: your message came garbled, send it again.
    Resend,
}

impl Response {
    /// The typed message.
    ///
    /// # Errors
    /// When it is a kind that libraries do not send.
    pub fn read(frame: &Frame) -> Result<Response, WireError> {
        let fixed = Fixed(&frame.fixed);
        Ok(match &frame.code {
            b"94" => Response::Login { ok: fixed.yes(0) },
            b"98" => Response::AcsStatus(acs_status(frame)),
            b"24" => Response::PatronStatus(patron_status(frame)),
            b"64" => Response::PatronInformation(patron_information(frame)),
            b"12" => Response::Checkout(loan(frame)),
            b"30" => Response::Renew(loan(frame)),
            b"10" => Response::Checkin(CheckinAnswer {
                ok: fixed.yes(0),
                alert: fixed.yes(3),
                item: text(frame, b"AB"),
                title: text(frame, b"AJ"),
                permanent_location: text(frame, b"AQ"),
                screen_message: screen_message(frame),
            }),
            b"16" => Response::Hold(HoldAnswer {
                ok: fixed.yes(0),
                available: fixed.yes(1),
                queue_position: frame.first(b"BR").trim().parse().unwrap_or(0),
                item: text(frame, b"AB"),
                title: text(frame, b"AJ"),
                screen_message: screen_message(frame),
            }),
            b"18" => Response::Item(ItemAnswer {
                circulation: fixed.number(0, 2).unwrap_or(0),
                item: text(frame, b"AB"),
                title: text(frame, b"AJ"),
                due_at_ms: date::read(frame.first(b"AH")),
                screen_message: screen_message(frame),
            }),
            b"36" => Response::EndSession { ended: fixed.yes(0), screen_message: screen_message(frame) },
            b"38" => Response::FeePaid { accepted: fixed.yes(0), screen_message: screen_message(frame) },
            b"96" => Response::Resend,
            _ => return Err(WireError::UnknownKind),
        })
    }
}

/// A fixed part whose width the frame has checked.
struct Fixed<'a>(&'a str);

impl Fixed<'_> {
    /// `1` and `Y` mean yes, whichever of them a message uses.
    fn yes(&self, at: usize) -> bool {
        matches!(self.0.as_bytes().get(at), Some(b'1' | b'Y'))
    }

    /// A number that may be padded with blanks on either side.
    fn number(&self, at: usize, width: usize) -> Option<u32> {
        self.0.get(at..at + width)?.trim().parse().ok()
    }
}

fn acs_status(frame: &Frame) -> AcsStatus {
    let fixed = Fixed(&frame.fixed);
    AcsStatus {
        online: fixed.yes(0),
        checkin: fixed.yes(1),
        checkout: fixed.yes(2),
        renewal: fixed.yes(3),
        timeout: fixed.number(6, 3),
        resends: frame.first(b"BX").as_bytes().get(5).is_none_or(|flag| *flag == b'Y'),
        screen_message: screen_message(frame),
    }
}

fn patron_status(frame: &Frame) -> PatronStatus {
    let mut flags = [false; 14];
    for (flag, byte) in flags.iter_mut().zip(frame.fixed.bytes()) {
        *flag = byte == b'Y';
    }
    PatronStatus {
        flags,
        valid: frame.first(b"BL") != "N",
        fees: text(frame, b"BV"),
        screen_message: screen_message(frame),
    }
}

fn patron_information(frame: &Frame) -> PatronInformation {
    let fixed = Fixed(&frame.fixed);
    let list =
        |tag| frame.all(tag).map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect();
    let count = |at: usize| fixed.number(35 + 4 * at, 4).unwrap_or(0);
    PatronInformation {
        status: patron_status(frame),
        counts: [count(0), count(1), count(2), count(3), count(4), count(5)],
        holds: list(b"AS"),
        charged: list(b"AU"),
        unavailable_holds: list(b"CD"),
    }
}

fn loan(frame: &Frame) -> LoanAnswer {
    LoanAnswer {
        ok: Fixed(&frame.fixed).yes(0),
        patron: text(frame, b"AA"),
        item: text(frame, b"AB"),
        title: text(frame, b"AJ"),
        due_at_ms: date::read(frame.first(b"AH")),
        screen_message: screen_message(frame),
    }
}

fn text(frame: &Frame, tag: &[u8; 2]) -> String {
    frame.first(tag).trim().to_owned()
}

/// All AF lines, joined.
fn screen_message(frame: &Frame) -> String {
    let lines: Vec<&str> = frame.all(b"AF").map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}
