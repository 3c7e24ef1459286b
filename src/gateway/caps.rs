//! Daily caps at work: what this node has leased of them and not spent. The rule
//! is in `ledger::caps`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prost::Message as _;

use super::{Gateway, Refusal};
use crate::{
    crypto::sm3,
    ledger::{
        caps::{Cap, CapOn, lease, quota_id, takes},
        window::Window,
    },
    limits,
    model::{AggregateKey, Fen, Millis, ParticipantId, Posting, Reason, Scene, record::CapQuota},
};

/// `ledger.toml` as it is written.
#[derive(Debug, Clone, Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerFile {
    pub cap: Vec<CapLine>,
}

/// A daily cap on a participant or on the purses of a province, one of them.
#[derive(Debug, Clone, Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CapLine {
    pub participant: Option<String>,
    /// 110000 style.
    pub region: Option<u32>,
    pub daily_fen: i64,
}

/// Caps by what they are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapBook(HashMap<CapOn, Cap>);

impl CapBook {
    /// Reads the lines of `ledger.toml`.
    ///
    /// # Errors
    /// Every line that is wrong, with what would be right.
    pub fn build(file: &LedgerFile) -> Result<Self, Vec<String>> {
        let mut book = CapBook::default();
        let mut problems = Vec::new();
        for (at, line) in file.cap.iter().enumerate() {
            match cap_of(line) {
                Ok(cap) => {
                    let on = cap.on.clone();
                    if book.0.insert(on.clone(), cap).is_some() {
                        problems.push(format!("cap[{at}]: `{on}` has a cap already / 限额重复"));
                    }
                }
                Err(problem) => problems.push(format!("cap[{at}]: {problem}")),
            }
        }
        if problems.is_empty() { Ok(book) } else { Err(problems) }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is capped, for checking that it exists.
    pub fn participants(&self) -> impl Iterator<Item = &ParticipantId> {
        self.0.keys().filter_map(|on| match on {
            CapOn::Participant(participant) => Some(participant),
            CapOn::Region(_) => None,
        })
    }
}

fn cap_of(line: &CapLine) -> Result<Cap, String> {
    let on = match (&line.participant, line.region) {
        (Some(participant), None) => CapOn::Participant(
            participant.parse().map_err(|bad| format!("participant: {bad} / 参与方编号有误"))?,
        ),
        (None, Some(province)) if province % 10_000 == 0 && (110_000..=820_000).contains(&province) => {
            CapOn::Region(province)
        }
        (None, Some(province)) => {
            return Err(format!("region: {province} is no province, give one like 120000 / 应为省级代码"));
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err("give participant or region, one of them / 须给出 participant 或 region 之一".into());
        }
    };
    if line.daily_fen <= 0 {
        return Err("daily_fen: give a positive number of fen / 应为正整数（分）".into());
    }
    Ok(Cap { on, daily: Fen::new(line.daily_fen) })
}

/// What this node has leased, by cap. Bounded by the configuration's caps.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<CapOn, Arc<Leased>>>);

/// What is left of one cap's leases.
#[derive(Debug, Default)]
pub(super) struct Leased {
    /// The newest two that were asked for: about midnight both are in use.
    days: Mutex<[Option<Day>; 2]>,
    /// One asks for more, the others wait for what it gets.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct Day {
    window: Window,
    left: i64,
    /// The cap's size, and what it could not give any more. A cap's day only
    /// shrinks, so nobody asks again for as much: a cap that is reached must not fill
    /// the journal.
    refused: Option<(Fen, i64)>,
}

impl Leases {
    pub(super) fn of(&self, on: &CapOn) -> Arc<Leased> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(on.clone()).or_default())
    }
}

impl Leased {
    /// Looks at what there is of a window; `None` where nothing is.
    fn day<T>(&self, window: Window, look: impl FnOnce(&mut Day) -> T) -> Option<T> {
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        days.iter_mut().flatten().find(|day| day.window == window).map(look)
    }

    /// Takes `least` to `most` of what is left of the window.
    fn take(&self, window: Window, least: i64, most: i64) -> Option<i64> {
        self.day(window, |day| {
            let taken = most.min(day.left);
            (day.left >= least).then(|| {
                day.left -= taken;
                taken
            })
        })?
    }

    /// Puts back what was not spent, or adds a lease. What belongs to a window that
    /// is long over is forgotten.
    fn add(&self, window: Window, fen: i64) {
        if self.day(window, |day| day.left += fen).is_some() {
            return;
        }
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        // The older one makes room; a place that was never used is older than any.
        if let Some(older) = days.iter_mut().min_by_key(|day| day.map(|day| day.window))
            && older.is_none_or(|day| day.window < window)
        {
            *older = Some(Day { window, left: fen, refused: None });
        }
    }

    /// What is leased of the window, neither held nor spent.
    pub(super) fn left(&self, window: Window) -> i64 {
        self.day(window, |day| day.left).unwrap_or(0)
    }

