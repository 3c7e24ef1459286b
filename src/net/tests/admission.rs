//! Who is let in, and what becomes of those who waste our time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    pki::Authority,
    world::{GATE, World, soon, until},
};
use crate::telemetry::metrics::ConnectionRefusal;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test]
async fn a_terminal_is_let_in_and_named() {
    let world = World::start();
    let mut gate = world.gate().await;
    assert_eq!(gate.ask("x").await.expect("an answer").who(), GATE);
    let connections = world.handle.connections();
    assert_eq!(connections.len(), 1);
    assert_eq!(connections[0].certificate.common_name.as_deref(), Some("a terminal"));
    assert_eq!(connections[0].certificate.serial, "64");
}

#[tokio::test]
async fn nobody_is_let_in_without_a_certificate() {
    let world = World::start();
    let called = async {
        let mut client = world.client(world.authority.nobody()).await?;
        client.ask("x").await
    };
    assert!(called.await.is_err());
    until(|| world.handle.counts().refused_for(ConnectionRefusal::HandshakeFailed) == 1).await;
    assert_eq!(world.handle.counts().handshakes, 0);
}

#[tokio::test]
async fn nobody_is_let_in_by_an_authority_we_do_not_know() {
    let world = World::start();
    let other = Authority::new("elsewhere").holder_trusting(&world.authority, GATE);
    let called = async {
        let mut client = world.client(other.config).await?;
        client.ask("x").await
    };
    assert!(called.await.is_err());
    until(|| world.handle.counts().refused_for(ConnectionRefusal::HandshakeFailed) == 1).await;
}

#[tokio::test]
async fn what_is_not_tls_is_counted_and_dropped() {
    let world = World::start();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], PREFACE, &[0; 64], &[0xff]] {
        let mut tcp = world.tcp().await;
        tcp.write_all(garbage).await.expect("sent");
        let mut rest = Vec::new();
        let _ = soon(tcp.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "garbage gets no answer");
    }
    until(|| world.handle.counts().refused_for(ConnectionRefusal::NotTls) == 4).await;
    let mut tcp = world.tcp().await;
    tcp.write_all(&[22, 3, 1, 0, 4, 1, 2, 3, 4]).await.expect("sent");
    until(|| world.handle.counts().refused_for(ConnectionRefusal::HandshakeFailed) == 1).await;
    assert_eq!(world.gate().await.ask("x").await.expect("an answer").who(), GATE);
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_in_time_is_dropped() {
    let world = World::with(|options| options.handshake_timeout_ms = 50, Authority::options);
    let mut silent = world.tcp().await;
    let mut slow = world.tcp().await;
    slow.write_all(&[22, 3, 1]).await.expect("sent");
    assert_eq!(soon(silent.read(&mut [0; 8])).await.expect("closed"), 0);
    let _ = soon(slow.read(&mut [0; 8])).await;
    until(|| world.handle.counts().refused_for(ConnectionRefusal::HandshakeTimeout) == 2).await;
    until(|| world.handle.counts().open == 0).await;
}

#[tokio::test]
async fn a_silent_connection_is_dropped_and_a_speaking_one_stays() {
    let world = World::with(|options| options.first_request_timeout_ms = 150, Authority::options);
    let mut speaking = world.gate().await;
    speaking.ask("x").await.expect("an answer");
    // Idle, half a preface, a preface without a request, headers that never end.
    let unfinished_headers = [PREFACE, EMPTY_SETTINGS, &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x83]].concat();
    let preface = [PREFACE, EMPTY_SETTINGS].concat();
    for said in [&b""[..], &PREFACE[..9], &preface, &unfinished_headers] {
        let holder = world.authority.holder(GATE);
        let mut silent = world.tls(holder.config).await.expect("let in");
        silent.write_all(said).await.expect("sent");
        let mut rest = Vec::new();
        let _ = soon(silent.read_to_end(&mut rest)).await;
    }
    assert_eq!(world.handle.counts().refused_for(ConnectionRefusal::Silent), 4);
    assert_eq!(speaking.ask("x").await.expect("an answer").who(), GATE);
}

#[tokio::test]
async fn a_certificate_has_so_many_connections_and_no_more() {
    let world = World::with(|options| options.connections_per_certificate_max = 2, Authority::options);
    let holder = world.authority.holder(GATE);
    let mut first = world.client(holder.config.clone()).await.expect("let in");
    let mut second = world.client(holder.config.clone()).await.expect("let in");
    first.ask("x").await.expect("an answer");
    second.ask("x").await.expect("an answer");
    let third = async { world.client(holder.config.clone()).await?.ask("x").await };
    assert!(third.await.is_err());
    assert_eq!(world.handle.counts().refused_for(ConnectionRefusal::CertificateFull), 1);

    first.connection.abort();
    drop(first);
    until(|| world.handle.connections().len() == 1).await;
    let mut again = world.client(holder.config.clone()).await.expect("let in");
    again.ask("x").await.expect("a place is free again");
}

#[tokio::test]
async fn there_are_so_many_connections_and_no_more() {
    let world = World::with(|options| options.connections_max = 1, Authority::options);
    let mut gate = world.gate().await;
    let mut over = world.tcp().await;
    let _ = soon(over.read(&mut [0; 8])).await;
    assert_eq!(world.handle.counts().refused_for(ConnectionRefusal::Full), 1);
    assert_eq!(gate.ask("x").await.expect("an answer").who(), GATE);
}

#[tokio::test]
async fn the_bounds_of_http2_are_announced() {
    let world = World::start();
    let holder = world.authority.holder(GATE);
    let mut raw = world.tls(holder.config).await.expect("let in");
    raw.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.expect("sent");
    let mut head = [0; 9];
    soon(raw.read_exact(&mut head)).await.expect("a frame");
    assert_eq!(head[3], 4, "the first frame is SETTINGS");
    let mut settings = vec![0; usize::from(head[2])];
    soon(raw.read_exact(&mut settings)).await.expect("its body");
    let value = |id: u16| {
        let found = settings.chunks(6).find(|setting| setting[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes([found[2], found[3], found[4], found[5]]))
    };
    assert_eq!(value(3), Some(crate::limits::STREAMS_PER_CONNECTION_MAX), "MAX_CONCURRENT_STREAMS");
    assert_eq!(value(6), Some(crate::limits::HEADER_LIST_BYTES_MAX), "MAX_HEADER_LIST_SIZE");
}

#[tokio::test]
async fn a_frame_longer_than_agreed_ends_the_connection() {
    let world = World::start();
    let holder = world.authority.holder(GATE);
    let mut raw = world.tls(holder.config).await.expect("let in");
    raw.write_all(&[PREFACE, EMPTY_SETTINGS, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat())
        .await
        .expect("sent");
    let mut rest = Vec::new();
    let _ = soon(raw.read_to_end(&mut rest)).await;
    until(|| world.handle.counts().open == 0).await;
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let world = World::start();
    let holder = world.authority.holder(GATE);
    let mut raw = world.tls(holder.config).await.expect("let in");
    raw.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.expect("sent");
    let mut burst = Vec::new();
    for number in 0..2_000_u32 {
        let stream = (number * 2 + 1).to_be_bytes();
        // :method POST, :scheme https, :path /, all from the static table.
        burst.extend([&[0, 0, 3, 1, 4][..], &stream, &[0x83, 0x87, 0x84]].concat());
        burst.extend([&[0, 0, 4, 3, 0][..], &stream, &[0, 0, 0, 8]].concat());
    }
    let _ = raw.write_all(&burst).await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), raw.read_to_end(&mut rest)).await;
    until(|| world.handle.counts().open == 0).await;
}
