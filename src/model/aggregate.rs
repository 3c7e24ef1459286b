//! Aggregates: the small pieces of state that a unit of work names, loads,
//! decides over and writes back.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::TransactionId;

/// The registry of kinds. The number is in the journal for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum AggregateKind {
    Card = 1,
    Holder = 2,
    Document = 3,
    ChipSession = 4,
    HolderSession = 5,
    CodeUse = 6,
    Deny = 7,
    DenyListHead = 8,
    Payment = 9,
    CapQuota = 10,
    StandIn = 12,
    Transit = 20,
    UploadBlock = 21,
    LibraryCase = 30,
    MedicalPerson = 35,
    MedicalVisit = 36,
    MedicalCase = 37,
    ReconciliationCase = 40,
}

impl AggregateKind {
    pub const ALL: &'static [AggregateKind] = &[
        AggregateKind::Card,
        AggregateKind::Holder,
        AggregateKind::Document,
        AggregateKind::ChipSession,
        AggregateKind::HolderSession,
        AggregateKind::CodeUse,
        AggregateKind::Deny,
        AggregateKind::DenyListHead,
        AggregateKind::Payment,
        AggregateKind::CapQuota,
        AggregateKind::StandIn,
        AggregateKind::Transit,
        AggregateKind::UploadBlock,
        AggregateKind::LibraryCase,
        AggregateKind::MedicalPerson,
        AggregateKind::MedicalVisit,
        AggregateKind::MedicalCase,
        AggregateKind::ReconciliationCase,
    ];

    pub const fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| u32::from(kind.number()) == number)
    }

    /// Label on metrics.
    pub const fn name(self) -> &'static str {
        match self {
            AggregateKind::Card => "card",
            AggregateKind::Holder => "holder",
            AggregateKind::Document => "document",
            AggregateKind::ChipSession => "chip-session",
            AggregateKind::HolderSession => "holder-session",
            AggregateKind::CodeUse => "code-use",
            AggregateKind::Deny => "deny",
            AggregateKind::DenyListHead => "deny-list-head",
            AggregateKind::Payment => "payment",
            AggregateKind::CapQuota => "cap-quota",
            AggregateKind::StandIn => "stand-in",
            AggregateKind::Transit => "transit",
            AggregateKind::UploadBlock => "upload-block",
            AggregateKind::LibraryCase => "library-case",
            AggregateKind::MedicalPerson => "medical-person",
            AggregateKind::MedicalVisit => "medical-visit",
            AggregateKind::MedicalCase => "medical-case",
            AggregateKind::ReconciliationCase => "reconciliation-case",
        }
    }

    /// Whether id or body speak of a person or hold a live secret, so that the write
    /// stands in the sealed part of an entry. A card's identifier does: two
    /// participants' records would meet at it.
    pub const fn is_personal(self) -> bool {
        match self {
            AggregateKind::Card
            | AggregateKind::Holder
            | AggregateKind::Document
            | AggregateKind::ChipSession
            | AggregateKind::HolderSession
            | AggregateKind::Deny
            | AggregateKind::StandIn
            | AggregateKind::Transit
            | AggregateKind::LibraryCase
            | AggregateKind::MedicalPerson
            | AggregateKind::MedicalVisit
            | AggregateKind::MedicalCase => true,
            AggregateKind::CodeUse
            | AggregateKind::DenyListHead
            | AggregateKind::UploadBlock
            | AggregateKind::Payment
            | AggregateKind::CapQuota
            | AggregateKind::ReconciliationCase => false,
        }
    }
}

/// Names one aggregate. Ids are at most 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AggregateKey {
    pub kind: AggregateKind,
    pub id: SmallVec<[u8; 32]>,
}

impl AggregateKey {
    pub fn of<T: AggregateBody>(id: &[u8]) -> Self {
        AggregateKey { kind: T::KIND, id: SmallVec::from_slice(id) }
    }

    /// Which of 4,096 slots it belongs to, for stores of several shards. The files
    /// of a card are keyed by the card and lie together; what is keyed by a
    /// transaction lies with the transaction. Must never change: it says where
    /// rows are.
    pub fn slot(&self) -> u16 {
        match self.kind {
            AggregateKind::LibraryCase
            | AggregateKind::Payment
            | AggregateKind::MedicalVisit
            | AggregateKind::MedicalCase => match <[u8; 16]>::try_from(self.id.as_slice()) {
                Ok(id) => TransactionId::from_bytes(id).shard(),
                Err(_) => slot_of(&self.id),
            },
            AggregateKind::Card
            | AggregateKind::Holder
            | AggregateKind::Document
            | AggregateKind::ChipSession
            | AggregateKind::HolderSession
            | AggregateKind::CodeUse
            | AggregateKind::Deny
            | AggregateKind::DenyListHead
            | AggregateKind::CapQuota
            | AggregateKind::StandIn
            | AggregateKind::Transit
            | AggregateKind::UploadBlock
            | AggregateKind::MedicalPerson
            | AggregateKind::ReconciliationCase => slot_of(&self.id),
        }
    }
}

