use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{super::*, money::reserve, rig::*};
use crate::{
    model::{
        Assurance, Clock as _, Decision, Fen, Outcome, Scene, Status, Subject, Task, TaskKey, TaskKind,
        TaskState, Token16, TransactionId,
    },
    scenes::library::{self, Before, LibraryAct, LibraryOrder},
    store::{DueTask, Step, Unit, UnitMeta},
};

fn meta(bj: &Region) -> UnitMeta {
    UnitMeta {
        participant: "lib".parse().expect("well formed"),
        terminal: "desk".parse().expect("well formed"),
        operator: Arc::from(""),
        purpose: crate::model::Purpose::LibraryLoan,
        scene: Scene::Library,
        method: "Checkout",
        terminal_time_ms: bj.clock.now_ms(),
        trace_id: None,
    }
}

fn who(transaction: TransactionId) -> library::Who {
    library::Who {
        subject: Subject::from_bytes(*transaction.as_bytes()),
        pairwise: None,
        assurance: Some(Assurance::Code),
    }
}

fn transaction(bj: &Region) -> TransactionId {
    TransactionId::new(BEIJING, 0, bj.clock.now_ms(), &crate::model::SystemRng)
}

/// A loan of unknown outcome at a library.
async fn pending_at(bj: &Region, library: &str) -> TransactionId {
    let transaction = transaction(bj);
    let order = LibraryOrder {
        transaction,
        library: library.into(),
        act: LibraryAct::Checkout,
        patron: "X1".into(),
        item: "B1".into(),
        pickup_location: String::new(),
        amount: Fen::new(0),
        fee: String::new(),
        trace_id: None,
    };
    let policy = bj.gateway.live().libraries.inquiry.clone();
    let unit = Unit {
        meta: meta(bj),
        transaction,
        step: Step::Note,
        touches: vec![library::case_key(transaction)],
        decide: Box::new(move |_, now| {
            Ok(library::intent(&who(transaction), &order, &Before::default(), now, &policy))
        }),
    };
    bj.gateway.store().commit(unit).await.expect("taken");
    transaction
}

/// A task whose case nobody can find: every try fails inside the gateway.
async fn broken(bj: &Region) -> TransactionId {
    let transaction = transaction(bj);
    let unit = Unit {
        meta: meta(bj),
        transaction,
        step: Step::Note,
        touches: vec![],
        decide: Box::new(move |_, now| {
            let mut decision = Decision::new(Outcome::Pending);
            decision.subject = Some(who(transaction).subject);
            decision.tasks = vec![Task::ask(TaskKind::LibraryInquire, "library/lib".into(), now, now)];
            Ok(decision)
        }),
    };
    bj.gateway.store().commit(unit).await.expect("taken");
    transaction
}

async fn open(bj: &Region) -> Vec<DueTask> {
    bj.gateway.open_tasks().await.expect("readable")
}

fn key(transaction: TransactionId) -> TaskKey {
    TaskKey { transaction, kind: TaskKind::LibraryInquire.into() }
}

async fn status(bj: &Region, transaction: TransactionId) -> Option<Status> {
    let steps = bj.gateway.store().steps(transaction).await.expect("readable");
    steps.last().and_then(|last| Status::from_number(last.entry.status))
}

fn runner(bj: &Region) -> TaskRunner {
    TaskRunner::new(Arc::clone(&bj.gateway), Duration::from_millis(5))
}

#[tokio::test]
async fn a_library_that_hangs_keeps_no_other_waiting() {
    let (bj, _tj) = regions();
    for _ in 0..5 {
        pending_at(&bj, "lib").await;
    }
    let other = pending_at(&bj, "other").await;
    bj.clock.advance_ms(5_000);
    bj.library.hangs.store(2, std::sync::atomic::Ordering::SeqCst);
    let running = tokio::spawn(runner(&bj).run(CancellationToken::new()));
    let tried = async || open(&bj).await.iter().any(|task| task.transaction == other && task.tries == 1);
    while !tried().await {
        tokio::task::yield_now().await;
    }
    running.abort();
    let (hanging, rest): (Vec<_>, Vec<_>) =
        open(&bj).await.into_iter().partition(|task| task.lane == "library/lib");
    assert_eq!((hanging.len(), hanging.iter().map(|task| task.tries).sum::<u32>()), (5, 0));
    assert_eq!(rest[0].last_error, "LIBRARY_UNKNOWN");
}

