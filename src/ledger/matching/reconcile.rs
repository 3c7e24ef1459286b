//! One business date of one participant, three ways.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::{
    CaseId, Difference, Exception, Hash, Record, Rules, Side, State, Trio, days_apart,
    exception::id_of,
    pair::{Base, Paired, pair},
};
use crate::model::{Fen, FenOverflow, ParticipantId, TransactionId};

/// What is compared.
#[derive(Debug, Clone)]
pub struct Input {
    pub participant: ParticipantId,
    /// The business date of the files.
    pub date: Date,
    /// From which the age of an exception is counted.
    pub today: Date,
    /// The journal's records of the date, and those of other dates that the files
    /// may name.
    pub journal: Vec<Record>,
    pub participant_file: Vec<Record>,
    /// `None` when the bank is not looked at.
    pub bank_file: Option<Vec<Record>>,
    /// What the journal has of earlier runs.
    pub known: BTreeMap<CaseId, Known>,
    /// Makes the ids of exceptions.
    pub hash: Hash,
}

/// What an earlier run left of an exception, as far as matching asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The business date of the file that had the record after all.
    pub filed_under: Option<Date>,
}

/// How many, and how much is due by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: u64,
    pub due: Fen,
}

impl Sum {
    fn add(&mut self, record: &Record) -> Result<(), FenOverflow> {
        self.count += 1;
        self.due = self.due.plus(record.due())?;
        Ok(())
    }
}

/// A side's records by what became of them; `read` is the sum of the other three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub read: Sum,
    pub matched: Sum,
    pub excepted: Sum,
    /// Reversed, and missed by nobody: nothing is due.
    pub void: Sum,
}

/// A record of another business date that this date's file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The exception that it is missing under its own date.
    pub missing: CaseId,
    pub file: Side,
    pub transaction: TransactionId,
    /// Under which date the journal has it.
    pub date: Date,
    pub amount: Fen,
}

/// What came of it. Everything is in order, whatever the order of the input was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub matched: Vec<Trio>,
    pub void: Vec<Trio>,
    pub exceptions: Vec<Exception>,
    pub carried: Vec<Carried>,
    pub tallies: BTreeMap<Side, Tally>,
}

/// Compares the three sides.
///
/// # Errors
/// When a sum leaves 64 bits.
pub fn reconcile(input: Input, rules: &Rules) -> Result<Outcome, FenOverflow> {
    let Input { mut journal, mut participant_file, mut bank_file, .. } = input;
    journal.sort_unstable();
    participant_file.sort_unstable();
    if let Some(bank) = &mut bank_file {
        bank.sort_unstable();
    }
    let mut run = Run {
        participant: input.participant,
        date: input.date,
        today: input.today,
        bank_is_looked_at: bank_file.is_some(),
        known: input.known,
        hash: input.hash,
        rules,
        alike: BTreeMap::new(),
        outcome: Outcome::default(),
    };
    let (trios, doubles) = join(&journal, &participant_file, bank_file.as_deref().unwrap_or(&[]), rules);
    for trio in trios {
        run.judge(trio)?;
    }
    for (file, trio) in doubles {
        run.outcome.count(&trio, |tally| &mut tally.excepted)?;
        run.except(Difference::DoubleInFile, file, &trio);
    }
    let mut outcome = run.outcome;
    outcome.exceptions.sort_by(|one, other| {
        let place = |e: &Exception| (e.difference.kind(), e.date, e.trio.clone(), e.id);
        place(one).cmp(&place(other))
    });
    outcome.carried.sort_by_key(|carried| (carried.date, carried.transaction, carried.file));
    Ok(outcome)
}