/// The slot of an id that carries none: the upper 12 bits of its CRC-32C.
pub fn slot_of(id: &[u8]) -> u16 {
    (crc32c::crc32c(id) >> 20) as u16
}

/// A body that is kept as an aggregate: a journal record with its kind.
pub trait AggregateBody: prost::Message + Default {
    const KIND: AggregateKind;
    /// Grows when the meaning of a field changes; old schemas stay readable.
    const SCHEMA: u32 = 1;
}

macro_rules! bodies {
    ($($record:ident => $kind:ident),* $(,)?) => {
        $(impl AggregateBody for super::record::$record {
            const KIND: AggregateKind = AggregateKind::$kind;
        })*
    };
}

bodies! {
    CardFile => Card,
    HolderFile => Holder,
    DocumentFile => Document,
    ChipSession => ChipSession,
    HolderSession => HolderSession,
    CodeUse => CodeUse,
    DenyFile => Deny,
    DenyListHead => DenyListHead,
    Payment => Payment,
    CapQuota => CapQuota,
    StandInFile => StandIn,
    TransitFile => Transit,
    UploadBlock => UploadBlock,
    LibraryCase => LibraryCase,
    MedicalPerson => MedicalPerson,
    MedicalVisit => MedicalVisit,
    MedicalCase => MedicalCase,
    ReconciliationCase => ReconciliationCase,
}

/// An aggregate as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Grows by one with each write, from 1.
    pub revision: u64,
    pub schema: u32,
    pub body: Bytes,
}

/// An aggregate's bytes could not be read as their kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored {kind:?} cannot be read")]
pub struct CorruptAggregate {
    pub kind: AggregateKind,
}

/// What a decision may look at: the aggregates its unit named, as they stand.
#[derive(Debug, Default, Clone)]
pub struct View {
    slots: SmallVec<[(AggregateKey, Option<Stored>); 4]>,
    /// Where each stands, once there are more than are looked through one by one.
    places: HashMap<AggregateKey, usize, RandomState>,
}

/// So many aggregates are looked through one by one.
const FEW: usize = 8;

impl View {
    pub fn with(mut self, key: AggregateKey, stored: Option<Stored>) -> Self {
        self.put(key, stored);
        self
    }

    pub fn put(&mut self, key: AggregateKey, stored: Option<Stored>) {
        self.slots.push((key, stored));
        if self.slots.len() > FEW {
            let from = if self.places.is_empty() { 0 } else { self.slots.len() - 1 };
            let new = self.slots.iter().enumerate().skip(from);
            self.places.extend(new.map(|(place, (key, _))| (key.clone(), place)));
        }
    }

    fn slot(&self, key: &AggregateKey) -> Option<&Option<Stored>> {
        let place = match self.places.is_empty() {
            true => self.slots.iter().position(|(named, _)| named == key),
            false => self.places.get(key).copied(),
        };
        place.map(|place| &self.slots[place].1)
    }

    /// Whether the unit named the aggregate.
    pub fn names(&self, key: &AggregateKey) -> bool {
        self.slot(key).is_some()
    }

    /// For tests of rules: a view that holds `body` under `id`.
    pub fn holding<T: AggregateBody>(self, id: &[u8], body: &T) -> Self {
        let stored = Stored { revision: 1, schema: T::SCHEMA, body: body.encode_to_vec().into() };
        self.with(AggregateKey::of::<T>(id), Some(stored))
    }

    /// For tests of rules: a view that says `id` does not exist.
    pub fn missing<T: AggregateBody>(self, id: &[u8]) -> Self {
        self.with(AggregateKey::of::<T>(id), None)
    }

    /// The aggregate, or `None` when it does not exist.
    ///
    /// # Errors
    /// When its bytes cannot be read.
    ///
    /// # Panics
    /// When the unit did not name it: that is a fault of the program.
    pub fn get<T: AggregateBody>(&self, id: &[u8]) -> Result<Option<T>, CorruptAggregate> {
        let Some(stored) = self.slot(&AggregateKey::of::<T>(id)) else {
            panic!("a decision looked at a {:?} its unit did not name", T::KIND);
        };
        match stored {
            None => Ok(None),
            Some(stored) => {
                T::decode(stored.body.clone()).map(Some).map_err(|_| CorruptAggregate { kind: T::KIND })
            }
        }
    }

    /// The revision of an aggregate, 0 when it does not exist.
    pub fn revision(&self, key: &AggregateKey) -> u64 {
        self.slot(key).and_then(Option::as_ref).map_or(0, |stored| stored.revision)
    }
}
