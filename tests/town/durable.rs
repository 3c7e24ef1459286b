//! Promise 1: what was acknowledged is found again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use onecard::{
    client::{Terminal, TransactionKey, check_answer},
    model::Purpose,
    proto::{
        auth::v1::PresentCodeRequest,
        common::v1::{Answer, Receipt},
        transit::v1::{TapKind, TapRequest},
    },
};

use tonic::Code;

use crate::support::{
    acts::{self, Card, stations},
    expect::{approved, refused},
    in_a_town_of_its_own, until_asked,
};

const WRITERS: usize = 8;
const ACKNOWLEDGED_MIN: usize = 200;

/// What one gate has sent and been told until its line broke.
struct Written {
    gate: Terminal,
    acknowledged: Vec<(TapRequest, Answer)>,
    unanswered: TapRequest,
}

async fn write(gate: Terminal, card: Card, count: Arc<AtomicUsize>) -> Written {
    let (from, to) = stations("beijing");
    let mut acknowledged = Vec::new();
    loop {
        let entering = acknowledged.len() % 2 == 0;
        let (kind, station) = if entering { (TapKind::Entry, from) } else { (TapKind::Exit, to) };
        let request = card.tap(&gate, kind, station);
        match gate.tap(request.clone()).await {
            Ok(answered) => {
                acknowledged.push((request, answered.answer.expect("an answer")));
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => return Written { gate, acknowledged, unanswered: request },
        }
    }
}

#[test]
fn an_acknowledged_tap_is_found_again_after_kill_9() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let count = Arc::new(AtomicUsize::new(0));
            let mut writers = Vec::new();
            for _ in 0..WRITERS {
                let gate = stage.terminal("bj-metro-gate-01").await;
                writers.push(tokio::spawn(write(gate, stage.card("tj"), Arc::clone(&count))));
            }
            until_asked("taps under way", async || count.load(Ordering::Relaxed) >= ACKNOWLEDGED_MIN).await;
            stage.kill("beijing").await;
            let mut written = Vec::new();
            for writer in writers {
                written.push(writer.await.expect("no panic"));
            }
            stage.restart("beijing").await;

            let key = stage.journal_key("beijing");
            let mut found = 0;
            for writer in &written {
                let gate = stage.terminal("bj-metro-gate-02").await;
                for (request, told) in &writer.acknowledged {
                    let id = request.header.as_ref().expect("a header").request_id.clone();
                    let again =
                        gate.transaction(TransactionKey::Request(id.clone())).await.expect("found again");
                    assert_eq!(again.request_id, id);
                    let again = again.answer.expect("an answer");
                    assert_eq!(
                        (&again.transaction_id, again.committed_at_ms, again.decision, again.status),
                        (&told.transaction_id, told.committed_at_ms, told.decision, told.status)
                    );
                    let (receipt, first) = (&again.receipt, &told.receipt);
                    let leaf =
                        |receipt: &Option<Receipt>| receipt.as_ref().map(|receipt| receipt.leaf.clone());
                    assert_eq!(leaf(receipt), leaf(first), "the same entry");
                    check_answer(told, &key).expect("the receipt that was handed out still checks");
                    check_answer(&again, &key).expect("and so does the one of today");
                    found += 1;
                }
            }
            assert!(found >= ACKNOWLEDGED_MIN, "{found}");

            // What was under way may have been taken or not; repeating it settles it
            // once, under one id.
            for writer in &written {
                let first = writer.gate.tap(writer.unanswered.clone()).await.expect("answered");
                let second = writer.gate.tap(writer.unanswered.clone()).await.expect("answered");
                assert_eq!(first, second);
            }
        },
    );
}

#[test]
fn a_restart_keeps_sessions_open_rides_and_used_codes() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let (gate, desk) =
                (stage.terminal("bj-metro-gate-01").await, stage.terminal("bj-capital-desk-01").await);
            let card = stage.card("bj");
            let (from, to) = stations("beijing");
            let entered = gate.tap(card.tap(&gate, TapKind::Entry, from)).await.expect("answered");
            approved(&entered.answer);
            let code = acts::code(stage, &card).await;
            let present = |code: &str| PresentCodeRequest {
                header: Some(desk.header(Purpose::LibraryLoan)),
                code: code.to_owned(),
            };
            let presented = desk.present_code(present(&code)).await.expect("answered");
            let session = presented.session.expect("a session");

            stage.kill("beijing").await;
            stage.restart("beijing").await;

            let (gate, desk) =
                (stage.terminal("bj-metro-gate-01").await, stage.terminal("bj-capital-desk-01").await);
            let left = gate.tap(card.tap(&gate, TapKind::Exit, to)).await.expect("answered");
            approved(&left.answer);
            assert!(left.charge.expect("an exit is charged").amount_fen > 0);
            refused(desk.present_code(present(&code)).await, Code::PermissionDenied, "CODE_USED");
            let lent = desk.checkout(acts::checkout(&desk, &session, "B0001")).await.expect("answered");
            approved(&lent.answer);
        },
    );
}