/// Joins the three sides to movements; lines that repeat another come apart.
fn join(
    journal: &[Record],
    participant: &[Record],
    bank: &[Record],
    rules: &Rules,
) -> (Vec<Trio>, Vec<(Side, Trio)>) {
    let bases: Vec<Base<'_>> = journal.iter().map(|record| Base { record, alias: None }).collect();
    let with_participant = pair(&bases, participant, rules);
    let mut of_journal: Vec<(Option<usize>, Option<usize>)> = vec![(None, None); journal.len()];
    for (line, base) in pairs(&with_participant) {
        of_journal[base].0 = Some(line);
    }
    // A bank may know a movement only by the reference that the participant gave it.
    let aliased = journal.iter().zip(&of_journal).map(|(record, (line, _))| Base {
        record,
        alias: line.and_then(|line| participant[line].reference.clone()),
    });
    let with_bank = pair(&aliased.collect::<Vec<_>>(), bank, rules);
    for (line, base) in pairs(&with_bank) {
        of_journal[base].1 = Some(line);
    }
    // What the journal does not have, both files may have.
    let alone = |paired: &Paired, line: usize| paired.with[line].is_none() && !paired.double[line];
    let left: Vec<usize> = (0..participant.len()).filter(|line| alone(&with_participant, *line)).collect();
    let bases: Vec<Base<'_>> =
        left.iter().map(|line| Base { record: &participant[*line], alias: None }).collect();
    let left_at_bank: Vec<usize> = (0..bank.len()).filter(|line| alone(&with_bank, *line)).collect();
    let lines: Vec<Record> = left_at_bank.iter().map(|line| bank[*line].clone()).collect();
    let files = pair(&bases, &lines, rules);
    let mut at_bank: Vec<Option<usize>> = vec![None; left.len()];
    for (line, base) in pairs(&files) {
        at_bank[base] = Some(line);
    }

    let mut trios: Vec<Trio> = Vec::with_capacity(journal.len());
    for (record, (line, bank_line)) in journal.iter().zip(of_journal) {
        trios.push(Trio {
            journal: Some(record.clone()),
            participant: line.map(|line| participant[line].clone()),
            bank: bank_line.map(|line| bank[line].clone()),
        });
    }
    for (line, bank_line) in left.iter().zip(at_bank) {
        trios.push(Trio {
            journal: None,
            participant: Some(participant[*line].clone()),
            bank: bank_line.map(|line| lines[line].clone()),
        });
    }
    let mut doubles = Vec::new();
    for (line, record) in lines.into_iter().enumerate() {
        let trio = Trio { bank: Some(record), ..Trio::default() };
        if files.double[line] {
            doubles.push((Side::Bank, trio));
        } else if files.with[line].is_none() {
            trios.push(trio);
        }
    }
    let repeated = |lines: &[Record], paired: &Paired| -> Vec<Record> {
        lines
            .iter()
            .zip(&paired.double)
            .filter(|(_, double)| **double)
            .map(|(line, _)| line.clone())
            .collect()
    };
    for record in repeated(participant, &with_participant) {
        doubles.push((Side::Participant, Trio { participant: Some(record), ..Trio::default() }));
    }
    for record in repeated(bank, &with_bank) {
        doubles.push((Side::Bank, Trio { bank: Some(record), ..Trio::default() }));
    }
    (trios, doubles)
}

fn pairs(paired: &Paired) -> impl Iterator<Item = (usize, usize)> + '_ {
    paired.with.iter().enumerate().filter_map(|(line, base)| Some((line, (*base)?)))
}

struct Run<'a> {
    participant: ParticipantId,
    date: Date,
    today: Date,
    bank_is_looked_at: bool,
    known: BTreeMap<CaseId, Known>,
    hash: Hash,
    rules: &'a Rules,
    /// How many exceptions nothing tells apart so far, by id.
    alike: BTreeMap<CaseId, usize>,
    outcome: Outcome,
}

