//! Afterwards: asks for every tap that was acknowledged, sends some once more,
//! counts every card's journeys, and reads the journal through.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use onecard::{
    client::{JournalKey, Terminal, TransactionKey, check_answer},
    crypto::Sm2PublicKey,
    proto::{common::v1::Purpose, transit::v1::ListJourneysRequest},
    sandbox::people::HOMES,
    store::{VerifyReport, verify_dir},
};

use super::writer::{Tapped, Written};
use crate::postgres::Database;

/// One tap in so many is sent once more.
const RESENT_EVERY: usize = 25;

/// The receipt of one tap in so many is checked: a signature costs 200 µs.
const RECEIPT_EVERY: usize = 100;

/// Questions under way at once on each connection.
const ASKING: usize = 8;

/// Sentences kept about faults; the counts tell the rest.
const EXAMPLES: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Audit {
    /// Taps found exactly as they were acknowledged.
    pub found: u64,
    /// Effects beyond those that were acknowledged.
    pub doubled: u64,
    pub resent: u64,
    pub receipts: u64,
    pub cards: u64,
    pub journeys: u64,
    /// Acknowledged exits without a journey.
    pub lost_journeys: u64,
    /// The first faults, one sentence each.
    pub wrong: Vec<String>,
}

/// Acknowledged exits by card, each named by the transaction that ended it.
type Exits = BTreeMap<Vec<u8>, HashSet<String>>;

impl Audit {
    /// Asks the gateway for everything.
    ///
    /// # Errors
    /// When the journal's key is none, or a task of ours fails.
    pub async fn of(written: &Written, terminals: &[Terminal], journal_key: &str) -> anyhow::Result<Self> {
        let key = Arc::new(JournalKey::from_hex(journal_key)?);
        let asker =
            |at: usize| Asker { terminal: terminals[at % terminals.len()].clone(), key: Arc::clone(&key) };
        let askers = terminals.len() * ASKING;
        let mut audit = Audit::default();
        // Two requests under one transaction: one of them had no effect of its own.
        let distinct: HashSet<&str> = written.taps.iter().map(|tap| tap.transaction_id.as_str()).collect();
        audit.doubled += (written.taps.len() - distinct.len()) as u64;

        let share = |at| written.taps.iter().skip(at).step_by(askers).cloned().collect();
        let asked: Vec<_> = (0..askers).map(|at| tokio::spawn(asker(at).taps(share(at)))).collect();
        for asked in asked {
            audit.add(asked.await?);
        }
        // One at a time on each connection: a card's journeys are read from as many
        // batches as it has taps.
        let mut cards: Vec<Exits> = terminals.iter().map(|_| Exits::new()).collect();
        for (at, (card, exits)) in exits(&written.taps).into_iter().enumerate() {
            cards[at % terminals.len()].insert(card, exits);
        }
        let asked: Vec<_> = cards
            .into_iter()
            .enumerate()
            .map(|(at, share)| tokio::spawn(asker(at).journeys(share)))
            .collect();
        for asked in asked {
            audit.add(asked.await?);
        }
        Ok(audit)
    }

    fn add(&mut self, other: Audit) {
        self.found += other.found;
        self.doubled += other.doubled;
        self.resent += other.resent;
        self.receipts += other.receipts;
        self.cards += other.cards;
        self.journeys += other.journeys;
        self.lost_journeys += other.lost_journeys;
        self.wrong.extend(other.wrong);
        self.wrong.truncate(EXAMPLES);
    }

    fn wrong(&mut self, what: String) {
        if self.wrong.len() < EXAMPLES {
            self.wrong.push(what);
        }
    }

    /// Holds a card's journeys against its acknowledged exits.
    fn card(&mut self, found: &[String], acknowledged: &HashSet<String>) {
        let distinct: HashSet<&String> = found.iter().collect();
        let lost = acknowledged.iter().filter(|exit| !distinct.contains(exit)).count();
        let kept = acknowledged.len() - lost;
        self.cards += 1;
        self.journeys += found.len() as u64;
        self.lost_journeys += lost as u64;
        self.doubled += (found.len() - kept) as u64;
    }
}

fn exits(taps: &[Tapped]) -> Exits {
    let mut exits = Exits::new();
    for tap in taps {
        let of_card = exits.entry(tap.card().to_vec()).or_default();
        if tap.is_exit() {
            of_card.insert(tap.transaction_id.clone());
        }
    }
    exits
}

/// Asks one question at a time.
struct Asker {
    terminal: Terminal,
    key: Arc<JournalKey>,
}

