use std::{future::poll_fn, sync::mpsc, task::Poll};

use futures_util::future::join_all;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    super::*,
    money::{reserve, session},
    rig::*,
};
use crate::{
    ledger::{caps::CapOn, window::Window},
    model::{Decision, Outcome, RequestId, Scene, Status},
    store::Committed,
};

/// A region whose metro may take this much in a day.
fn capped(region: &Region, daily_fen: i64) {
    let line = CapLine { participant: Some("metro".into()), region: None, daily_fen };
    let caps = CapBook::build(&LedgerFile { cap: vec![line] }).expect("a cap");
    let trust = region.gateway.live().trust.clone();
    region.gateway.replace_live(Live { caps, ..live(trust) });
}

async fn tapped(region: &Region, request: u8, person: &Person, side: TapSide, counter: u32) -> Committed {
    let station = match side {
        TapSide::Entry => "西直门",
        TapSide::Exit => "国贸",
    };
    let tap = region.tap_as(request, person, counter, |tap| {
        (tap.side, tap.station, tap.line) = (side, station.into(), String::new());
    });
    tap.await.expect("an answer")
}

/// Rides once; what it cost, or the reason it was declined for.
async fn ride(region: &Region, person: &Person, at: u8) -> Result<i64, String> {
    let (entry, exit) = (at * 2 + 1, at * 2 + 2);
    let entered = tapped(region, entry, person, TapSide::Entry, entry.into()).await;
    assert_eq!(entered.entry.reason, "", "an entry costs nothing");
    let left = tapped(region, exit, person, TapSide::Exit, exit.into()).await;
    if left.entry.reason.is_empty() {
        Ok(left.entry.postings.iter().map(|posting| posting.amount_fen.max(0)).sum())
    } else {
        assert!(left.entry.postings.is_empty(), "what is declined moves nothing");
        Err(left.entry.reason.clone())
    }
}

#[tokio::test]
async fn charges_stop_at_the_cap_of_the_day_and_go_on_the_next() {
    let (bj, _tj) = regions();
    let people = join_all((1..=6).map(|number| bj.import(number))).await;
    let fare = ride(&bj, &people[0], 0).await.expect("nothing is capped yet");
    capped(&bj, fare * 3 + fare / 2);
    for (at, person) in (1..).zip(&people[1..4]) {
        assert_eq!(ride(&bj, person, at).await, Ok(fare));
    }
    assert_eq!(ride(&bj, &people[4], 4).await, Err("CAP_EXCEEDED".into()));
    bj.clock.advance_ms(86_400_000);
    assert_eq!(ride(&bj, &people[5], 5).await, Ok(fare));
}

#[tokio::test]
async fn a_cap_is_never_exceeded_over_restarts() {
    let (mut bj, _tj) = regions();
    let people = join_all((1..=12).map(|number| bj.import(number))).await;
    let fare = ride(&bj, &people[0], 0).await.expect("nothing is capped yet");
    let daily = fare * 5;
    let mut taken = 0;
    for (at, person) in (1..).zip(&people[1..]) {
        capped(&bj, daily);
        taken += ride(&bj, person, at).await.unwrap_or(0);
        if at % 3 == 0 {
            bj = bj.restart();
        }
    }
    assert!(taken <= daily, "{taken} of {daily}");
    assert!(taken >= fare * 2, "the cap lets {taken} through");
}

/// Keeps the committer busy: `began` tells that it is, and it goes on when `go` is
/// sent or dropped.
struct Busy {
    began: oneshot::Receiver<()>,
    go: mpsc::SyncSender<()>,
    done: JoinHandle<()>,
}

fn busy(region: &Region) -> Busy {
    let ((begin, began), (go, going)) = (oneshot::channel(), mpsc::sync_channel(1));
    let gateway = Arc::clone(&region.gateway);
    let done = tokio::spawn(async move {
        let meta = gateway.own_meta(Scene::Operations, "Busy");
        let decide = move |_: &_, _| {
            let _ = begin.send(());
            let _ = going.recv();
            Ok(Decision::new(Outcome::Approved))
        };
        gateway.note(meta, Vec::new(), decide).await.expect("committed");
    });
    Busy { began, go, done }
}

#[tokio::test]
async fn a_charge_whose_caller_gave_up_counts_under_the_cap() {
    let (bj, _tj) = regions();
    let people = join_all((1..=2).map(|number| bj.import(number))).await;
    capped(&bj, 64_000_000);
    let fare = ride(&bj, &people[0], 0).await.expect("within the cap");
    let metro = "metro".parse().expect("well formed");
    let leased = bj.gateway.leases.of(&CapOn::Participant(metro));
    let today = Window::of(bj.gateway.now_ms());
    tapped(&bj, 3, &people[1], TapSide::Entry, 3).await;
    let before = leased.left(today);

    // The exit is decided and not on disk yet when its caller goes away: the first
    // keeps it in the queue, the second keeps its batch from being written.
    let first = busy(&bj);
    first.began.await.expect("running");
    let mut exit = Box::pin(tapped(&bj, 4, &people[1], TapSide::Exit, 4));
    while leased.left(today) == before {
        let waits = poll_fn(|context| Poll::Ready(exit.as_mut().poll(context).is_pending())).await;
        assert!(waits, "the committer is busy");
        tokio::task::yield_now().await;
    }
    let second = busy(&bj);
    tokio::task::yield_now().await;
    drop(first.go);
    second.began.await.expect("running");
    drop(exit);
    drop(second.go);
    first.done.await.expect("no panic");
    second.done.await.expect("no panic");

    let metro = "metro".parse().expect("well formed");
    let exit = bj.gateway.store().find(&metro, RequestId::from_bytes([4; 16])).await.expect("readable");
    assert_ended(&exit.expect("it was committed all the same"), Status::Completed, "");
    assert_eq!(leased.left(today), before - fare);
}

