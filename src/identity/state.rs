//! AAZ502: the state of a card, and how it may change.
//!
//! One table, [`TRANSITIONS`], says what becomes of every state by every
//! transition; a test holds this page to it:
//!
//! | from | activate | report temporary loss | report loss | lock | unlock | lift | cancel |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | 0 issued | 1 normal | CARD_NOT_ACTIVATED | 2 lost | CARD_NOT_ACTIVATED | STATE_UNCHANGED | NOT_LOST | 9 cancelled |
//! | 1 normal | STATE_UNCHANGED | 4 temporarily lost | 2 lost | 3 locked | STATE_UNCHANGED | NOT_LOST | 9 cancelled |
//! | 2 lost | LOSS_IS_FINAL | CARD_LOST | STATE_UNCHANGED | CARD_LOST | LOSS_IS_FINAL | LOSS_IS_FINAL | 9 cancelled |
//! | 3 locked | STATE_UNCHANGED | CARD_LOCKED | 2 lost | STATE_UNCHANGED | 1 normal | NOT_LOST | 9 cancelled |
//! | 4 temporarily lost | STATE_UNCHANGED | 4 temporarily lost | 2 lost | CARD_TEMPORARILY_LOST | STATE_UNCHANGED | 1 normal | 9 cancelled |
//! | 9 cancelled | CARD_CANCELLED | CARD_CANCELLED | CARD_CANCELLED | CARD_CANCELLED | CARD_CANCELLED | CARD_CANCELLED | CARD_CANCELLED |
//!
//! A temporary loss lapses by itself: at its expiry the card is normal again,
//! without a transition. That is why only a normal card may be reported lost for a
//! time: an issued or locked one would come back usable when the loss lapses.
//! Its holder reports a formal loss instead. Reporting a temporary loss again
//! renews its term and never shortens it.

use CardState::{Cancelled, Issued, Locked, Lost, Normal, TemporarilyLost};
use Transition::{Activate, Cancel, Lift, Lock, ReportLoss, ReportTemporaryLoss, Unlock};

use crate::model::{BadId, Millis, Reason};

/// AAZ502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CardState {
    /// 0, 封存: issued and not activated.
    Issued,
    /// 1, 正常: the only state in which a card may be used.
    Normal,
    /// 2, 正式挂失: a formal loss, for good.
    Lost,
    /// 3, 应用锁定: unlocked at a counter.
    Locked,
    /// 4, 临时挂失: lapses by itself, may be lifted.
    TemporarilyLost,
    /// 9, 注销: the end.
    Cancelled,
}

impl CardState {
    pub const ALL: &'static [CardState] = &[Issued, Normal, Lost, Locked, TemporarilyLost, Cancelled];

    /// The digit of AAZ502.
    pub const fn digit(self) -> u32 {
        match self {
            Issued => 0,
            Normal => 1,
            Lost => 2,
            Locked => 3,
            TemporarilyLost => 4,
            Cancelled => 9,
        }
    }

    /// The state of a digit of AAZ502.
    pub const fn from_digit(digit: u32) -> Option<Self> {
        match digit {
            0 => Some(Issued),
            1 => Some(Normal),
            2 => Some(Lost),
            3 => Some(Locked),
            4 => Some(TemporarilyLost),
            9 => Some(Cancelled),
            _ => None,
        }
    }

    /// For metrics, documents and the console.
    pub const fn name(self) -> &'static str {
        match self {
            Issued => "issued",
            Normal => "normal",
            Lost => "lost",
            Locked => "locked",
            TemporarilyLost => "temporarily lost",
            Cancelled => "cancelled",
        }
    }

    /// Why a card in this state may not be used.
    ///
    /// # Errors
    /// The reason, for every state but normal.
    pub const fn usable(self) -> Result<(), Reason> {
        match self {
            Normal => Ok(()),
            Issued => Err(Reason::CardNotActivated),
            Lost => Err(Reason::CardLost),
            Locked => Err(Reason::CardLocked),
            TemporarilyLost => Err(Reason::CardTemporarilyLost),
            Cancelled => Err(Reason::CardCancelled),
        }
    }
}

