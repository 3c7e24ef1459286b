//! A small medical insurer that answers the national interface (HTTP/JSON, one path,
//! the transaction number in the body): persons with insurances, catalogues, visits,
//! settlements, the year's accumulations, statements, and faults on demand. State is
//! in memory.
//!
//! It is the other side: it shares no code with `scenes/medical` nor `adapters/nhsa`,
//! so that the two cannot agree on a mistake. `message` reads and writes envelopes,
//! `price` classifies a line, `benefit` shares a bill out, `book` keeps the books,
//! `visits`, `settling`, `reversing` and `statement` are the transactions, `fault`
//! breaks things, `serve` holds the socket.
//!
//! Envelope, fields and identities are those of facts/domain.md §3. What that source
//! leaves open has a form of the sandbox, which a real server may do otherwise:
//!
//! | open question | here |
//! | --- | --- |
//! | the header's signature | `x-tif-signature` = SHA-256(timestamp ‖ token ‖ nonce ‖ timestamp), hexadecimal |
//! | the message's signature | `cainfo` over `msgid\|infno\|inf_time\|` and the bytes of `input` as sent: SM2 or SM3 as `signtype` says, hexadecimal |
//! | a message that is there already | −2, nothing is booked twice |
//! | a reversal (2601) of what never came | 0, and what comes later under that msgid is refused |
//! | the `setl_id` of a cancellation | a new one |
//! | the family account | inside `acct_pay`, or beside it by option |
//!
//! # Faults for another process
//! A visit whose `ipt_otp_no` (a purchase whose `invono`) begins with `FAULT-INFNO-`,
//! for example `SILENT-AFTER-2207-0001`, has that fault once at that transaction:
//!
//! | word | what happens |
//! | --- | --- |
//! | `SILENT-BEFORE` | nothing is booked, nothing is answered |
//! | `SILENT-AFTER` | booked, nothing is answered |
//! | `SLOW` | booked, answered after [`InsurerOptions::slow_ms`] |
//! | `SYSTEM` | nothing is booked, infcode −1 |
//! | `SYSTEM-AFTER` | booked, infcode −1 all the same |
//! | `SUMS` | booked rightly, the answer's sums do not add up |
//! | `STALE` | booked, the answer of the message before comes once more |
//! | `CLOCK` | booked, every time in the answer is a day off |

mod benefit;
mod book;
mod catalogue;
mod decimal;
mod fault;
mod message;
mod person;
mod price;
mod reversing;
mod serve;
mod settling;
#[cfg(test)]
mod spoken;
mod statement;
#[cfg(test)]
mod tests;
mod visits;

use std::sync::Arc;

pub use book::Totals;
pub use catalogue::{Ware, institutions, sources, wares};
pub use fault::{Dice, Fault};
pub use message::MessageKey;
pub use person::{Insurance, Insured, sample};
pub use serve::{Insurer, InsurerHandle};

use crate::model::{Clock, SystemClock};

/// What a simulated insurer is like.
#[derive(Clone)]
pub struct InsurerOptions {
    /// Province it insures, 6 digits.
    pub province: u32,
    /// Where it listens for messages.
    pub path: String,
    /// Account and token of the header's signature; `None` lets anybody in.
    pub header: Option<(String, String)>,
    /// Who signs messages, and how; `None` does not look at `cainfo`.
    pub signature: Option<MessageKey>,
    /// Whether 9001 must have come first.
    pub needs_sign_in: bool,
    /// `infcode` as text instead of a number.
    pub code_as_text: bool,
    /// What 3201 and 3202 say when all agrees: `0` or `000000`.
    pub match_value: String,
    /// Whether `acct_pay` contains `acct_mulaid_pay`.
    pub family_inside: bool,
    /// For the fault `SLOW`.
    pub slow_ms: u64,
    /// Time that every answer takes.
    pub answer_ms: u64,
    /// Faults at random.
    pub dice: Option<Dice>,
    pub persons: Vec<Insured>,
    pub clock: Arc<dyn Clock>,
}

impl Default for InsurerOptions {
    /// Beijing's, without anybody insured.
    fn default() -> Self {
        InsurerOptions {
            province: 110_000,
            path: "/hsa/api".into(),
            header: None,
            signature: None,
            needs_sign_in: true,
            code_as_text: false,
            match_value: "0".into(),
            family_inside: true,
            slow_ms: 5_000,
            answer_ms: 0,
            dice: None,
            persons: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }
}
