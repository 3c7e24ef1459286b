use std::time::Duration;

use super::{super::*, rig::*};
use crate::{
    ledger::{
        payment::{Cause, Later},
        window::Window,
    },
    model::{Fen, Purpose, RequestId, Status, Token16, TransactionId},
    store::Committed,
};

pub(super) async fn session(region: &Region, request: u8, person: &Person) -> Token16 {
    let code = region.code(request, person.card).await;
    let scanned = region.scan(request, &code).await.expect("a good code");
    Token16::from_bytes(card_detail(&scanned).holder_session.try_into().expect("16 bytes"))
}

pub(super) async fn reserve(
    region: &Region,
    request: u8,
    session: Token16,
    amount: i64,
    life_ms: i64,
) -> Committed {
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
