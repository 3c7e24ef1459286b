//! Promise 4: no refund, alone or in parallel, exceeds what was captured; a
//! reversal has one effect; what was reserved and not captured goes free by itself.

use std::collections::BTreeMap;

use onecard::{
    client::{Terminal, TransactionKey},
    model::{Purpose, TransactionId},
    proto::{
        common::v1::{Answer, Decision, RequestHeader, TransactionStatus},
        ledger::v1::{GetStatementRequest, GetStatementResponse},
        transaction::v1::{
            CaptureRequest, CorrectionCause, GetTransactionResponse, Money, RefundRequest, ReleaseRequest,
            ReserveRequest, ReverseRequest, reverse_request::By,
        },
        transit::v1::TapKind,
    },
};

use crate::support::{
    Stage,
    acts::{self, Card, stations},
    edit,
    expect::{approved, declined, refused},
    in_a_town_of_its_own, on_the_town, until_asked,
};

const CONNECTIONS: usize = 4;

/// A ride through Beijing; the answer of its exit and what it cost.
async fn ride(gate: &Terminal, card: &Card) -> (Answer, i64) {
    let (from, to) = stations("beijing");
    approved(&gate.tap(card.tap(gate, TapKind::Entry, from)).await.expect("answered").answer);
    let left = gate.tap(card.tap(gate, TapKind::Exit, to)).await.expect("answered");
    approved(&left.answer);
    (left.answer.expect("an answer"), left.charge.expect("a charge").amount_fen)
}

fn refund(gate: &Terminal, transaction: &str, amount_fen: i64) -> RefundRequest {
    RefundRequest {
        header: Some(gate.header(Purpose::TransitRide)),
        transaction_id: transaction.to_owned(),
        amount_fen,
        cause: CorrectionCause::Holder.into(),
    }
}

fn reversal(terminal: &Terminal, by: By) -> ReverseRequest {
    // The service desk must name its clerk, and a gate may.
    let header = RequestHeader { operator_id: "clerk-7".to_owned(), ..terminal.header(Purpose::TransitRide) };
    ReverseRequest { header: Some(header), by: Some(by), cause: CorrectionCause::Terminal.into() }
}

fn reserving(desk: &Terminal, session: &str, amount_fen: i64, life_ms: i64) -> ReserveRequest {
    let mut header = desk.header(Purpose::LibraryLoan);
    header.holder_session = session.to_owned();
    ReserveRequest { header: Some(header), amount_fen, life_ms }
}

fn capturing(desk: &Terminal, transaction: &str, amount_fen: i64) -> CaptureRequest {
    CaptureRequest {
        header: Some(desk.header(Purpose::LibraryLoan)),
        transaction_id: transaction.to_owned(),
        amount_fen,
    }
}

async fn became(terminal: &Terminal, transaction: &str) -> GetTransactionResponse {
    terminal.transaction(TransactionKey::Transaction(transaction.to_owned())).await.expect("found")
}

/// The answer says yes and leaves the transaction so.
#[track_caller]
fn granted(answer: &Option<Answer>, status: TransactionStatus) {
    let answer = answer.as_ref().expect("an answer");
    assert_eq!((answer.decision(), answer.status()), (Decision::Approved, status), "{}", answer.reason);
}

async fn gates(stage: &Stage) -> Vec<Terminal> {
    let mut gates = Vec::new();
    for _ in 0..CONNECTIONS {
        gates.push(stage.terminal("bj-metro-gate-01").await);
    }
    gates
}

