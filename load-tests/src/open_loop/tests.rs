//! Rates over windows, seeds, and servers that stall.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn stream(profile: Profile, spacing: Spacing) -> Stream {
    Stream { operation: 0, profile, spacing }
}

fn schedule(profile: Profile, spacing: Spacing, seed: u64) -> Schedule {
    Schedule::of(&[stream(profile, spacing)], seed).expect("a schedule")
}

/// Arrivals from `from` to `to` seconds.
fn within(schedule: &Schedule, from: f64, to: f64) -> usize {
    let inside = |arrival: &&Arrival| (from..to).contains(&arrival.at.as_secs_f64());
    schedule.arrivals().iter().filter(inside).count()
}

/// A Poisson count strays from its mean by its root; five roots is once in a
/// million windows.
#[track_caller]
fn check_window(schedule: &Schedule, seed: u64, from: f64, to: f64, expected: f64) {
    let found = within(schedule, from, to) as f64;
    let may_stray = 5.0 * expected.sqrt() + 1.0;
    assert!(
        (found - expected).abs() <= may_stray,
        "seed {seed}: {found} arrivals from {from} s to {to} s, expected {expected} ± {may_stray}"
    );
}

/// Up from 100 to 900 in 4 s, 900 for 2 s, down to 0 in 4 s.
fn peak() -> Profile {
    Profile::through([(Duration::ZERO, 100.0), (4 * SECOND, 900.0), (6 * SECOND, 900.0), (10 * SECOND, 0.0)])
}

#[test]
fn the_rate_over_every_window_is_the_profiles() {
    for seed in 0..50 {
        let schedule = schedule(peak(), Spacing::Poisson, seed);
        check_window(&schedule, seed, 0.0, 1.0, 200.0);
        check_window(&schedule, seed, 1.0, 2.0, 400.0);
        check_window(&schedule, seed, 3.0, 4.0, 800.0);
        check_window(&schedule, seed, 4.0, 6.0, 1_800.0);
        check_window(&schedule, seed, 6.0, 8.0, 1_350.0);
        check_window(&schedule, seed, 8.0, 10.0, 450.0);
        assert_eq!(within(&schedule, 10.0, f64::INFINITY), 0);
    }
}

#[test]
fn people_come_together_now_and_then_and_machines_never() {
    let gaps = |spacing| {
        let schedule = schedule(Profile::flat(500.0, 4 * SECOND), spacing, 11);
        let at: Vec<f64> = schedule.arrivals().iter().map(|arrival| arrival.at.as_secs_f64()).collect();
        at.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    };
    let even = gaps(Spacing::Uniform);
    assert_eq!(even.len(), 1_999);
    assert!(even.iter().all(|gap| (gap - 0.002).abs() < 1e-6), "{:?}", &even[..5]);
    // Of exponential gaps, the share below a tenth of the mean is 9.5 %, the share
    // beyond three times the mean is 5 %.
    let people = gaps(Spacing::Poisson);
    let share = |fits: &dyn Fn(&f64) -> bool| {
        people.iter().filter(|gap| fits(gap)).count() as f64 / people.len() as f64
    };
    let (close, far) = (share(&|gap| *gap < 0.0002), share(&|gap| *gap > 0.006));
    assert!((0.07..0.12).contains(&close), "{close} of the gaps are close");
    assert!((0.03..0.07).contains(&far), "{far} of the gaps are far");
}

#[test]
fn a_seed_gives_the_same_schedule_and_another_seed_another() {
    let of = |seed| schedule(peak(), Spacing::Poisson, seed);
    assert_eq!(of(7), of(7));
    assert_ne!(of(7).arrivals(), of(8).arrivals());
    let even = |seed| schedule(peak(), Spacing::Uniform, seed);
    assert_eq!(even(7).arrivals(), even(8).arrivals(), "nothing of even spacing is chance");
}

#[test]
fn one_more_stream_changes_no_other() {
    let first = stream(peak(), Spacing::Poisson);
    let second = Stream { operation: 1, ..stream(Profile::flat(50.0, SECOND), Spacing::Poisson) };
    let alone = Schedule::of(std::slice::from_ref(&first), 3).expect("a schedule");
    let both = Schedule::of(&[first, second], 3).expect("a schedule");
    let of_first: Vec<_> = both.arrivals().iter().filter(|arrival| arrival.operation == 0).copied().collect();
    assert_eq!(of_first, alone.arrivals());
    assert!(both.arrivals().is_sorted(), "in the order they are due");
    assert_eq!(both.count(1), both.arrivals().len() - of_first.len());
}

#[test]
fn a_follower_comes_after_its_first_under_the_same_number() {
    let first = schedule(Profile::flat(200.0, SECOND), Spacing::Poisson, 5);
    let wait = Duration::from_millis(300);
    let both = first.clone().followed(0, 1, |dice| wait + Duration::from_millis(dice.below(100)));
    assert_eq!(both.count(1), first.arrivals().len());
    for follower in both.arrivals().iter().filter(|arrival| arrival.operation == 1) {
        let leader = first.arrivals()[follower.nth as usize];
        let gap = follower.at - leader.at;
        assert!(gap >= wait && gap < wait + Duration::from_millis(100), "{gap:?}");
    }
}

