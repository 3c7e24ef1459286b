//! The adapter against the simulated library, with every fault; and the library
//! against a client nobody here wrote.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use sip2::{Client, ParamSet};

use super::{Book, Fault, IlsCharset, IlsHandle, IlsOptions, IlsServer, Reader};
use crate::{
    adapters::{
        NoObserver,
        sip2::{Charset, Sip2Adapter, Sip2Options},
    },
    model::{BreakerState, Fen, ManualClock, Reason, TransactionId},
    scenes::library::{
        Before, Inquiry, LibraryAct, LibraryAnswer, LibraryOrder, LibraryPort as _, PortError,
    },
};

const READER: &str = "X00000019";
const NOW: i64 = 1_795_000_000_000;
const WITHIN: Duration = Duration::from_secs(30);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

struct World {
    ils: IlsHandle,
    adapter: Sip2Adapter,
}

fn ils_options() -> IlsOptions {
    let reader =
        Reader { number: READER.into(), name: "沙箱读者".into(), fees_fen: 1_250, blocked: false };
    IlsOptions {
        clock: Arc::new(ManualClock::at(NOW)),
        login: Some(("gate".into(), "opens".into())),
        readers: vec![reader],
        ..IlsOptions::default()
    }
}

/// The password is read from a file, as in production.
fn adapter(addr: SocketAddr, clock: Arc<ManualClock>, change: impl FnOnce(&mut Sip2Options)) -> Sip2Adapter {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "opens\n").unwrap();
    let mut options = Sip2Options::at(addr.to_string());
    options.user = "gate".into();
    options.password_file = Some(password);
    options.institution = "SANDBOX".into();
    options.location = "counter-1".into();
    // Silence is waited for; everything else is answered at once.
    options.request_timeout_ms = 1_500;
    options.connect_timeout_ms = 10_000;
    change(&mut options);
    let libraries = BTreeMap::from([("lib".to_owned(), options)]);
    Sip2Adapter::new(libraries, clock, Arc::new(NoObserver)).unwrap()
}

async fn world(ils: IlsOptions, change: impl FnOnce(&mut Sip2Options)) -> World {
    let charset = ils.charset;
    let (addr, ils) = IlsServer::bind(ANY, ils).await.unwrap();
    let adapter = adapter(addr, Arc::new(ManualClock::at(NOW)), |options| {
        options.encoding = match charset {
            IlsCharset::Utf8 => Charset::UTF_8,
            IlsCharset::Gbk => Charset::GBK,
        };
        change(options);
    });
    World { ils, adapter }
}

fn order(act: LibraryAct, item: &str) -> LibraryOrder {
    LibraryOrder {
        transaction: TransactionId::from_bytes([7; 16]),
        library: "lib".into(),
        act,
        patron: if act == LibraryAct::Checkin { String::new() } else { READER.into() },
        item: item.into(),
        pickup_location: String::new(),
        amount: if act == LibraryAct::PayFee { Fen::new(250) } else { Fen::ZERO },
        fee: String::new(),
        trace_id: None,
    }
}

impl World {
    async fn call(&self, act: LibraryAct, item: &str) -> Result<LibraryAnswer, PortError> {
        self.adapter.call(order(act, item), WITHIN).await
    }

    async fn observe(&self, act: LibraryAct, item: &str) -> Before {
        self.adapter.observe(order(act, item), WITHIN).await.unwrap()
    }
}

#[track_caller]
fn declined(got: Result<LibraryAnswer, PortError>, reason: Reason) {
    match got {
        Err(PortError::Declined(declined)) => assert_eq!(declined.reason, reason),
        other => panic!("expected {reason:?}, got {other:?}"),
    }
}

