//! Promises of a call: repeated unchanged, never for nothing, never for ever.

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::town::{Step, Town, authority};
use crate::{
    client::{CallError, OptionsError, RetryPolicy, Terminal},
    model::Purpose,
    proto::transit::v1::{Tap, TapRequest, tap_stream_response},
};

fn tap(terminal: &Terminal) -> TapRequest {
    TapRequest {
        header: Some(terminal.header(Purpose::TransitRide)),
        tap: Some(Tap { station: "西直门".to_owned(), ..Tap::default() }),
    }
}

/// Sends one tap through the script; what came back and the town.
async fn send(steps: impl IntoIterator<Item = Step>) -> (Result<(), CallError>, TapRequest, Town) {
    let town = Town::with(steps).await;
    let terminal = Terminal::connect(&town.options).await.expect("the town answers");
    let request = tap(&terminal);
    let result = terminal.tap(request.clone()).await.map(|_| ());
    (result, request, town)
}

#[tokio::test]
async fn a_retry_repeats_the_request_unchanged_in_one_trace() {
    let steps = [
        Step::Fail(Status::unavailable("draining")),
        Step::Fail(Status::cancelled("going away")),
        Step::Answer,
    ];
    let (result, request, town) = send(steps).await;
    result.expect("the third try is answered");
    let seen = town.script.seen();
    assert_eq!(seen.len(), 3);
    for each in &seen {
        assert_eq!(each.taps, std::slice::from_ref(&request), "header and tap are the stored ones");
        assert_eq!(each.traceparent.len(), 55, "{}", each.traceparent);
        assert_eq!(each.traceparent[..36], seen[0].traceparent[..36], "one trace");
        assert!(!each.timeout.is_empty(), "every try has a deadline");
    }
    assert_ne!(seen[0].traceparent, seen[1].traceparent, "a span for each try");
}

#[tokio::test]
async fn the_hint_of_the_gateway_is_waited_for() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(300)));
    let busy = Status::with_error_details(Code::ResourceExhausted, "busy", details);
    let started = Instant::now();
    let (result, _, town) = send([Step::Fail(busy), Step::Answer]).await;
    result.expect("the second try is answered");
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert_eq!(town.script.seen().len(), 2);
}

#[tokio::test]
async fn a_request_that_is_wrong_is_sent_once_and_says_what_is_wrong() {
    let mut details = ErrorDetails::with_bad_request_violation("tap.station", "is missing");
    details.set_error_info("FIELD_INVALID", "onecard", std::collections::HashMap::new());
    let wrong = Status::with_error_details(Code::InvalidArgument, "tap.station is missing", details);
    let (result, _, town) = send([Step::Fail(wrong), Step::Answer]).await;
    let error = result.expect_err("it is refused");
    assert_eq!((error.code, error.reason.as_str(), error.tries), (Code::InvalidArgument, "FIELD_INVALID", 1));
    assert_eq!(error.text_zh, "请求字段有误");
    assert_eq!(error.text_en, "tap.station is missing");
    assert_eq!(error.violations[0].field, "tap.station");
    assert_eq!(town.script.seen().len(), 1);
}

#[tokio::test]
async fn silence_is_not_an_answer_and_is_asked_again() {
    let (result, request, town) = send([Step::Silence, Step::Answer]).await;
    result.expect("the second try is answered");
    let seen = town.script.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].taps, [request]);
}

#[tokio::test]
async fn patience_ends_with_the_last_error() {
    let steps = vec![Step::Fail(Status::unavailable("down")); 9];
    let (result, _, town) = send(steps).await;
    let error = result.expect_err("nobody answered");
    assert_eq!((error.code, error.tries), (Code::Unavailable, 4));
    assert_eq!(town.script.seen().len(), 4);
}

#[tokio::test]
async fn a_terminal_told_never_to_retry_sends_once() {
    let mut town = Town::with([Step::Fail(Status::unavailable("down")), Step::Answer]).await;
    town.options.retry = RetryPolicy::never();
    let terminal = Terminal::connect(&town.options).await.expect("the town answers");
    terminal.tap(tap(&terminal)).await.expect_err("one try, one error");
    assert_eq!(town.script.seen().len(), 1);
}

#[tokio::test]
async fn a_gateway_of_another_authority_is_not_believed() {
    let mut town = Town::with([]).await;
    town.options.ca = authority().pem().into_bytes();
    let refused = Terminal::connect(&town.options).await.expect_err("another authority");
    assert!(matches!(refused, OptionsError::Unreachable { .. }), "{refused}");
}

#[tokio::test]
async fn a_gateway_under_another_name_is_not_believed() {
    let mut town = Town::with([]).await;
    town.options.server_name = "tianjin.onecard".to_owned();
    Terminal::connect(&town.options).await.expect_err("another name");
}

#[tokio::test]
async fn a_gate_may_start_while_its_line_is_down() {
    let mut town = Town::with([]).await;
    town.options.endpoint = "127.0.0.1:1".to_owned();
    town.options.retry = RetryPolicy::never();
    let terminal = Terminal::connect_lazy(&town.options).await.expect("nothing is dialled yet");
    let error = terminal.tap(tap(&terminal)).await.expect_err("nobody is there");
    assert!(error.may_pass(), "{error:?}");
}

#[tokio::test]
async fn every_tap_of_a_stream_is_answered() {
    let town = Town::with([]).await;
    let terminal = Terminal::connect(&town.options).await.expect("the town answers");
    let mut stream = terminal.tap_stream().await.expect("a stream");
    let (first, second) = (tap(&terminal), tap(&terminal));
    stream.send(first.clone()).await.expect("sent");
    let answer = stream.next().await.expect("sound").expect("an answer");
    assert_eq!(answer.request_id, first.header.expect("a header").request_id);
    stream.send(second.clone()).await.expect("sent");
    let rest = stream.finish().await.expect("sound");
    assert_eq!(rest.len(), 1);
    assert!(matches!(rest[0].result, Some(tap_stream_response::Result::Tap(_))));
    assert_eq!(rest[0].request_id, second.header.expect("a header").request_id);
}

#[test]
fn a_key_is_never_shown() {
    let options = crate::client::TerminalOptions::new("127.0.0.1:1", "a.onecard", "CA", "CERT", "SECRET-KEY");
    assert!(!format!("{options:?}").contains("SECRET"), "{options:?}");
    assert!(!format!("{options:?}").contains(&format!("{:?}", b"SECRET")), "{options:?}");
}
