use std::{sync::Arc, time::Duration};

use super::{super::*, rig::*};
use crate::{
    model::{Fen, Purpose, Status, Token16},
    scenes::library::{Declined, Inquiry, LibraryAct, LibraryAnswer, NotSent, PortError, Unknown},
    store::{Committed, StoreError},
};

fn ask(act: LibraryAct) -> LibraryAsk {
    LibraryAsk {
        act,
        library: None,
        item: "B-1".into(),
        pickup_location: String::new(),
        amount: Fen::new(0),
        fee: String::new(),
    }
}

async fn session(bj: &Region) -> (Person, Token16) {
    let person = bj.import(1).await;
    let scanned = bj.scan(200, &bj.code(201, person.card).await).await.expect("a good code");
    (person, Token16::from_slice(&card_detail(&scanned).holder_session).expect("a session"))
}

async fn act(bj: &Region, request: u8, session: Token16, act: LibraryAct) -> Result<Committed, Refusal> {
    at(bj, "lib:desk", request, Some(session), act).await
}

async fn at(
    bj: &Region,
    terminal: &str,
    request: u8,
    session: Option<Token16>,
    act: LibraryAct,
) -> Result<Committed, Refusal> {
    let call = bj.call(terminal, &method::CHECKOUT);
    let header = Header { session, ..bj.header(request, Purpose::LibraryLoan) };
    bj.gateway.library(&call, header, ask(act)).await
}

fn answers(bj: &Region, answer: Result<LibraryAnswer, PortError>) {
    bj.library.answers.lock().expect("no panic").push_back(answer);
}

fn finds(bj: &Region, found: Result<Inquiry, PortError>) {
    bj.library.inquiries.lock().expect("no panic").push_back(found);
}

fn unknown() -> PortError {
    Unknown { why: "no answer".into() }.into()
}

async fn last(bj: &Region, committed: &Committed) -> Committed {
    let id = committed.entry.transaction_id.as_slice().try_into().expect("sixteen bytes");
    let steps =
        bj.gateway.store().steps(crate::model::TransactionId::from_bytes(id)).await.expect("readable");
    steps.last().expect("it has steps").clone()
}

#[tokio::test]
async fn a_library_says_yes_no_or_is_not_reached() {
    let (bj, _tj) = regions();
    let (_, session) = session(&bj).await;
    answers(&bj, Ok(LibraryAnswer { title: "城南旧事".into(), ..LibraryAnswer::default() }));
    assert_ended(
        &act(&bj, 1, session, LibraryAct::Checkout).await.expect("an answer"),
        Status::Completed,
        "",
    );
    let declined = Declined { reason: Reason::ItemNotAvailable, screen_message: String::new() };
    answers(&bj, Err(declined.into()));
    let no = act(&bj, 2, session, LibraryAct::Checkout).await.expect("an answer");
    assert_ended(&no, Status::Declined, "ITEM_NOT_AVAILABLE");
    answers(&bj, Err(NotSent { why: "no line".into() }.into()));
    let unsent = act(&bj, 3, session, LibraryAct::Checkout).await.expect("an answer");
    assert_ended(&unsent, Status::Declined, "BACKEND_UNAVAILABLE");
    // A repeat asks the library nothing: it has no further answer.
    let again = act(&bj, 1, session, LibraryAct::Checkout).await.expect("as before");
    assert!(again.replayed);
    assert_ended(&again, Status::Completed, "");
}

#[tokio::test]
async fn an_unknown_outcome_is_pending_until_the_library_can_be_asked() {
    let found = Inquiry::Happened(LibraryAnswer::default());
    for (found, status, reason) in
        [(found, Status::Completed, ""), (Inquiry::DidNotHappen, Status::Reversed, "BACKEND_UNAVAILABLE")]
    {
        let (bj, _tj) = regions();
        let (_, session) = session(&bj).await;
        answers(&bj, Err(unknown()));
        let pending = act(&bj, 1, session, LibraryAct::Checkout).await.expect("an answer");
        assert_ended(&pending, Status::Pending, "");
        let runner = TaskRunner::new(Arc::clone(&bj.gateway), Duration::from_secs(1));
        runner.turn().await;
        assert_ended(&last(&bj, &pending).await, Status::Pending, "");
        bj.clock.advance_ms(5_000);
        finds(&bj, Err(unknown()));
        runner.turn().await;
        assert_ended(&last(&bj, &pending).await, Status::Pending, "");
        bj.clock.advance_ms(60_000);
        finds(&bj, Ok(found));
        runner.turn().await;
        assert_ended(&last(&bj, &pending).await, status, reason);
        assert_ended(&bj.answered("lib:desk", 1).await.expect("answered"), status, reason);
        bj.clock.advance_ms(600_000);
        runner.turn().await;
        assert!(bj.gateway.store().due_tasks(i64::MAX, 10).await.expect("readable").is_empty());
    }
}