async fn a_visit(charset: IlsCharset) {
    let world = world(IlsOptions { charset, ..ils_options() }, |_| {}).await;
    let lent = world.call(LibraryAct::Checkout, "B0001").await.unwrap();
    assert_eq!(lent.title, "红楼梦");
    assert_eq!(lent.due_at_ms, NOW + 30 * 86_400_000);
    assert_eq!(lent.screen_message, "借阅成功");
    assert_eq!(world.ils.holder_of("B0001").as_deref(), Some(READER));
    let renewed = world.call(LibraryAct::Renew, "B0001").await.unwrap();
    assert_eq!(renewed.due_at_ms, NOW + 60 * 86_400_000);
    declined(world.call(LibraryAct::Renew, "B0001").await, Reason::LibraryDeclined);

    let hold = world.call(LibraryAct::PlaceHold, "B0002").await.unwrap();
    assert_eq!((hold.queue_position, hold.available), (1, true));
    world.call(LibraryAct::PayFee, "").await.unwrap();
    assert_eq!(world.ils.owes(READER), Some(1_000));
    let account = world.call(LibraryAct::GetPatron, "").await.unwrap().account.unwrap();
    assert_eq!((account.holds, account.fees, account.may_borrow), (1, Fen::yuan(10), true));
    assert_eq!(account.loans.len(), 1);
    assert_eq!((account.loans[0].title.as_str(), account.loans[0].due_at_ms), ("红楼梦", renewed.due_at_ms));

    world.call(LibraryAct::CancelHold, "B0002").await.unwrap();
    let back = world.call(LibraryAct::Checkin, "B0001").await.unwrap();
    assert_eq!((back.permanent_location.as_str(), back.alert), ("总馆", false));
    assert_eq!(world.ils.holder_of("B0001"), None);
    world.call(LibraryAct::EndSession, "").await.unwrap();
    assert_eq!(world.ils.heard("93"), 1, "one connection served the whole visit");
}

#[tokio::test]
async fn a_visit_to_a_library_works_in_utf8() {
    a_visit(IlsCharset::Utf8).await;
}

#[tokio::test]
async fn a_visit_to_a_library_works_in_gbk() {
    a_visit(IlsCharset::Gbk).await;
}

#[tokio::test]
async fn every_fault_ends_in_the_right_knowledge() {
    // Fault of the message; whether the call knows its outcome; whether it happened.
    let faults = [
        (Fault::SilentBefore, false, false),
        (Fault::SilentAfter, false, true),
        (Fault::CutBefore, false, false),
        (Fault::CutAfter, false, true),
        (Fault::WrongSequence, false, true),
        (Fault::Garbled, true, true),
        (Fault::AsksAgain, true, true),
    ];
    let acts = [
        (LibraryAct::Checkout, "11", "B0001"),
        (LibraryAct::Renew, "29", "B0002"),
        (LibraryAct::PlaceHold, "15", "B0003"),
        (LibraryAct::CancelHold, "15", "B0004"),
        (LibraryAct::Checkin, "09", "B0005"),
        (LibraryAct::PayFee, "37", ""),
    ];
    let mut stories = tokio::task::JoinSet::new();
    for (fault, known, happened) in faults {
        stories.spawn(async move {
            let world = world(ils_options(), |options| options.breaker.failures = 100).await;
            for (act, item) in [
                (LibraryAct::Checkout, "B0002"),
                (LibraryAct::PlaceHold, "B0004"),
                (LibraryAct::Checkout, "B0005"),
            ] {
                world.call(act, item).await.unwrap();
            }
            for (act, code, item) in acts {
                let story = format!("{fault:?} on {act:?}");
                let before = world.observe(act, item).await;
                world.ils.fail_next(code, fault);
                let got = world.call(act, item).await;
                match (&got, known) {
                    (Ok(_), true) | (Err(PortError::Unknown(_)), false) => {}
                    _ => panic!("{story}: {got:?}"),
                }
                let inquiry = world.adapter.inquire(order(act, item), before, WITHIN).await.unwrap();
                match (&inquiry, happened) {
                    (Inquiry::Happened(_), true) | (Inquiry::DidNotHappen, false) => {}
                    _ => panic!("{story}: {inquiry:?}"),
                }
            }
        });
    }
    while let Some(story) = stories.join_next().await {
        story.unwrap();
    }
}

