//! Daily caps: how much may be reserved and charged for a participant, and from
//! the purses of a province, in one business day.
//!
//! A cap is never a row that every transaction writes. Its day is leased to nodes
//! in chunks; a node spends its chunk in memory and asks for another. What a node
//! had left when it died stays leased until the day is over: a cap may be reached
//! early, it is never exceeded.

use std::fmt;

use super::{
    Account,
    window::{Window, window_of},
};
use crate::model::{
    CorruptAggregate, Decision, Fen, Millis, Outcome, ParticipantId, Posting, Reason, View, Write,
    record::CapQuota,
};

/// A chunk is this part of its cap, so that a restart costs little of a day.
const CHUNKS: i64 = 64;

/// What a cap is on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CapOn {
    /// What a participant takes.
    Participant(ParticipantId),
    /// What is taken here from the purses of a province.
    Region(u32),
}

impl fmt::Display for CapOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CapOn::Participant(participant) => write!(f, "participant/{participant}"),
            CapOn::Region(province) => write!(f, "region/{province:06}"),
        }
    }
}

/// A line of configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    pub on: CapOn,
    /// A business day's, positive.
    pub daily: Fen,
}

impl Cap {
    /// What a node leases at a time, when it needs no more at once.
    pub fn chunk(&self) -> Fen {
        Fen::new((self.daily.get() / CHUNKS).max(1))
    }
}

/// The id of the aggregate that keeps a cap's day: a participant's name is too long
/// for it beside a date, so it is the hash that is given.
pub fn quota_id(hash_of_name: &[u8; 32], window: u32) -> [u8; 20] {
    let mut id = [0; 20];
    id[..16].copy_from_slice(&hash_of_name[..16]);
    id[16..].copy_from_slice(&window.to_be_bytes());
    id
}

/// What postings take, by what may be capped: debits of purses by province, credits
/// of participants. What is given back counts for nothing: a cap bounds what is
/// taken in a day, not what is left of it.
pub fn takes(postings: &[Posting]) -> Vec<(CapOn, Fen)> {
    let mut takes: Vec<(CapOn, Fen)> = Vec::new();
    for posting in postings {
        let amount = posting.amount;
        let on = match posting.account.parse() {
            Ok(Account::Purse { province }) if amount > Fen::ZERO => CapOn::Region(province),
            Ok(Account::Participant { participant, book: _ }) if amount < Fen::ZERO => {
                CapOn::Participant(participant)
            }
            Ok(
                Account::Purse { .. }
                | Account::Participant { .. }
                | Account::Region { .. }
                | Account::Fund { .. }
                | Account::Insured { .. },
            )
            | Err(_) => continue,
        };
        let amount = Fen::new(amount.get().saturating_abs());
        match takes.iter_mut().find(|(known, _)| *known == on) {
            Some((_, sum)) => *sum = Fen::new(sum.get().saturating_add(amount.get())),
            None => takes.push((on, amount)),
        }
    }
    takes
}

/// Decides a lease: `needs` at least, `wants` or a chunk where there is room. The
/// granted amount is in the detail. Declined when not even `needs` is left.
///
/// # Errors
/// When the quota cannot be read.
pub fn lease(
    view: &View,
    id: &[u8],
    cap: &Cap,
    (needs, wants): (Fen, Fen),
    window: Window,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let mut quota: CapQuota = view.get(id)?.unwrap_or_default();
    let left = cap.daily.get().saturating_sub(quota.leased_fen);
    // A day that is over leases nothing any more.
    if needs.get() > left || window_of(now) > window.number() {
        return Ok(Decision::new(Outcome::Declined(Reason::CapExceeded)));
    }
    let granted = needs.max(wants).max(cap.chunk()).get().min(left);
    quota.cap = cap.on.to_string();
    quota.date = window.number();
    quota.leased_fen += granted;
    quota.leases += 1;
    assert!(quota.leased_fen <= cap.daily.get(), "more leased than the cap");
    let mut decision = Decision::new(Outcome::Approved);
    decision.detail = crate::model::Detail::open(&granted);
    decision.writes = vec![Write::put(id, &quota)];
    Ok(decision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decoded;
    use proptest::prelude::*;

    const AT: Millis = 1_790_000_000_000;

    fn cap(daily: i64) -> Cap {
        Cap { on: CapOn::Region(120_000), daily: Fen::new(daily) }
    }

    proptest! {
        #[test]
        fn leases_never_exceed_the_cap_and_reach_it(daily in 1..100_000_i64, asks in proptest::collection::vec(1..5_000_i64, 1..200)) {
            let (cap, window) = (cap(daily), Window::of(AT));
            let mut view = View::default().missing::<CapQuota>(b"cap");
            let mut leased = 0;
            for needs in asks {
                let decision = lease(&view, b"cap", &cap, (Fen::new(needs), Fen::new(needs * 2)), window, AT).expect("readable");
                if decision.outcome != Outcome::Approved {
                    prop_assert!(leased + needs > daily, "declined although there was room");
                    continue;
                }
                let granted = decoded::<i64>(&decision.detail.bytes).expect("a number");
                prop_assert!(granted >= needs);
                leased += granted;
                prop_assert!(leased <= daily);
                let body = decision.writes[0].body.as_ref().expect("written");
                let quota: CapQuota = decoded(body).expect("a quota");
                prop_assert_eq!(quota.leased_fen, leased);
                view = View::default().holding(b"cap", &quota);
            }
        }
    }

    #[test]
    fn a_day_that_is_over_leases_nothing() {
        let view = View::default().missing::<CapQuota>(b"cap");
        let decision =
            lease(&view, b"cap", &cap(10), (Fen::new(1), Fen::new(1)), Window::of(AT - 86_400_000), AT);
        assert_eq!(decision.expect("readable").outcome, Outcome::Declined(Reason::CapExceeded));
    }

    #[test]
    fn what_is_taken_counts_and_what_is_given_back_does_not() {
        let posting = |account: &str, fen| Posting { account: account.to_owned(), amount: Fen::new(fen) };
        let charge = [posting("purse/120000", 500), posting("participant/bj-metro/fares", -500)];
        let metro = CapOn::Participant("bj-metro".parse().expect("well formed"));
        assert_eq!(takes(&charge), [(CapOn::Region(120_000), Fen::new(500)), (metro, Fen::new(500))]);
        let refund = [posting("purse/120000", -500), posting("participant/bj-metro/fares", 500)];
        assert_eq!(takes(&refund), []);
    }
}
