//! Reload and drain: what is exchanged, and that nobody's call is cut by it.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use super::{
    pki::Authority,
    world::{GATE, World, soon, until},
};
use crate::{
    model::SystemClock,
    net::{Drained, RevocationProblem, TlsError, TlsState},
};

fn with_list(authority: &Authority) -> crate::net::TlsOptions {
    authority.revoke(&[], 1);
    authority.options_with_list()
}

#[tokio::test]
async fn a_revoked_terminal_is_closed_and_the_others_go_on() {
    let world = World::with(|_| {}, with_list);
    let (lost, kept) = (world.authority.holder(GATE), world.authority.holder(GATE));
    let mut lost_client = world.client(lost.config.clone()).await.expect("let in");
    let mut kept_client = world.client(kept.config.clone()).await.expect("let in");
    lost_client.ask("x").await.expect("an answer");
    let running = kept_client.asking("wait");
    soon(world.desk.entered.notified()).await;

    world.authority.revoke(&[lost.serial], 2);
    world.tls.reload().expect("a good list");

    soon(&mut lost_client.connection).await.expect("no panic").ok();
    assert!(lost_client.ask("x").await.is_err(), "its connection is closed");
    let again = async { world.client(lost.config).await?.ask("x").await };
    assert!(again.await.is_err(), "and it gets no other");
    world.desk.open.notify_one();
    assert_eq!(soon(running).await.expect("no panic").expect("an answer").who(), GATE);
    assert_eq!(kept_client.ask("x").await.expect("an answer").who(), GATE);
}

#[tokio::test]
async fn an_authority_no_longer_believed_loses_its_connections() {
    let world = World::start();
    let mut gate = world.gate().await;
    gate.ask("x").await.expect("an answer");
    let other = Authority::new("the new authority");
    fs::copy(other.path("roots.pem"), world.authority.path("roots.pem")).expect("copied");
    world.tls.reload().expect("good material");
    until(|| world.handle.connections().is_empty()).await;
    assert!(gate.ask("x").await.is_err());
}

#[tokio::test]
async fn certificates_are_exchanged_under_load_without_losing_a_call() {
    let world = World::start();
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut gate = world.gate().await;
        let (stop, calls) = (stop.clone(), calls.clone());
        clients.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                gate.ask("x").await.expect("no call is lost").who();
                calls.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for generation in 2..=6 {
        let seen = calls.load(Ordering::Relaxed);
        world.authority.renew_server();
        world.tls.reload().expect("good material");
        assert_eq!(world.tls.generation(), generation);
        until(|| calls.load(Ordering::Relaxed) > seen + 4).await;
        world.gate().await.ask("x").await.expect("new connections too");
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        soon(client).await.expect("no call was lost");
    }
}

#[tokio::test]
async fn material_that_is_wrong_is_refused_and_the_old_stays() {
    let world = World::with(|_| {}, with_list);
    let path = |file| world.authority.path(file);
    let refused = |what: &str| {
        let error = world.tls.reload().expect_err(what);
        assert_eq!(world.tls.generation(), 1, "{what}");
        error
    };
    let keep = |file| fs::read(world.authority.path(file)).expect("read");
    let (key, list) = (keep("server.key"), keep("revoked.pem"));
    let other = Authority::new("elsewhere");

    fs::copy(other.path("server.key"), path("server.key")).expect("copied");
    assert!(matches!(refused("another key"), TlsError::Unfit(_)));
    fs::write(path("server.key"), "-----BEGIN PRIVATE KEY-----\nAA").expect("written");
    assert!(matches!(refused("half a key"), TlsError::Pem { .. }));
    fs::remove_file(path("server.key")).expect("removed");
    assert!(matches!(refused("no key"), TlsError::Read { .. }));
    fs::write(path("server.key"), key).expect("written");

    other.revoke(&[], 3);
    fs::copy(other.path("revoked.pem"), path("revoked.pem")).expect("copied");
    let unknown = |error| matches!(error, TlsError::Revocation(RevocationProblem::UnknownIssuer { .. }));
    assert!(unknown(refused("a list of another authority")));
    let namesake = Authority::new("the city");
    namesake.revoke(&[], 3);
    fs::copy(namesake.path("revoked.pem"), path("revoked.pem")).expect("copied");
    let forged = |error| matches!(error, TlsError::Revocation(RevocationProblem::BadSignature { .. }));
    assert!(forged(refused("a list in another's name")));
    fs::write(path("revoked.pem"), list).expect("written");

    world.authority.revoke(&[], 5);
    world.tls.reload().expect("everything is right again");
    world.authority.revoke(&[], 4);
    let older = world.tls.reload().expect_err("an older list");
    assert!(matches!(older, TlsError::Revocation(RevocationProblem::Older { .. })), "{older}");
    assert_eq!(world.gate().await.ask("x").await.expect("an answer").who(), GATE);
}

