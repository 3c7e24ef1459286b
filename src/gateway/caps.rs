//! Daily caps at work: what this node has leased of them and not spent. The rule
//! is in `ledger::caps`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prost::Message as _;

use super::{Gateway, Refusal};
use crate::{
    crypto::sm3,
    ledger::{
        caps::{Cap, CapOn, lease, quota_id, takes},
        window::Window,
    },
    model::{AggregateKey, Fen, ParticipantId, Posting, Reason, Scene, record::CapQuota},
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
    day: Mutex<Option<Day>>,
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
    fn day(&self) -> MutexGuard<'_, Option<Day>> {
        self.day.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `least` to `most` of what is left of the window.
    fn take(&self, window: Window, least: i64, most: i64) -> Option<i64> {
        let mut day = self.day();
        let day = day.as_mut().filter(|day| day.window == window && day.left >= least)?;
        let taken = most.min(day.left);
        day.left -= taken;
        Some(taken)
    }

    /// Puts back what was not spent, or adds a lease. What belongs to a window that
    /// is over is forgotten.
    fn add(&self, window: Window, fen: i64) {
        let mut day = self.day();
        match day.as_mut() {
            Some(day) if day.window == window => day.left += fen,
            Some(day) if day.window > window => {}
            Some(_) | None => *day = Some(Day { window, left: fen, refused: None }),
        }
    }

    /// What is leased of the window, neither held nor spent.
    pub(super) fn left(&self, window: Window) -> i64 {
        self.day().filter(|day| day.window == window).map_or(0, |day| day.left)
    }

    fn refuse(&self, window: Window, daily: Fen, needs: i64) {
        self.add(window, 0);
        if let Some(day) = self.day().as_mut().filter(|day| day.window == window) {
            day.refused = Some((daily, needs));
        }
    }

    fn is_refused(&self, window: Window, daily: Fen, needs: i64) -> bool {
        let day = self.day().filter(|day| day.window == window);
        day.and_then(|day| day.refused).is_some_and(|(of, refused)| of == daily && needs >= refused)
    }
}

/// Room under caps that a unit under way may spend; what it does not goes back.
///
/// It belongs into the unit's decision and is spent there: who asked may go away
/// while the unit is in the queue or being written, and only the committer knows
/// whether it was done.
#[derive(Debug)]
pub(super) struct Hold {
    window: Window,
    held: Vec<(CapOn, Arc<Leased>, i64)>,
}

impl Hold {
    /// Spends the same amount of every cap.
    pub(super) fn spend(mut self, amount: Fen) {
        self.held.iter_mut().for_each(|(_, _, held)| *held -= amount.get());
    }

    /// Spends what these postings take.
    pub(super) fn spend_on(mut self, postings: &[Posting]) {
        for (on, amount) in takes(postings) {
            if let Some((_, _, held)) = self.held.iter_mut().find(|(known, _, _)| *known == on) {
                *held -= amount.get();
            }
        }
    }

    /// Whether what these postings take goes through.
    pub(super) fn lets_through(&self, postings: &[Posting]) -> bool {
        takes(postings).iter().all(|(on, amount)| {
            let capped = self.held.iter().find(|(capped, _, _)| capped == on);
            capped.is_none_or(|(_, _, held)| amount.get() <= *held)
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for (_, leased, held) in &self.held {
            leased.add(self.window, *held);
        }
    }
}

impl Gateway {
    /// Holds an amount of every cap that is configured; `None` when one of them has
    /// no more. Nothing is held where nothing is capped.
    ///
    /// # Errors
    /// When a lease cannot be committed.
    pub(super) async fn hold(&self, capped: &[CapOn], amount: Fen) -> Result<Option<Hold>, Refusal> {
        let live = self.live();
        let window = Window::of(self.now_ms());
        let mut hold = Hold { window, held: Vec::new() };
        for cap in capped.iter().filter_map(|on| live.caps.0.get(on)) {
            match self.take(cap, window, amount.get(), amount.get()).await? {
                Some((leased, taken)) => hold.held.push((cap.on.clone(), leased, taken)),
                None => return Ok(None),
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
        let window = Window::of(self.now_ms());
        let mut hold = Hold { window, held: Vec::new() };
        for cap in capped.iter().filter_map(|on| live.caps.0.get(on)) {
            let taken = self.take(cap, window, 1, most.get()).await?;
            let (leased, taken) = taken.unwrap_or_else(|| (self.leases.of(&cap.on), 0));
            hold.held.push((cap.on.clone(), leased, taken));
        }
        Ok((!hold.held.is_empty()).then_some(hold))
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
    fn what_is_not_spent_goes_back_and_a_day_that_is_over_does_not() {
        let (today, tomorrow) = (Window::of(0), Window::of(86_400_000));
        let leased = Arc::new(Leased::default());
        assert_eq!(leased.take(today, 0, 1), None);
        leased.add(today, 100);
        let taken = leased.take(today, 60, 60).expect("there");
        let hold = Hold { window: today, held: vec![(CapOn::Region(1), Arc::clone(&leased), taken)] };
        assert_eq!(leased.take(today, 60, 60), None);
        hold.spend(Fen::new(20));
        assert_eq!(leased.left(today), 80);
        leased.add(tomorrow, 7);
        leased.add(today, 80);
        assert_eq!((leased.left(today), leased.left(tomorrow)), (0, 7));
    }
}
