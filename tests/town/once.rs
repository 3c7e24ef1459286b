//! Promise 2: the same request never has two effects.

use std::collections::HashSet;

use onecard::{
    model::Purpose,
    proto::{
        auth::v1::PresentCodeRequest,
        card::v1::{LossKind, ReportLossRequest},
        common::v1::RequestHeader,
        transit::v1::{Tap, TapKind, TapRequest, UploadTapsRequest, tap_outcome},
    },
};
use tonic::Code;

use crate::support::{
    acts::{self, report, stations},
    expect::{approved, refused},
    in_a_town_of_its_own, on_the_town,
};

const COPIES: usize = 32;
const CONNECTIONS: usize = 4;

#[test]
fn the_same_request_in_parallel_has_one_effect() {
    on_the_town(async |stage| {
        let card = stage.card("tj");
        let mut gates = Vec::new();
        for _ in 0..CONNECTIONS {
            gates.push(stage.terminal("bj-metro-gate-01").await);
        }
        let request = card.tap(&gates[0], TapKind::Entry, stations("beijing").0);
        let copies = (0..COPIES).map(|copy| {
            let (gate, request) = (gates[copy % CONNECTIONS].clone(), request.clone());
            tokio::spawn(async move { gate.tap(request).await.expect("every copy is answered") })
        });
        let mut answers = HashSet::new();
        for copy in copies.collect::<Vec<_>>() {
            let answer = copy.await.expect("no panic").answer.expect("an answer");
            approved(&Some(answer.clone()));
            answers.insert((answer.transaction_id, answer.committed_at_ms));
        }
        assert_eq!(answers.len(), 1, "one transaction: {answers:?}");

        // One effect: the counter was taken once, one ride is open.
        let left =
            gates[0].tap(card.tap(&gates[0], TapKind::Exit, stations("beijing").1)).await.expect("answered");
        approved(&left.answer);
        let again = gates[0].tap(request).await.expect("answered");
        assert_eq!(again.answer.expect("an answer").transaction_id, answers.iter().next().expect("one").0);
    });
}

#[test]
fn a_parallel_checkout_asks_the_library_once() {
    on_the_town(async |stage| {
        let card = stage.card("bj");
        let desk = stage.terminal("bj-capital-desk-01").await;
        let session = acts::session(stage, &card, &desk, Purpose::LibraryLoan).await;
        let request = acts::checkout(&desk, &session, "SLOW-once");
        let copies: Vec<_> = (0..8)
            .map(|_| {
                let (desk, request) = (desk.clone(), request.clone());
                tokio::spawn(async move { desk.checkout(request).await.expect("answered") })
            })
            .collect();
        let mut ids = HashSet::new();
        for copy in copies {
            ids.insert(copy.await.expect("no panic").answer.expect("an answer").transaction_id);
        }
        assert_eq!(ids.len(), 1, "{ids:?}");
        let account = desk
            .patron(onecard::proto::library::v1::GetPatronRequest {
                header: Some(acts::in_session(&desk, Purpose::LibraryLoan, &session)),
                library: String::new(),
            })
            .await
            .expect("answered");
        let loans: Vec<_> = account.loans.iter().filter(|loan| loan.item == "SLOW-once").collect();
        assert_eq!(loans.len(), 1, "{loans:?}");
    });
}