/// What may be asked to be done to a card's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transition {
    Activate,
    ReportTemporaryLoss,
    ReportLoss,
    Lock,
    Unlock,
    /// Lifts a temporary loss.
    Lift,
    Cancel,
}

impl Transition {
    pub const ALL: &'static [Transition] =
        &[Activate, ReportTemporaryLoss, ReportLoss, Lock, Unlock, Lift, Cancel];

    /// For metrics and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Activate => "activate",
            ReportTemporaryLoss => "report temporary loss",
            ReportLoss => "report loss",
            Lock => "lock",
            Unlock => "unlock",
            Lift => "lift",
            Cancel => "cancel",
        }
    }
}

/// One state's row: what becomes of it by each transition, in the order of
/// [`Transition::ALL`].
#[derive(Debug, Clone, Copy)]
pub struct TransitionRule {
    pub from: CardState,
    pub outcomes: [Result<CardState, Reason>; 7],
}

/// The one table of transitions, in the order of [`CardState::ALL`].
pub const TRANSITIONS: [TransitionRule; 6] = {
    use Reason::{
        CardCancelled, CardLocked, CardLost, CardNotActivated, CardTemporarilyLost, LossIsFinal, NotLost,
        StateUnchanged,
    };
    const fn row(from: CardState, outcomes: [Result<CardState, Reason>; 7]) -> TransitionRule {
        TransitionRule { from, outcomes }
    }
    const DEAD: Result<CardState, Reason> = Ok(Cancelled);
    const SAME: Result<CardState, Reason> = Err(StateUnchanged);
    [
        row(
            Issued,
            [Ok(Normal), Err(CardNotActivated), Ok(Lost), Err(CardNotActivated), SAME, Err(NotLost), DEAD],
        ),
        row(Normal, [SAME, Ok(TemporarilyLost), Ok(Lost), Ok(Locked), SAME, Err(NotLost), DEAD]),
        row(
            Lost,
            [Err(LossIsFinal), Err(CardLost), SAME, Err(CardLost), Err(LossIsFinal), Err(LossIsFinal), DEAD],
        ),
        row(Locked, [SAME, Err(CardLocked), Ok(Lost), SAME, Ok(Normal), Err(NotLost), DEAD]),
        row(
            TemporarilyLost,
            [SAME, Ok(TemporarilyLost), Ok(Lost), Err(CardTemporarilyLost), SAME, Ok(Normal), DEAD],
        ),
        row(Cancelled, [Err(CardCancelled); 7]),
    ]
};

fn outcome(from: CardState, by: Transition) -> Result<CardState, Reason> {
    TRANSITIONS[from as usize].outcomes[by as usize]
}

/// [`TRANSITIONS`] as a Markdown table, for documents.
pub fn transitions_as_markdown() -> String {
    let named = |state: CardState| format!("{} {}", state.digit(), state.name());
    let mut lines = vec![
        format!("| from | {} |", Transition::ALL.iter().map(|by| by.name()).collect::<Vec<_>>().join(" | ")),
        format!("|{}", " --- |".repeat(Transition::ALL.len() + 1)),
    ];
    for rule in TRANSITIONS {
        let cells =
            rule.outcomes.map(|outcome| outcome.map_or_else(|reason| reason.code().to_owned(), named));
        lines.push(format!("| {} | {} |", named(rule.from), cells.join(" | ")));
    }
    lines.join("\n")
}

/// A transition was refused; `reason` goes to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a card that is {} refuses to {}: {}", .state.name(), .transition.name(), .reason.en())]
pub struct TransitionRefused {
    pub state: CardState,
    pub transition: Transition,
    pub reason: Reason,
}

/// A card's state with the instant at which a temporary loss lapses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardStanding {
    pub state: CardState,
    /// Milliseconds UTC; 0 when the state does not lapse.
    pub expires_at_ms: Millis,
}