#[tokio::test]
async fn every_client_root_needs_its_list() {
    let authority = Authority::new("the city");
    authority.revoke(&[], 1);
    let other = Authority::new("another");
    let both =
        [authority.path("roots.pem"), other.path("roots.pem")].map(|path| fs::read(path).expect("read"));
    fs::write(authority.path("roots.pem"), both.concat()).expect("written");
    let loaded = TlsState::load(authority.options_with_list(), Arc::new(SystemClock));
    assert!(matches!(loaded, Err(TlsError::Revocation(RevocationProblem::Missing { .. }))));
}

#[tokio::test]
async fn a_drain_finishes_the_running_call_and_takes_no_new_one() {
    let world = World::start();
    let mut gate = world.gate().await;
    let running = gate.asking("wait");
    soon(world.desk.entered.notified()).await;
    world.drain.cancel();
    // The client learns it (GOAWAY) and the listener is gone.
    soon(async { while gate.ask("x").await.is_ok() {} }).await;
    let refused = async { while tokio::net::TcpStream::connect(world.address).await.is_ok() {} };
    soon(refused).await;
    world.desk.open.notify_one();
    assert_eq!(soon(running).await.expect("no panic").expect("an answer").who(), GATE);
    assert_eq!(world.drained().await, Drained::Whole);
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let world = World::with(|options| options.drain_timeout_ms = 50, Authority::options);
    let gate = world.gate().await;
    let running = gate.asking("wait");
    soon(world.desk.entered.notified()).await;
    let handle = world.handle.clone();
    assert_eq!(world.drained().await, Drained::Cut(1));
    assert!(soon(running).await.expect("no panic").is_err());
    assert_eq!(handle.counts().open, 0);
}

#[tokio::test]
async fn an_old_connection_is_told_to_go_and_finishes_its_call() {
    let world = World::with(|options| options.connection_age_max_s = 1, Authority::options);
    let mut gate = world.gate().await;
    let running = gate.asking("wait");
    soon(world.desk.entered.notified()).await;
    soon(async { while gate.ask("x").await.is_ok() {} }).await;
    world.desk.open.notify_one();
    assert_eq!(soon(running).await.expect("no panic").expect("an answer").who(), GATE);
    soon(&mut gate.connection).await.expect("no panic").expect("it ends in order");
    assert_eq!(world.gate().await.ask("x").await.expect("a new one is let in").who(), GATE);
}

#[tokio::test]
async fn an_operator_can_close_chosen_connections() {
    let world = World::start();
    let (mut one, mut two) = (world.gate().await, world.gate().await);
    one.ask("x").await.expect("an answer");
    two.ask("x").await.expect("an answer");
    let chosen = world.handle.connections()[0].id;
    assert_eq!(world.handle.close_where(|info| info.id == chosen), 1);
    until(|| world.handle.connections().len() == 1).await;
    let alive = [one.ask("x").await.is_ok(), two.ask("x").await.is_ok()];
    assert_eq!(alive.iter().filter(|alive| **alive).count(), 1);
}
