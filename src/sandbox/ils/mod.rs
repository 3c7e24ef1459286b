//! A small integrated library system that speaks SIP2 2.00 as a server: readers,
//! items with Chinese titles, loans, renewals, holds, fees, blocks, and faults on
//! demand. State is in memory.
//!
//! It is the other side: it shares no code with `adapters/sip2`, so that the two
//! cannot agree on a mistake. `talk` reads and writes messages, `library` keeps
//! the books, `fault` breaks things, `serve` holds the sockets.
//!
//! # Faults for another process
//! An item whose identifier begins with one of these exists always, and the
//! message that lends, renews or reserves it (11, 29, 15) goes wrong:
//!
//! | prefix | what happens |
//! | --- | --- |
//! | `SILENT-BEFORE-` | nothing is booked, nothing is answered |
//! | `SILENT-AFTER-` | it is booked, nothing is answered |
//! | `SLOW-` | booked, answered after [`IlsOptions::slow_ms`] |
//! | `GARBLED-` | booked, the first answer has a wrong checksum; 97 brings a good one |
//! | `CUT-BEFORE-` | nothing is booked, the connection is cut |
//! | `CUT-AFTER-` | booked, the connection is cut |
//!
//! A reader whose number begins with `BLOCKED-` may not borrow.

mod fault;
mod library;
mod serve;
mod talk;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use fault::Fault;
pub use library::{Book, Moves, Reader};
pub use serve::{IlsHandle, IlsServer};

use crate::model::{Clock, SystemClock};

/// How texts are written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IlsCharset {
    Utf8,
    Gbk,
}

/// What a simulated library is like.
#[derive(Clone)]
pub struct IlsOptions {
    /// AO.
    pub institution: String,
    /// AM.
    pub name: String,
    /// User and password of the terminals; `None` lets anybody in.
    pub login: Option<(String, String)>,
    pub charset: IlsCharset,
    pub loan_days: i64,
    pub loans_max: usize,
    pub renewals_max: u32,
    /// A reader number nobody knows is enrolled when it first appears, if it has 4
    /// to 64 letters, digits or `-`.
    pub enrols: bool,
    /// Whether 97 is answered; some real servers never do.
    pub answers_resend: bool,
    /// For items `SLOW-…`.
    pub slow_ms: u64,
    pub books: Vec<Book>,
    pub readers: Vec<Reader>,
    pub clock: Arc<dyn Clock>,
}

impl Default for IlsOptions {
    /// A library of some well-known books that enrols whoever comes.
    fn default() -> Self {
        IlsOptions {
            institution: "SANDBOX".into(),
            name: "沙箱图书馆".into(),
            login: None,
            charset: IlsCharset::Utf8,
            loan_days: 30,
            loans_max: 10,
            renewals_max: 1,
            enrols: true,
            answers_resend: true,
            slow_ms: 5_000,
            books: catalogue(),
            readers: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Books of the sandbox.
fn catalogue() -> Vec<Book> {
    [
        ("B0001", "红楼梦"),
        ("B0002", "西游记"),
        ("B0003", "三国演义"),
        ("B0004", "水浒传"),
        ("B0005", "骆驼祥子"),
        ("B0006", "呐喊"),
        ("B0007", "边城"),
        ("B0008", "城南旧事"),
        ("B0009", "京津冀地理"),
        ("B0010", "四库全书总目"),
    ]
    .into_iter()
    .map(|(item, title)| Book { item: item.into(), title: title.into() })
    .collect()
}
