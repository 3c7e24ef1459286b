//! The middle of a batch: units are decided one after the other over what was
//! locked, each seeing what those before it have written. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    job::{Answer, Claiming, Job, Reply, Standing, What, claim_of, follows},
    lock::Locked,
};
use crate::{
    crypto::Sealer,
    limits,
    model::{AggregateKey, Millis, Status, Stored, Subject, TransactionId, View},
    store::{
        Step, StoreError, Unit,
        draft::{Draft, Settled},
        effects::{Claim, ClaimKey, Row, corrupt, stored_behind},
        is_same_request,
        task_rows::task_of,
    },
};

/// A batch that is decided.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) settled: Vec<Settled>,
    /// Who waits for which entry, in the order of `settled`.
    pub(super) waiting: Vec<Reply>,
    /// Answers that become true with the commit.
    pub(super) after: Vec<(Reply, Result<Answer, StoreError>)>,
    /// Claims that were made for units that failed.
    pub(super) unused_claims: Vec<(i32, ClaimKey)>,
    /// Claims of later steps, whose number was not known when they were made.
    pub(super) later_claims: Vec<(i32, ClaimKey, u32)>,
    /// Tasks that must be open in the database, with the places in `settled` that
    /// rest on it.
    pub(super) needs: BTreeMap<OpenTask, Vec<usize>>,
    /// Whether the batch changes anything but entries: claims for other shards.
    pub(super) claimed: bool,
}

/// A task by its transaction and kind.
pub(super) type OpenTask = (TransactionId, String);

impl Decided {
    /// Takes the units back whose task is not among the `open` ones. An error says
    /// that others may have built on one of them: then nothing of the batch may be
    /// written.
    pub(super) fn heed_tasks(&mut self, open: &HashSet<OpenTask>) -> Result<(), BuiltOn> {
        let needs = std::mem::take(&mut self.needs);
        let closed = needs.into_iter().filter(|(task, _)| !open.contains(task));
        let closed: BTreeSet<usize> = closed.flat_map(|(_, places)| places).collect();
        let mut built_on = false;
        // From the last, so that the places before it stay what they are.
        for place in closed.into_iter().rev() {
            built_on |= self.settled.remove(place).is_built_on();
            self.after.push((self.waiting.remove(place), Err(StoreError::TaskClosed)));
        }
        if built_on { Err(BuiltOn) } else { Ok(()) }
    }
}

/// A unit that others may have seen cannot be taken back alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a unit that others may have built on cannot be taken back")]
pub(super) struct BuiltOn;

/// Whose keys are needed to read what was locked.
pub(super) fn sealed_subjects(locked: &Locked) -> BTreeSet<Subject> {
    let sealed = locked.aggregates.values().filter_map(|row| match row {
        Row::Sealed(sealed) => Some(sealed.subject),
        Row::Open(_) | Row::Deleted => None,
    });
    sealed.collect()
}

/// What became of a unit.
enum Ran {
    Settled(Box<Settled>),
    Answer(Answer),
}

struct Deciding<'a> {
    locked: Locked,
    sealer: &'a dyn Sealer,
    now: Millis,
    /// Written by units of this batch.
    written: HashMap<AggregateKey, Option<Stored>>,
    /// The first job of this batch to claim a request: what its row says.
    firsts: HashMap<ClaimKey, (Standing, bool)>,
    /// Requests that units of this batch have made.
    claimed: HashMap<ClaimKey, Claim>,
    /// First steps of this batch.
    begun: HashSet<TransactionId>,
    /// Tasks that units of this batch have asked for or closed.
    tasks: HashMap<OpenTask, TaskNow>,
    needs: BTreeMap<OpenTask, Vec<usize>>,
}

/// A task as this batch leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TaskNow {
    /// By its own transaction.
    Asked,
    /// By another's entry, which only the database can bear out.
    Changed,
    Closed,
}

