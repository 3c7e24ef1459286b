//! Promises 1, 2 and 3 under a stop at every step of the way: what was acknowledged
//! is found, the effect outside happens once, every transaction ends, and the money
//! adds up.

use std::sync::Arc;

use onecard::{
    client::{Terminal, TransactionKey},
    crypto::{HolderKeys, KeyVault},
    fault::Point,
    model::{Purpose, SystemClock, SystemRng, TransactionId},
    proto::{
        common::v1::{Answer, TransactionStatus},
        library::v1::CheckoutRequest,
        transit::v1::TapKind,
    },
    sandbox::ils::{Fault, Moves},
    store::{EmbeddedStore, Store as _, StoreOptions},
};

use crate::support::{
    Stage,
    acts::{self, stations},
    edit,
    expect::approved,
    in_a_town_of_its_own, until, until_asked,
};

const REGION: &str = "tianjin";
const DESK: &str = "tj-library-desk-01";
const GATE: &str = "tj-metro-gate-01";

/// What the library does with the order that is under way when the process stops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Library {
    Answers,
    /// It books and says nothing, so that a task must find out.
    GoesSilent,
    /// It cannot be asked afterwards either, so that a task takes the loan back.
    IsMute,
}

/// How the loan may have ended, by what the library has counted.
const LENT: Moves = Moves { lent: 1, returned: 0 };
const NEVER_LENT: Moves = Moves { lent: 0, returned: 0 };
const TAKEN_BACK: Moves = Moves { lent: 1, returned: 1 };

/// Every point, and where on the way of a loan it is passed.
fn library_at(point: Point) -> Library {
    match point {
        Point::UnitDecided
        | Point::BatchWritten
        | Point::BatchSynced
        | Point::BatchAnswered
        | Point::IndexApplied
        | Point::IntentCommitted
        | Point::BackendCalled
        | Point::ResultCommitted => Library::Answers,
        Point::TaskLeased | Point::TaskInquired | Point::TaskCommitted => Library::GoesSilent,
        Point::TaskUndone => Library::IsMute,
    }
}

/// Points that every commit passes, a tap's too.
fn on_every_commit(point: Point) -> bool {
    match point {
        Point::UnitDecided
        | Point::BatchWritten
        | Point::BatchSynced
        | Point::BatchAnswered
        | Point::IndexApplied => true,
        Point::IntentCommitted
        | Point::BackendCalled
        | Point::ResultCommitted
        | Point::TaskLeased
        | Point::TaskInquired
        | Point::TaskUndone
        | Point::TaskCommitted => false,
    }
}

/// Lends a book while the gateway is to stop at `point`; answers with the transaction.
async fn a_loan(stage: &Stage, point: Point) -> TransactionId {
    let (ils, library) = (stage.library(REGION), library_at(point));
    let desk = stage.terminal(DESK).await;
    let session = acts::session(stage, &stage.card("tj"), &desk, Purpose::LibraryLoan).await;
    let item = match library {
        Library::Answers | Library::IsMute => format!("SLOW-{}", point.name()),
        Library::GoesSilent => format!("SILENT-AFTER-{}", point.name()),
    };
    let request = acts::checkout(&desk, &session, &item);
    if library == Library::IsMute {
        ils.fail_next("11", Fault::SilentAfter);
    }
    let orders = ils.heard("11");
    stage.stop_at(REGION, point);
    let lending = tokio::spawn({
        let (desk, request) = (desk, request.clone());
        async move { desk.checkout(request).await }
    });
    if library == Library::IsMute {
        ils.until_heard("11", orders + 1).await;
        // Two inquiries, each asked a second time.
        (0..4).for_each(|_| ils.fail_next("63", Fault::CutBefore));
    }
    stage.until_stopped(REGION, point).await;
    let first = lending.await.expect("no panic").ok().map(|told| told.answer.expect("an answer"));
    stage.restart(REGION).await;
    let ended = settled(stage, request, first.as_ref()).await;
    let moves = ils.moves_of(&item);
    let consistent = match ended.status() {
        TransactionStatus::Completed => moves == LENT,
        TransactionStatus::Reversed => [NEVER_LENT, TAKEN_BACK].contains(&moves),
        TransactionStatus::Declined
        | TransactionStatus::Pending
        | TransactionStatus::Received
        | TransactionStatus::Authorised
        | TransactionStatus::Reserved
        | TransactionStatus::Unspecified => false,
    };
    assert!(consistent, "{}: {:?} and {moves:?}", point.name(), ended.status());
    if library == Library::IsMute {
        assert_eq!(moves, TAKEN_BACK, "{}", point.name());
    }
    assert_eq!(ils.holder_of(&item).is_some(), ended.status() == TransactionStatus::Completed);
    ended.transaction_id.parse().expect("an id")
}

