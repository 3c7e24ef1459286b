//! The edge as other people's clients meet it: health, reflection, gRPC-Web, and
//! the habits that must be refused.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use http::Request;
use onecard::proto::{
    common::v1::Decision,
    transit::v1::{TapKind, TapRequest, TapResponse},
};
use prost::Message as _;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{
    Stage,
    acts::{self, stations},
    on_the_town, python, until,
    wire::{Answered, frame},
};

const TAP: &str = "/onecard.transit.v1.TransitService/Tap";

/// A request to the tap method with these headers over the defaults.
fn request(method: &str, headers: &[(&str, &str)], body: Bytes) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(format!("https://beijing.onecard{TAP}"));
    for default in [("content-type", "application/grpc"), ("te", "trailers")] {
        if !headers.iter().any(|(name, _)| *name == default.0) {
            request = request.header(default.0, default.1);
        }
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).expect("a request")
}

async fn send(stage: &Stage, request: Request<Bytes>) -> Answered {
    let gate = stage.shown("terminals/bj-metro-gate-01");
    stage.http2(&stage.terminals_door("beijing"), &gate, request).await
}

async fn a_tap(stage: &Stage) -> TapRequest {
    let gate = stage.terminal("bj-metro-gate-01").await;
    stage.card("tj").tap(&gate, TapKind::Entry, stations("beijing").0)
}

#[test]
fn health_says_serving() {
    on_the_town(async |stage| {
        let gate = stage.shown("terminals/bj-metro-gate-01");
        let channel = stage.channel(&stage.terminals_door("beijing"), Some(&gate)).await.expect("let in");
        let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.expect("answered");
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
        for region in ["beijing", "tianjin", "hebei"] {
            assert!(stage.ops(region, "/healthz").0.contains("200"));
            assert!(stage.ops(region, "/readyz").0.contains("200"));
        }
    });
}

#[test]
fn what_is_no_grpc_call_is_refused() {
    on_the_town(async |stage| {
        let body = frame(&a_tap(stage).await);
        let refusals = |reason: &str| stage.metric("beijing", "onecard_requests_refused_total", &[reason]);
        let (methods, types, timeouts) =
            (refusals("\"method\""), refusals("content-type"), refusals("timeout"));

        let got = send(stage, request("GET", &[], Bytes::new())).await;
        assert_eq!(got.status, 405, "{got:?}");
        for kind in ["text/plain", "application/json", "application/grpc+json", ""] {
            let got = send(stage, request("POST", &[("content-type", kind)], body.clone())).await;
            assert_eq!(got.status, 415, "{kind}: {got:?}");
        }
        for timeout in ["1x", "S", "-1S", "123456789S", "1 S", ""] {
            let got = send(stage, request("POST", &[("grpc-timeout", timeout)], body.clone())).await;
            assert_eq!(got.grpc_status(), Some(Code::InvalidArgument as i32), "{timeout:?}: {got:?}");
        }
        let twice = Bytes::from([&body[..], &body[..]].concat());
        let got = send(stage, request("POST", &[], twice)).await;
        assert_eq!(got.grpc_status(), Some(Code::Unimplemented as i32), "two messages: {got:?}");
        let got = send(stage, request("POST", &[], Bytes::new())).await;
        assert_eq!(got.grpc_status(), Some(Code::Unimplemented as i32), "no message: {got:?}");
        let got =
            send(stage, request("POST", &[], Bytes::from_static(b"\0\0\0\0\x05\xff\xff\xff\xff\xff"))).await;
        assert!(got.grpc_status().is_some_and(|status| status != 0), "no protobuf: {got:?}");
        until("each is counted", || {
            refusals("\"method\"") > methods
                && refusals("content-type") >= types + 4.0
                && refusals("timeout") >= timeouts + 6.0
        });

        // The very same bytes in order are taken.
        let got = send(stage, request("POST", &[("grpc-timeout", "5S")], body)).await;
        assert_eq!((got.status.as_u16(), got.grpc_status()), (200, Some(0)), "{got:?}");
    });
}

#[test]
fn a_deadline_that_is_met_is_told_as_such() {
    on_the_town(async |stage| {
        // A nanosecond is over before a tap is on disk, nearly always.
        let (gate, card) = (stage.terminal("bj-metro-gate-01").await, stage.card("tj"));
        crate::support::until_asked("a deadline that is met", async || {
            let body = frame(&card.ride(&gate, "beijing"));
            let got = send(stage, request("POST", &[("grpc-timeout", "1n")], body)).await;
            let status = got.grpc_status().expect("a status");
            assert!([0, Code::DeadlineExceeded as i32].contains(&status), "{got:?}");
            status != 0
        })
        .await;

        // A slow library: the desk's own patience ends first, and the loan is found
        // again under the request it belongs to.
        let mut options = stage.options("he-library-desk-01");
        let patient = stage.terminal("he-library-desk-01").await;
        options.deadline = Duration::from_millis(150);
        let hasty = onecard::client::Terminal::connect(&options).await.expect("let in");
        let purpose = onecard::model::Purpose::LibraryLoan;
        let session = acts::session(stage, &stage.card("he"), &patient, purpose).await;
        let ask = acts::checkout(&hasty, &session, "SILENT-AFTER-deadline");
        match hasty.checkout(ask.clone()).await {
            Err(error) => assert_eq!(error.code, Code::DeadlineExceeded, "{error:?}"),
            Ok(answered) => assert_eq!(answered.answer.expect("one").decision(), Decision::Pending),
        }
        crate::support::until_asked("the loan ends", async || {
            let found = patient.checkout(ask.clone()).await;
            found.is_ok_and(|loan| loan.answer.is_some_and(|answer| answer.decision() == Decision::Approved))
        })
        .await;
    });
}

