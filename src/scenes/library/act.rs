//! What a reader can do at a library.

use crate::model::Rank;

/// An act of the library scene. The number is in the journal for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum LibraryAct {
    Checkout = 1,
    Checkin = 2,
    Renew = 3,
    PlaceHold = 4,
    CancelHold = 5,
    PayFee = 6,
    GetPatron = 7,
    EndSession = 8,
}

impl LibraryAct {
    /// Every act, in the order of the contract.
    pub const ALL: &'static [LibraryAct] = &[
        LibraryAct::Checkout,
        LibraryAct::Checkin,
        LibraryAct::Renew,
        LibraryAct::PlaceHold,
        LibraryAct::CancelHold,
        LibraryAct::PayFee,
        LibraryAct::GetPatron,
        LibraryAct::EndSession,
    ];

    /// The number in `LibraryDetail.act`.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The act of a journalled number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|act| act.number() == number)
    }

    /// Label on metrics and the method's short name.
    pub const fn name(self) -> &'static str {
        match self {
            LibraryAct::Checkout => "Checkout",
            LibraryAct::Checkin => "Checkin",
            LibraryAct::Renew => "Renew",
            LibraryAct::PlaceHold => "PlaceHold",
            LibraryAct::CancelHold => "CancelHold",
            LibraryAct::PayFee => "PayFee",
            LibraryAct::GetPatron => "GetPatron",
            LibraryAct::EndSession => "EndSession",
        }
    }

    /// Whether the holder must have been authenticated. Anybody may bring a book
    /// back.
    pub const fn needs_holder(self) -> bool {
        match self {
            LibraryAct::Checkin => false,
            LibraryAct::Checkout
            | LibraryAct::Renew
            | LibraryAct::PlaceHold
            | LibraryAct::CancelHold
            | LibraryAct::PayFee
            | LibraryAct::GetPatron
            | LibraryAct::EndSession => true,
        }
    }

    /// Whether it changes nothing at the library, so that it may be repeated and
    /// needs no intent in the journal.
    pub const fn is_read(self) -> bool {
        match self {
            LibraryAct::GetPatron | LibraryAct::EndSession => true,
            LibraryAct::Checkout
            | LibraryAct::Checkin
            | LibraryAct::Renew
            | LibraryAct::PlaceHold
            | LibraryAct::CancelHold
            | LibraryAct::PayFee => false,
        }
    }

    /// Whether the request names an item.
    pub const fn needs_item(self) -> bool {
        match self {
            LibraryAct::Checkout
            | LibraryAct::Checkin
            | LibraryAct::Renew
            | LibraryAct::PlaceHold
            | LibraryAct::CancelHold => true,
            LibraryAct::PayFee | LibraryAct::GetPatron | LibraryAct::EndSession => false,
        }
    }

    /// The act that takes it back when nobody can tell whether it happened, where
    /// that does no harm if it did not. A payment has none: money is settled by
    /// people. A renewal or a cancelled hold cannot be taken back without taking
    /// more than was given.
    pub const fn undone_by(self) -> Option<LibraryAct> {
        match self {
            LibraryAct::Checkout => Some(LibraryAct::Checkin),
            LibraryAct::PlaceHold => Some(LibraryAct::CancelHold),
            LibraryAct::Checkin
            | LibraryAct::Renew
            | LibraryAct::CancelHold
            | LibraryAct::PayFee
            | LibraryAct::GetPatron
            | LibraryAct::EndSession => None,
        }
    }

    /// What is kept when not everything can be: money at a counter before books,
    /// books before account reads.
    pub const fn rank(self) -> Rank {
        match self {
            LibraryAct::PayFee => Rank::High,
            LibraryAct::Checkout
            | LibraryAct::Checkin
            | LibraryAct::Renew
            | LibraryAct::PlaceHold
            | LibraryAct::CancelHold
            | LibraryAct::EndSession => Rank::Normal,
            LibraryAct::GetPatron => Rank::Background,
        }
    }
}