/// What a terminal does after its line broke: it repeats its request, and asks until
/// the transaction has ended.
async fn settled(stage: &Stage, request: CheckoutRequest, first: Option<&Answer>) -> Answer {
    let desk = stage.terminal(DESK).await;
    if let Some(first) = first {
        let key = TransactionKey::Transaction(first.transaction_id.clone());
        desk.transaction(key).await.expect("what was acknowledged is found");
    }
    let told = desk.checkout(request.clone()).await.expect("answered").answer.expect("an answer");
    if let Some(first) = first {
        assert_eq!(told.transaction_id, first.transaction_id, "one request, one transaction");
    }
    let key = TransactionKey::Transaction(told.transaction_id.clone());
    let mut ended = told.clone();
    until_asked("the end of the transaction", async || {
        ended = desk.transaction(key.clone()).await.expect("found").answer.expect("an answer");
        ended.status() != TransactionStatus::Pending
    })
    .await;
    let again = desk.checkout(request).await.expect("answered").answer.expect("an answer");
    assert_eq!((&again.transaction_id, again.status()), (&told.transaction_id, ended.status()));
    ended
}

/// Charges a ride while the gateway is to stop at `point`.
async fn a_ride(stage: &Stage, point: Point) -> TransactionId {
    let (card, (from, to)) = (stage.card("tj"), stations(REGION));
    let gate = stage.terminal(GATE).await;
    approved(&gate.tap(card.tap(&gate, TapKind::Entry, from)).await.expect("answered").answer);
    let exit = card.tap(&gate, TapKind::Exit, to);
    stage.stop_at(REGION, point);
    let leaving = tokio::spawn({
        let (gate, exit): (Terminal, _) = (gate, exit.clone());
        async move { gate.tap(exit).await }
    });
    stage.until_stopped(REGION, point).await;
    let first = leaving.await.expect("no panic").ok();
    stage.restart(REGION).await;
    let gate = stage.terminal(GATE).await;
    let told = gate.tap(exit.clone()).await.expect("answered");
    approved(&told.answer);
    let id = |answer: &Option<Answer>| answer.clone().expect("an answer").transaction_id;
    if let Some(first) = first {
        assert_eq!(id(&first.answer), id(&told.answer), "{}", point.name());
    }
    assert_eq!(gate.tap(exit).await.expect("answered"), told, "{}", point.name());
    // The ride is over once: a second exit finds none.
    let twice =
        gate.tap(card.tap(&gate, TapKind::Exit, to)).await.expect("answered").answer.expect("an answer");
    assert_eq!(twice.reason, "NO_ENTRY", "{}", point.name());
    id(&told.answer).parse().expect("an id")
}

/// The region's store, opened beside its stopped gateway.
fn opened(stage: &Stage) -> EmbeddedStore {
    let dir = stage.prepared.data.join(REGION);
    let vault: Arc<dyn KeyVault> = Arc::new(stage.vault(REGION));
    let keys = HolderKeys::open(&dir.join("holder-keys"), Arc::clone(&vault), Arc::new(SystemRng));
    let mut options = StoreOptions::in_dir(&dir, 120_000);
    options.segment_bytes = 1024 * 1024;
    EmbeddedStore::open(options, vault, Arc::new(keys.expect("holder keys")), Arc::new(SystemClock))
        .expect("the store opens")
}

#[test]
fn a_stop_anywhere_on_the_way_loses_nothing_and_doubles_nothing() {
    let patient_breaker = |prepared: &onecard::sandbox::town::Prepared| {
        let config = prepared.data.join("config").join(REGION).join("libraries.toml");
        edit(&config, |libraries| {
            let lines = libraries["sip2"].as_table_mut().expect("a table");
            for (_, line) in lines.iter_mut() {
                let breaker = toml::Table::from_iter([("failures".to_owned(), 1_000.into())]);
                line.as_table_mut().expect("a table").insert("breaker".into(), breaker.into());
            }
            let inquiry = libraries["inquiry"].as_table_mut().expect("a table");
            inquiry.insert("inquiries_max".into(), 2.into());
        });
    };
    in_a_town_of_its_own(patient_breaker, async |stage| {
        let (mut loans, mut rides) = (Vec::new(), Vec::new());
        for point in Point::ALL {
            loans.push(a_loan(stage, *point).await);
            if on_every_commit(*point) {
                rides.push(a_ride(stage, *point).await);
            }
        }
        until("the ledger's sum is zero", || {
            stage.ops(REGION, "/metrics").1.lines().any(|line| line == "onecard_ledger_sum_fen 0")
        });
        stage.kill(REGION).await;
        let store = opened(stage);
        let mut charged = 0;
        for id in loans.iter().chain(&rides) {
            let steps = store.steps(*id).await.expect("readable");
            let last = &steps.last().expect("what was acknowledged is found").entry;
            assert!([1, 4].contains(&last.status), "{id} ended as {}", last.status);
            let postings: Vec<_> = steps.iter().flat_map(|step| &step.entry.postings).collect();
            assert_eq!(postings.iter().map(|posting| posting.amount_fen).sum::<i64>(), 0, "{id}");
            charged += i64::from(postings.iter().any(|posting| posting.amount_fen > 0));
        }
        assert_eq!(charged, rides.len() as i64, "every ride is charged, each once");
        assert!(store.due_tasks(i64::MAX, 100).await.expect("readable").is_empty(), "nothing is left to do");
        drop(store);
        stage.restart(REGION).await;
    });
}