#[tokio::test]
async fn undoing_a_checkout_returns_no_other_readers_book() {
    let world = world(ils_options(), |_| {}).await;
    let undo = |reader: &str| LibraryOrder { patron: reader.into(), ..order(LibraryAct::Checkin, "B0001") };
    world.call(LibraryAct::Checkout, "B0001").await.unwrap();
    world.adapter.call(undo("X00000020"), WITHIN).await.unwrap();
    assert_eq!(world.ils.holder_of("B0001").as_deref(), Some(READER));
    world.adapter.call(undo(READER), WITHIN).await.unwrap();
    assert_eq!(world.ils.holder_of("B0001"), None);
}

#[tokio::test]
async fn a_garbled_answer_that_nobody_repeats_leaves_the_outcome_unknown() {
    let world = world(IlsOptions { answers_resend: false, ..ils_options() }, |_| {}).await;
    world.ils.fail_next("11", Fault::Garbled);
    let got = world.call(LibraryAct::Checkout, "B0001").await;
    assert!(matches!(got, Err(PortError::Unknown(_))), "{got:?}");
    assert_eq!(world.ils.heard("97"), 0, "98 said that 97 is not answered");
    assert_eq!(world.ils.heard("11"), 1, "a loan is never asked for twice");
}

#[tokio::test]
async fn a_server_that_reads_nothing_was_sent_nothing() {
    let world = world(ils_options(), |options| options.resends_max = 1).await;
    for _ in 0..8 {
        world.ils.fail_next("11", Fault::AsksAgain);
    }
    let got = world.call(LibraryAct::Checkout, "B0001").await;
    assert!(matches!(got, Err(PortError::NotSent(_))), "{got:?}");
    assert_eq!(world.ils.holder_of("B0001"), None);
}

#[tokio::test]
async fn items_with_magic_names_break_for_other_processes() {
    let world = world(ils_options(), |_| {}).await;
    let got = world.call(LibraryAct::Checkout, "SILENT-AFTER-1").await;
    assert!(matches!(got, Err(PortError::Unknown(_))), "{got:?}");
    assert_eq!(world.ils.holder_of("SILENT-AFTER-1").as_deref(), Some(READER));
    let got = world.call(LibraryAct::Checkout, "CUT-BEFORE-1").await;
    assert!(matches!(got, Err(PortError::Unknown(_))), "{got:?}");
    assert_eq!(world.ils.holder_of("CUT-BEFORE-1"), None);
    assert_eq!(world.call(LibraryAct::Checkout, "GARBLED-1").await.unwrap().title, "故障演练");
}

#[tokio::test]
async fn a_library_that_does_not_lend_is_not_asked_to() {
    let world = world(ils_options(), |_| {}).await;
    world.ils.set_service(true, false);
    declined(world.call(LibraryAct::Checkout, "B0001").await, Reason::NotPossibleOffline);
    assert_eq!(world.ils.heard("11"), 0);
    world.call(LibraryAct::Checkin, "B0001").await.unwrap();
    world.ils.set_service(true, true);
    world.call(LibraryAct::Checkout, "B0001").await.unwrap();
}

#[tokio::test]
async fn a_decline_says_why() {
    let world = world(IlsOptions { enrols: false, ..ils_options() }, |_| {}).await;
    declined(world.call(LibraryAct::Checkout, "NO-SUCH").await, Reason::ItemUnknown);
    declined(world.call(LibraryAct::Checkin, "NO-SUCH").await, Reason::ItemUnknown);
    world.call(LibraryAct::Checkout, "B0001").await.unwrap();
    declined(world.call(LibraryAct::Checkout, "B0001").await, Reason::ItemNotAvailable);
    world.ils.set_reader(READER, 100, true);
    declined(world.call(LibraryAct::Checkout, "B0002").await, Reason::PatronBlocked);
    declined(world.call(LibraryAct::PayFee, "").await, Reason::FeeNotAccepted);
    let stranger = LibraryOrder { patron: "X0".into(), ..order(LibraryAct::Checkout, "B0002") };
    declined(world.adapter.call(stranger, WITHIN).await, Reason::PatronUnknown);
    let elsewhere = LibraryOrder { library: "other".into(), ..order(LibraryAct::Checkout, "B0002") };
    declined(world.adapter.call(elsewhere, WITHIN).await, Reason::LibraryUnknown);
    declined(world.call(LibraryAct::Checkout, "B|2").await, Reason::FieldInvalid);
}