#[test]
fn a_browser_taps_by_grpc_web() {
    on_the_town(async |stage| {
        let body = frame(&a_tap(stage).await);
        let web = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
        let got = send(stage, request("POST", &web, body)).await;
        assert_eq!(got.status, 200, "{got:?}");
        assert!(got.headers["content-type"].to_str().expect("text").starts_with("application/grpc-web"));
        // A data frame with the answer, then a frame with the trailers as text.
        let length =
            |at: usize| u32::from_be_bytes(got.body[at + 1..at + 5].try_into().expect("four")) as usize;
        assert_eq!(got.body[0], 0);
        let end = 5 + length(0);
        let tapped = TapResponse::decode(&got.body[5..end]).expect("an answer");
        assert_eq!(tapped.answer.expect("an answer").decision(), Decision::Approved);
        assert_eq!(got.body[end], 0x80);
        let trailers = std::str::from_utf8(&got.body[end + 5..end + 5 + length(end)]).expect("text");
        assert!(trailers.lines().any(|line| line.replace(' ', "") == "grpc-status:0"), "{trailers}");
    });
}

#[test]
fn reflection_answers_operators_only() {
    let Some(python) = python() else { return };
    let grpcurl = python.with_file_name("grpcurl");
    on_the_town(async |stage| {
        let door = stage.terminals_door("beijing");
        let list = |terminal: &str| {
            let pki = stage.prepared.data.join("pki");
            let shown = |ending: &str| pki.join(format!("terminals/{terminal}.{ending}"));
            let ran = Command::new(&grpcurl)
                .arg("-cacert")
                .arg(pki.join("ca.pem"))
                .arg("-cert")
                .arg(shown("pem"))
                .arg("-key")
                .arg(shown("key"))
                .args(["-servername", &door.name, &door.address, "list"])
                .output()
                .expect("grpcurl runs");
            (ran.status.success(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
        };
        let (listed, told) = list("bj-desk-desk-01");
        assert!(listed, "{told}");
        for service in
            ["onecard.transit.v1.TransitService", "onecard.card.v1.CardService", "grpc.health.v1.Health"]
        {
            assert!(told.lines().any(|line| line == service), "{service} is not listed:\n{told}");
        }
        for other in ["bj-metro-gate-01", "bj-hall-counter-01", "bj-ecard-app-01"] {
            let (listed, told) = list(other);
            assert!(!listed, "{other} is told: {told}");
        }
    });
}

#[test]
fn a_stream_of_taps_answers_each_and_survives_a_wrong_one() {
    on_the_town(async |stage| {
        use onecard::proto::transit::v1::tap_stream_response::Result as Said;
        let gate = stage.terminal("bj-metro-gate-01").await;
        let card = stage.card("tj");
        let (from, to) = stations("beijing");
        let mut wrong = card.tap(&gate, TapKind::Entry, from);
        wrong.tap.as_mut().and_then(|tap| tap.read.as_mut()).expect("a read").mac[0] ^= 1;
        let taps = [card.tap(&gate, TapKind::Entry, from), wrong, TapRequest::default()];
        let mut stream = gate.tap_stream().await.expect("a stream");
        for tap in &taps {
            stream.send(tap.clone()).await.expect("sent");
        }
        let mut answers = Vec::new();
        for _ in &taps {
            answers.push(stream.next().await.expect("the stream lives").expect("an answer"));
        }
        for (tap, answer) in taps.iter().zip(&answers) {
            let id = tap.header.as_ref().map(|header| header.request_id.clone()).unwrap_or_default();
            assert_eq!(answer.request_id, id);
        }
        assert!(matches!(&answers[0].result, Some(Said::Tap(_))), "{answers:?}");
        let refusal = |at: usize| match &answers[at].result {
            Some(Said::Refusal(refusal)) => refusal.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (refusal(1).code, refusal(1).reason.as_str()),
            (Code::PermissionDenied as i32, "MAC_WRONG")
        );
        assert_eq!((refusal(2).code, refusal(2).field.as_str()), (Code::InvalidArgument as i32, "header"));
        stream.send(card.tap(&gate, TapKind::Exit, to)).await.expect("sent");
        let rest = stream.finish().await.expect("every answer came");
        let Some(Said::Tap(left)) = &rest[0].result else { panic!("{rest:?}") };
        assert!(left.charge.as_ref().is_some_and(|charge| charge.amount_fen > 0), "{left:?}");
    });
}