/// Decides the jobs of a batch. Units that fail fail alone. Answers with the
/// places that stay empty as well.
pub(super) fn decide(
    jobs: Vec<Job>,
    locked: Locked,
    sealer: &dyn Sealer,
    now: Millis,
) -> (Decided, BTreeSet<(i32, Vec<u8>)>) {
    let mut deciding = Deciding {
        locked,
        sealer,
        now,
        written: HashMap::new(),
        firsts: firsts(&jobs),
        claimed: HashMap::new(),
        begun: HashSet::new(),
        tasks: HashMap::new(),
        needs: BTreeMap::new(),
    };
    let mut decided = Decided::default();
    for Job { what, reply } in jobs {
        match what {
            What::Claim(claiming) => {
                decided.claimed = true;
                let standing = deciding.standing(claiming);
                decided.after.push((reply, Ok(Answer::Claimed(standing))));
            }
            What::Unit { unit, claim_shard } => {
                let claim = claim_of(&unit).map(|(key, _)| (claim_shard, key));
                // Who has gone away while the rows were locked leaves a claim behind, and
                // nothing else is done for him.
                if !reply.is_closed() {
                    match deciding.run(*unit, claim_shard, decided.settled.len()) {
                        Ok(Ran::Settled(settled)) => {
                            decided.settled.push(*settled);
                            decided.waiting.push(reply);
                        }
                        Ok(Ran::Answer(answer)) => decided.after.push((reply, Ok(answer))),
                        Err(error) => decided.after.push((reply, Err(error))),
                    }
                }
                // Made by this batch, and perhaps by no unit of it in the end.
                if let Some(claim) = claim
                    && !deciding.locked.standing.contains_key(&claim)
                {
                    decided.unused_claims.push(claim);
                }
            }
        }
    }
    decided.later_claims = decided
        .unused_claims
        .iter()
        .filter_map(|(shard, key)| Some((*shard, *key, deciding.claimed.get(key)?.step)))
        .filter(|(_, _, step)| *step > 0)
        .collect();
    decided.unused_claims.sort_unstable();
    decided.unused_claims.dedup();
    decided.unused_claims.retain(|(_, key)| {
        let by_unit = deciding.firsts.get(key).is_some_and(|(_, by_unit)| *by_unit);
        by_unit && !deciding.claimed.contains_key(key)
    });
    decided.needs = std::mem::take(&mut deciding.needs);
    let written: HashSet<_> = deciding.written.keys().map(super::rows::key_bytes).collect();
    let mut held = deciding.locked.held;
    held.retain(|(_, key)| !written.contains(key));
    (decided, held)
}

/// Which job of a batch is the first to claim a request, and whether it is a unit.
fn firsts(jobs: &[Job]) -> HashMap<ClaimKey, (Standing, bool)> {
    let mut firsts = HashMap::new();
    for job in jobs {
        let (key, standing, by_unit) = match &job.what {
            What::Claim(Claiming { key, fingerprint, unit_shard, transaction }) => {
                let (fingerprint, unit_shard, transaction) = (*fingerprint, *unit_shard, *transaction);
                (*key, Standing { fingerprint, unit_shard, transaction, step: 0 }, false)
            }
            What::Unit { unit, claim_shard } => {
                let Some((key, fingerprint)) = claim_of(unit) else { continue };
                let transaction = unit.transaction;
                (key, Standing { fingerprint, unit_shard: *claim_shard, transaction, step: 0 }, true)
            }
        };
        firsts.entry(key).or_insert((standing, by_unit));
    }
    firsts
}

