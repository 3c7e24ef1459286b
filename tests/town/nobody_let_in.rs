//! Promise 6, terminals: no call without a certificate, a registered terminal, a
//! permitted scene and a stated purpose.

use onecard::{
    client::{Terminal, TerminalOptions},
    model::Purpose,
    proto::{
        auth::v1::PresentCodeRequest,
        card::v1::{GetCardStateRequest, IssueCodeRequest, LossKind},
        common::v1::RequestHeader,
        library::v1::CheckinRequest,
        transit::v1::{TapKind, TapRequest},
    },
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{
    Stage,
    acts::{Card, report, stations},
    expect::{approved, refused},
    in_a_town_of_its_own, on_the_town, until, until_asked,
    wire::{Door, Shown, foreign},
};

/// Whether a door lets anybody with this certificate make a call at all.
async fn opens(stage: &Stage, door: &Door, shown: Option<&Shown>) -> bool {
    // With TLS 1.3 a client learns of its refusal with the first answer.
    let Ok(channel) = stage.channel(door, shown).await else { return false };
    let asked = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    match asked {
        Ok(_) => true,
        Err(status) => status.code() == Code::Unimplemented,
    }
}

fn handshakes_refused(stage: &Stage) -> f64 {
    stage.metric("beijing", "onecard_connections_refused_total", &["reason=\"handshake-failed\""])
}

#[test]
fn nobody_without_a_certificate_of_the_authority_is_let_in() {
    on_the_town(async |stage| {
        let before = handshakes_refused(stage);
        let stranger = foreign("onecard:terminal:bj-metro:gate-01");
        for door in [stage.terminals_door("beijing"), stage.peers_door("beijing")] {
            assert!(!opens(stage, &door, None).await, "without a certificate, at {}", door.name);
            assert!(!opens(stage, &door, Some(&stranger)).await, "of another authority, at {}", door.name);
        }
        let gate = stage.shown("terminals/bj-metro-gate-01");
        assert!(opens(stage, &stage.terminals_door("beijing"), Some(&gate)).await, "a gate is let in");
        until("the refusals are counted", || handshakes_refused(stage) >= before + 4.0);
    });
}

/// A terminal with a certificate of the right authority and any URI.
async fn somebody(stage: &Stage, shown: Shown) -> Terminal {
    let options = stage.options("bj-metro-gate-01");
    let mut options =
        TerminalOptions::new(options.endpoint, options.server_name, options.ca, shown.certificate, shown.key);
    options.retry = onecard::client::RetryPolicy::never();
    Terminal::connect(&options).await.expect("the authority vouches")
}

#[test]
fn a_certificate_alone_makes_nobody_a_terminal() {
    on_the_town(async |stage| {
        let card = stage.card("tj");
        for uri in [
            "onecard:terminal:bj-metro:gate-99",
            "onecard:terminal:sh-metro:gate-01",
            "onecard:terminal:tj-metro:gate-01",
            "onecard:peer:110000",
            "https://example.org/gate",
        ] {
            let gate = somebody(stage, stage.signed_by_the_authority(uri)).await;
            let tap = card.tap(&gate, TapKind::Entry, stations("beijing").0);
            refused(gate.tap(tap).await, Code::Unauthenticated, "CERTIFICATE_UNKNOWN");
            let stream = gate.tap_stream().await.map(drop);
            refused(stream, Code::Unauthenticated, "CERTIFICATE_UNKNOWN");
        }
        let listed =
            somebody(stage, stage.signed_by_the_authority("onecard:terminal:bj-metro:gate-01")).await;
        let tap = card.tap(&listed, TapKind::Entry, stations("beijing").0);
        approved(&listed.tap(tap).await.expect("answered").answer);
    });
}

#[test]
fn the_two_doors_are_not_exchanged() {
    on_the_town(async |stage| {
        // A member's certificate opens the terminals' door and is nobody there.
        let peer = somebody(stage, stage.shown("peers/tianjin")).await;
        let card = stage.card("tj");
        let tap = card.tap(&peer, TapKind::Entry, stations("beijing").0);
        refused(peer.tap(tap).await, Code::Unauthenticated, "CERTIFICATE_UNKNOWN");

        // A terminal at the peers' door finds nobody to talk to, whatever it says.
        let gate = stage.shown("terminals/bj-metro-gate-01");
        let status = crate::peers::exchanged(stage, "beijing", &gate, Default::default()).await;
        assert_eq!(status.expect_err("refused").code(), Code::Unauthenticated);
        // And the terminals' services are not behind it.
        let tap = TapRequest::default();
        let channel = stage.channel(&stage.peers_door("beijing"), Some(&gate)).await.expect("TLS");
        let mut transit =
            onecard::proto::transit::v1::transit_service_client::TransitServiceClient::new(channel);
        assert_eq!(transit.tap(tap).await.expect_err("not here").code(), Code::Unimplemented);
    });
}

#[test]
fn a_terminal_stays_within_its_scenes_role_and_purposes() {
    on_the_town(async |stage| {
        let card = stage.card("bj");
        let (gate, desk, hall) = (
            stage.terminal("bj-metro-gate-01").await,
            stage.terminal("bj-capital-desk-01").await,
            stage.terminal("bj-hall-counter-01").await,
        );
        let forbidden = |reason: &'static str| (Code::PermissionDenied, reason);

        // Scenes.
        let checkin = |terminal: &Terminal| CheckinRequest {
            header: Some(terminal.header(Purpose::LibraryLoan)),
            library: "bj-capital".to_owned(),
            item: "B0001".to_owned(),
        };
        let (code, reason) = forbidden("SCENE_NOT_PERMITTED");
        refused(gate.checkin(checkin(&gate)).await, code, reason);
        refused(hall.checkin(checkin(&hall)).await, code, reason);
        refused(desk.tap(card.tap(&desk, TapKind::Entry, "西直门")).await, code, reason);
        refused(gate.report_loss(report(&gate, &card, LossKind::Temporary)).await, code, reason);
        refused(desk.tap_stream().await.map(drop), code, reason);

        // Roles: a hall may care for cards and may not ask for codes.
        let (code, reason) = forbidden("ROLE_NOT_PERMITTED");
        let issue = |terminal: &Terminal| IssueCodeRequest {
            header: Some(terminal.header(Purpose::CardService)),
            card_identifier: card.identifier(),
        };
        refused(hall.issue_code(issue(&hall)).await, code, reason);
        let operator = stage.terminal("bj-desk-desk-01").await;
        refused(operator.issue_code(issue(&operator)).await, code, reason);
        refused(operator.tap(card.tap(&operator, TapKind::Entry, "西直门")).await, code, reason);
        // An app gets codes for cards of its own region only.
        let foreign = stage.terminal("tj-ecard-app-01").await;
        refused(foreign.issue_code(issue(&foreign)).await, Code::PermissionDenied, "HOME_REGION_ONLY");

        // Purposes: stated, known, and one the scene accepts.
        let (code, reason) = forbidden("PURPOSE_NOT_PERMITTED");
        let with = |purpose: i32, tap: TapRequest| TapRequest {
            header: tap.header.map(|header| RequestHeader { purpose, ..header }),
            ..tap
        };
        for wrong in [Purpose::LibraryLoan, Purpose::CardService, Purpose::MedicalCare] {
            let wrong = i32::try_from(wrong.number()).expect("small");
            refused(gate.tap(with(wrong, card.tap(&gate, TapKind::Entry, "西直门"))).await, code, reason);
        }
        for unstated in [0, 99, -1] {
            let tap = with(unstated, card.tap(&gate, TapKind::Entry, "西直门"));
            let error = refused(gate.tap(tap).await, Code::InvalidArgument, "FIELD_INVALID");
            assert_eq!(error.violations[0].field, "header.purpose");
        }
        let state = GetCardStateRequest {
            header: Some(hall.header(Purpose::IdentityCheck)),
            card_identifier: card.identifier(),
        };
        refused(hall.card_state(state).await, code, reason);
        let code_for_fun =
            PresentCodeRequest { header: Some(hall.header(Purpose::TransitRide)), code: "OC1.X".to_owned() };
        refused(hall.present_code(code_for_fun).await, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED");

        // Nothing of all this was an effect: the card rides as ever.
        let tap = card.tap(&gate, TapKind::Entry, "西直门");
        approved(&gate.tap(tap).await.expect("answered").answer);
    });
}

#[test]
fn a_session_is_of_use_to_its_own_terminal_only() {
    on_the_town(async |stage| {
        use crate::support::acts::{checkout, session};
        let card: Card = stage.card("bj");
        let (desk, kiosk) =
            (stage.terminal("bj-capital-desk-01").await, stage.terminal("bj-capital-kiosk-01").await);
        let session = session(stage, &card, &desk, Purpose::LibraryLoan).await;
        refused(
            kiosk.checkout(checkout(&kiosk, &session, "B0003")).await,
            Code::PermissionDenied,
            "SESSION_UNKNOWN",
        );
        let elsewhere = stage.terminal("tj-library-desk-01").await;
        refused(
            elsewhere.checkout(checkout(&elsewhere, &session, "B0003")).await,
            Code::PermissionDenied,
            "SESSION_UNKNOWN",
        );
    });
}

#[test]
fn a_revoked_certificate_is_shut_out_after_a_reload() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            use onecard::{
                model::{SystemClock, SystemRng},
                sandbox::pki::Pki,
            };
            let card = stage.card("tj");
            let (lost, kept) =
                (stage.terminal("bj-metro-gate-01").await, stage.terminal("bj-metro-gate-02").await);
            let tap = async |gate: &Terminal| gate.tap(card.ride(gate, "beijing")).await;
            approved(&tap(&lost).await.expect("answered").answer);

            let pki = stage.prepared.data.join("pki");
            Pki::at(&pki, &SystemClock, &SystemRng).revoke_terminal("bj-metro-gate-01").expect("revoked");
            approved(&tap(&lost).await.expect("a list that nobody has read changes nothing").answer);
            stage.signal("beijing", "-HUP");
            until_asked("the revoked gate is shut out", async || tap(&lost).await.is_err()).await;
            let again = Terminal::connect_lazy(&stage.options("bj-metro-gate-01")).await.expect("options");
            tap(&again).await.expect_err("and it gets no other connection");
            tap(&kept).await.expect("the others go on, on the connection they have");
            let closed = stage.metric("beijing", "onecard_connections_closed_by_reload_total", &[]);
            assert!(closed >= 1.0, "{closed}");
        },
    );
}