#[test]
fn refunds_in_parallel_never_exceed_the_capture() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let gates = gates(stage).await;
            let (paid, fare) = ride(&gates[0], &stage.card("tj")).await;
            assert!(fare >= 300, "a ride of {fare} fen");
            let transaction = paid.transaction_id;
            // Each asks for a third and a little: two fit, whoever comes first.
            let part = fare / 3 + 1;
            let asked: Vec<_> = (0..24)
                .map(|at| {
                    let gate = gates[at % CONNECTIONS].clone();
                    let request = refund(&gate, &transaction, part);
                    tokio::spawn(
                        async move { (request.clone(), gate.refund(request).await.expect("answered")) },
                    )
                })
                .collect();
            let mut told = Vec::new();
            for one in asked {
                told.push(one.await.expect("no panic"));
            }
            let granted: Vec<_> = told
                .iter()
                .filter(|(_, response)| response.answer.as_ref().expect("an answer").reason.is_empty())
                .collect();
            assert_eq!(granted.len(), 2, "of {} asked", told.len());
            for (_, response) in &told {
                if !response.answer.as_ref().expect("an answer").reason.is_empty() {
                    declined(&response.answer, "AMOUNT_EXCEEDS_CAPTURE");
                }
            }

            stage.kill("beijing").await;
            stage.restart("beijing").await;
            let gate = stage.terminal("bj-metro-gate-01").await;
            let found = became(&gate, &transaction).await;
            let money = found.money.expect("money was moved");
            assert_eq!((money.captured_fen, money.refunded_fen), (fare, 2 * part));
            let answer = found.answer.expect("an answer");
            assert_eq!(
                (answer.decision(), answer.status()),
                (Decision::Approved, TransactionStatus::Completed)
            );
            assert_eq!(found.steps.len(), 1 + told.len(), "every request has its step");
            let back: i64 = found.steps[1..].iter().map(|step| step.amount_fen).sum();
            assert_eq!(back, 2 * part, "declined steps move nothing");

            // Every repeat gets what it was told before the restart.
            for (request, before) in told {
                let again = gate.refund(request).await.expect("answered");
                assert_eq!(again, before, "the same answer");
            }
            declined(
                &gate
                    .refund(refund(&gate, &transaction, fare - 2 * part + 1))
                    .await
                    .expect("answered")
                    .answer,
                "AMOUNT_EXCEEDS_CAPTURE",
            );
            let rest = gate.refund(refund(&gate, &transaction, fare - 2 * part)).await.expect("answered");
            approved(&rest.answer);
            assert_eq!(rest.money.expect("money").refunded_fen, fare);
        },
    );
}

#[test]
fn parallel_reversals_have_one_effect() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let gates = gates(stage).await;
            let desk = stage.terminal("bj-desk-desk-01").await;
            let (paid, fare) = ride(&gates[0], &stage.card("bj")).await;
            let transaction = paid.transaction_id.clone();
            let asked: Vec<_> = (0..24)
                .map(|at| {
                    // The service desk takes part in it.
                    let asks = if at % 6 == 5 { desk.clone() } else { gates[at % CONNECTIONS].clone() };
                    let request = reversal(&asks, By::TransactionId(transaction.clone()));
                    tokio::spawn(async move { asks.reverse(request).await.expect("answered") })
                })
                .collect();
            let mut effects = 0;
            for (at, one) in asked.into_iter().enumerate() {
                let response = one.await.expect("no panic");
                let answer = response.answer.as_ref().expect("an answer");
                let told = if at % 6 == 5 { "" } else { paid.holder_id.as_str() };
                assert_eq!(answer.holder_id, told, "the desk is not told how the metro knows the holder");
                assert_eq!(answer.status(), TransactionStatus::Reversed, "whoever is told, it is reversed");
                assert_eq!(response.money.expect("money").refunded_fen, fare);
                if answer.reason.is_empty() {
                    effects += 1;
                } else {
                    declined(&response.answer, "ALREADY_REVERSED");
                }
            }
            assert_eq!(effects, 1);

            stage.kill("beijing").await;
            stage.restart("beijing").await;
            let gate = stage.terminal("bj-metro-gate-01").await;
            let found = became(&gate, &transaction).await;
            assert_eq!(found.answer.expect("an answer").status(), TransactionStatus::Reversed);
            let moved: Vec<_> =
                found.steps.iter().map(|step| step.amount_fen).filter(|fen| *fen != 0).collect();
            assert_eq!(moved, [fare, fare], "taken once, given back once");
            declined(
                &gate.refund(refund(&gate, &transaction, 1)).await.expect("answered").answer,
                "ALREADY_REVERSED",
            );
        },
    );
}

#[test]
fn a_reservation_expires_by_itself() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let desk = stage.terminal("bj-capital-desk-01").await;
            let session = acts::session(stage, &stage.card("tj"), &desk, Purpose::LibraryLoan).await.session;
            let short = desk.reserve(reserving(&desk, &session, 5_000, 1_500)).await.expect("answered");
            let long = desk.reserve(reserving(&desk, &session, 7_000, 600_000)).await.expect("answered");
            for one in [&short, &long] {
                granted(&one.answer, TransactionStatus::Reserved);
            }
            let (short_id, long_id) = (id(&short.answer), id(&long.answer));

            // The task that ends it stands in the journal, not in a process.
            stage.kill("beijing").await;
            stage.restart("beijing").await;
            let desk = stage.terminal("bj-capital-desk-01").await;
            until_asked("the end of the short reservation", async || {
                became(&desk, &short_id).await.answer.expect("an answer").status()
                    == TransactionStatus::Reversed
            })
            .await;
            let found = became(&desk, &short_id).await;
            declined(&found.answer, "RESERVATION_EXPIRED");
            assert_eq!(found.money.expect("money").reserved_fen, 0);
            declined(
                &desk.capture(capturing(&desk, &short_id, 1)).await.expect("answered").answer,
                "NOTHING_RESERVED",
            );

            // The other one stands, is captured below its amount, and the rest is free.
            declined(
                &desk.capture(capturing(&desk, &long_id, 7_001)).await.expect("answered").answer,
                "AMOUNT_EXCEEDS_RESERVATION",
            );
            let taken = desk.capture(capturing(&desk, &long_id, 4_200)).await.expect("answered");
            approved(&taken.answer);
            let expected = Money { captured_fen: 4_200, ..Money::default() };
            assert_eq!(taken.money, Some(expected), "what was left over is free");
            let late = desk
                .release(ReleaseRequest {
                    header: Some(desk.header(Purpose::LibraryLoan)),
                    transaction_id: long_id.clone(),
                })
                .await
                .expect("answered");
            declined(&late.answer, "NOTHING_RESERVED");
        },
    );
}

