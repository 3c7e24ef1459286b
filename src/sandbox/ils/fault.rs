//! What can be made to go wrong.

use std::time::Duration;

/// A fault for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is booked, nothing is answered.
    SilentBefore,
    /// Booked, not answered.
    SilentAfter,
    /// Booked, answered after a while.
    Slow(Duration),
    /// Booked, answered when the handle says so.
    Held,
    /// Booked, answered with a wrong checksum.
    Garbled,
    /// Booked, answered under another sequence number.
    WrongSequence,
    /// Nothing is booked, the connection is cut.
    CutBefore,
    /// Booked, the connection is cut.
    CutAfter,
    /// Not read: 96.
    AsksAgain,
}

impl Fault {
    /// Whether the message is carried out all the same.
    pub(super) const fn books(self) -> bool {
        match self {
            Fault::SilentBefore | Fault::CutBefore | Fault::AsksAgain => false,
            Fault::SilentAfter
            | Fault::Slow(_)
            | Fault::Held
            | Fault::Garbled
            | Fault::WrongSequence
            | Fault::CutAfter => true,
        }
    }
}

/// The fault that an item's identifier asks for.
pub(super) fn of_item(item: &str, slow_ms: u64) -> Option<Fault> {
    let faults = [
        ("SILENT-BEFORE-", Fault::SilentBefore),
        ("SILENT-AFTER-", Fault::SilentAfter),
        ("SLOW-", Fault::Slow(Duration::from_millis(slow_ms))),
        ("GARBLED-", Fault::Garbled),
        ("CUT-BEFORE-", Fault::CutBefore),
        ("CUT-AFTER-", Fault::CutAfter),
    ];
    faults.into_iter().find(|(prefix, _)| item.starts_with(prefix)).map(|(_, fault)| fault)
}