#[tokio::test]
async fn a_task_that_fails_is_put_off_and_then_left_to_people() {
    let (bj, _tj) = regions();
    let transaction = broken(&bj).await;
    let runner = runner(&bj);
    let mut waits = Vec::new();
    loop {
        runner.turn().await;
        let task = open(&bj).await.pop().expect("never dropped");
        assert_eq!((task.transaction, task.last_error.as_str()), (transaction, "INTERNAL"));
        assert_eq!(task.tries as usize, waits.len() + 1);
        if task.state == TaskState::Stuck {
            break;
        }
        let wait = task.due_at_ms - bj.clock.now_ms();
        assert!((1..=60_000).contains(&wait), "{wait}");
        waits.push(wait);
        bj.clock.advance_ms(60_000);
    }
    // The scene's own ten turns, and twelve failures of ours.
    assert_eq!(waits.len(), 21);
    assert!(waits[0] < 11_000 && waits[20] > 40_000, "they double: {waits:?}");
    let entries = bj.entries();
    bj.clock.advance_ms(600_000);
    runner.turn().await;
    assert_eq!(bj.entries(), entries, "what is stuck is not run");
}

#[tokio::test]
async fn an_operator_runs_a_stuck_task_again_or_closes_it() {
    let (bj, _tj) = regions();
    let transaction = broken(&bj).await;
    let runner = runner(&bj);
    while open(&bj).await[0].state != TaskState::Stuck {
        runner.turn().await;
        bj.clock.advance_ms(60_000);
    }
    let hand = TaskHand::new("zhang.wei", "图书馆已核对 / checked with the library").expect("right");
    bj.gateway.retry_task(&key(transaction), &hand).await.expect("taken");
    let again = open(&bj).await.remove(0);
    assert_eq!((again.state, again.tries, again.due_at_ms), (TaskState::Waiting, 0, bj.clock.now_ms()));
    runner.turn().await;
    assert_eq!(open(&bj).await[0].tries, 1);

    bj.gateway.close_task(&key(transaction), &hand).await.expect("taken");
    assert!(open(&bj).await.is_empty());
    assert_eq!(status(&bj, transaction).await, Some(Status::Reversed));
    let steps = bj.gateway.store().steps(transaction).await.expect("readable");
    let last = &steps.last().expect("steps").entry;
    assert_eq!((last.operator_id.as_str(), last.method.as_str()), ("zhang.wei", "CloseTask"));
    let late = bj.gateway.retry_task(&key(transaction), &hand).await;
    assert_eq!(late, Err(HandRefused::NoSuchTask));
}

#[tokio::test]
async fn a_reversal_nobody_could_carry_out_is_left_to_people() {
    let (bj, _tj) = regions();
    let transaction = pending_at(&bj, "other").await;
    let runner = runner(&bj);
    while status(&bj, transaction).await == Some(Status::Pending) {
        bj.clock.advance_ms(60_000);
        runner.turn().await;
    }
    assert_eq!(status(&bj, transaction).await, Some(Status::Reversed));
    let left = open(&bj).await;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].kind.as_str(), left[0].state), ("library.by-hand", TaskState::Stuck));
    let hand = TaskHand::new("zhang.wei", "the book was not lent").expect("right");
    assert_eq!(bj.gateway.retry_task(&left[0].key(), &hand).await, Err(HandRefused::NotRun));
    bj.gateway.close_task(&left[0].key(), &hand).await.expect("taken");
    assert!(open(&bj).await.is_empty());
}

#[test]
fn an_act_by_hand_says_who_and_why() {
    for (operator, reason, refused) in [
        ("", "why", HandRefused::Operator),
        ("two words", "why", HandRefused::Operator),
        ("a-name-that-is-longer-than-thirty-two", "why", HandRefused::Operator),
        ("zhang.wei", " ", HandRefused::Reason),
        ("zhang.wei", "two\nlines", HandRefused::Reason),
    ] {
        assert_eq!(TaskHand::new(operator, reason), Err(refused), "{operator:?} {reason:?}");
    }
}

#[test]
fn every_kind_has_its_row() {
    let (bj, _tj) = regions();
    for kind in TaskKind::ALL {
        let row = task_rule(*kind, &bj.gateway.live());
        let budget = row.tries_max > 0 && row.age_max_ms > 0 && row.within > Duration::ZERO;
        assert!(row.run_by == RunBy::People || budget, "{kind:?}: {row:?}");
        assert!(row.within <= limits::TASK_RUN_MAX, "{kind:?}: longer than a lease allows for");
    }
}

/// Tianjin stands in for Beijing's codes while Beijing is away.
fn standing_in(tj: &Region, most: u32) {
    let mut live = live(tj.gateway.live().trust.clone());
    live.policy.code_home = CodeHome::Ask;
    live.policy.stand_in.codes_per_card_and_day = most;
    tj.gateway.replace_live(live);
}