impl Deciding<'_> {
    /// The claim that stands, for a unit of another shard.
    fn standing(&self, claiming: Claiming) -> Standing {
        let Claiming { key, fingerprint, unit_shard, transaction } = claiming;
        let earlier = self.locked.standing.iter().find(|((_, claim), _)| *claim == key);
        let first = self.firsts.get(&key).map(|(first, _)| *first);
        let standing = earlier.map(|(_, standing)| *standing).or(first);
        standing.unwrap_or(Standing { fingerprint, unit_shard, transaction, step: 0 })
    }

    /// Runs a unit; its entry would stand at `place`.
    fn run(&mut self, unit: Unit, claim_shard: i32, place: usize) -> Result<Ran, StoreError> {
        let transaction = unit.transaction;
        let mut claim = None;
        if let Some((key, fingerprint)) = claim_of(&unit) {
            let same = |made: [u8; 32]| match is_same_request(&made, &fingerprint) {
                true => Ok(()),
                false => Err(StoreError::RequestIdMisused),
            };
            if let Some(earlier) = self.claimed.get(&key) {
                same(earlier.fingerprint)?;
                return Ok(Ran::Answer(Answer::Replay(earlier.transaction, earlier.step)));
            }
            if let Some(standing) = self.locked.standing.get(&(claim_shard, key)).copied() {
                same(standing.fingerprint)?;
                return Ok(Ran::Answer(match standing.unit_shard == claim_shard {
                    true => Answer::Replay(standing.transaction, standing.step),
                    false => Answer::Elsewhere { unit: Box::new(unit), shard: standing.unit_shard },
                }));
            }
            if let Some((first, _)) = self.firsts.get(&key).copied()
                && first.transaction != transaction
            {
                // The row is another job's of this batch, and that one failed or belongs
                // elsewhere.
                return match first.unit_shard == claim_shard {
                    true => Err(StoreError::Busy),
                    false => {
                        Ok(Ran::Answer(Answer::Elsewhere { unit: Box::new(unit), shard: first.unit_shard }))
                    }
                };
            }
            claim = Some((key, fingerprint));
        }
        let before = match follows(&unit) {
            false => None,
            true => Some(*self.locked.last_steps.get(&transaction).ok_or(StoreError::NoSuchTransaction)?),
        };
        if let (Step::Next, Some((_, status))) = (unit.step, before)
            && status.is_final()
        {
            return Ok(Ran::Answer(Answer::Replay(transaction, 0)));
        }
        let number = before.map_or(0, |(step, _)| step + 1);
        let claim = claim.map(|(key, fingerprint)| (key, Claim { transaction, step: number, fingerprint }));
        if number == 0 && !self.begun.insert(transaction) {
            return Err(corrupt("a transaction id came twice"));
        }
        let settled = self.settle(unit, number, before.map(|(_, status)| status), claim)?;
        self.heed_tasks(transaction, &settled, place)?;
        if let Some((key, claim)) = claim {
            self.claimed.insert(key, claim);
        }
        self.locked.last_steps.insert(transaction, (number, settled.status()));
        for (key, stored) in settled.writes() {
            self.written.insert(key.clone(), stored.clone());
        }
        Ok(Ran::Settled(Box::new(settled)))
    }

    /// Notes what a unit does to tasks. One that changes another transaction's needs it
    /// open; what this batch does not know of it, the database is asked for.
    fn heed_tasks(
        &mut self,
        transaction: TransactionId,
        settled: &Settled,
        place: usize,
    ) -> Result<(), StoreError> {
        let named = settled.tasks().iter().map(|task| {
            let of = task_of(transaction, task);
            ((of, task.kind.clone()), of != transaction, task.done)
        });
        let named: Vec<_> = named.collect();
        let is_closed = |key: &OpenTask| self.tasks.get(key) == Some(&TaskNow::Closed);
        if named.iter().any(|(key, of_another, _)| *of_another && is_closed(key)) {
            return Err(StoreError::TaskClosed);
        }
        for (key, of_another, done) in named {
            let known = self.tasks.get(&key).copied();
            if of_another && known != Some(TaskNow::Asked) {
                self.needs.entry(key.clone()).or_default().push(place);
            }
            let now = match (done, of_another, known) {
                (true, _, _) => TaskNow::Closed,
                (false, false, _) | (false, true, Some(TaskNow::Asked)) => TaskNow::Asked,
                (false, true, _) => TaskNow::Changed,
            };
            self.tasks.insert(key, now);
        }
        Ok(())
    }

    fn settle(
        &self,
        unit: Unit,
        number: u32,
        before: Option<Status>,
        claim: Option<(ClaimKey, Claim)>,
    ) -> Result<Settled, StoreError> {
        let Unit { meta, transaction, step, touches, decide } = unit;
        if touches.len() > limits::UNIT_TOUCHES_MAX {
            return Err(corrupt("a unit names too many aggregates"));
        }
        let mut view = View::default();
        for key in &touches {
            view.put(key.clone(), self.aggregate(key)?);
        }
        let now = self.now;
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&view, now)));
        let decision = decided
            .map_err(|_| corrupt("the decision panicked"))?
            .map_err(|error| corrupt(error.to_string()))?;
        let draft = Draft { meta, step, transaction, number, before, claim, now };
        draft.settle(&view, decision)
    }

    fn aggregate(&self, key: &AggregateKey) -> Result<Option<Stored>, StoreError> {
        if let Some(stored) = self.written.get(key) {
            return Ok(stored.clone());
        }
        match self.locked.aggregates.get(key) {
            Some(row) => stored_behind(row.clone(), key, self.sealer),
            None => Ok(None),
        }
    }
}