fn id(answer: &Option<Answer>) -> String {
    answer.as_ref().expect("an answer").transaction_id.clone()
}

#[test]
fn only_who_sold_gives_back_and_the_desk_takes_back() {
    on_the_town(async |stage| {
        let gate = stage.terminal("bj-metro-gate-01").await;
        let (paid, fare) = ride(&gate, &stage.card("he")).await;
        let transaction = paid.transaction_id;
        let bus = stage.terminal("bj-bus-bus-01").await;
        refused(
            bus.refund(refund(&bus, &transaction, 1)).await,
            tonic::Code::NotFound,
            "TRANSACTION_UNKNOWN",
        );
        let desk = stage.terminal("bj-desk-desk-01").await;
        refused(
            desk.refund(refund(&desk, &transaction, 1)).await,
            tonic::Code::PermissionDenied,
            "ROLE_NOT_PERMITTED",
        );
        refused(
            gate.reserve(reserving(&gate, &"0".repeat(32), 1, 1_000)).await,
            tonic::Code::PermissionDenied,
            "SCENE_NOT_PERMITTED",
        );
        let mut wrong = refund(&gate, "no id", 0);
        wrong.cause = 0;
        let error = gate.refund(wrong).await.expect_err("three fields are wrong");
        let fields: Vec<_> = error.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["transaction_id", "amount_fen", "cause"]);

        // A gate that got no answer knows its own request only.
        let reversed =
            gate.reverse(reversal(&gate, By::RequestId(request_of(&gate, &transaction).await))).await;
        let reversed = reversed.expect("answered");
        granted(&reversed.answer, TransactionStatus::Reversed);
        assert_eq!(reversed.money.expect("money").refunded_fen, fare);
        // The reversal's own id leads to the same transaction, and to the same answer.
        let found = became(&gate, &transaction).await;
        let by_reversal = gate
            .transaction(TransactionKey::Request(found.steps[1].request_id.clone()))
            .await
            .expect("found");
        assert_eq!(by_reversal, found);
    });
}

#[test]
fn a_reversal_that_overtakes_its_tap_is_the_end_of_it() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let gate = stage.terminal("bj-metro-gate-01").await;
            let card = stage.card("bj");
            let (from, to) = stations("beijing");
            approved(&gate.tap(card.tap(&gate, TapKind::Entry, from)).await.expect("answered").answer);
            let exit = card.tap(&gate, TapKind::Exit, to);
            let request_id = exit.header.as_ref().expect("a header").request_id.clone();
            let request = reversal(&gate, By::RequestId(request_id.clone()));
            let back = gate.reverse(request.clone()).await.expect("answered");
            granted(&back.answer, TransactionStatus::Reversed);
            let late = gate.tap(exit.clone()).await.expect("answered");
            declined(&late.answer, "REVERSED_BEFORE_ARRIVAL");
            assert_eq!(late.charge, None, "nothing is charged");

            stage.kill("beijing").await;
            stage.restart("beijing").await;
            let gate = stage.terminal("bj-metro-gate-01").await;
            assert_eq!(gate.tap(exit).await.expect("answered").answer, late.answer);
            assert_eq!(gate.reverse(request).await.expect("answered").answer, back.answer);
            let again = gate.reverse(reversal(&gate, By::RequestId(request_id.clone()))).await;
            declined(&again.expect("answered").answer, "ALREADY_REVERSED");
            let found = gate.transaction(TransactionKey::Request(request_id.clone())).await.expect("found");
            assert_eq!(found.request_id, request_id);
            let answer = found.answer.expect("an answer");
            assert_eq!((answer.status(), answer.reason.as_str()), (TransactionStatus::Reversed, ""));
            assert!(found.steps.iter().all(|step| step.amount_fen == 0), "no money moved: {:?}", found.steps);
            // The ride is still open, and another tap ends it.
            approved(&gate.tap(card.tap(&gate, TapKind::Exit, to)).await.expect("answered").answer);
        },
    );
}

