//! Promise 5: a lost card is dead everywhere.

use std::time::{Duration, Instant};

use onecard::{
    client::Terminal,
    model::Purpose,
    proto::{
        auth::v1::PresentCodeRequest,
        card::v1::{CardState, IssueCodeRequest, LiftLossRequest, LossKind},
        transit::v1::TapKind,
    },
};
use tonic::Code;

use crate::support::{
    Stage,
    acts::{self, Card, lift, report, stations},
    expect::{approved, declined, refused},
    in_a_town_of_its_own, on_the_town, until, until_asked,
};

/// From the acknowledgement of a loss to the refusal everywhere.
const GOAL: Duration = Duration::from_secs(1);

/// A gate in each region, connected before anything is measured.
async fn gates(stage: &Stage) -> [(&'static str, Terminal); 3] {
    let gate = async |name: &str| stage.terminal(name).await;
    [
        ("beijing", gate("bj-metro-gate-02").await),
        ("tianjin", gate("tj-metro-gate-02").await),
        ("hebei", gate("he-metro-gate-02").await),
    ]
}

/// Why a gate turns the card away; empty when it does not.
async fn turned_away((region, gate): &(&'static str, Terminal), card: &Card) -> String {
    let tapped = gate.tap(card.tap(gate, TapKind::Entry, stations(region).0)).await.expect("answered");
    tapped.answer.expect("an answer").reason
}

/// Waits until every region turns the card away for `reason`; how long it took.
async fn dead_everywhere(gates: &[(&'static str, Terminal)], card: &Card, reason: &str) -> Duration {
    let acknowledged = Instant::now();
    for gate in gates {
        until_asked("the card is turned away", async || turned_away(gate, card).await == reason).await;
    }
    acknowledged.elapsed()
}

#[test]
fn a_lost_card_is_dead_everywhere() {
    on_the_town(async |stage| {
        let gates = gates(stage).await;
        // Reported in each region, for a card of the next one.
        for (at, home) in [("bj", "tj"), ("tj", "he"), ("he", "bj"), ("bj", "bj")] {
            let card = stage.card(home);
            let hall = stage.terminal(&format!("{at}-hall-counter-01")).await;
            let code = acts::code(stage, &card).await;
            let reported =
                hall.report_loss(report(&hall, &card, LossKind::Temporary)).await.expect("answered");
            approved(&reported.answer);
            assert_eq!(reported.state(), CardState::TemporarilyLost);
            assert!(reported.expires_at_ms > 0 && reported.deny_list_version > 0, "{reported:?}");
            let took = dead_everywhere(&gates, &card, "CARD_TEMPORARILY_LOST").await;
            assert!(took < GOAL, "dead everywhere after {took:?}");
            println!("a card of {home} reported in {at}: dead everywhere after {took:?}");
            no_other_way_in(stage, &card, code).await;

            // Whoever may report need not be one who may lift.
            refused(hall.lift_loss(lift(&hall, &card)).await, Code::PermissionDenied, "ROLE_NOT_PERMITTED");
            let desk = stage.terminal(&format!("{at}-desk-desk-01")).await;
            let unnamed =
                LiftLossRequest { header: Some(desk.header(Purpose::CardService)), ..lift(&desk, &card) };
            refused(desk.lift_loss(unnamed).await, Code::InvalidArgument, "FIELD_INVALID");
            let lifted = desk.lift_loss(lift(&desk, &card)).await.expect("answered");
            approved(&lifted.answer);
            assert_eq!(lifted.state(), CardState::Normal);
            for gate in &gates {
                until_asked("the card works again", async || {
                    !turned_away(gate, &card).await.starts_with("CARD_")
                })
                .await;
            }
        }
    });
}

/// Neither a code from before nor the chip nor a new code.
async fn no_other_way_in(stage: &Stage, card: &Card, code: String) {
    let counter = stage.terminal("he-hall-counter-01").await;
    let request = PresentCodeRequest { header: Some(counter.header(Purpose::IdentityCheck)), code };
    let reason = match counter.present_code(request).await {
        Ok(presented) => {
            assert!(presented.session.is_none(), "no session for a lost card");
            presented.answer.expect("an answer").reason
        }
        Err(error) => error.reason,
    };
    assert_eq!(reason, "CARD_TEMPORARILY_LOST");
    let reason = match acts::chip(&counter, card).await {
        Ok(finished) => {
            assert!(finished.session.is_none(), "no session for a lost card");
            finished.answer.expect("an answer").reason
        }
        Err(error) => error.reason,
    };
    assert_eq!(reason, "CARD_TEMPORARILY_LOST");
    let app = stage.terminal(&acts::app_of(card)).await;
    let ask = IssueCodeRequest {
        header: Some(app.header(Purpose::CardService)),
        card_identifier: card.identifier(),
    };
    let issued = app.issue_code(ask).await.expect("answered");
    declined(&issued.answer, "CARD_TEMPORARILY_LOST");
    assert!(issued.code.is_empty());
}

#[test]
fn a_session_ends_with_its_card() {
    on_the_town(async |stage| {
        let card = stage.card("he");
        let (desk, hall) =
            (stage.terminal("tj-library-desk-01").await, stage.terminal("he-hall-counter-01").await);
        let session = acts::session(stage, &card, &desk, Purpose::LibraryLoan).await;
        let reported = hall.report_loss(report(&hall, &card, LossKind::Formal)).await.expect("answered");
        approved(&reported.answer);
        until_asked("the open session is of no use", async || {
            let lent = desk.checkout(acts::checkout(&desk, &session, "B0002")).await;
            match lent {
                Ok(lent) => lent.answer.is_some_and(|answer| answer.reason == "CARD_LOST"),
                Err(error) => (error.code, error.reason.as_str()) == (Code::PermissionDenied, "CARD_LOST"),
            }
        })
        .await;
    });
}

#[test]
fn a_formal_loss_cannot_be_lifted() {
    on_the_town(async |stage| {
        let (card, gates) = (stage.card("tj"), gates(stage).await);
        let hall = stage.terminal("bj-hall-counter-01").await;
        let reported = hall.report_loss(report(&hall, &card, LossKind::Formal)).await.expect("answered");
        approved(&reported.answer);
        assert_eq!((reported.state(), reported.expires_at_ms), (CardState::Lost, 0));
        dead_everywhere(&gates, &card, "CARD_LOST").await;
        for prefix in ["bj", "tj", "he"] {
            let desk = stage.terminal(&format!("{prefix}-desk-desk-01")).await;
            declined(&desk.lift_loss(lift(&desk, &card)).await.expect("answered").answer, "LOSS_IS_FINAL");
        }
        assert!(dead_everywhere(&gates, &card, "CARD_LOST").await < GOAL);
    });
}

#[test]
fn a_region_that_was_down_knows_of_the_loss_when_it_is_back() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let (before, during) = (stage.card("tj"), stage.card("tj"));
            let hall = stage.terminal("tj-hall-counter-01").await;
            let lost = async |card: &Card| {
                let reported =
                    hall.report_loss(report(&hall, card, LossKind::Formal)).await.expect("answered");
                approved(&reported.answer);
            };
            lost(&before).await;
            dead_everywhere(&gates(stage).await, &before, "CARD_LOST").await;
            stage.kill("hebei").await;
            lost(&during).await;
            stage.restart("hebei").await;
            // What it knew it knows at once; what it missed comes by itself.
            let [_, _, hebei] = gates(stage).await;
            assert_eq!(turned_away(&hebei, &before).await, "CARD_LOST");
            let took = dead_everywhere(&[hebei], &during, "CARD_LOST").await;
            println!("a region that was away: the card is dead there {took:?} after it was ready");

            // The home region itself forgets nothing either.
            stage.kill("tianjin").await;
            stage.restart("tianjin").await;
            let [_, tianjin, _] = gates(stage).await;
            for card in [&before, &during] {
                assert_eq!(turned_away(&tianjin, card).await, "CARD_LOST");
            }
        },
    );
}

#[test]
fn a_region_put_back_to_before_a_loss_forgets_neither_it_nor_what_comes_after() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let (known, old, new) = (stage.card("he"), stage.card("he"), stage.card("he"));
            let lost = async |card: &Card| {
                let hall = stage.terminal("he-hall-counter-01").await;
                let reported =
                    hall.report_loss(report(&hall, card, LossKind::Formal)).await.expect("answered");
                approved(&reported.answer);
            };
            lost(&known).await;
            dead_everywhere(&gates(stage).await, &known, "CARD_LOST").await;
            let copy = tempfile::tempdir().expect("a folder");
            let to = copy.path().to_str().expect("UTF-8");
            let (made, said) = stage.run_on("hebei", &["store", "backup", "--to", to]);
            assert!(made, "{said}");

            // Two more, so that a loss after the restore is not the first above the copy.
            lost(&stage.card("he")).await;
            lost(&old).await;
            dead_everywhere(&gates(stage).await, &old, "CARD_LOST").await;
            stage.kill("hebei").await;
            stage.put_back("hebei", copy.path());
            stage.restart("hebei").await;

            lost(&new).await;
            let gates = gates(stage).await;
            let took = dead_everywhere(&gates, &new, "CARD_LOST").await;
            println!("a loss reported after the restore: dead everywhere after {took:?}");
            assert!(took < GOAL, "dead everywhere after {took:?}");
            // Beijing and Tianjin never let it in again; Hebei is told by them.
            for gate in &gates[..2] {
                assert_eq!(turned_away(gate, &old).await, "CARD_LOST");
            }
            let took = dead_everywhere(&gates, &old, "CARD_LOST").await;
            println!("a loss that the restore had taken away: dead everywhere after {took:?}");
            dead_everywhere(&gates, &known, "CARD_LOST").await;

            let hebei = stage.metric("hebei", "onecard_deny_list_taken_up_total", &[]);
            assert!(hebei >= 2.0, "both losses were taken up again: {hebei}");
            until("both peers have told", || {
                let (_, text) = stage.ops("hebei", "/metrics");
                text.lines().filter(|line| line.starts_with("onecard_deny_list_untold{")).count() == 2
                    && stage.metric("hebei", "onecard_deny_list_untold", &[]) == 0.0
            });
            let heard = stage.metric("beijing", "onecard_deny_list_begun_total", &["130000"]);
            assert!(heard >= 1.0, "Beijing counts that Hebei has begun anew");
            assert!(stage.log("beijing").contains("begun its deny list anew"), "and says so");

            // Taken up again, it is a loss like any other, and outlives the next restart.
            stage.kill("hebei").await;
            stage.restart("hebei").await;
            let [_, _, hebei] = self::gates(stage).await;
            assert_eq!(turned_away(&hebei, &old).await, "CARD_LOST");
        },
    );
}