#[test]
fn a_profile_finds_back_what_it_sums() {
    let profile = peak();
    assert!((profile.total() - (2_000.0 + 1_800.0 + 1_800.0)).abs() < 1e-6);
    for (count, at_s) in [(0.0, 0.0), (2_000.0, 4.0), (2_900.0, 5.0), (3_800.0, 6.0)] {
        let found = profile.when(count).expect("within the total").as_secs_f64();
        assert!((found - at_s).abs() < 1e-6, "{count} arrivals by {found} s, expected {at_s} s");
    }
    assert_eq!(profile.when(5_601.0), None);
    // A step, and silence between: nobody falls into the silence.
    let bursts = Profile::through([
        (Duration::ZERO, 100.0),
        (SECOND, 100.0),
        (SECOND, 0.0),
        (3 * SECOND, 0.0),
        (3 * SECOND, 100.0),
        (4 * SECOND, 100.0),
    ]);
    let schedule = schedule(bursts, Spacing::Poisson, 2);
    assert_eq!(within(&schedule, 1.0, 3.0), 0);
    check_window(&schedule, 2, 3.0, 4.0, 100.0);
}

#[test]
fn a_run_without_end_is_refused() {
    let endless = stream(Profile::flat(1e6, 3_600 * SECOND), Spacing::Uniform);
    let refused = Schedule::of(&[endless], 1).expect_err("3.6 billion");
    assert_eq!(refused, BadSchedule::TooMany(3_600_000_000));
}

/// A server that answers at once, and nobody from 0.3 s to 1.3 s. It lives on the
/// clock of the run, which begins with its first call.
#[derive(Default)]
struct Stalling(std::sync::OnceLock<tokio::time::Instant>);

impl Stalling {
    async fn call(&self) -> Answer {
        let first = *self.0.get_or_init(tokio::time::Instant::now);
        let stalls = (Duration::from_millis(300), Duration::from_millis(1_300));
        if (stalls.0..stalls.1).contains(&first.elapsed()) {
            tokio::time::sleep_until(first + stalls.1).await;
        }
        Answer::Approved
    }
}

async fn stalled(in_flight: usize) -> Record {
    let schedule = Arc::new(schedule(Profile::flat(250.0, 2 * SECOND), Spacing::Uniform, 1));
    let server = Arc::new(Stalling::default());
    let bounds =
        Bounds { in_flight: NonZeroUsize::new(in_flight).expect("some"), drain: Duration::from_secs(10) };
    let call = move |_| {
        let server = Arc::clone(&server);
        async move { server.call().await }
    };
    drive(schedule, 1, bounds, call).await.expect("driven").remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_for_a_second_shows_in_the_percentiles() {
    let record = stalled(1_000).await;
    let at = |quantile| Duration::from_micros(record.latency.value_at_quantile(quantile));
    assert_eq!(record.tally.approved, 500);
    // With room for all only a busy machine sends late, and then a few.
    assert!(record.late < 100, "{} were sent late", record.late);
    // Half of the 500 calls were due during the stall and waited for its rest:
    // from nothing to a second, evenly.
    assert!(at(0.75) > Duration::from_millis(350), "p75 is {:?}", at(0.75));
    assert!(at(0.9) > Duration::from_millis(650), "p90 is {:?}", at(0.9));
    assert!(at(0.99) > Duration::from_millis(900), "p99 is {:?}", at(0.99));
    assert!(at(0.25) < Duration::from_millis(250), "p25 is {:?}", at(0.25));
    let stalled = &record.seconds[0];
    assert!(stalled.answered < 150 && (230..=260).contains(&stalled.due), "{stalled:?}");
    let answered: u64 = record.seconds.iter().map(|second| second.answered).sum();
    assert_eq!(answered, 500, "each is answered in one second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_place_is_latency_and_not_silence() {
    let record = stalled(4).await;
    assert_eq!(record.tally.approved, 500, "nothing is left out");
    assert!(record.late > 200, "{} were sent late", record.late);
    // What a closed loop would tell: four calls were slow. What the callers saw: as
    // slow as without the bound.
    assert!(record.service.value_at_quantile(0.97) < 250_000, "the service was quick but for four calls");
    assert!(record.latency.value_at_quantile(0.9) > 650_000, "{}", record.latency.value_at_quantile(0.9));
    assert!(record.lag.value_at_quantile(0.9) > 650_000, "and the generator says that it was late");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_counted_by_kind_and_reason() {
    let schedule = Arc::new(schedule(Profile::flat(1_000.0, SECOND / 10), Spacing::Uniform, 1));
    let bounds = Bounds { in_flight: NonZeroUsize::MIN, drain: SECOND };
    let call = |arrival: Arrival| async move {
        match arrival.nth % 5 {
            0 => Answer::Approved,
            1 => Answer::Declined("NO_ENTRY".to_owned()),
            2 => Answer::Pending,
            3 => Answer::Refused("OVERLOADED".to_owned()),
            _ => Answer::Failed(format!("line {}", arrival.nth)),
        }
    };
    let record = drive(schedule, 1, bounds, call).await.expect("driven").remove(0);
    let tally = &record.tally;
    assert_eq!([tally.approved, tally.declined, tally.pending, tally.refused, tally.failed], [20; 5]);
    assert_eq!((tally.words["NO_ENTRY"], tally.words["OVERLOADED"], tally.all()), (20, 20, 100));
    assert_eq!(tally.words.len(), 22, "each line once");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_never_end_are_an_error_and_not_a_figure() {
    let schedule = Arc::new(schedule(Profile::flat(100.0, SECOND / 10), Spacing::Uniform, 1));
    let bounds = Bounds { in_flight: NonZeroUsize::MIN.saturating_add(99), drain: SECOND / 20 };
    let stuck = drive(schedule, 1, bounds, |_| std::future::pending::<Answer>()).await.expect_err("stuck");
    assert!(stuck.to_string().contains("10 calls are unanswered"), "{stuck}");
}
