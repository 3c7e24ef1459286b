//! The adapter against scripted bytes and against a server nobody here wrote. The
//! simulated library has its own tests with the adapter in `sandbox/ils`, because
//! imports point down.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{
    adapters::NoObserver,
    model::{Fen, SystemClock, TransactionId},
    scenes::library::LibraryAct,
};

const WITHIN: Duration = Duration::from_secs(30);

fn adapter(address: String, change: impl FnOnce(&mut Sip2Options)) -> Sip2Adapter {
    let mut options = Sip2Options::at(address);
    options.institution = "SANDBOX".into();
    options.request_timeout_ms = 20_000;
    options.connect_timeout_ms = 20_000;
    change(&mut options);
    let libraries = BTreeMap::from([("lib".to_owned(), options)]);
    Sip2Adapter::new(libraries, Arc::new(SystemClock), Arc::new(NoObserver)).unwrap()
}

fn order(act: LibraryAct, item: &str) -> LibraryOrder {
    LibraryOrder {
        transaction: TransactionId::from_bytes([7; 16]),
        library: "lib".into(),
        act,
        patron: if act == LibraryAct::Checkin { String::new() } else { "X00000019".into() },
        item: item.into(),
        pickup_location: String::new(),
        amount: if act == LibraryAct::PayFee { Fen::new(250) } else { Fen::ZERO },
        fee: String::new(),
        trace_id: None,
    }
}