#[tokio::test]
async fn a_stand_in_is_marked_counted_and_settled_when_home_is_back() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    standing_in(&tj, 2);
    tj.line.set(Mode::Away);
    let code = bj.code(1, person.card).await;
    let told = tj.scan(1, &code).await.expect("an answer");
    assert_ended(&told, Status::Completed, "");
    assert!(card_detail(&told).stood_in);
    assert_ended(
        &tj.scan(2, &bj.code(2, person.card).await).await.expect("an answer"),
        Status::Completed,
        "",
    );
    let third = bj.code(3, person.card).await;
    assert_ended(&tj.scan(3, &third).await.expect("an answer"), Status::Declined, "STAND_IN_LIMIT");

    let runner = runner(&tj);
    tj.clock.advance_ms(2_000);
    runner.turn().await;
    let waiting = open(&tj).await;
    assert_eq!(waiting.len(), 2, "a decline is nothing to settle");
    for task in &waiting {
        assert_eq!((task.kind.as_str(), task.lane.as_str()), ("federation.settle-code", "peer/110000"));
        assert_eq!((task.tries, task.last_error.as_str()), (1, "HOME_REGION_UNAVAILABLE"));
    }
    tj.line.set(Mode::Up);
    tj.clock.advance_ms(4_000);
    runner.turn().await;
    assert!(open(&tj).await.is_empty(), "home knows of both");
    assert_refused(bj.scan(50, &code).await, RefusalKind::Forbidden, Reason::CodeUsed);
    // Home is there again: nobody stands in, and what was declined was not used up.
    let asked = tj.scan(4, &third).await.expect("an answer");
    assert_ended(&asked, Status::Completed, "");
    assert!(!card_detail(&asked).stood_in);
    // Past midnight in Shanghai: another day, another count.
    tj.line.set(Mode::Away);
    tj.clock.advance_ms(2 * 3_600_000);
    let tomorrow = tj.scan(5, &bj.code(5, person.card).await).await.expect("an answer");
    assert_ended(&tomorrow, Status::Completed, "");
}

#[tokio::test]
async fn what_is_reserved_while_home_is_not_asked_has_its_limit() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    standing_in(&tj, 5);
    let mut live = live(tj.gateway.live().trust.clone());
    live.policy = tj.gateway.live().policy.clone();
    live.policy.stand_in.fen_per_card_and_day = 6_000;
    tj.gateway.replace_live(live);
    let session = async |request| {
        let told = tj.scan(request, &bj.code(request, person.card).await).await.expect("an answer");
        Token16::from_bytes(card_detail(&told).holder_session.try_into().expect("16 bytes"))
    };
    let reserve = async |request, session, fen| reserve(&tj, request, session, fen, 60_000).await;
    tj.line.set(Mode::Away);
    let first = session(1).await;
    assert_ended(&reserve(2, first, 4_000).await, Status::Reserved, "");
    assert_ended(&reserve(3, first, 2_001).await, Status::Declined, "STAND_IN_LIMIT");
    // Another code of the same card shares the day's limit.
    let second = session(4).await;
    assert_ended(&reserve(5, second, 2_001).await, Status::Declined, "STAND_IN_LIMIT");
    assert_ended(&reserve(6, second, 2_000).await, Status::Reserved, "");
    // Home has said yes: that is no stand-in.
    tj.line.set(Mode::Up);
    let asked = session(7).await;
    assert_ended(&reserve(8, asked, 60_000).await, Status::Reserved, "");
    // Past midnight in Shanghai.
    tj.line.set(Mode::Away);
    tj.clock.advance_ms(2 * 3_600_000);
    let tomorrow = session(9).await;
    assert_ended(&reserve(10, tomorrow, 6_000).await, Status::Reserved, "");
}

#[tokio::test]
async fn a_stand_in_is_settled_long_after_its_code_has_expired() {
    for mode in [Mode::Away, Mode::LosesAnswers] {
        let (bj, tj) = regions();
        let person = bj.import(1).await;
        standing_in(&tj, 5);
        tj.line.set(mode);
        let told = tj.scan(1, &bj.code(1, person.card).await).await.expect("an answer");
        assert!(card_detail(&told).stood_in, "{mode:?}");
        tj.line.set(Mode::Up);
        tj.clock.advance_ms(3 * 24 * 3_600_000);
        let entries = bj.entries();
        runner(&tj).turn().await;
        assert!(open(&tj).await.is_empty(), "{mode:?}");
        // What home had heard already is answered from its journal.
        assert_eq!(bj.entries() - entries, usize::from(mode == Mode::Away), "{mode:?}");
    }
}

#[tokio::test]
async fn a_stand_in_for_a_code_that_was_used_elsewhere_is_for_people() {
    let (bj, tj) = regions();
    let person = bj.import(1).await;
    standing_in(&tj, 5);
    tj.line.set(Mode::Away);
    let code = bj.code(1, person.card).await;
    assert_ended(&bj.scan(40, &code).await.expect("at home"), Status::Completed, "");
    assert!(card_detail(&tj.scan(1, &code).await.expect("stand-in")).stood_in);
    tj.line.set(Mode::Up);
    tj.clock.advance_ms(2_000);
    runner(&tj).turn().await;
    let left = open(&tj).await;
    assert_eq!((left.len(), left[0].state, left[0].last_error.as_str()), (1, TaskState::Stuck, "CODE_USED"));
}
