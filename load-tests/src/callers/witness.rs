//! What everybody was told, held against each other: a transaction belongs to one
//! request, a receipt proves its answer.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use onecard::{
    client::{JournalKey, check_answer},
    proto::common::v1::Answer,
};

/// The receipt of one answer in so many is kept and checked: a signature costs
/// 200 µs, which is not to be taken from the run.
const RECEIPT_EVERY: usize = 50;
const RECEIPTS_MAX: usize = 500;

/// Sentences kept about faults; the counts tell the rest.
const EXAMPLES: usize = 8;

/// Watches the answers of one region's gateway, or of a scenario as a whole.
#[derive(Debug, Default)]
pub struct Witness(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    transactions: HashSet<String>,
    receipts: Vec<Answer>,
    faults: u64,
    wrong: Vec<String>,
}

impl Witness {
    /// An answer to a request that nobody else sent.
    pub fn saw(&self, answer: &Answer) {
        let mut seen = self.lock();
        if answer.transaction_id.is_empty() || !seen.transactions.insert(answer.transaction_id.clone()) {
            seen.fault(format!("transaction {} answers two requests", answer.transaction_id));
        }
        if seen.transactions.len() % RECEIPT_EVERY == 1 && seen.receipts.len() < RECEIPTS_MAX {
            seen.receipts.push(answer.clone());
        }
    }

    /// Something that must not be.
    pub fn fault(&self, what: String) {
        self.lock().fault(what);
    }

    /// Faults so far.
    pub fn faults(&self) -> u64 {
        self.lock().faults
    }

    /// Requests answered, each by a transaction of its own.
    pub fn transactions(&self) -> u64 {
        self.lock().transactions.len() as u64
    }

    /// Checks the receipts that were kept and says how many; what does not hold is
    /// a fault.
    pub fn check_receipts(&self, key: &JournalKey) -> u64 {
        let receipts = std::mem::take(&mut self.lock().receipts);
        for answer in &receipts {
            if let Err(refused) = check_answer(answer, key) {
                self.fault(format!("the receipt of {} does not hold: {refused}", answer.transaction_id));
            }
        }
        receipts.len() as u64
    }

    /// One sentence a fault, the first few, and how many there are beyond.
    pub fn told(&self) -> Vec<String> {
        let seen = self.lock();
        let mut told = seen.wrong.clone();
        let beyond = seen.faults - seen.wrong.len() as u64;
        told.extend((beyond > 0).then(|| format!("and {beyond} faults more")));
        told
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn fault(&mut self, what: String) {
        self.faults += 1;
        if self.wrong.len() < EXAMPLES {
            self.wrong.push(what);
        }
    }
}
