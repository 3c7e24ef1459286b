//! How a request ended, why it was asked, and how urgent it is.

use super::{Millis, Reason};

/// What a decision says. A decline is an answer, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Approved,
    Declined(Reason),
    /// A backend has not said.
    Pending,
}

/// What a deny list says of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    pub reason: Reason,
    /// Since when without a break; 0 says always.
    pub since_ms: Millis,
}

/// How far a transaction has got. Which may follow which is in
/// [`super::lifecycle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    Received,
    Authorised,
    Reserved,
    Pending,
    Completed,
    Declined,
    Reversed,
}

impl Status {
    /// In the order of a life.
    pub const ALL: &'static [Status] = &[
        Status::Received,
        Status::Authorised,
        Status::Reserved,
        Status::Pending,
        Status::Completed,
        Status::Declined,
        Status::Reversed,
    ];

    /// Whether it stays without anybody asking for a correction.
    pub const fn is_final(self) -> bool {
        match self {
            Status::Completed | Status::Declined | Status::Reversed => true,
            Status::Received | Status::Authorised | Status::Reserved | Status::Pending => false,
        }
    }

    /// The number in `onecard.journal.v1.Status` and
    /// `onecard.common.v1.TransactionStatus`.
    pub const fn number(self) -> i32 {
        match self {
            Status::Completed => 1,
            Status::Declined => 2,
            Status::Pending => 3,
            Status::Reversed => 4,
            Status::Received => 5,
            Status::Authorised => 6,
            Status::Reserved => 7,
        }
    }

    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Status::Completed),
            2 => Some(Status::Declined),
            3 => Some(Status::Pending),
            4 => Some(Status::Reversed),
            5 => Some(Status::Received),
            6 => Some(Status::Authorised),
            7 => Some(Status::Reserved),
            _ => None,
        }
    }

    /// Label on metrics and in the console.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Completed => "completed",
            Status::Declined => "declined",
            Status::Pending => "pending",
            Status::Reversed => "reversed",
            Status::Received => "received",
            Status::Authorised => "authorised",
            Status::Reserved => "reserved",
        }
    }
}

/// How sure the gateway is of the holder; ordered, a higher one satisfies a
/// lower demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    TransitRead,
    Document,
    Code,
    Chip,
}

impl Assurance {
    /// The number in `onecard.common.v1.Assurance`.
    pub const fn number(self) -> u32 {
        match self {
            Assurance::TransitRead => 1,
            Assurance::Document => 2,
            Assurance::Code => 3,
            Assurance::Chip => 4,
        }
    }

    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Assurance::TransitRead),
            2 => Some(Assurance::Document),
            3 => Some(Assurance::Code),
            4 => Some(Assurance::Chip),
            _ => None,
        }
    }
}

/// Why the caller asks; mandatory on every request about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    TransitRide,
    LibraryLoan,
    IdentityCheck,
    CardService,
    MedicalCare,
    Admission,
    GovernmentService,
    Benefit,
}

impl Purpose {
    /// The number in `onecard.common.v1.Purpose`.
    pub const fn number(self) -> u32 {
        match self {
            Purpose::TransitRide => 1,
            Purpose::LibraryLoan => 2,
            Purpose::IdentityCheck => 3,
            Purpose::CardService => 4,
            Purpose::MedicalCare => 5,
            Purpose::Admission => 6,
            Purpose::GovernmentService => 7,
            Purpose::Benefit => 8,
        }
    }

    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Purpose::TransitRide),
            2 => Some(Purpose::LibraryLoan),
            3 => Some(Purpose::IdentityCheck),
            4 => Some(Purpose::CardService),
            5 => Some(Purpose::MedicalCare),
            6 => Some(Purpose::Admission),
            7 => Some(Purpose::GovernmentService),
            8 => Some(Purpose::Benefit),
            _ => None,
        }
    }
}

/// A scene of the product; the unit of permission, policy and adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scene {
    /// The card itself: loss, state, code.
    Card,
    /// Who stands at the terminal.
    Authentication,
    Transit,
    Library,
    /// Care at a hospital or a pharmacy.
    Medical,
    /// Reading one's own transactions.
    Transaction,
    /// What a peer region asks.
    Federation,
    /// The operators' own acts: issuing sample cards, closing tasks.
    Operations,
}

impl Scene {
    pub const ALL: [Scene; 8] = [
        Scene::Transit,
        Scene::Library,
        Scene::Medical,
        Scene::Card,
        Scene::Authentication,
        Scene::Transaction,
        Scene::Federation,
        Scene::Operations,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Scene::Card => "card",
            Scene::Authentication => "authentication",
            Scene::Transit => "transit",
            Scene::Library => "library",
            Scene::Medical => "medical",
            Scene::Transaction => "transaction",
            Scene::Federation => "federation",
            Scene::Operations => "operations",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scene| scene.name() == name)
    }
}

/// What is kept when not everything can be: the highest rank is shed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Reads that can wait: lists, reflection.
    Background,
    /// Service halls, libraries.
    Normal,
    /// Money at a counter, authentication.
    High,
    /// Gates, emergency care, loss reports, the peers' deny lists.
    Critical,
}

impl Rank {
    pub const fn name(self) -> &'static str {
        match self {
            Rank::Background => "background",
            Rank::Normal => "normal",
            Rank::High => "high",
            Rank::Critical => "critical",
        }
    }
}
