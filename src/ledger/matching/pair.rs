//! Pairing of two lists of records: first by what names them, then by what they
//! say. Every record is in one pair at most, and the order of the input decides
//! nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{Key, Record, Rules, Tolerance};
use crate::model::Millis;

/// What became of the lines.
pub(super) struct Paired {
    /// By line: the base record it is paired with.
    pub(super) with: Vec<Option<usize>>,
    /// By line: it repeats another one.
    pub(super) double: Vec<bool>,
}

/// A record to pair with, and a further reference under which it is known.
pub(super) struct Base<'a> {
    pub(super) record: &'a Record,
    pub(super) alias: Option<Arc<str>>,
}

/// Pairs `lines` with `bases`. Both are sorted.
pub(super) fn pair(bases: &[Base<'_>], lines: &[Record], rules: &Rules) -> Paired {
    let mut pairing = Pairing {
        bases,
        lines,
        rules,
        taken: vec![false; bases.len()],
        paired: Paired { with: vec![None; lines.len()], double: vec![false; lines.len()] },
    };
    pairing.by_key();
    pairing.by_attributes();
    pairing.paired
}

struct Pairing<'a> {
    bases: &'a [Base<'a>],
    lines: &'a [Record],
    rules: &'a Rules,
    taken: Vec<bool>,
    paired: Paired,
}

impl Pairing<'_> {
    fn by_key(&mut self) {
        let mut known: HashMap<Key, usize> = HashMap::with_capacity(self.bases.len());
        for (at, base) in self.bases.iter().enumerate() {
            let alias = base.alias.clone().map(Key::Reference);
            for key in base.record.keys().chain(alias) {
                known.entry(key).or_insert(at);
            }
        }
        // Keys in order: our own ids before references, so that a line that names
        // the transaction itself comes before one that only names the request.
        let mut named: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for (at, line) in self.lines.iter().enumerate() {
            if let Some(key) = line.key() {
                named.entry(key).or_default().push(at);
            }
        }
        for lines in named.values() {
            let found = lines.iter().find_map(|at| self.lines[*at].keys().find_map(|key| known.get(&key)));
            let best = match found {
                Some(&base) if self.taken[base] => None,
                Some(&base) => {
                    let best = self.nearest(lines, base);
                    self.take(best, base);
                    Some(best)
                }
                None => lines.first().copied(),
            };
            for line in lines.iter().filter(|line| Some(**line) != best) {
                self.paired.double[*line] = true;
            }
        }
    }

    /// Of lines that name the same movement, the one that says the same of it.
    fn nearest(&self, lines: &[usize], base: usize) -> usize {
        let base = self.bases[base].record;
        let apart = |line: &usize| {
            let line = &self.lines[*line];
            (line.state != base.state, line.amount.get().abs_diff(base.amount.get()))
        };
        // The first of equals: lines are sorted.
        lines.iter().copied().min_by_key(apart).unwrap_or(lines[0])
    }

    fn take(&mut self, line: usize, base: usize) {
        self.taken[base] = true;
        self.paired.with[line] = Some(base);
    }

    /// Pairs what no key joined: same terminal, same amount, same time within the
    /// tolerances. A line that names a transaction is left alone: it says itself
    /// which one it means.
    fn by_attributes(&mut self) {
        let mut at_terminal: HashMap<&str, BTreeSet<(i64, Millis, usize)>> = HashMap::new();
        for (at, base) in self.bases.iter().enumerate() {
            if let (false, Some(terminal)) = (self.taken[at], &base.record.terminal) {
                let place = (base.record.amount.get(), base.record.at.unwrap_or(Millis::MIN), at);
                at_terminal.entry(terminal).or_default().insert(place);
            }
        }
        let left: Vec<usize> = (0..self.lines.len())
            .filter(|at| {
                let alone = self.paired.with[*at].is_none() && !self.paired.double[*at];
                alone && self.lines[*at].transaction.is_none()
            })
            .collect();
        // The nearest pairs first, wherever they stand.
        let mut near: Vec<(u64, u64, usize, usize)> = Vec::new();
        for line in left.iter().copied().filter(|at| self.lines[*at].at.is_some()) {
            let candidates = self.candidates(line, &at_terminal);
            near.extend(candidates.map(|(amount, time, base)| (amount, time, base, line)));
        }
        near.sort_unstable();
        for (_, _, base, line) in near {
            if !self.taken[base] && self.paired.with[line].is_none() {
                self.take(line, base);
                self.forget(base, &mut at_terminal);
            }
        }
        // Lines without a time cannot be told apart: each takes the first that is left.
        for line in left.into_iter().filter(|at| self.lines[*at].at.is_none()) {
            let first = self.candidates(line, &at_terminal).next();
            if let Some((_, _, base)) = first {
                self.take(line, base);
                self.forget(base, &mut at_terminal);
            }
        }
    }

    fn forget(&self, base: usize, at_terminal: &mut HashMap<&str, BTreeSet<(i64, Millis, usize)>>) {
        let record = self.bases[base].record;
        let places = record.terminal.as_deref().and_then(|terminal| at_terminal.get_mut(terminal));
        if let Some(places) = places {
            places.remove(&(record.amount.get(), record.at.unwrap_or(Millis::MIN), base));
        }
    }

    /// Base records that a line may mean, with how far amount and time are apart.
    fn candidates<'b>(
        &'b self,
        line: usize,
        at_terminal: &'b HashMap<&str, BTreeSet<(i64, Millis, usize)>>,
    ) -> impl Iterator<Item = (u64, u64, usize)> + 'b {
        let line = &self.lines[line];
        let places = line.terminal.as_deref().and_then(|terminal| at_terminal.get(terminal));
        // As wide as any scene is; which one holds, the base's scene decides.
        let widest = self.rules.amount_fen_max();
        let amount = line.amount.get();
        let amounts = amount.saturating_sub(widest)..=amount.saturating_add(widest);
        let (from, to) = window(line.at, self.rules.time_minutes_max());
        amounts
            .filter_map(move |amount| places.map(|places| (amount, places)))
            .flat_map(move |(amount, places)| places.range((amount, from, 0)..=(amount, to, usize::MAX)))
            .filter_map(move |(_, _, base)| {
                let record = self.bases[*base].record;
                let (amount, time) = apart(record, line, self.rules.tolerance(record))?;
                Some((amount, time, *base))
            })
    }
}

fn window(at: Option<Millis>, minutes: u32) -> (Millis, Millis) {
    let reach = i64::from(minutes) * 60_000;
    at.map_or((Millis::MIN, Millis::MAX), |at| (at.saturating_sub(reach), at.saturating_add(reach)))
}

/// How far two records are apart in amount (fen) and time (ms), or `None` when they
/// cannot mean the same movement.
fn apart(base: &Record, line: &Record, tolerance: Tolerance) -> Option<(u64, u64)> {
    let amount = base.amount.get().abs_diff(line.amount.get());
    let time = match (base.at, line.at) {
        (Some(ours), Some(theirs)) => ours.abs_diff(theirs),
        (None, _) | (_, None) => 0,
    };
    let same = base.state == line.state
        && agree(&base.scene, &line.scene)
        && agree(&base.kind, &line.kind)
        && agree(&base.account, &line.account)
        && amount <= u64::from(tolerance.amount_fen)
        && time <= u64::from(tolerance.time_minutes) * 60_000
        && super::days_apart(base.date, line.date) <= tolerance.date_shift_days;
    same.then_some((amount, time))
}

/// Whether two attributes are the same, or one side does not tell its own.
fn agree<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => true,
    }
}
