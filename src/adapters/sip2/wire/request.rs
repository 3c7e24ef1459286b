//! The messages we send.

use std::fmt;

use super::{date, frame::Frame};
use crate::model::Millis;

/// Which list a patron information request asks for; SIP2 allows one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summary {
    None,
    Holds,
    Charged,
    UnavailableHolds,
}

impl Summary {
    /// Ten flags: hold, overdue, charged, fine, recall, unavailable, four spare.
    const fn flags(self) -> &'static str {
        match self {
            Summary::None => "          ",
            Summary::Holds => "Y         ",
            Summary::Charged => "  Y       ",
            Summary::UnavailableHolds => "     Y    ",
        }
    }
}

/// What every request of a site repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// AO.
    pub institution: String,
    /// CP of the login, AP of a return.
    pub location: String,
}

/// A request. Texts go out as they are; [`Frame::encode`] refuses what a site
/// cannot read.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    Login {
        user: String,
        password: String,
    },
    ScStatus,
    PatronStatus {
        patron: String,
    },
    PatronInformation {
        patron: String,
        summary: Summary,
        first: u32,
        last: u32,
    },
    Checkout {
        patron: String,
        item: String,
    },
    Checkin {
        item: String,
    },
    Renew {
        patron: String,
        item: String,
    },
    /// `add` places, otherwise cancels.
    Hold {
        add: bool,
        patron: String,
        item: String,
        pickup_location: String,
    },
    Item {
        item: String,
    },
    EndSession {
        patron: String,
    },
    /// `amount` as decimal yuan.
    FeePaid {
        patron: String,
        amount: String,
        fee: String,
        reference: String,
    },
    /// 97: send your last message again.
    Resend,
}

/// Names the kind only: requests carry a password, a reader, an item.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", String::from_utf8_lossy(&self.code()))
    }
}

impl Request {
    /// The code of the message.
    pub const fn code(&self) -> [u8; 2] {
        *match self {
            Request::Login { .. } => b"93",
            Request::ScStatus => b"99",
            Request::PatronStatus { .. } => b"23",
            Request::PatronInformation { .. } => b"63",
            Request::Checkout { .. } => b"11",
            Request::Checkin { .. } => b"09",
            Request::Renew { .. } => b"29",
            Request::Hold { .. } => b"15",
            Request::Item { .. } => b"17",
            Request::EndSession { .. } => b"35",
            Request::FeePaid { .. } => b"37",
            Request::Resend => b"97",
        }
    }

    /// The code of the answer; `None` for a resend, whose answer is that of the
    /// request before.
    pub const fn answered_by(&self) -> Option<[u8; 2]> {
        Some(*match self {
            Request::Login { .. } => b"94",
            Request::ScStatus => b"98",
            Request::PatronStatus { .. } => b"24",
            Request::PatronInformation { .. } => b"64",
            Request::Checkout { .. } => b"12",
            Request::Checkin { .. } => b"10",
            Request::Renew { .. } => b"30",
            Request::Hold { .. } => b"16",
            Request::Item { .. } => b"18",
            Request::EndSession { .. } => b"36",
            Request::FeePaid { .. } => b"38",
            Request::Resend => return None,
        })
    }

    /// The message at an instant, without sequence number.
    pub fn frame(&self, site: &Site, now: Millis) -> Frame {
        let today = date::write(now);
        let code = &self.code();
        let ao = site.institution.as_str();
        match self {
            Request::Login { user, password } => Frame::new(code, "00")
                .with(b"CN", user)
                .with(b"CO", password)
                .with_some(b"CP", &site.location),
            Request::ScStatus => Frame::new(code, "00802.00"),
            Request::PatronStatus { patron } => Frame::new(code, format!("019{today}"))
                .with(b"AO", ao)
                .with(b"AA", patron)
                .with(b"AC", "")
                .with(b"AD", ""),
            Request::PatronInformation { patron, summary, first, last } => {
                let frame = Frame::new(code, format!("019{today}{}", summary.flags()))
                    .with(b"AO", ao)
                    .with(b"AA", patron)
                    .with(b"AC", "");
                match summary {
                    Summary::None => frame,
                    Summary::Holds | Summary::Charged | Summary::UnavailableHolds => {
                        frame.with(b"BP", first.to_string()).with(b"BQ", last.to_string())
                    }
                }
            }
            // No renewal by way of a checkout, and never "no block": the library's
            // rules decide. The due date counts with "no block" only; it is today
            // because strict servers take no blanks there.
            Request::Checkout { patron, item } => Frame::new(code, format!("NN{today}{today}"))
                .with(b"AO", ao)
                .with(b"AA", patron)
                .with(b"AB", item)
                .with(b"AC", "")
                .with(b"BO", "N")
                .with(b"BI", "N"),
            Request::Checkin { item } => Frame::new(code, format!("N{today}{today}"))
                .with(b"AP", &site.location)
                .with(b"AO", ao)
                .with(b"AB", item)
                .with(b"AC", "")
                .with(b"BI", "N"),
            Request::Renew { patron, item } => Frame::new(code, format!("NN{today}{today}"))
                .with(b"AO", ao)
                .with(b"AA", patron)
                .with(b"AB", item)
                .with(b"AC", "")
                .with(b"BO", "N"),
            Request::Hold { add, patron, item, pickup_location } => {
                let mode = if *add { '+' } else { '-' };
                Frame::new(code, format!("{mode}{today}"))
                    .with_some(b"BS", pickup_location)
                    .with(b"AO", ao)
                    .with(b"AA", patron)
                    .with(b"AB", item)
                    .with(b"AC", "")
            }
            Request::Item { item } => {
                Frame::new(code, today).with(b"AO", ao).with(b"AB", item).with(b"AC", "")
            }
            Request::EndSession { patron } => {
                Frame::new(code, today).with(b"AO", ao).with(b"AA", patron).with(b"AC", "")
            }
            // Fee type 01 (other), payment type 02 (card), yuan.
            Request::FeePaid { patron, amount, fee, reference } => {
                Frame::new(code, format!("{today}0102CNY"))
                    .with(b"BV", amount)
                    .with(b"AO", ao)
                    .with(b"AA", patron)
                    .with(b"AC", "")
                    .with_some(b"CG", fee)
                    .with_some(b"BK", reference)
            }
            Request::Resend => Frame::new(code, ""),
        }
    }
}