#[tokio::test]
async fn an_outcome_nobody_can_tell_is_taken_back() {
    let (bj, _tj) = regions();
    let (_, session) = session(&bj).await;
    answers(&bj, Err(unknown()));
    let pending = act(&bj, 1, session, LibraryAct::Checkout).await.expect("an answer");
    let runner = TaskRunner::new(Arc::clone(&bj.gateway), Duration::from_secs(1));
    for _ in 0..6 {
        bj.clock.advance_ms(60_000);
        finds(&bj, Ok(Inquiry::CannotTell));
        runner.turn().await;
    }
    assert_ended(&last(&bj, &pending).await, Status::Pending, "");
    bj.clock.advance_ms(60_000);
    answers(&bj, Ok(LibraryAnswer::default()));
    runner.turn().await;
    assert_ended(&last(&bj, &pending).await, Status::Reversed, "OUTCOME_REVERSED");
    let acts: Vec<_> = bj.library.called.lock().expect("no panic").iter().map(|(act, _)| *act).collect();
    assert_eq!(acts, [LibraryAct::Checkout, LibraryAct::Checkin]);
}

#[tokio::test]
async fn a_call_ends_before_its_first_inquiry_is_due() {
    let (bj, _tj) = regions();
    let (_, session) = session(&bj).await;
    answers(&bj, Ok(LibraryAnswer::default()));
    let mut call = bj.call("lib:desk", &method::CHECKOUT);
    call.deadline += Duration::from_secs(60);
    let header = Header { session: Some(session), ..bj.header(1, Purpose::LibraryLoan) };
    bj.gateway.library(&call, header, ask(LibraryAct::Checkout)).await.expect("an answer");
    let within = bj.library.called.lock().expect("no panic")[0].1;
    assert!(within < Duration::from_millis(5_000), "{within:?}");
}

#[tokio::test]
async fn a_session_serves_its_own_terminal_while_its_card_lives() {
    let (bj, _tj) = regions();
    let (person, session) = session(&bj).await;
    let unknown = (RefusalKind::Forbidden, Reason::SessionUnknown);
    let other = at(&bj, "lib:kiosk", 1, Some(session), LibraryAct::Checkout).await;
    assert_refused(other, unknown.0, unknown.1);
    let none = at(&bj, "lib:desk", 2, None, LibraryAct::Checkout).await;
    assert_refused(none, unknown.0, unknown.1);
    bj.lose(3, person.card).await.expect("reported");
    let lost = act(&bj, 4, session, LibraryAct::Checkout).await;
    assert_refused(lost, RefusalKind::Forbidden, Reason::CardLost);
    bj.clock.advance_ms(600_000);
    let late = act(&bj, 5, session, LibraryAct::Checkout).await;
    assert_refused(late, RefusalKind::Forbidden, Reason::SessionExpired);
    // Anybody brings a book back.
    answers(&bj, Ok(LibraryAnswer::default()));
    let back = at(&bj, "lib:desk", 6, None, LibraryAct::Checkin).await.expect("an answer");
    assert_ended(&back, Status::Completed, "");
}

#[tokio::test]
async fn a_session_that_ends_while_the_library_is_looked_at_lends_nothing() {
    for loss in [false, true] {
        let (bj, _tj) = regions();
        let (person, session) = session(&bj).await;
        let gateway = Arc::clone(&bj.gateway);
        let (call, lose) =
            (bj.call("lib:desk", &method::END_SESSION), bj.call("hall:desk", &method::REPORT_LOSS));
        let header = Header { session: Some(session), ..bj.header(50, Purpose::LibraryLoan) };
        let report = bj.header(51, Purpose::CardService);
        answers(&bj, Ok(LibraryAnswer::default()));
        *bj.library.meanwhile.lock().expect("no panic") = Some(Box::pin(async move {
            if loss {
                let kind = crate::scenes::card::LossKind::Formal;
                gateway.report_loss(&lose, report, person.card, kind).await.expect("reported");
            } else {
                gateway.library(&call, header, ask(LibraryAct::EndSession)).await.expect("ended");
            }
        }));
        let late = act(&bj, 1, session, LibraryAct::Checkout).await.expect("an answer");
        assert_ended(&late, Status::Declined, if loss { "CARD_LOST" } else { "SESSION_USED" });
        let called = bj.library.called.lock().expect("no panic");
        assert!(called.iter().all(|(act, _)| *act != LibraryAct::Checkout), "{called:?}");
    }
}

