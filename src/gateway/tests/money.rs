use std::{future::poll_fn, sync::mpsc, task::Poll, time::Duration};

use futures_util::future::join_all;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{super::*, rig::*};
use crate::{
    ledger::{
        caps::CapOn,
        payment::{Cause, Later},
        window::Window,
    },
    model::{Decision, Fen, Outcome, Purpose, RequestId, Scene, Status, Token16, TransactionId},
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

async fn session(region: &Region, request: u8, person: &Person) -> Token16 {
    let code = region.code(request, person.card).await;
    let scanned = region.scan(request, &code).await.expect("a good code");
    Token16::from_bytes(card_detail(&scanned).holder_session.try_into().expect("16 bytes"))
}

async fn reserve(region: &Region, request: u8, session: Token16, amount: i64, life_ms: i64) -> Committed {
    let call = region.call("lib:desk", &method::RESERVE);
    let header = Header { session: Some(session), ..region.header(request, Purpose::LibraryLoan) };
    let ask = MoneyAsk::Reserve { amount: Fen::new(amount), life_ms };
    region.gateway.money(&call, header, ask).await.expect("an answer")
}

async fn later(region: &Region, request: u8, of: TransactionId, later: Later) -> Committed {
    let call = region.call("lib:desk", &method::CAPTURE);
    let ask = MoneyAsk::Later { of: TransactionKey::Transaction(of), later };
    region.gateway.money(&call, region.header(request, Purpose::LibraryLoan), ask).await.expect("an answer")
}

fn id_of(committed: &Committed) -> TransactionId {
    TransactionId::from_bytes(committed.entry.transaction_id.as_slice().try_into().expect("16 bytes"))
}

#[tokio::test]
async fn a_reservation_ends_when_its_time_is_over_and_not_before() {
    let (bj, _tj) = regions();
    let session = session(&bj, 1, &bj.import(1).await).await;
    let reserved = reserve(&bj, 2, session, 5_000, 60_000).await;
    assert_ended(&reserved, Status::Reserved, "");
    assert!(reserved.entry.postings.is_empty(), "reserving moves nothing");
    let runner = TaskRunner::new(Arc::clone(&bj.gateway), Duration::from_secs(1));
    bj.clock.advance_ms(59_999);
    runner.turn().await;
    let last = async || bj.gateway.store().steps(id_of(&reserved)).await.expect("readable").pop();
    assert_ended(&last().await.expect("there"), Status::Reserved, "");
    bj.clock.advance_ms(1);
    // Before the task comes by, too: what is over is over.
    let late = later(&bj, 3, id_of(&reserved), Later::Capture { amount: Fen::new(1) }).await;
    assert_ended(&late, Status::Reserved, "RESERVATION_EXPIRED");
    runner.turn().await;
    assert_ended(&last().await.expect("there"), Status::Reversed, "RESERVATION_EXPIRED");
    let repeat = reserve(&bj, 2, session, 5_000, 60_000).await;
    assert!(repeat.replayed);
    assert_ended(&repeat, Status::Reversed, "RESERVATION_EXPIRED");
    assert!(bj.gateway.store().due_tasks(i64::MAX, 9).await.expect("readable").is_empty());
}

#[tokio::test]
async fn a_capture_takes_its_part_and_ends_the_task() {
    let (bj, _tj) = regions();
    let session = session(&bj, 1, &bj.import(1).await).await;
    let reserved = reserve(&bj, 2, session, 5_000, 60_000).await;
    let taken = later(&bj, 3, id_of(&reserved), Later::Capture { amount: Fen::new(3_000) }).await;
    assert_ended(&taken, Status::Completed, "");
    let sums: Vec<_> =
        taken.entry.postings.iter().map(|one| (one.account.as_str(), one.amount_fen)).collect();
    assert_eq!(sums, [("purse/110000", 3_000), ("participant/lib/fees", -3_000)]);
    assert!(bj.gateway.store().due_tasks(i64::MAX, 9).await.expect("readable").is_empty());
    let back = later(&bj, 4, id_of(&reserved), Later::Reverse { cause: Cause::Holder }).await;
    assert_ended(&back, Status::Reversed, "");
    assert_eq!(back.entry.corrects_step, 2, "it names the capture, the second step");
    assert_eq!(back.entry.subject, reserved.entry.subject, "it is about the same holder");
    // What came of the first request is not hidden by later ones.
    let repeat = reserve(&bj, 2, session, 5_000, 60_000).await;
    assert_eq!((repeat.replayed, &repeat.entry), (true, &reserved.entry));
    let totals = bj.gateway.store().ledger_totals().await.expect("readable");
    assert_eq!((totals.sum_fen(), totals.count), (0, 4));
    let today = Window::of(bj.gateway.now_ms());
    let lib = "lib".parse().expect("well formed");
    let told = bj.gateway.statement(&lib, today).await.expect("readable");
    assert_eq!(
        (told.total.earned.get(), told.total.given_back.get(), told.total.closing.get()),
        (3_000, 3_000, 0)
    );
    assert!(!told.is_final);
}

#[tokio::test]
async fn the_desk_reverses_by_name_only() {
    let (bj, _tj) = regions();
    let session = session(&bj, 1, &bj.import(1).await).await;
    let reserved = reserve(&bj, 2, session, 5_000, 60_000).await;
    let call = bj.call("hall:desk", &method::REVERSE);
    let asked = async |request: u8, operator: &str| {
        let header = Header { operator: operator.into(), ..bj.header(request, Purpose::LibraryLoan) };
        let of = TransactionKey::Transaction(id_of(&reserved));
        let ask = MoneyAsk::Later { of, later: Later::Reverse { cause: Cause::Desk } };
        bj.gateway.money(&call, header, ask).await
    };
    for nobody in ["", " "] {
        let refusal = assert_refused(asked(3, nobody).await, RefusalKind::Invalid, Reason::FieldInvalid);
        assert_eq!(refusal.violations[0].field, "header.operator_id");
    }
    assert_ended(&asked(4, "clerk").await.expect("an answer"), Status::Reversed, "");
}

#[tokio::test]
async fn a_transaction_has_no_more_steps_than_its_bound_and_can_still_be_reversed() {
    let (bj, _tj) = regions();
    let session = session(&bj, 1, &bj.import(1).await).await;
    let id = id_of(&reserve(&bj, 2, session, 5_000, 60_000).await);
    let too_much = Later::Capture { amount: Fen::new(5_001) };
    let room = u8::try_from(crate::limits::STEPS_MAX - crate::limits::STEPS_FOR_REVERSALS).expect("small");
    for request in 1..room {
        assert_ended(
            &later(&bj, 9 + request, id, too_much).await,
            Status::Reserved,
            "AMOUNT_EXCEEDS_RESERVATION",
        );
    }
    let call = bj.call("lib:desk", &method::CAPTURE);
    let ask = MoneyAsk::Later { of: TransactionKey::Transaction(id), later: too_much };
    let refused = bj.gateway.money(&call, bj.header(200, Purpose::LibraryLoan), ask).await;
    let refusal = assert_refused(refused, RefusalKind::Invalid, Reason::FieldInvalid);
    assert_eq!(refusal.violations[0].field, "transaction_id");
    let steps = bj.gateway.store().steps(id).await.expect("readable");
    assert_eq!(steps.len(), usize::from(room), "what is refused is no step");
    assert_ended(&later(&bj, 201, id, Later::Reverse { cause: Cause::Holder }).await, Status::Reversed, "");
    for request in 202..201 + u8::try_from(crate::limits::STEPS_FOR_REVERSALS).expect("small") {
        later(&bj, request, id, Later::Reverse { cause: Cause::Holder }).await;
    }
    let ask = MoneyAsk::Later {
        of: TransactionKey::Transaction(id),
        later: Later::Reverse { cause: Cause::Holder },
    };
    let refused = bj.gateway.money(&call, bj.header(250, Purpose::LibraryLoan), ask).await;
    assert_refused(refused, RefusalKind::Invalid, Reason::FieldInvalid);
}

async fn take_back(region: &Region, request: u8, of: u8) -> Result<Committed, Refusal> {
    let call = region.call("lib:desk", &method::REVERSE);
    let of = TransactionKey::Request(RequestId::from_bytes([of; 16]));
    let ask = MoneyAsk::Later { of, later: Later::Reverse { cause: Cause::Terminal } };
    region.gateway.money(&call, region.header(request, Purpose::LibraryLoan), ask).await
}

#[tokio::test]
async fn a_request_that_was_reversed_before_it_came_is_never_done() {
    let (bj, _tj) = regions();
    let session = session(&bj, 1, &bj.import(1).await).await;
    let entries = bj.entries();
    assert_refused(take_back(&bj, 3, 3).await, RefusalKind::Invalid, Reason::FieldInvalid);
    let call = bj.call("lib:desk", &method::REVERSE);
    let of = TransactionKey::Request(RequestId::from_bytes([2; 16]));
    let ask = MoneyAsk::Later { of, later: Later::Reverse { cause: Cause::Terminal } };
    let for_a_ride = bj.gateway.money(&call, bj.header(3, Purpose::TransitRide), ask).await;
    assert_refused(for_a_ride, RefusalKind::Forbidden, Reason::PurposeNotPermitted);
    assert_eq!(bj.entries(), entries, "what is refused takes no request back");

    let back = take_back(&bj, 3, 2).await.expect("an answer");
    assert_ended(&back, Status::Reversed, "");
    let late = reserve(&bj, 2, session, 5_000, 60_000).await;
    assert!(late.replayed);
    assert_ended(&late, Status::Reversed, "REVERSED_BEFORE_ARRIVAL");
    assert!(bj.gateway.store().due_tasks(i64::MAX, 9).await.expect("readable").is_empty());
    let repeat = take_back(&bj, 3, 2).await.expect("an answer");
    assert_eq!((repeat.replayed, &repeat.entry), (true, &back.entry));
    let another = take_back(&bj, 4, 2).await.expect("an answer");
    assert_ended(&another, Status::Reversed, "ALREADY_REVERSED");
    let refund = Later::Refund { amount: Fen::new(1), cause: Cause::Holder };
    assert_ended(&later(&bj, 5, id_of(&back), refund).await, Status::Reversed, "ALREADY_REVERSED");
    let capture = Later::Capture { amount: Fen::new(1) };
    assert_ended(&later(&bj, 6, id_of(&back), capture).await, Status::Reversed, "NOTHING_RESERVED");

    let bj = bj.restart();
    let late = reserve(&bj, 2, session, 5_000, 60_000).await;
    assert_ended(&late, Status::Reversed, "REVERSED_BEFORE_ARRIVAL");
}

#[tokio::test]
async fn a_reversal_that_was_cut_off_half_way_is_finished_by_its_repeat() {
    let (bj, _tj) = regions();
    let session = session(&bj, 1, &bj.import(1).await).await;
    // The first of the two steps of such a reversal.
    let call = bj.call("lib:desk", &method::REVERSE);
    let header = bj.header(3, Purpose::LibraryLoan);
    let half = bj.gateway.withdraw(&call, &header, RequestId::from_bytes([2; 16])).await.expect("committed");
    let late = reserve(&bj, 2, session, 5_000, 60_000).await;
    assert_eq!(late.entry, half.entry);
    let back = take_back(&bj, 3, 2).await.expect("an answer");
    assert_ended(&back, Status::Reversed, "");
    assert_eq!((id_of(&back), back.replayed), (id_of(&half), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_and_its_reversal_at_once_leave_nothing_standing() {
    let (bj, _tj) = regions();
    let session = session(&bj, 1, &bj.import(1).await).await;
    let bj = Arc::new(bj);
    let mut came_late = 0;
    for at in 0..80 {
        let (request, reversal) = (2 + at * 3, 3 + at * 3);
        let start = Arc::new(tokio::sync::Barrier::new(2));
        let asks = tokio::spawn({
            let (bj, start) = (Arc::clone(&bj), Arc::clone(&start));
            async move {
                start.wait().await;
                reserve(&bj, request, session, 5_000, 60_000).await
            }
        });
        let takes_back = tokio::spawn({
            let bj = Arc::clone(&bj);
            async move {
                start.wait().await;
                take_back(&bj, reversal, request).await.expect("an answer")
            }
        });
        let (asked, back) = (asks.await.expect("no panic"), takes_back.await.expect("no panic"));
        assert_ended(&back, Status::Reversed, "");
        assert_eq!(id_of(&asked), id_of(&back), "the reversal took back this very request");
        came_late += usize::from(asked.entry.reason == "REVERSED_BEFORE_ARRIVAL");
        let stands = bj.gateway.store().steps(id_of(&asked)).await.expect("readable");
        assert_ended(stands.last().expect("there"), Status::Reversed, "");
    }
    assert!(bj.gateway.store().due_tasks(i64::MAX, 9).await.expect("readable").is_empty());
    let open = bj.gateway.store().scan(crate::model::AggregateKind::Payment).await.expect("readable");
    for (_, file) in open {
        let file: crate::model::record::Payment = crate::model::decoded(&file.body).expect("a payment");
        assert_eq!((file.reserved_fen, file.reversed), (0, true));
    }
    println!("{came_late} of 80 came after their reversal");
}