impl Run<'_> {
    fn judge(&mut self, trio: Trio) -> Result<(), FenOverflow> {
        let differences = match &trio.journal {
            Some(ours) => {
                if ours.date != self.date && trio.participant.is_none() && trio.bank.is_none() {
                    // Of another date, and not in these files: not asked about today.
                    return Ok(());
                }
                let of_today = ours.date == self.date;
                let mut found = Vec::new();
                for file in [Side::Participant, Side::Bank] {
                    if file == Side::Participant || self.bank_is_looked_at {
                        let difference = match trio.of(file) {
                            Some(theirs) => self.compare(ours, theirs, file),
                            None if of_today && ours.state == State::Captured => Some(missing_at(file)),
                            None => None,
                        };
                        found.extend(difference.map(|difference| (file, difference)));
                    }
                }
                found
            }
            None if trio.records().all(|record| record.state == State::Reversed) => Vec::new(),
            None => {
                let file = if trio.participant.is_some() { Side::Participant } else { Side::Bank };
                vec![(file, Difference::MissingInJournal)]
            }
        };
        if !differences.is_empty() {
            self.outcome.count(&trio, |tally| &mut tally.excepted)?;
            for (file, difference) in differences {
                self.except(difference, file, &trio);
            }
        } else if trio.journal.is_some() && trio.records().count() > 1 {
            self.outcome.count(&trio, |tally| &mut tally.matched)?;
            self.outcome.matched.push(trio);
        } else {
            self.outcome.count(&trio, |tally| &mut tally.void)?;
            self.outcome.void.push(trio);
        }
        Ok(())
    }

    /// In which way a file's line differs from the journal's record. Of several
    /// differences the gravest is told; the others show when it is mended.
    fn compare(&mut self, ours: &Record, theirs: &Record, file: Side) -> Option<Difference> {
        let tolerance = self.rules.tolerance(ours);
        let missing = ours.transaction.map(|id| CaseId::of_missing(&self.participant, file, id, self.hash));
        let known = missing.and_then(|missing| self.known.get(&missing));
        if ours.date == self.date {
            if known.and_then(|known| known.filed_under).is_some_and(|under| under != self.date) {
                return Some(Difference::DoubleInFile);
            }
        } else {
            // An earlier date that did not miss it has it in its own file, or has not
            // been reconciled yet: until it has, nobody may be paid twice.
            let under = known.map(|known| known.filed_under);
            let elsewhere = under.flatten().is_some_and(|under| under != self.date);
            if elsewhere || (ours.date < self.date && under.is_none()) {
                return Some(Difference::DoubleInFile);
            }
            if let (Some(missing), Some(transaction)) = (missing, ours.transaction) {
                let (date, amount) = (ours.date, ours.amount);
                self.outcome.carried.push(Carried { missing, file, transaction, date, amount });
            }
        }
        if ours.state != theirs.state {
            return Some(Difference::StatusDiffers { ours: ours.state, theirs: theirs.state });
        }
        let apart = ours.amount.get().abs_diff(theirs.amount.get());
        if apart > u64::from(tolerance.amount_fen) && ours.state == State::Captured {
            return Some(Difference::AmountDiffers { ours: ours.amount, theirs: theirs.amount });
        }
        let shifted = days_apart(ours.date, theirs.date).max(days_apart(ours.date, self.date));
        if shifted > tolerance.date_shift_days {
            let theirs = if ours.date == theirs.date { self.date } else { theirs.date };
            return Some(Difference::DateDiffers { ours: ours.date, theirs });
        }
        None
    }

    fn except(&mut self, difference: Difference, file: Side, trio: &Trio) {
        let plain = id_of(&self.participant, file, &difference, trio, (self.date, 0), self.hash);
        let count = self.alike.entry(plain).or_insert(0);
        let id = id_of(&self.participant, file, &difference, trio, (self.date, *count), self.hash);
        *count += 1;
        let ours = trio.journal.as_ref();
        let date = ours.or_else(|| trio.of(file)).map_or(self.date, |record| record.date);
        self.outcome.exceptions.push(Exception {
            id,
            difference,
            file,
            trio: trio.clone(),
            date,
            age_days: u32::try_from((self.today - date).get_days()).unwrap_or(0),
            owner: self.rules.owner(difference.kind()),
        });
    }
}

const fn missing_at(file: Side) -> Difference {
    match file {
        Side::Participant => Difference::MissingAtParticipant,
        Side::Bank => Difference::MissingAtBank,
        Side::Journal => Difference::MissingInJournal,
    }
}

impl Outcome {
    fn count(&mut self, trio: &Trio, part: impl Fn(&mut Tally) -> &mut Sum) -> Result<(), FenOverflow> {
        for side in Side::ALL {
            if let Some(record) = trio.of(side) {
                let tally = self.tallies.entry(side).or_default();
                tally.read.add(record)?;
                part(tally).add(record)?;
            }
        }
        Ok(())
    }
}