#[test]
fn the_same_id_with_another_payload_is_refused() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let card = stage.card("tj");
            let gate = stage.terminal("bj-metro-gate-01").await;
            let (from, to) = stations("beijing");
            let request = card.tap(&gate, TapKind::Entry, from);
            let first = gate.tap(request.clone()).await.expect("answered");
            approved(&first.answer);

            // Every part of the payload counts, those of the header too.
            let header = request.header.clone().expect("a header");
            let other_tap = TapRequest { header: Some(header.clone()), ..card.tap(&gate, TapKind::Exit, to) };
            let other_time = TapRequest {
                header: Some(RequestHeader {
                    terminal_time_ms: header.terminal_time_ms + 1,
                    ..header.clone()
                }),
                tap: request.tap.clone(),
            };
            let wrong_mac = TapRequest {
                header: Some(header.clone()),
                tap: request.tap.clone().map(|tap| Tap { tapped_at_ms: tap.tapped_at_ms + 1, ..tap }),
            };
            let hall = stage.terminal("bj-metro-gate-02").await;
            for restarted in [false, true] {
                if restarted {
                    stage.kill("beijing").await;
                    stage.restart("beijing").await;
                }
                let gate = stage.terminal("bj-metro-gate-01").await;
                for other in [&other_tap, &other_time, &wrong_mac] {
                    refused(gate.tap(other.clone()).await, Code::AlreadyExists, "REQUEST_ID_MISUSED");
                }
                let again = gate.tap(request.clone()).await.expect("answered");
                assert_eq!(again, first, "the right payload still has its answer");
            }
            // Ids are the participant's: another gate of it repeats the same request.
            let elsewhere = stage.terminal("bj-metro-gate-02").await.tap(request.clone()).await;
            assert_eq!(elsewhere.expect("answered").answer, first.answer);
            drop(hall);
        },
    );
}

#[test]
fn a_relayed_request_repeated_has_one_effect_at_home() {
    on_the_town(async |stage| {
        // A code of Hebei in Tianjin: settled at home once, however often it is sent.
        let card = stage.card("he");
        let desk = stage.terminal("tj-library-desk-01").await;
        let request = PresentCodeRequest {
            header: Some(desk.header(Purpose::LibraryLoan)),
            code: acts::code(stage, &card).await,
        };
        let copies: Vec<_> = (0..8)
            .map(|_| {
                let (desk, request) = (desk.clone(), request.clone());
                tokio::spawn(async move { desk.present_code(request).await.expect("answered") })
            })
            .collect();
        let mut sessions = HashSet::new();
        for copy in copies {
            let answer = copy.await.expect("no panic");
            approved(&answer.answer);
            sessions
                .insert((answer.answer.expect("one").transaction_id, answer.session.expect("one").session));
        }
        assert_eq!(sessions.len(), 1, "one transaction, one session: {sessions:?}");
        let other = PresentCodeRequest { header: Some(desk.header(Purpose::LibraryLoan)), ..request };
        refused(desk.present_code(other).await, Code::PermissionDenied, "CODE_USED");

        // A loss reported from Hebei for a card of Tianjin moves Tianjin's list once.
        let card = stage.card("tj");
        let counter = stage.terminal("he-hall-counter-01").await;
        let request: ReportLossRequest = report(&counter, &card, LossKind::Temporary);
        let first = counter.report_loss(request.clone()).await.expect("answered");
        approved(&first.answer);
        for _ in 0..3 {
            assert_eq!(counter.report_loss(request.clone()).await.expect("answered"), first);
        }
    });
}

#[test]
fn offline_taps_uploaded_twice_count_once() {
    on_the_town(async |stage| {
        let card = stage.card("tj");
        let gate = stage.terminal("bj-metro-concentrator-01").await;
        let (from, to) = stations("beijing");
        let upload = UploadTapsRequest { taps: vec![card.tap(&gate, TapKind::Entry, from)] };
        let entered = gate.upload_taps(upload.clone()).await.expect("answered");
        let exit = UploadTapsRequest { taps: vec![card.tap(&gate, TapKind::Exit, to)] };
        let left = gate.upload_taps(exit.clone()).await.expect("answered");
        assert_eq!(gate.upload_taps(upload).await.expect("answered"), entered);
        assert_eq!(gate.upload_taps(exit).await.expect("answered"), left);
        for outcome in entered.outcomes.iter().chain(&left.outcomes) {
            let Some(tap_outcome::Result::Tap(tap)) = &outcome.result else { panic!("{outcome:?}") };
            approved(&tap.answer);
        }
    });
}
