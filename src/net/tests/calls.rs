//! What is answered to calls that are not in order.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;

use super::world::{Answer, GATE, World, message, request};
use crate::limits;

async fn answer_to(request: Request<Full<Bytes>>) -> Answer {
    let world = World::start();
    world.gate().await.send(request).await.expect("an answer")
}

fn with(name: &'static str, value: &'static str) -> Request<Full<Bytes>> {
    let mut request = request(message("x"));
    request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    request
}

#[tokio::test]
async fn what_is_not_grpc_is_refused_in_http() {
    let mut get = request(message("x"));
    *get.method_mut() = Method::GET;
    let answer = answer_to(get).await;
    assert_eq!((answer.http, answer.headers["allow"].to_str().ok()), (405, Some("POST")));
    assert_eq!(answer_to(with("content-type", "text/plain")).await.http, 415);
    let mut bare = request(message("x"));
    bare.headers_mut().remove("content-type");
    assert_eq!(answer_to(bare).await.http, 415);
}

#[tokio::test]
async fn each_mistake_has_its_status() {
    let over = vec![0; limits::MESSAGE_BYTES_MAX + 1];
    let framed = [&[0][..], &(over.len() as u32).to_be_bytes(), &over].concat();
    let declared = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    let compressed = [&[1][..], &message("x")[1..]].concat();
    let twice = [message("x"), message("x")].concat();
    for (what, request, status) in [
        ("a good call", request(message("x")), 0),
        ("a timeout without a known unit", with("grpc-timeout", "1x"), 3),
        ("a deadline that is over", with("grpc-timeout", "0n"), 4),
        ("a message over the limit", request(framed), 8),
        ("a message that says it is 4 GiB", request(declared), 8),
        ("two messages", request(twice), 12),
        ("no message", request(Vec::new()), 12),
        ("compression", with("grpc-encoding", "gzip"), 12),
        ("a compression flag", request(compressed), 13),
    ] {
        let answer = answer_to(request).await;
        assert_eq!((answer.http, answer.status()), (200, Some(status)), "{what}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/grpc", "{what}");
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_with_its_deadline() {
    let world = World::start();
    let mut gate = world.gate().await;
    let mut slow = request(message("wait"));
    slow.headers_mut().insert("grpc-timeout", HeaderValue::from_static("50m"));
    let answer = gate.send(slow).await.expect("an answer");
    assert_eq!((answer.status(), answer.trailers.len()), (Some(4), 0), "{answer:?}");
    // Without a timeout of its own it still has one.
    let began = std::time::Instant::now();
    assert_eq!(gate.ask("wait").await.expect("an answer").status(), Some(4));
    assert!(began.elapsed() >= limits::DEADLINE_DEFAULT - Duration::from_millis(20));
    assert_eq!(gate.ask("x").await.expect("the connection goes on").who(), GATE);
}

#[tokio::test]
async fn a_browser_is_understood() {
    let mut browser = request(message("x"));
    browser.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc-web+proto"));
    let answer = answer_to(browser).await;
    assert_eq!(answer.http, 200);
    assert_eq!(answer.headers["content-type"], "application/grpc-web+proto");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(body.contains(GATE) && body.contains("grpc-status:0"), "{body:?}");

    let mut twice = request([message("x"), message("x")].concat());
    twice.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc-web+proto"));
    let answer = answer_to(twice).await;
    assert!(answer.status() == Some(12) || String::from_utf8_lossy(&answer.body).contains("grpc-status:12"));
}

#[tokio::test]
async fn health_and_reflection_answer() {
    let world = World::start();
    let mut gate = world.gate().await;
    world.health.serving().await;
    for status in [1, 2] {
        for service in ["", "onecard.transaction.v1.TransactionService"] {
            // HealthCheckRequest { service }
            let length = u8::try_from(service.len()).expect("a short name");
            let mut message = vec![0, 0, 0, 0, length + 2, 0x0a, length];
            message.extend(service.as_bytes());
            let mut health = request(message);
            *health.uri_mut() = "https://localhost/grpc.health.v1.Health/Check".parse().expect("a URI");
            let answer = gate.send(health).await.expect("an answer");
            assert_eq!((answer.status(), &answer.body[5..]), (Some(0), &[8, status][..]), "{service:?}");
        }
        world.health.not_serving().await;
    }
    for version in ["v1", "v1alpha"] {
        // ServerReflectionRequest { list_services: "" }
        let mut list = request(vec![0, 0, 0, 0, 2, 0x3a, 0]);
        let uri =
            format!("https://localhost/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        *list.uri_mut() = uri.parse().expect("a URI");
        let answer = gate.send(list).await.expect("an answer");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("onecard.transaction.v1.TransactionService"), "{version}: {text:?}");
    }
}