impl Asker {
    async fn taps(self, taps: Vec<Tapped>) -> Audit {
        let mut audit = Audit::default();
        for (at, tap) in taps.iter().enumerate() {
            self.find(&mut audit, tap, at % RECEIPT_EVERY == 0).await;
            if at % RESENT_EVERY == 0 {
                self.send_again(&mut audit, tap).await;
            }
        }
        audit
    }

    async fn find(&self, audit: &mut Audit, tap: &Tapped, check_receipt: bool) {
        let id = tap.request_id();
        let answer = match self.terminal.transaction(TransactionKey::Request(id.to_owned())).await {
            Ok(found) => found.answer.unwrap_or_default(),
            Err(error) => {
                return audit.wrong(format!("request {id} was acknowledged and is not found: {error}"));
            }
        };
        if !tap.says_the_same(&answer) {
            return audit.wrong(format!(
                "request {id} was acknowledged as {} at {} and is found as {} at {}",
                tap.transaction_id, tap.committed_at_ms, answer.transaction_id, answer.committed_at_ms
            ));
        }
        if check_receipt {
            if let Err(refused) = check_answer(&answer, &self.key) {
                return audit.wrong(format!("the receipt of request {id} does not hold: {refused}"));
            }
            audit.receipts += 1;
        }
        audit.found += 1;
    }

    async fn send_again(&self, audit: &mut Audit, tap: &Tapped) {
        let id = tap.request_id();
        audit.resent += 1;
        match self.terminal.tap(tap.request.clone()).await {
            Ok(again) => {
                let answer = again.answer.unwrap_or_default();
                if !tap.says_the_same(&answer) {
                    audit.doubled += 1;
                    audit.wrong(format!("request {id} sent again became {}", answer.transaction_id));
                }
            }
            Err(error) => audit.wrong(format!("request {id} sent again failed: {error}")),
        }
    }

    async fn journeys(self, cards: Exits) -> Audit {
        let mut audit = Audit::default();
        for (card, acknowledged) in cards {
            let ask = ListJourneysRequest {
                purpose: Purpose::TransitRide.into(),
                card_identifier: hexadecimal(&card),
                page_size: 100,
            };
            match self.terminal.list_journeys(ask).await {
                Ok(list) => {
                    let found: Vec<_> =
                        list.journeys.into_iter().map(|journey| journey.transaction_id).collect();
                    audit.card(&found, &acknowledged);
                }
                Err(error) => audit.wrong(format!("a card's journeys cannot be had: {error}")),
            }
        }
        audit
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Reads the whole journal of a stopped gateway, with every signature.
///
/// # Errors
/// What does not hold and where, in one sentence.
pub fn journal(dir: &Path, key: &str) -> Result<VerifyReport, String> {
    let key = Sm2PublicKey::from_hex(key).map_err(|error| error.to_string())?;
    let check = |signed: &[u8], signature: &[u8; 64]| key.verify(signed, signature).is_ok();
    verify_dir(dir, Some(&check)).map_err(|broken| broken.to_string())
}

/// The same for a journal in a database.
pub async fn database(database: &Database, key: &str) -> Result<VerifyReport, String> {
    let report = database.verify(HOMES[0].province, key).await?;
    Ok(VerifyReport {
        batches: report.batches,
        entries: report.entries,
        signatures_checked: report.signatures_checked,
        ..VerifyReport::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &[&str], acknowledged: &[&str], doubled: u64, lost: u64) {
        let found: Vec<_> = found.iter().map(|id| (*id).to_owned()).collect();
        let mut audit = Audit::default();
        audit.card(&found, &acknowledged.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!((audit.doubled, audit.lost_journeys), (doubled, lost), "{found:?} of {acknowledged:?}");
    }

    #[test]
    fn a_journey_too_many_or_too_few_is_counted() {
        check(&[], &[], 0, 0);
        check(&["a", "b"], &["b", "a"], 0, 0);
        check(&["a"], &["a", "b"], 0, 1);
        check(&["a", "a"], &["a"], 1, 0);
        check(&["a", "c"], &["a", "b"], 1, 1);
        check(&["c"], &[], 1, 0);
    }

    #[test]
    fn only_the_very_same_answer_is_found() {
        use onecard::proto::{common::v1::Answer, transit::v1::TapRequest};
        let answer = Answer {
            transaction_id: "t".to_owned(),
            decision: 1,
            status: 1,
            committed_at_ms: 5,
            ..Answer::default()
        };
        let tap = Tapped::new(TapRequest::default(), &answer);
        assert!(tap.says_the_same(&answer));
        for other in [
            Answer { transaction_id: "u".to_owned(), ..answer.clone() },
            Answer { decision: 2, ..answer.clone() },
            Answer { status: 2, ..answer.clone() },
            Answer { committed_at_ms: 6, ..answer.clone() },
        ] {
            assert!(!tap.says_the_same(&other), "{other:?}");
        }
    }
}