    fn refuse(&self, window: Window, daily: Fen, needs: i64) {
        self.add(window, 0);
        self.day(window, |day| day.refused = Some((daily, needs)));
    }

    fn is_refused(&self, window: Window, daily: Fen, needs: i64) -> bool {
        let refused = self.day(window, |day| day.refused).flatten();
        refused.is_some_and(|(of, refused)| of == daily && needs >= refused)
    }
}

/// Room under caps that a unit under way may spend; what it does not goes back.
///
/// It belongs into the unit's decision and is spent there: who asked may go away
/// while the unit is in the queue or being written, and only the committer knows
/// whether it was done.
///
/// It counts in the window of the commitment: shortly before midnight there is room
/// of both days in it, and what is committed after midnight spends the new day's.
#[derive(Debug)]
pub(super) struct Hold(Vec<Held>);

#[derive(Debug)]
struct Held {
    window: Window,
    on: CapOn,
    leased: Arc<Leased>,
    fen: i64,
}

impl Hold {
    /// Whether this amount of every cap goes through when it is committed at `now`.
    pub(super) fn lets(&self, amount: Fen, now: Millis) -> bool {
        self.0.iter().all(|held| self.has(&held.on, amount, now))
    }

    /// Whether what these postings take goes through.
    pub(super) fn lets_through(&self, postings: &[Posting], now: Millis) -> bool {
        takes(postings).iter().all(|(on, amount)| self.has(on, *amount, now))
    }

    /// Spends the same amount of every cap.
    pub(super) fn spend(mut self, amount: Fen, now: Millis) {
        self.of(now).for_each(|held| held.fen -= amount.get());
    }

    /// Spends what these postings take.
    pub(super) fn spend_on(mut self, postings: &[Posting], now: Millis) {
        for (on, amount) in takes(postings) {
            if let Some(held) = self.of(now).find(|held| held.on == on) {
                held.fen -= amount.get();
            }
        }
    }

    fn of(&mut self, now: Millis) -> impl Iterator<Item = &mut Held> {
        self.0.iter_mut().filter(move |held| held.window.holds(now))
    }

    /// What is not capped has room enough; what is capped, where room of the day of
    /// `now` is held.
    fn has(&self, on: &CapOn, amount: Fen, now: Millis) -> bool {
        let mut held = self.0.iter().filter(|held| held.on == *on).peekable();
        held.peek().is_none() || held.any(|held| held.window.holds(now) && amount.get() <= held.fen)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for held in &self.0 {
            held.leased.add(held.window, held.fen);
        }
    }
}

/// The windows that what is asked now may be committed in.
fn windows(now: Millis) -> impl Iterator<Item = Window> {
    let (today, soon) = (Window::of(now), Window::of(now + limits::CAPS_HELD_AHEAD_MS));
    [Some(today), (soon != today).then_some(soon)].into_iter().flatten()
}

impl Gateway {
    /// Holds an amount of every cap that is configured; `None` when one of them has
    /// no more. Nothing is held where nothing is capped.
    ///
    /// # Errors
    /// When a lease cannot be committed.
    pub(super) async fn hold(&self, capped: &[CapOn], amount: Fen) -> Result<Option<Hold>, Refusal> {
        let (live, now) = (self.live(), self.now_ms());
        let mut hold = Hold(Vec::new());
        for window in windows(now) {
            for cap in capped.iter().filter_map(|on| live.caps.0.get(on)) {
                match self.take(cap, window, amount.get(), amount.get()).await? {
                    Some((leased, fen)) => hold.0.push(Held { window, on: cap.on.clone(), leased, fen }),
                    None if window.holds(now) => return Ok(None),
                    // Committed in that window it will be declined.
                    None => {}
                }
            }
        }
        Ok(Some(hold))
    }

    /// Holds as much as there is of every cap that is configured, `most` at most;
    /// `None` when nothing is capped.
    ///
    /// # Errors
    /// When a lease cannot be committed.
    pub(super) async fn hold_up_to(&self, capped: &[CapOn], most: Fen) -> Result<Option<Hold>, Refusal> {
        let live = self.live();
        let mut hold = Hold(Vec::new());
        for window in windows(self.now_ms()) {
            for cap in capped.iter().filter_map(|on| live.caps.0.get(on)) {
                let taken = self.take(cap, window, 1, most.get()).await?;
                let (leased, fen) = taken.unwrap_or_else(|| (self.leases.of(&cap.on), 0));
                hold.0.push(Held { window, on: cap.on.clone(), leased, fen });
            }
        }
        Ok((!hold.0.is_empty()).then_some(hold))
    }