impl CardStanding {
    pub const fn new(state: CardState) -> Self {
        CardStanding { state, expires_at_ms: 0 }
    }

    /// From what the journal keeps: the digit of AAZ502 and the instant of lapse.
    ///
    /// # Errors
    /// When the digit is no state.
    pub fn from_stored(digit: u32, expires_at_ms: Millis) -> Result<Self, BadId> {
        match CardState::from_digit(digit) {
            Some(state) => Ok(CardStanding { state, expires_at_ms }),
            None => Err(BadId { what: "card state", expected: "0, 1, 2, 3, 4 or 9 (AAZ502)" }),
        }
    }

    /// How the card stands at `now_ms`: a temporary loss whose term is over has
    /// lapsed. One without a term does not lapse.
    #[must_use]
    pub const fn at(self, now_ms: Millis) -> Self {
        match self.state {
            TemporarilyLost if self.expires_at_ms != 0 && now_ms >= self.expires_at_ms => Self::new(Normal),
            Issued | Normal | Lost | Locked | TemporarilyLost | Cancelled => self,
        }
    }

    /// What becomes of the card by `transition` at `now_ms`. A temporary loss gets
    /// a term of `temporary_loss_ms` (configured; by default
    /// [`crate::limits::TEMPORARY_LOSS_MS`]).
    ///
    /// # Errors
    /// When [`TRANSITIONS`] refuses it; the refusal carries the reason.
    pub fn apply(
        self,
        transition: Transition,
        now_ms: Millis,
        temporary_loss_ms: i64,
    ) -> Result<Self, TransitionRefused> {
        let CardStanding { state, expires_at_ms } = self.at(now_ms);
        match outcome(state, transition) {
            Ok(TemporarilyLost) => {
                // A loss without a term stays without one when it is renewed.
                let unending = state == TemporarilyLost && expires_at_ms == 0;
                let renewed = now_ms.saturating_add(temporary_loss_ms).max(expires_at_ms);
                let expires_at_ms = if unending { 0 } else { renewed };
                Ok(CardStanding { state: TemporarilyLost, expires_at_ms })
            }
            Ok(next) => Ok(CardStanding::new(next)),
            Err(reason) => Err(TransitionRefused { state, transition, reason }),
        }
    }

