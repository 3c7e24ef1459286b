//! Taps through their three doors, over a real gateway.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tonic::{Code, Request, Status};

use super::super::{
    card::Card,
    door::{Carrier, Door},
    transit::{Transit, Turns, one_tap, stream_answers, upload_all},
};
use crate::{
    crypto::{TapRecord, VirtualChip},
    gateway::{
        Method, Refusal, RefusalKind, Registry, RegistryFile, method,
        tests::rig::{Person, Region, live, regions},
    },
    model::{PeerCertificate, Purpose, Reason, RequestId},
    proto::{
        card::v1::{IssueCodeRequest, card_service_server::CardService as _},
        common::v1::RequestHeader,
        transit::v1::{self as wire, transit_service_server::TransitService as _},
    },
};

const PARTICIPANT: &str = r#"
[[participant]]
id = "metro"
name_zh = "地铁"
name_en = "Metro"
role = "terminal"
"#;

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Arc::new(PeerCertificate {
        serial: "01".into(),
        not_after: 0,
        common_name: None,
        uris: vec!["onecard:terminal:metro:gate".into()],
        fingerprint: [0; 32],
    }));
    request
}

fn carrier(door: &Door, method: &'static Method) -> Result<Carrier, Refusal> {
    door.enter_carrier(&request(()), method)
}

/// Replaces the only participant's terminals, scenes and rate.
fn reload(region: &Region, rest: &str) {
    let file: RegistryFile = toml::from_str(&format!("{PARTICIPANT}{rest}")).expect("a registry");
    let mut changed = live(region.gateway.live().trust.clone());
    changed.registry = Registry::build(&file).expect("right");
    region.gateway.replace_live(changed);
}

fn tap(region: &Region, number: u8, person: &Person, counter: u32) -> wire::TapRequest {
    let record = TapRecord {
        kind: 1,
        station: "沙河",
        line: "昌平线",
        tapped_at_ms: region.gateway.now_ms(),
        counter,
        card: *person.card.as_bytes(),
        valid_until: 0,
    };
    let chip = VirtualChip::personalise(&*region.vault, record.card).expect("roots");
    wire::TapRequest {
        header: Some(RequestHeader {
            request_id: RequestId::from_bytes([number; 16]).to_string(),
            terminal_time_ms: record.tapped_at_ms,
            purpose: i32::try_from(Purpose::TransitRide.number()).expect("small"),
            ..RequestHeader::default()
        }),
        tap: Some(wire::Tap {
            kind: 1,
            station: record.station.into(),
            line: record.line.into(),
            tapped_at_ms: record.tapped_at_ms,
            read: Some(wire::TransitRead {
                card_identifier: record.card.to_vec(),
                counter,
                mac: chip.tap_mac(&record).to_vec(),
                valid_until: 0,
            }),
        }),
    }
}

/// The transaction of an approved tap, or why there is none.
fn said(response: wire::TapResponse) -> Result<String, String> {
    let answer = response.answer.expect("an answer");
    if answer.reason.is_empty() { Ok(answer.transaction_id) } else { Err(answer.reason) }
}

async fn alone(door: &Door, tap: wire::TapRequest) -> Result<String, String> {
    match Transit(door.clone()).tap(request(tap)).await {
        Ok(response) => said(response.into_inner()),
        Err(status) => Err(status.message().to_owned()),
    }
}

async fn streamed(
    door: &Door,
    carrier: &Carrier,
    taps: Vec<wire::TapRequest>,
) -> Vec<Result<String, String>> {
    let messages = taps.into_iter().map(|tap| Ok::<_, Status>(wire::TapStreamRequest { tap: Some(tap) }));
    let answers = stream_answers(door.clone(), carrier.clone(), stream::iter(messages));
    let said = answers.map(|answer| match answer.expect("the stream goes on").result.expect("a result") {
        wire::tap_stream_response::Result::Tap(tap) => said(tap),
        wire::tap_stream_response::Result::Refusal(refusal) => Err(refusal.reason),
    });
    said.collect().await
}

async fn uploaded(
    door: &Door,
    carrier: &Carrier,
    taps: Vec<wire::TapRequest>,
) -> Vec<Result<String, String>> {
    let upload = wire::UploadTapsRequest { taps };
    let outcomes = upload_all(door, carrier, upload).await.expect("an answer").outcomes;
    let said = outcomes.into_iter().map(|outcome| match outcome.result.expect("a result") {
        wire::tap_outcome::Result::Tap(tap) => said(tap),
        wire::tap_outcome::Result::Refusal(refusal) => Err(refusal.reason),
    });
    said.collect()
}

async fn by(way: usize, door: &Door, tap: wire::TapRequest) -> Result<String, String> {
    let only = |mut answers: Vec<_>| answers.pop().expect("one answer");
    match way {
        0 => alone(door, tap).await,
        1 => only(streamed(door, &carrier(door, &method::TAP_STREAM).expect("in"), vec![tap]).await),
        _ => only(uploaded(door, &carrier(door, &method::UPLOAD_TAPS).expect("in"), vec![tap]).await),
    }
}

#[tokio::test]
async fn a_tap_repeated_by_another_way_is_the_same_transaction() {
    let (bj, _tj) = regions();
    let door = Door::new(Arc::clone(&bj.gateway));
    let mut number = 0;
    for first in 0..3 {
        for second in 0..3 {
            number += 1;
            let person = bj.import(number).await;
            let tap = tap(&bj, number, &person, 1);
            let made = by(first, &door, tap.clone()).await.expect("approved");
            assert_eq!(by(second, &door, tap).await, Ok(made), "{first} then {second}");
        }
    }
}