#[tokio::test]
async fn a_reservation_whose_caller_gave_up_in_the_queue_gives_its_room_back() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let line = CapLine { participant: Some("lib".into()), region: None, daily_fen: 64_000_000 };
    let caps = CapBook::build(&LedgerFile { cap: vec![line] }).expect("a cap");
    bj.gateway.replace_live(Live { caps, ..live(bj.gateway.live().trust.clone()) });
    let session = session(&bj, 1, &person).await;
    assert_ended(&reserve(&bj, 2, session, 5_000, 60_000).await, Status::Reserved, "");
    let leased = bj.gateway.leases.of(&CapOn::Participant("lib".parse().expect("well formed")));
    let today = Window::of(bj.gateway.now_ms());
    let before = leased.left(today);

    let first = busy(&bj);
    first.began.await.expect("running");
    let mut asked = Box::pin(reserve(&bj, 3, session, 5_000, 60_000));
    while leased.left(today) == before {
        let waits = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await;
        assert!(waits, "the committer is busy");
        tokio::task::yield_now().await;
    }
    drop(asked);
    drop(first.go);
    first.done.await.expect("no panic");
    // What comes after it in the queue is done after it was let go.
    assert_ended(&reserve(&bj, 4, session, 1_000, 60_000).await, Status::Reserved, "");
    let lib = "lib".parse().expect("well formed");
    let found = bj.gateway.store().find(&lib, RequestId::from_bytes([3; 16])).await.expect("readable");
    assert!(found.is_none(), "nobody waited and nothing was done");
    assert_eq!(leased.left(today), before - 1_000);
}

#[tokio::test]
async fn a_tap_over_the_cap_takes_its_counter_and_leaves_the_ride_open() {
    let (bj, _tj) = regions();
    let people = join_all((1..=2).map(|number| bj.import(number))).await;
    let fare = ride(&bj, &people[0], 0).await.expect("nothing is capped yet");
    capped(&bj, fare - 1);
    tapped(&bj, 3, &people[1], TapSide::Entry, 3).await;
    assert_ended(&tapped(&bj, 4, &people[1], TapSide::Exit, 4).await, Status::Declined, "CAP_EXCEEDED");
    let again = tapped(&bj, 5, &people[1], TapSide::Exit, 4).await;
    assert_ended(&again, Status::Declined, "COUNTER_REPLAYED");
    capped(&bj, fare * 100);
    let left = tapped(&bj, 6, &people[1], TapSide::Exit, 5).await;
    assert_ended(&left, Status::Completed, "");
    assert_eq!(left.entry.postings[0].amount_fen, fare, "the same ride");
}

#[tokio::test]
async fn a_ride_taken_while_the_line_was_down_is_charged_whatever_the_cap_says() {
    let (bj, _tj) = regions();
    let people = join_all((1..=2).map(|number| bj.import(number))).await;
    let fare = ride(&bj, &people[0], 0).await.expect("nothing is capped yet");
    capped(&bj, fare - 1);
    tapped(&bj, 3, &people[1], TapSide::Entry, 3).await;
    let uploaded = bj.tap_as(4, &people[1], 4, |tap| {
        (tap.side, tap.station, tap.line) = (TapSide::Exit, "国贸".into(), String::new());
        tap.offline = true;
    });
    let uploaded = uploaded.await.expect("an answer");
    assert_ended(&uploaded, Status::Completed, "");
    assert_eq!(uploaded.entry.postings[0].amount_fen, fare);
}

#[tokio::test]
async fn a_charge_in_flight_at_midnight_counts_on_the_day_it_is_committed() {
    let (bj, _tj) = regions();
    let people = join_all((1..=2).map(|number| bj.import(number))).await;
    capped(&bj, 64_000_000);
    let (today, now) = (Window::of(bj.gateway.now_ms()), bj.gateway.now_ms());
    let midnight = today.span().1;
    bj.clock.advance_ms(midnight - now - 5_000);
    let fare = ride(&bj, &people[0], 0).await.expect("within the cap");
    tapped(&bj, 3, &people[1], TapSide::Entry, 3).await;
    let leased = bj.gateway.leases.of(&CapOn::Participant("metro".parse().expect("well formed")));
    let left = || (leased.left(today), leased.left(Window::of(midnight)));
    let before = left();
    assert!(before.1 > 0, "the new day is leased ahead");

    let busy = busy(&bj);
    busy.began.await.expect("running");
    let mut exit = Box::pin(tapped(&bj, 4, &people[1], TapSide::Exit, 4));
    while left() == before {
        let waits = poll_fn(|context| Poll::Ready(exit.as_mut().poll(context).is_pending())).await;
        assert!(waits, "the committer is busy");
        tokio::task::yield_now().await;
    }
    bj.clock.advance_ms(10_000);
    drop(busy.go);
    busy.done.await.expect("no panic");
    let exit = exit.await;
    assert_ended(&exit, Status::Completed, "");
    assert!(exit.entry.committed_at_ms >= midnight);
    assert_eq!(left(), (before.0, before.1 - fare));
}
