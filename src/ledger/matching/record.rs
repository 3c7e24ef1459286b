//! What is compared: one movement as one side has it.

use std::sync::Arc;

use jiff::civil::Date;

use crate::model::{Fen, Millis, Scene, TransactionId};

/// Whose record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Journal,
    Participant,
    Bank,
}

impl Side {
    pub const ALL: [Side; 3] = [Side::Journal, Side::Participant, Side::Bank];

    /// In records, ids and files.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Journal => "journal",
            Side::Participant => "participant",
            Side::Bank => "bank",
        }
    }

    pub const fn zh(self) -> &'static str {
        match self {
            Side::Journal => "账本",
            Side::Participant => "参与方",
            Side::Bank => "银行",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Side::ALL.into_iter().find(|side| side.name() == name)
    }
}

/// Whether the movement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Captured,
    /// Undone: nothing is due.
    Reversed,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            State::Captured => "captured",
            State::Reversed => "reversed",
        }
    }

    pub const fn zh(self) -> &'static str {
        match self {
            State::Captured => "已入账",
            State::Reversed => "已冲正",
        }
    }
}

/// One movement of a participant. Its order is the order in which records are
/// looked at; the line comes last, so that the order of a file's lines decides
/// nothing but which of two equal lines is called the double.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// Our transaction; in a file where its owner keeps our ids.
    pub transaction: Option<TransactionId>,
    /// The participant's own reference: in the journal the request id.
    pub reference: Option<Arc<str>>,
    /// The business date it is booked under, Asia/Shanghai.
    pub date: Date,
    /// When it happened at the terminal, milliseconds UTC.
    pub at: Option<Millis>,
    pub terminal: Option<Arc<str>>,
    /// What the participant gets for it: positive when it is owed to them. Of a
    /// reversed movement, what was undone.
    pub amount: Fen,
    pub state: State,
    pub scene: Option<Scene>,
    /// Method of the journal's entry, for example `Tap`.
    pub kind: Option<Arc<str>>,
    /// Account path, for example `participant/bj-metro/fares`.
    pub account: Option<Arc<str>>,
    /// In the file, from 1; 0 in the journal.
    pub line: u64,
}

/// What names a record, when something does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Transaction(TransactionId),
    Reference(Arc<str>),
}

impl Record {
    /// What is due by it: nothing when it was reversed.
    pub const fn due(&self) -> Fen {
        match self.state {
            State::Captured => self.amount,
            State::Reversed => Fen::ZERO,
        }
    }

    /// Our transaction where the record names one, else the reference.
    pub fn key(&self) -> Option<Key> {
        match (self.transaction, &self.reference) {
            (Some(transaction), _) => Some(Key::Transaction(transaction)),
            (None, Some(reference)) => Some(Key::Reference(Arc::clone(reference))),
            (None, None) => None,
        }
    }

    /// Every key of the record.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let reference = self.reference.clone().map(Key::Reference);
        self.transaction.map(Key::Transaction).into_iter().chain(reference)
    }
}