#[tokio::test]
async fn a_transaction_is_told_to_its_own_participant_only() {
    let (bj, _tj) = regions();
    let (_, session) = session(&bj).await;
    answers(&bj, Ok(LibraryAnswer::default()));
    let done = act(&bj, 1, session, LibraryAct::Checkout).await.expect("an answer");
    let id = crate::model::TransactionId::from_bytes(
        done.entry.transaction_id.as_slice().try_into().expect("sixteen bytes"),
    );
    let told = async |terminal, ask| {
        let call = bj.call(terminal, &method::GET_TRANSACTION);
        let steps = bj.gateway.transaction(&call, ask).await;
        steps.map(|steps| steps.len()).map_err(|refusal| refusal.reason)
    };
    let by = |key| TransactionAsk { key, purpose: None };
    let request = by(TransactionKey::Request(crate::model::RequestId::from_bytes([1; 16])));
    let named = by(TransactionKey::Transaction(id));
    assert_eq!(told("lib:kiosk", named.clone()).await, Ok(2));
    assert_eq!(told("lib:desk", request.clone()).await, Ok(2));
    for ask in [named, request] {
        assert_eq!(told("metro:gate", ask).await, Err(Reason::TransactionUnknown));
    }
}

#[test]
fn a_store_that_has_stopped_says_when_to_come_back() {
    let stopped: Refusal = StoreError::Stopped("disk".into()).into();
    assert_eq!((stopped.kind, stopped.reason), (RefusalKind::Unavailable, Reason::JournalStopped));
    assert!(stopped.retry_after.is_some());
    let busy: Refusal = StoreError::Busy.into();
    assert!(busy.kind == RefusalKind::Exhausted && busy.retry_after.is_some());
}

#[tokio::test]
async fn a_session_ends_whatever_the_library_says() {
    let declined = Declined { reason: Reason::LibraryDeclined, screen_message: "bye".into() };
    let answers_of = [
        Ok(LibraryAnswer::default()),
        Err(unknown()),
        Err(NotSent { why: "no line".into() }.into()),
        Err(declined.into()),
    ];
    for answer in answers_of {
        let (bj, _tj) = regions();
        let (_, session) = session(&bj).await;
        answers(&bj, answer);
        let other = at(&bj, "lib:kiosk", 1, Some(session), LibraryAct::EndSession).await;
        assert_refused(other, RefusalKind::Forbidden, Reason::SessionUnknown);
        let ended = act(&bj, 2, session, LibraryAct::EndSession).await.expect("an answer");
        assert_ended(&ended, Status::Completed, "");
        let next = act(&bj, 3, session, LibraryAct::Checkout).await;
        assert_refused(next, RefusalKind::Forbidden, Reason::SessionUsed);
        // Ending it again tells the library nothing: it has no further answer.
        let again = act(&bj, 4, session, LibraryAct::EndSession).await.expect("an answer");
        assert_ended(&again, Status::Completed, "");
        let within = bj.library.called.lock().expect("no panic")[0].1;
        assert!(within <= limits::GOODBYE_MAX, "{within:?}");
    }
}

#[tokio::test]
async fn the_session_of_a_lost_card_can_be_ended() {
    let (bj, _tj) = regions();
    let (person, session) = session(&bj).await;
    bj.lose(1, person.card).await.expect("reported");
    answers(&bj, Ok(LibraryAnswer::default()));
    let ended = act(&bj, 2, session, LibraryAct::EndSession).await.expect("an answer");
    assert_ended(&ended, Status::Completed, "");
    let next = act(&bj, 3, session, LibraryAct::Checkout).await;
    assert_refused(next, RefusalKind::Forbidden, Reason::SessionUsed);
}