#[tokio::test]
async fn idle_streams_take_nobodys_place() {
    let (bj, _tj) = regions();
    let door = Door::new(Arc::clone(&bj.gateway));
    let open: Vec<_> = (0..5_000).map(|_| carrier(&door, &method::TAP_STREAM).expect("let in")).collect();
    // The least urgent method of all.
    door.enter(&request(()), &method::LIST_JOURNEYS).expect("there is room");
    let held = door.enter_through(&open[0]).expect("let in");
    assert!(held.permit.is_some(), "a tap under way has a place");
}

#[tokio::test]
async fn a_terminal_that_is_taken_out_is_refused_on_its_open_stream() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let door = Door::new(Arc::clone(&bj.gateway));
    let open = carrier(&door, &method::TAP_STREAM).expect("let in");
    streamed(&door, &open, vec![tap(&bj, 1, &person, 1)]).await.pop().expect("one").expect("approved");

    reload(&bj, "scenes = [\"transit\"]\nterminals = [\"other\"]");
    let refused = streamed(&door, &open, vec![tap(&bj, 2, &person, 2)]).await;
    assert_eq!(refused, [Err("CERTIFICATE_UNKNOWN".to_owned())]);
    reload(&bj, "scenes = [\"card\"]\nterminals = [\"gate\"]");
    let refused = streamed(&door, &open, vec![tap(&bj, 3, &person, 2)]).await;
    assert_eq!(refused, [Err("SCENE_NOT_PERMITTED".to_owned())]);
    let status = Transit(door).tap(request(tap(&bj, 4, &person, 2))).await.expect_err("alone as well");
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn an_upload_gets_as_far_as_the_rate_goes() {
    let (bj, _tj) = regions();
    reload(&bj, "scenes = [\"transit\"]\nterminals = [\"gate\"]\nrate_per_second = 3");
    let mut taps = Vec::new();
    for number in 1..=40 {
        let person = bj.import(number).await;
        taps.push(tap(&bj, number, &person, 1));
    }
    let door = Door::new(Arc::clone(&bj.gateway));
    let open = carrier(&door, &method::UPLOAD_TAPS).expect("let in");
    let outcomes = uploaded(&door, &open, taps).await;
    let approved = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    // The call itself took one of the three; a slow machine may add some.
    assert!((2..20).contains(&approved), "{approved}");
    let rest = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(rest.into_iter().all(|reason| reason == "RATE_EXCEEDED"));
    assert_eq!(outcomes.len(), 40);
}

#[tokio::test]
async fn what_is_told_to_come_again_is_not_overtaken_by_its_card() {
    let (bj, _tj) = regions();
    let (person, other) = (bj.import(1).await, bj.import(2).await);
    let door = Door::new(Arc::clone(&bj.gateway));
    let open = carrier(&door, &method::UPLOAD_TAPS).expect("let in");
    let mut turns = Turns::default();
    let mut send = |number, person: &Person, counter| {
        let tap = tap(&bj, number, person, counter);
        one_tap(&door, &open, turns.next(&tap), tap, true)
    };
    let (second, third, others) = (send(2, &person, 2), send(3, &person, 3), send(4, &other, 1));
    // This one is never sent on: it ends as a tap does that found no room.
    let shed = turns.next(&tap(&bj, 1, &person, 1));
    let behind = tap(&bj, 5, &person, 5);
    let behind = one_tap(&door, &open, turns.next(&behind), behind, true);
    let overloaded = Refusal::new(RefusalKind::Exhausted, Reason::Overloaded);
    shed.ended.send(Some(overloaded.clone())).expect("the next one waits");
    assert_eq!(behind.await.1.expect_err("held back"), overloaded);
    for granted in [others.await, second.await] {
        assert_eq!(said(granted.1.expect("an answer")).map(drop), Ok(()));
    }
    assert_eq!(said(third.await.1.expect("an answer")), Err("ENTRY_OPEN".to_owned()));

    // On a stream the holder's next try comes after that answer, and goes on.
    turns.forget_ended();
    let again = tap(&bj, 6, &person, 6);
    let again = one_tap(&door, &open, turns.next(&again), again, true).await;
    assert_eq!(said(again.1.expect("an answer")), Err("ENTRY_OPEN".to_owned()));
}

#[tokio::test]
async fn a_code_is_told_again_while_it_lives() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let mut app = request(IssueCodeRequest {
        header: Some(RequestHeader {
            request_id: RequestId::from_bytes([1; 16]).to_string(),
            terminal_time_ms: bj.gateway.now_ms(),
            purpose: i32::try_from(Purpose::CardService.number()).expect("small"),
            ..RequestHeader::default()
        }),
        card_identifier: person.line.card_identifier.clone(),
    });
    let certificate = PeerCertificate {
        serial: "01".into(),
        not_after: 0,
        common_name: None,
        uris: vec!["onecard:terminal:app:backend".into()],
        fingerprint: [0; 32],
    };
    app.extensions_mut().insert(Arc::new(certificate));
    let cards = Card(Door::new(Arc::clone(&bj.gateway)));
    let issue = async || {
        let mut again = Request::new(app.get_ref().clone());
        *again.extensions_mut() = app.extensions().clone();
        cards.issue_code(again).await.expect("answered").into_inner()
    };
    let first = issue().await;
    assert!(!first.code.is_empty());
    bj.clock.advance_ms(first.expires_at_ms - bj.gateway.now_ms() - 1);
    assert_eq!(issue().await, first, "the answer was lost");
    bj.clock.advance_ms(1);
    let late = issue().await;
    assert_eq!((late.code.as_str(), late.answer), ("", first.answer), "every reader would refuse it");
}