    /// Takes `least` to `most` from what is leased; leases more where that is less
    /// than `most`.
    async fn take(
        &self,
        cap: &Cap,
        window: Window,
        least: i64,
        most: i64,
    ) -> Result<Option<(Arc<Leased>, i64)>, Refusal> {
        let leased = self.leases.of(&cap.on);
        if let Some(taken) = leased.take(window, most, most) {
            return Ok(Some((leased, taken)));
        }
        let asking = leased.asking.lock().await;
        let taken = loop {
            if let Some(taken) = leased.take(window, most, most) {
                break Some(taken);
            }
            let left = leased.left(window);
            let (needs, wants) = ((least - left).max(1), (most - left).max(1));
            if leased.is_refused(window, cap.daily, needs) {
                break leased.take(window, least, most);
            }
            match self.lease_cap(cap, window, (Fen::new(needs), Fen::new(wants))).await? {
                Some(granted) => leased.add(window, granted),
                None => leased.refuse(window, cap.daily, needs),
            }
            // Others put back and take meanwhile; what is there now is enough or the
            // next turn asks again.
            if let Some(taken) = leased.take(window, least, most) {
                break Some(taken);
            }
        };
        drop(asking);
        Ok(taken.map(|taken| (leased, taken)))
    }

    /// Leases a part of a cap's day, in an entry of its own.
    async fn lease_cap(&self, cap: &Cap, window: Window, needs: (Fen, Fen)) -> Result<Option<i64>, Refusal> {
        let id = quota_id(&sm3(&[cap.on.to_string().as_bytes()]), window.number());
        let cap = cap.clone();
        let committed = self
            .note(
                self.own_meta(Scene::Operations, "LeaseCap"),
                vec![AggregateKey::of::<CapQuota>(&id)],
                move |view, now| lease(view, &id, &cap, needs, window, now),
            )
            .await?;
        if committed.entry.reason == Reason::CapExceeded.code() {
            return Ok(None);
        }
        i64::decode(committed.detail.clone()).map(Some).map_err(|_| Refusal::internal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(text: &str) -> Result<CapBook, Vec<String>> {
        CapBook::build(&toml::from_str(text).expect("well formed"))
    }

    #[test]
    fn every_wrong_cap_is_told() {
        let wrong = build(
            "[[cap]]\nparticipant = \"x\"\nregion = 120000\ndaily_fen = 1\n\
             [[cap]]\nregion = 120100\ndaily_fen = 1\n\
             [[cap]]\nregion = 120000\ndaily_fen = 0\n\
             [[cap]]\nparticipant = \"bj-metro\"\ndaily_fen = 5\n\
             [[cap]]\nparticipant = \"bj-metro\"\ndaily_fen = 6\n",
        )
        .expect_err("all wrong");
        assert_eq!(wrong.len(), 4, "{wrong:?}");
        assert!(wrong[3].contains("bj-metro"));
        assert_eq!(build("").expect("no caps"), CapBook::default());
    }

    #[test]
    fn what_is_not_spent_goes_back_and_a_day_that_is_long_over_does_not() {
        let day = |at: i64| Window::of(at * 86_400_000);
        let (today, tomorrow) = (day(0), day(1));
        let leased = Arc::new(Leased::default());
        assert_eq!(leased.take(today, 0, 1), None);
        leased.add(today, 100);
        let fen = leased.take(today, 60, 60).expect("there");
        let hold = Hold(vec![Held { window: today, on: CapOn::Region(1), leased: Arc::clone(&leased), fen }]);
        assert_eq!(leased.take(today, 60, 60), None);
        hold.spend(Fen::new(20), 0);
        assert_eq!(leased.left(today), 80);
        leased.add(tomorrow, 7);
        leased.add(today, 20);
        assert_eq!((leased.left(today), leased.left(tomorrow)), (100, 7));
        leased.add(day(2), 9);
        leased.add(today, 80);
        assert_eq!([0, 1, 2].map(|at| leased.left(day(at))), [0, 7, 9]);
    }

    #[test]
    fn room_is_spent_in_the_window_of_the_commitment() {
        let midnight = Window::of(0).span().1;
        let (today, tomorrow) = (Window::of(0), Window::of(midnight));
        let leased = Arc::new(Leased::default());
        leased.add(today, 100);
        leased.add(tomorrow, 100);
        let hold = |windows: &[Window]| {
            let held = |window: &Window| Held {
                window: *window,
                on: CapOn::Region(1),
                fen: leased.take(*window, 50, 50).expect("there"),
                leased: Arc::clone(&leased),
            };
            Hold(windows.iter().map(held).collect())
        };
        let both = hold(&[today, tomorrow]);
        assert!(both.lets(Fen::new(50), midnight - 1) && both.lets(Fen::new(50), midnight));
        assert!(!both.lets(Fen::new(51), midnight));
        both.spend(Fen::new(30), midnight);
        assert_eq!((leased.left(today), leased.left(tomorrow)), (100, 70));
        let one = hold(&[today]);
        assert!(!one.lets(Fen::new(1), midnight), "nothing is held of the new day");
        drop(one);
        assert_eq!(windows(midnight - 1).collect::<Vec<_>>(), [today, tomorrow]);
        assert_eq!(windows(midnight).collect::<Vec<_>>(), [tomorrow]);
    }
}