/// A server that answers each line with the next of these, without checksums, and
/// closes when they are used up.
async fn scripted(answers: &[&'static str]) -> String {
    let answers = answers.to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut read = tokio::io::BufReader::new(read);
        for answer in answers {
            let mut line = Vec::new();
            read.read_until(b'\r', &mut line).await.unwrap();
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

async fn checkout_at(answers: &[&'static str]) -> Result<LibraryAnswer, PortError> {
    let address = scripted(answers).await;
    let adapter = adapter(address, |options| options.error_detection = false);
    adapter.call(order(LibraryAct::Checkout, "B1"), WITHIN).await
}

const STATUS: &str = "98YYYYNY 30  320240927    1015002.00AOX|BXYYYYYYYYYYYYYYYY|\r\n";

#[tokio::test]
async fn a_server_that_ends_lines_with_crlf_is_understood() {
    let lent = "121NNY20240927    101500AOX|AAX00000019|ABB1|AJT|AH20241027|AF|\r\n";
    assert_eq!(checkout_at(&[STATUS, lent]).await.unwrap().title, "T");
}

#[tokio::test]
async fn an_answer_that_names_another_book_or_reader_is_not_believed() {
    for lent in [
        "121NNY20240927    101500AOX|AAX00000019|ABB2|AJT|AH|\r",
        "121NNY20240927    101500AOX|AAX00000020|ABB1|AJT|AH|\r",
    ] {
        let got = checkout_at(&[STATUS, lent]).await;
        assert!(matches!(got, Err(PortError::Unknown(_))), "{got:?}");
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_or_no_message_leaves_the_outcome_unknown() {
    for lent in ["941\r", "12\r", "hello\r", "301NNY20240927    101500AOX|\r"] {
        let got = checkout_at(&[STATUS, lent]).await;
        assert!(matches!(got, Err(PortError::Unknown(_))), "{lent:?}: {got:?}");
    }
}

#[tokio::test]
async fn a_decline_stands_when_the_questions_after_it_fail() {
    let got = checkout_at(&[STATUS, "120NUN20240927    101500AFno|\r"]).await;
    match got {
        Err(PortError::Declined(declined)) => {
            assert_eq!((declined.reason, declined.screen_message.as_str()), (Reason::LibraryDeclined, "no"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_are_checked_and_keep_no_secret() {
    let text = r#"address = "127.0.0.1:6001"
        user = "gate"
        password_env = "ONECARD_NO_SUCH_PASSWORD"
        encoding = "GBK""#;
    let options: Sip2Options = toml::from_str(text).unwrap();
    assert!(matches!(options.check("lib"), Err(BadSip2Options::NoPassword { .. })));
    let twice = Sip2Options { password_file: Some("x".into()), ..options.clone() };
    assert!(matches!(twice.check("lib"), Err(BadSip2Options::TwoPasswords { .. })));
    let pool = Sip2Options { pool_size: 0, ..Sip2Options::at("x") };
    assert!(matches!(pool.check("lib"), Err(BadSip2Options::PoolSize { .. })));
    assert!(toml::from_str::<Sip2Options>("address = \"x\"\npassword = \"p\"").is_err());
    assert!(toml::from_str::<Sip2Options>("address = \"x\"\nencoding = \"utf-16\"").is_err());
}

#[test]
fn amounts_are_read_as_libraries_write_them() {
    let check = |text, fen: Option<i64>| assert_eq!(map::fen(text), fen.map(Fen::new), "{text:?}");
    check("12.50", Some(1_250));
    check("¥3.5", Some(350));
    check("12", Some(1_200));
    check("0.05", Some(5));
    check("-1.20", Some(-120));
    check(" 7.000 ", Some(700));
    for nonsense in ["", "1,5", "1.234", "x", "1.-5", "--1", "+1", "99999999999999"] {
        check(nonsense, None);
    }
}

proptest! {
    #[test]
    fn amounts_round_trip(fen in -1_000_000_000i64..1_000_000_000) {
        prop_assert_eq!(map::fen(&Fen::new(fen).to_string()), Some(Fen::new(fen)));
    }
}

/// Needs a Python that has `pysip2`; its path is in `ONECARD_PYTHON`.
#[tokio::test]
#[ignore = "needs a Python with pysip2 in ONECARD_PYTHON"]
async fn a_server_nobody_here_wrote_understands_every_message() {
    let python = std::env::var_os("ONECARD_PYTHON").expect("ONECARD_PYTHON names a Python with pysip2");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/sip2_judge.py");
    // The judge stops when its standard input closes, which it does with us.
    let mut judge =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(judge.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().strip_prefix("listening ").expect("the judge says where it listens").to_owned();

    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "opens").unwrap();
    let adapter = adapter(format!("127.0.0.1:{port}"), |options| {
        options.user = "gate".into();
        options.password_file = Some(password);
        options.location = "counter-1".into();
    });
    let call = async |act, item: &str| adapter.call(order(act, item), WITHIN).await;
    let inquire =
        async |act, item: &str, before| adapter.inquire(order(act, item), before, WITHIN).await.unwrap();

    let before = adapter.observe(order(LibraryAct::Checkout, "B0001"), WITHIN).await.unwrap();
    assert_eq!(inquire(LibraryAct::Checkout, "B0001", before).await, Inquiry::DidNotHappen);
    let lent = call(LibraryAct::Checkout, "B0001").await.unwrap();
    assert_eq!(lent.title, "红楼梦");
    assert!(lent.due_at_ms > 0);
    assert!(matches!(inquire(LibraryAct::Checkout, "B0001", before).await, Inquiry::Happened(_)));
    let renewed = call(LibraryAct::Renew, "B0001").await.unwrap();
    assert_eq!(renewed.due_at_ms - lent.due_at_ms, 30 * 86_400_000);
    assert_eq!(call(LibraryAct::PlaceHold, "B0002").await.unwrap().queue_position, 1);
    call(LibraryAct::CancelHold, "B0002").await.unwrap();
    call(LibraryAct::PayFee, "").await.unwrap();
    let account = call(LibraryAct::GetPatron, "").await.unwrap().account.unwrap();
    assert_eq!((account.fees, account.loans.len()), (Fen::yuan(10), 1));
    assert_eq!(account.loans[0].title, "红楼梦");
    assert_eq!(call(LibraryAct::Checkin, "B0001").await.unwrap().permanent_location, "Main");
    call(LibraryAct::EndSession, "").await.unwrap();
    match call(LibraryAct::Checkout, "NO-SUCH").await {
        Err(PortError::Declined(declined)) => assert_eq!(declined.reason, Reason::ItemUnknown),
        other => panic!("{other:?}"),
    }
    drop(judge.stdin.take());
    judge.wait().unwrap();
}
