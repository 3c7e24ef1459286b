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

#[cfg(test)]
mod tests {
    use onecard::crypto::{KeyName, KeyVault as _, SoftVault};
    use onecard::model::SystemRng;

    use super::*;

    fn answer(transaction: &str) -> Answer {
        Answer { transaction_id: transaction.to_owned(), ..Answer::default() }
    }

    #[test]
    fn two_requests_under_one_transaction_are_a_fault() {
        let witness = Witness::default();
        witness.saw(&answer("a"));
        witness.saw(&answer("b"));
        assert_eq!((witness.faults(), witness.transactions()), (0, 2));
        witness.saw(&answer("a"));
        witness.saw(&answer(""));
        assert_eq!(witness.faults(), 2);
        assert_eq!(witness.told()[0], "transaction a answers two requests");
    }

    #[test]
    fn a_receipt_that_proves_nothing_is_a_fault() {
        let witness = Witness::default();
        witness.saw(&answer("a"));
        let vault = SoftVault::generate(&SystemRng);
        let point = vault.public_key(KeyName::Journal).expect("a key");
        let key = JournalKey::from_point(&point).expect("a point");
        assert_eq!(witness.check_receipts(&key), 1);
        assert!(witness.told()[0].contains("the receipt of a does not hold"), "{:?}", witness.told());
    }

    #[test]
    fn many_faults_are_told_by_a_few_and_their_number() {
        let witness = Witness::default();
        for nth in 0..20 {
            witness.fault(format!("fault {nth}"));
        }
        let told = witness.told();
        assert_eq!((told.len(), told[0].as_str()), (EXAMPLES + 1, "fault 0"));
        assert_eq!(told[EXAMPLES], "and 12 faults more");
    }
}