async fn request_of(gate: &Terminal, transaction: &str) -> String {
    became(gate, transaction).await.request_id
}

/// Per participant, what the statement of the day of `transaction` says.
async fn statement(terminal: &Terminal, date: &str) -> GetStatementResponse {
    terminal.statement(GetStatementRequest { date: date.to_owned() }).await.expect("told")
}

#[test]
fn a_days_statement_has_every_fen() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let gate = stage.terminal("bj-metro-gate-01").await;
            let (first, fare) = ride(&gate, &stage.card("bj")).await;
            let (second, other) = ride(&gate, &stage.card("tj")).await;
            approved(&gate.refund(refund(&gate, &first.transaction_id, 100)).await.expect("answered").answer);
            let back = gate.reverse(reversal(&gate, By::TransactionId(second.transaction_id.clone()))).await;
            granted(&back.expect("answered").answer, TransactionStatus::Reversed);
            // Midnight in Shanghai may pass while we ride.
            let date = onecard::identity::business_date(first.committed_at_ms);
            let tomorrow = date.tomorrow().expect("a day");
            let told = statement(&gate, &date.to_string()).await;
            let after = statement(&gate, &tomorrow.to_string()).await;
            assert_eq!(told.participant, "bj-metro");
            let (today, next) = (told.total.clone().expect("a total"), after.total.expect("a total"));
            assert_eq!((today.opening_fen, next.opening_fen), (0, today.closing_fen));
            assert_eq!(today.earned_fen + next.earned_fen, fare + other);
            assert_eq!(today.given_back_fen + next.given_back_fen, 100 + other);
            assert_eq!((today.count + next.count, next.closing_fen), (4, fare - 100));

            stage.kill("beijing").await;
            stage.restart("beijing").await;
            let gate = stage.terminal("bj-metro-gate-01").await;
            assert_eq!(statement(&gate, &date.to_string()).await, told, "the same after kill -9");
            // The whole journal is summed anew after the start: two charges, a refund and
            // a reversal, two postings each.
            until_asked("the sum in full", async || {
                stage.metric("beijing", "onecard_ledger_folded_postings", &[]) == 8.0
            })
            .await;
            assert_eq!(stage.metric("beijing", "onecard_ledger_folded_sum_fen", &[]), 0.0);
            let folded_at = stage.metric("beijing", "onecard_ledger_folded_at_seconds", &[]);
            assert!(folded_at * 1_000.0 >= first.committed_at_ms as f64, "after the ride: {folded_at}");
            let bus = stage.terminal("bj-bus-bus-01").await;
            assert_eq!(statement(&bus, &date.to_string()).await.lines, [], "one's own only");
            let error =
                gate.statement(GetStatementRequest { date: "22.11.".into() }).await.expect_err("no date");
            assert_eq!(error.violations[0].field, "date");
        },
    );
}

#[test]
fn reservations_in_parallel_never_exceed_a_cap() {
    const DAILY: i64 = 100_000;
    const EACH: i64 = 7_000;
    in_a_town_of_its_own(
        |prepared| {
            let beijing =
                prepared.plan.regions.iter().find(|region| region.name == "beijing").expect("there");
            edit(&prepared.config_of(beijing).join("ledger.toml"), |ledger| {
                let cap = ledger["cap"].as_array_mut().expect("caps")[0].as_table_mut().expect("a cap");
                cap.insert("daily_fen".into(), DAILY.into());
            });
        },
        async |stage| {
            let desk = stage.terminal("bj-capital-desk-01").await;
            let session = acts::session(stage, &stage.card("bj"), &desk, Purpose::LibraryLoan).await.session;
            let reserve = async |most: usize| {
                let asked: Vec<_> = (0..most)
                    .map(|_| {
                        let (desk, request) = (desk.clone(), reserving(&desk, &session, EACH, 600_000));
                        tokio::spawn(async move { desk.reserve(request).await.expect("answered") })
                    })
                    .collect();
                let mut by_day: BTreeMap<String, i64> = BTreeMap::new();
                for one in asked {
                    let answer = one.await.expect("no panic").answer.expect("an answer");
                    if answer.reason.is_empty() {
                        let day = onecard::identity::business_date(answer.committed_at_ms);
                        *by_day.entry(day.to_string()).or_default() += EACH;
                    } else {
                        assert_eq!(answer.reason, "CAP_EXCEEDED");
                        assert!(answer.transaction_id.parse::<TransactionId>().is_ok());
                    }
                }
                by_day
            };
            let first = reserve(40).await;
            for (day, reserved) in &first {
                assert!(*reserved <= DAILY, "{reserved} reserved on {day}");
            }
            let total: i64 = first.values().sum();
            assert!(total > DAILY - EACH, "the cap is reached: {total}");
        },
    );
}