#[tokio::test]
async fn a_late_answer_is_given_to_nobody() {
    let world = world(ils_options(), |options| options.pool_size = 1).await;
    world.ils.fail_next("11", Fault::Held);
    let got = world.call(LibraryAct::Checkout, "B0001").await;
    assert!(matches!(got, Err(PortError::Unknown(_))), "{got:?}");
    world.ils.release();
    assert_eq!(world.call(LibraryAct::Checkout, "B0002").await.unwrap().title, "西游记");
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_connection_along() {
    let world = world(ils_options(), |options| options.pool_size = 1).await;
    world.ils.fail_next("11", Fault::Held);
    let adapter = world.adapter.clone();
    let call = tokio::spawn(async move { adapter.call(order(LibraryAct::Checkout, "B0001"), WITHIN).await });
    world.ils.until_heard("11", 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.ils.release();
    assert_eq!(world.call(LibraryAct::Checkout, "B0002").await.unwrap().title, "西游记");
    assert_eq!(world.ils.heard("93"), 2, "the connection was not used again");
}

#[tokio::test]
async fn fifty_readers_share_four_connections_and_nobody_gets_anothers_book() {
    let books = (0..50).map(|n| Book { item: format!("C{n:04}"), title: format!("第{n}册") }).collect();
    let ils = IlsOptions { books, loans_max: 50, ..ils_options() };
    // A busy machine may take its time; nothing here is meant to be silent.
    let world = Arc::new(world(ils, |options| options.request_timeout_ms = 30_000).await);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let world = world.clone();
        calls.spawn(async move { (n, world.call(LibraryAct::Checkout, &format!("C{n:04}")).await) });
    }
    while let Some(done) = calls.join_next().await {
        let (n, got) = done.unwrap();
        assert_eq!(got.unwrap().title, format!("第{n}册"));
    }
    assert_eq!(world.ils.heard("11"), 50);
    assert!(world.ils.heard("93") <= 4, "{} logins", world.ils.heard("93"));
}

#[tokio::test]
async fn a_full_bulkhead_refuses_without_blaming_the_library() {
    let world = world(ils_options(), |options| {
        options.pool_size = 1;
        options.request_timeout_ms = 30_000;
        options.breaker.failures = 1;
    })
    .await;
    world.ils.fail_next("11", Fault::Held);
    let adapter = world.adapter.clone();
    let first = tokio::spawn(async move { adapter.call(order(LibraryAct::Checkout, "B0001"), WITHIN).await });
    world.ils.until_heard("11", 1).await;
    let soon = Duration::from_millis(50);
    let got = world.adapter.call(order(LibraryAct::Checkout, "B0002"), soon).await;
    assert!(matches!(got, Err(PortError::NotSent(_))), "{got:?}");
    assert_eq!(world.adapter.breaker_state("lib"), Some(BreakerState::Closed));
    world.ils.release();
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_breaker_spares_a_dead_library_and_tries_again() {
    // An address that was free a moment ago and that nobody listens on.
    let addr = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let clock = Arc::new(ManualClock::at(NOW));
    let adapter = adapter(addr, clock.clone(), |options| options.breaker.failures = 2);
    let call = |item: &str| adapter.call(order(LibraryAct::Checkout, item), WITHIN);
    for _ in 0..2 {
        assert!(matches!(call("B0001").await, Err(PortError::NotSent(_))));
    }
    assert_eq!(adapter.breaker_state("lib"), Some(BreakerState::Open));
    let (_, ils) = IlsServer::bind(addr, ils_options()).await.unwrap();
    assert!(matches!(call("B0001").await, Err(PortError::NotSent(_))));
    assert_eq!(ils.heard("93"), 0, "the library is left in peace");
    clock.advance_ms(1_000);
    assert_eq!(call("B0001").await.unwrap().title, "红楼梦");
    assert_eq!(adapter.breaker_state("lib"), Some(BreakerState::Closed));
}

#[tokio::test]
async fn an_idle_connection_is_kept_alive_or_replaced() {
    let clock = Arc::new(ManualClock::at(NOW));
    let (addr, ils) = IlsServer::bind(ANY, ils_options()).await.unwrap();
    let adapter = adapter(addr, clock.clone(), |options| options.keep_alive_s = 60);
    let call = |act, item: &str| adapter.call(order(act, item), WITHIN);
    call(LibraryAct::Checkout, "B0001").await.unwrap();
    adapter.keep_alive().await;
    assert_eq!(ils.heard("99"), 1, "a connection just used is left alone");
    clock.advance_ms(60_000);
    adapter.keep_alive().await;
    assert_eq!((ils.heard("99"), ils.heard("93")), (2, 1));

    clock.advance_ms(60_000);
    ils.fail_next("99", Fault::CutBefore);
    adapter.keep_alive().await;
    call(LibraryAct::Checkin, "B0001").await.unwrap();
    assert_eq!(ils.heard("93"), 2, "the dead connection was replaced before anybody needed it");

    clock.advance_ms(60_000);
    ils.fail_next("99", Fault::CutBefore);
    call(LibraryAct::Checkout, "B0002").await.unwrap();
    assert_eq!(ils.heard("93"), 3, "a stale connection is checked before an order is risked on it");
}

#[tokio::test]
async fn an_impatient_caller_does_not_close_the_library_for_others() {
    let world = world(ils_options(), |options| {
        options.request_timeout_ms = 30_000;
        options.breaker.failures = 1;
    })
    .await;
    world.ils.fail_next("11", Fault::Held);
    let soon = Duration::from_millis(50);
    let got = world.adapter.call(order(LibraryAct::Checkout, "B0001"), soon).await;
    assert!(got.is_err(), "{got:?}");
    assert_eq!(world.adapter.breaker_state("lib"), Some(BreakerState::Closed));
}

#[tokio::test]
async fn a_silent_library_opens_the_breaker() {
    let world = world(ils_options(), |options| options.breaker.failures = 1).await;
    world.ils.fail_next("11", Fault::SilentAfter);
    assert!(world.call(LibraryAct::Checkout, "B0001").await.is_err());
    assert_eq!(world.adapter.breaker_state("lib"), Some(BreakerState::Open));
}

#[tokio::test]
async fn a_wrong_password_is_no_outcome_to_wonder_about() {
    let ils = IlsOptions { login: Some(("gate".into(), "other".into())), ..ils_options() };
    let world = world(ils, |_| {}).await;
    let got = world.call(LibraryAct::Checkout, "B0001").await;
    assert!(matches!(got, Err(PortError::NotSent(_))), "{got:?}");
    assert_eq!(world.ils.heard("11"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_nobody_here_wrote_is_served() {
    let (addr, ils) = IlsServer::bind(ANY, ils_options()).await.unwrap();
    let visit = tokio::task::spawn_blocking(move || {
        let mut params = ParamSet::new();
        params.set_sip_user("gate").set_sip_pass("opens").set_institution("SANDBOX");
        params.set_patron_id(READER).set_item_id("B0001").set_pay_amount("2.50");
        let mut client = Client::new(&addr.to_string()).unwrap();
        assert!(client.login(&params).unwrap().ok());
        assert!(client.sc_status().unwrap().ok());
        assert!(client.patron_status(&params).unwrap().ok());
        let lent = client.checkout(&params).unwrap();
        assert!(lent.ok());
        assert_eq!(lent.value("AJ"), Some("红楼梦"));
        params.set_summary(2);
        let account = client.patron_info(&params).unwrap();
        assert_eq!((account.value("AU"), account.value("BV")), (Some("B0001"), Some("12.50")));
        let item = client.item_info(&params).unwrap();
        assert_eq!(item.msg().fixed_fields()[0].value(), "04");
        // This client takes only "1" for a success here, where the tables say "Y".
        let paid = client.fee_paid(&params).unwrap();
        assert_eq!(paid.msg().fixed_fields()[0].value(), "Y");
        assert!(client.checkin(&params).unwrap().ok());
        client.disconnect().unwrap();
    });
    visit.await.unwrap();
    assert_eq!((ils.holder_of("B0001"), ils.owes(READER)), (None, Some(1_000)));
}