    /// Whether the card may be used at `now_ms`.
    ///
    /// # Errors
    /// The reason why not.
    pub const fn usable(self, now_ms: Millis) -> Result<(), Reason> {
        self.at(now_ms).state.usable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERM: i64 = crate::limits::TEMPORARY_LOSS_MS;

    #[track_caller]
    fn check(from: CardState, by: Transition, expect: Result<CardState, Reason>) {
        let next = CardStanding::new(from).apply(by, 1_000, TERM);
        assert_eq!(next.map(|next| next.state).map_err(|refused| refused.reason), expect, "{from:?} {by:?}");
    }

    #[test]
    fn the_table_is_in_order_and_the_page_above_shows_it() {
        for (at, rule) in TRANSITIONS.iter().enumerate() {
            assert_eq!((rule.from, rule.from as usize), (CardState::ALL[at], at));
        }
        for (at, by) in Transition::ALL.iter().enumerate() {
            assert_eq!(*by as usize, at);
        }
        let page = include_str!("state.rs");
        for line in transitions_as_markdown().lines() {
            assert!(page.contains(&format!("//! {line}\n")), "the page lacks: //! {line}");
        }
    }

    #[test]
    fn a_state_keeps_its_digit() {
        for state in CardState::ALL {
            assert_eq!(CardState::from_digit(state.digit()), Some(*state));
        }
        for digit in [5, 6, 7, 8, 10, u32::MAX] {
            assert_eq!(CardState::from_digit(digit), None);
            assert!(CardStanding::from_stored(digit, 0).is_err());
        }
    }

    #[test]
    fn losses_locks_and_endings_follow_the_rules() {
        check(Issued, Activate, Ok(Normal));
        check(Normal, ReportTemporaryLoss, Ok(TemporarilyLost));
        check(TemporarilyLost, Lift, Ok(Normal));
        check(TemporarilyLost, ReportLoss, Ok(Lost));
        check(Lost, Lift, Err(Reason::LossIsFinal));
        check(Normal, Lift, Err(Reason::NotLost));
        check(Lost, ReportLoss, Err(Reason::StateUnchanged));
        check(Locked, Unlock, Ok(Normal));
        check(Locked, ReportTemporaryLoss, Err(Reason::CardLocked));
        check(Cancelled, Activate, Err(Reason::CardCancelled));
    }

    #[test]
    fn only_a_normal_card_may_be_used_and_every_other_state_says_why() {
        let reasons: Vec<_> =
            CardState::ALL.iter().map(|state| CardStanding::new(*state).usable(0).err()).collect();
        let expect = [
            Some(Reason::CardNotActivated),
            None,
            Some(Reason::CardLost),
            Some(Reason::CardLocked),
            Some(Reason::CardTemporarilyLost),
            Some(Reason::CardCancelled),
        ];
        assert_eq!(reasons, expect);
    }

    #[test]
    fn a_temporary_loss_lapses_at_its_expiry_and_not_before() {
        let lost = CardStanding::new(Normal).apply(ReportTemporaryLoss, 1_000, TERM).expect("allowed");
        assert_eq!(lost.expires_at_ms, 1_000 + TERM);
        assert_eq!(lost.usable(999 + TERM), Err(Reason::CardTemporarilyLost));
        assert_eq!(lost.usable(1_000 + TERM), Ok(()));
        let refused = lost.apply(Lift, 1_000 + TERM, TERM).expect_err("it has lapsed already");
        assert_eq!((refused.state, refused.reason), (Normal, Reason::NotLost));
    }

    #[test]
    fn a_renewed_temporary_loss_is_never_shortened() {
        let lost = CardStanding::new(Normal).apply(ReportTemporaryLoss, 0, 1_000).expect("allowed");
        let renew = |now, term| lost.apply(ReportTemporaryLoss, now, term).expect("allowed").expires_at_ms;
        assert_eq!((renew(500, 1_000), renew(500, 10)), (1_500, 1_000));
        let unending = CardStanding::new(TemporarilyLost);
        assert_eq!(unending.apply(ReportTemporaryLoss, 0, 1_000).map(|next| next.expires_at_ms), Ok(0));
    }

    fn steps() -> impl Strategy<Value = Vec<(usize, i64)>> {
        proptest::collection::vec((0usize..7, 0..2 * TERM), 0..30)
    }

    proptest! {
        #[test]
        fn a_card_that_is_formally_lost_or_cancelled_is_never_usable_again(
            steps in steps(), cancelled in any::<bool>(),
        ) {
            let mut standing = CardStanding::new(if cancelled { Cancelled } else { Lost });
            let mut now = 0;
            for (by, wait) in steps {
                now += wait;
                standing = standing.apply(Transition::ALL[by], now, TERM).unwrap_or(standing);
                prop_assert!(standing.usable(i64::MAX).is_err());
                prop_assert!(!cancelled || standing.state == Cancelled);
            }
        }

        #[test]
        fn a_card_is_never_usable_before_it_was_activated(steps in steps()) {
            let mut standing = CardStanding::new(Issued);
            let (mut now, mut activated) = (0, false);
            for (by, wait) in steps {
                now += wait;
                if let Ok(next) = standing.apply(Transition::ALL[by], now, TERM) {
                    activated |= Transition::ALL[by] == Activate;
                    standing = next;
                }
                prop_assert!(activated || standing.usable(i64::MAX).is_err());
            }
        }

        #[test]
        fn only_a_temporary_loss_has_an_expiry(steps in steps(), from in 0usize..6) {
            let mut standing = CardStanding::new(CardState::ALL[from]);
            for (by, wait) in steps {
                standing = standing.apply(Transition::ALL[by], wait, TERM).unwrap_or(standing);
                prop_assert!(standing.expires_at_ms == 0 || standing.state == TemporarilyLost);
            }
        }
    }
}
