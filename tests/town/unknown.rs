//! Promise 3: unknown stays unknown, and ends.

use onecard::{
    client::{Terminal, TransactionKey},
    model::Purpose,
    proto::common::v1::{Answer, Decision, TransactionStatus},
};

use crate::support::{Stage, acts, in_a_town_of_its_own, until_asked};

/// Borrows `item` from a library that goes silent over it; the answer, and how the
/// transaction ended.
async fn borrowed(stage: &Stage, desk: &Terminal, item: &str) -> (Answer, TransactionStatus) {
    let card = stage.card("tj");
    let session = acts::session(stage, &card, desk, Purpose::LibraryLoan).await;
    let request = acts::checkout(desk, &session, item);
    let told = desk.checkout(request.clone()).await.expect("answered").answer.expect("an answer");
    assert_eq!((told.decision(), told.status()), (Decision::Pending, TransactionStatus::Pending));
    assert_eq!(told.reason, "OUTCOME_PENDING");

    until_asked("the pending transaction on the metric", async || {
        stage.metric("tianjin", "onecard_pending_transactions", &[]) >= 1.0
    })
    .await;
    let key = TransactionKey::Transaction(told.transaction_id.clone());
    let mut ended = TransactionStatus::Pending;
    until_asked("the end of the transaction", async || {
        let found = desk.transaction(key.clone()).await.expect("found");
        let answer = found.answer.expect("an answer");
        assert_eq!(found.steps[0].status(), TransactionStatus::Pending, "the intent stands first");
        ended = answer.status();
        ended != TransactionStatus::Pending
    })
    .await;
    until_asked("nothing pending on the metric", async || {
        stage.metric("tianjin", "onecard_pending_transactions", &[]) == 0.0
    })
    .await;

    // The repeat says what became of it and orders nothing.
    let again = desk.checkout(request).await.expect("answered").answer.expect("an answer");
    assert_eq!(again.transaction_id, told.transaction_id);
    (told, ended)
}

#[test]
fn a_library_that_goes_silent_leaves_the_loan_pending_and_it_ends() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let desk = stage.terminal("tj-library-desk-01").await;
            let ils = stage.library("tianjin");

            let (told, ended) = borrowed(stage, &desk, "SILENT-AFTER-1").await;
            assert_eq!(ended, TransactionStatus::Completed, "the library had booked it");
            assert_eq!(ils.holder_of("SILENT-AFTER-1"), Some(told.holder_id), "under the pairwise id");

            let (_, ended) = borrowed(stage, &desk, "SILENT-BEFORE-1").await;
            assert_eq!(ended, TransactionStatus::Reversed, "the library had booked nothing");
            assert_eq!(ils.holder_of("SILENT-BEFORE-1"), None);
        },
    );
}

#[test]
fn a_pending_loan_ends_after_kill_9_too() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let desk = stage.terminal("tj-library-desk-01").await;
            let card = stage.card("tj");
            let session = acts::session(stage, &card, &desk, Purpose::LibraryLoan).await;
            let told =
                desk.checkout(acts::checkout(&desk, &session, "SILENT-AFTER-2")).await.expect("answered");
            let told = told.answer.expect("an answer");
            assert_eq!(told.decision(), Decision::Pending);
            stage.kill("tianjin").await;
            stage.restart("tianjin").await;
            let desk = stage.terminal("tj-library-desk-01").await;
            let key = TransactionKey::Transaction(told.transaction_id);
            until_asked("the end of the transaction", async || {
                let answer = desk.transaction(key.clone()).await.expect("found").answer;
                answer.expect("an answer").status() == TransactionStatus::Completed
            })
            .await;
        },
    );
}
