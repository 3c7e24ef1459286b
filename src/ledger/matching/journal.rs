//! The journal's side: folds entries into the movements of one participant, and
//! into what earlier runs of the reconciliation left.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use jiff::civil::Date;

use super::{CaseId, Key, Known, Record, State};
use crate::{
    identity::{business_date, date_of_yyyymmdd},
    model::{
        AggregateKey, AggregateKind, CorruptAggregate, Fen, FenOverflow, Millis, ParticipantId, RequestId,
        Scene, Status, Stored, TransactionId, View, record,
    },
};

/// Which records of other business dates are kept: a whole journal would not fit
/// into memory.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Records that the files name.
    pub keys: HashSet<Key>,
    /// Dates whose records may be meant by lines without a key; the date itself need
    /// not be among them.
    pub dates: BTreeSet<Date>,
}

/// Reads entries in the order of the journal.
#[derive(Debug)]
pub struct JournalSide {
    participant: ParticipantId,
    /// Begins every account of the participant.
    accounts: String,
    date: Date,
    wanted: Wanted,
    movements: BTreeMap<(TransactionId, Date), Movement>,
    cases: BTreeMap<CaseId, record::ReconciliationCase>,
}

/// What the journal says.
#[derive(Debug, Clone, Default)]
pub struct Read {
    pub records: Vec<Record>,
    /// Every case of the participant as it stands, whatever its date.
    pub cases: BTreeMap<CaseId, record::ReconciliationCase>,
}

/// The steps of one transaction on one business date.
#[derive(Debug, Default)]
struct Movement {
    /// What was moved by steps that were not reversals.
    moved: Fen,
    /// What is left of it.
    due: Fen,
    reversed: bool,
    reference: Option<Arc<str>>,
    at: Millis,
    terminal: Option<Arc<str>>,
    scene: Option<Scene>,
    method: Arc<str>,
    accounts: BTreeSet<String>,
}

/// An entry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("an entry has no transaction id of 16 bytes")]
    NoTransaction,
    #[error(transparent)]
    Case(#[from] CorruptAggregate),
    #[error(transparent)]
    Overflow(#[from] FenOverflow),
}

impl JournalSide {
    pub fn new(participant: ParticipantId, date: Date, wanted: Wanted) -> Self {
        let accounts = format!("participant/{participant}/");
        let (movements, cases) = Default::default();
        JournalSide { participant, accounts, date, wanted, movements, cases }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// When it is not what an entry is, or a sum leaves 64 bits.
    pub fn take(&mut self, entry: &record::Entry) -> Result<(), Unreadable> {
        self.take_cases(entry)?;
        let ours = entry.postings.iter().filter(|posting| posting.account.starts_with(&self.accounts));
        let ours: Vec<_> = ours.collect();
        let date = business_date(entry.committed_at_ms);
        if ours.is_empty() {
            return Ok(());
        }
        let transaction =
            entry.transaction_id.as_slice().try_into().map_err(|_| Unreadable::NoTransaction)?;
        let transaction = TransactionId::from_bytes(transaction);
        // Who owes whom is written from our side: a credit is what they get.
        let mut moved = Fen::ZERO;
        for posting in &ours {
            moved = moved.minus(Fen::new(posting.amount_fen))?;
        }
        let mine = entry.participant == self.participant.as_str();
        let reference = if mine { reference_of(entry) } else { None };
        if !self.wants(date, transaction, reference.as_ref()) {
            return Ok(());
        }
        let movement = self.movements.entry((transaction, date)).or_insert_with(|| Movement {
            reference,
            at: if entry.terminal_time_ms > 0 { entry.terminal_time_ms } else { entry.committed_at_ms },
            terminal: mine.then(|| entry.terminal.as_str().into()),
            scene: Scene::from_name(&entry.scene),
            method: entry.method.as_str().into(),
            ..Movement::default()
        });
        movement.due = movement.due.plus(moved)?;
        movement.reversed = entry.status == Status::Reversed.number();
        if !movement.reversed {
            movement.moved = movement.moved.plus(moved)?;
        }
        movement.accounts.extend(ours.into_iter().map(|posting| posting.account.clone()));
        Ok(())
    }

    /// What was read. Of a day on which nothing is left of a movement, the record
    /// says what was reversed.
    pub fn finish(self) -> Read {
        let records = self.movements.into_iter().map(|((transaction, date), movement)| {
            let undone = movement.reversed && movement.due == Fen::ZERO && movement.moved != Fen::ZERO;
            let single = movement.accounts.len() == 1;
            Record {
                transaction: Some(transaction),
                reference: movement.reference,
                date,
                at: Some(movement.at),
                terminal: movement.terminal,
                amount: if undone { movement.moved } else { movement.due },
                state: if undone { State::Reversed } else { State::Captured },
                scene: movement.scene,
                kind: Some(movement.method),
                account: movement.accounts.into_iter().next().filter(|_| single).map(Into::into),
                line: 0,
            }
        });
        Read { records: records.collect(), cases: self.cases }
    }

    fn wants(&self, date: Date, transaction: TransactionId, reference: Option<&Arc<str>>) -> bool {
        let named = |key: Key| self.wanted.keys.contains(&key);
        date == self.date
            || self.wanted.dates.contains(&date)
            || named(Key::Transaction(transaction))
            || reference.is_some_and(|reference| named(Key::Reference(Arc::clone(reference))))
    }

    fn take_cases(&mut self, entry: &record::Entry) -> Result<(), Unreadable> {
        let number = u32::from(AggregateKind::ReconciliationCase.number());
        for write in entry.writes.iter().filter(|write| write.kind == number && !write.deleted) {
            let corrupt = CorruptAggregate { kind: AggregateKind::ReconciliationCase };
            let key = AggregateKey::of::<record::ReconciliationCase>(&write.id);
            let stored =
                Stored { revision: write.revision, schema: write.schema, body: write.body.clone().into() };
            let view = View::default().with(key, Some(stored));
            let case: record::ReconciliationCase = view.get(&write.id)?.ok_or(corrupt.clone())?;
            if case.participant == self.participant.as_str() {
                self.cases.insert(CaseId::from_slice(&write.id).map_err(|_| corrupt)?, case);
            }
        }
        Ok(())
    }
}

impl Read {
    /// What matching asks of earlier runs.
    pub fn known(&self) -> BTreeMap<CaseId, Known> {
        let known =
            |case: &record::ReconciliationCase| Known { filed_under: date_of_yyyymmdd(case.filed_under) };
        self.cases.iter().map(|(id, case)| (*id, known(case))).collect()
    }
}

/// The participant's own reference: the id it gave its request.
fn reference_of(entry: &record::Entry) -> Option<Arc<str>> {
    let bytes = entry.request_id.as_slice().try_into().ok()?;
    Some(RequestId::from_bytes(bytes).to_string().into())
}
