//! The pieces of a request's way that run for every call: what one costs, alone.
#![allow(clippy::print_stdout, missing_docs)]

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, criterion_group, criterion_main};
use onecard::{
    api::{Fields, answer, fingerprint, parse_header},
    crypto::{CardSuite, KeyName, KeyVault, SandboxSuite, Sm2PublicKey, SoftVault, TapRecord},
    federation::{Envelopes, Sealed},
    gateway::OperatorLine,
    model::{
        Millis, PairwiseHolder, Receipt, Subject, SystemClock, SystemRng, TransactionId, View,
        record::{self, TransitFile},
    },
    proto::{
        common::v1::RequestHeader,
        federation::v1::{DenyListAccepted, message::Content},
        transit::v1::{Tap, TapRequest, TransitRead},
    },
    scenes::transit::{self, FareBook, TapKind},
    store::Committed,
    trust::{Member, TrustList},
};

const CARD: [u8; 16] = [0x11; 16];
const NOW: Millis = 1_790_000_000_000;

fn tap_mac(bench: &mut Criterion) {
    let vault = SoftVault::generate(&SystemRng);
    let record = TapRecord {
        kind: 1,
        station: "沙河",
        line: "昌平线",
        tapped_at_ms: NOW,
        counter: 7,
        card: CARD,
        valid_until: 0,
    };
    let mac = SandboxSuite.tap_mac(&vault, &record).expect("a root");
    bench.bench_function("tap MAC check", |bench| {
        bench.iter(|| SandboxSuite.verify_tap(&vault, black_box(&record), &mac).expect("right"));
    });
}

fn decide_tap(bench: &mut Criterion) {
    let table = include_str!("../config/fares/beijing-metro.toml").to_owned();
    let stations = |_: &str| Some(include_str!("../config/stations/beijing.csv").to_owned());
    let operator = OperatorLine { participant: "bj-metro".into(), table: "beijing-metro".into() };
    let book = FareBook::parse(&[("beijing-metro".into(), table)], &stations, &[operator]).expect("a book");
    let tap = |kind, station: &str, counter| transit::TapRequest {
        transaction: TransactionId::from_bytes([1; 16]),
        card: CARD,
        card_province: 110_000,
        card_is_ours: false,
        subject: Subject::from_bytes([2; 16]),
        pairwise: PairwiseHolder::from_bytes([3; 16]),
        operator: "bj-metro".parse().expect("an id"),
        kind,
        station: station.into(),
        line: "昌平线".into(),
        tapped_at_ms: NOW,
        counter,
        valid_until: 0,
        offline: false,
        denied: None,
    };
    let view = View::default().missing::<TransitFile>(&CARD);
    let entered = transit::tap(&view, &tap(TapKind::Entry, "沙河", 1), NOW, &book).expect("readable");
    let body = entered.writes[0].body.clone().expect("a file");
    let file: TransitFile = prost::Message::decode(body).expect("its own file");
    let view = View::default().holding(&CARD, &file);
    let exit = tap(TapKind::Exit, "西二旗", 2);
    bench.bench_function("decide tap out", |bench| {
        bench.iter(|| transit::tap(black_box(&view), &exit, NOW + 1_000, &book).expect("readable"));
    });
}

fn header(bench: &mut Criterion) {
    let request = TapRequest {
        header: Some(RequestHeader {
            request_id: "67e55044-10b1-426f-9247-bb680e5fe0c8".into(),
            terminal_time_ms: NOW,
            purpose: 1,
            ..RequestHeader::default()
        }),
        tap: Some(Tap {
            kind: 1,
            station: "沙河".into(),
            line: "昌平线".into(),
            tapped_at_ms: NOW,
            read: Some(TransitRead {
                card_identifier: CARD.to_vec(),
                counter: 7,
                mac: vec![1; 8],
                valid_until: 0,
            }),
        }),
    };
    bench.bench_function("header parse + fingerprint", |bench| {
        bench.iter(|| {
            let print = fingerprint(black_box(&request));
            parse_header(&mut Fields::default(), request.header.as_ref(), print).expect("well formed")
        });
    });
}

fn envelopes(bench: &mut Criterion) {
    let vault = Arc::new(SoftVault::generate(&SystemRng));
    let key = |name| Sm2PublicKey::from_bytes(&vault.public_key(name).expect("a key")).expect("a point");
    let member = |region| Member {
        region,
        name_zh: "样例".into(),
        name_en: "Sample".into(),
        endpoint: "https://127.0.0.1:7112".into(),
        tls_name: "peer.sample.onecard".into(),
        journal_key: key(KeyName::Journal),
        federation_key: key(KeyName::Federation),
        ecard_key: key(KeyName::Ecard),
        standard_min: 1,
        standard_max: 1,
    };
    let members = vec![member(110_000), member(120_000)];
    let trust = TrustList::new(1, 0, 4_000_000_000_000, members).expect("a list");
    let side = |province| {
        Envelopes::new(province, Arc::clone(&vault) as _, Arc::new(SystemClock), Arc::new(SystemRng))
    };
    let (here, there) = (side(110_000), side(120_000));
    let question = Sealed::Question { to_run: Some(there.run()) };
    let content = || Content::DenyListAccepted(DenyListAccepted { version: 7, epoch: None });
    bench.bench_function("envelope seal", |bench| {
        bench.iter(|| here.seal(120_000, content(), question, "", &trust).expect("signs"));
    });
    bench.bench_function("envelope open", |bench| {
        bench.iter_batched(
            || here.seal(120_000, content(), question, "", &trust).expect("signs").0,
            |envelope| there.open(&envelope, 110_000, None, &trust).expect("right"),
            criterion::BatchSize::SmallInput,
        );
    });
}

fn receipts(bench: &mut Criterion) {
    let entry = record::Entry {
        transaction_id: vec![1; 16],
        status: 1,
        pairwise_holder: vec![2; 16],
        ..record::Entry::default()
    };
    let receipt = Receipt {
        leaf: [1; 32],
        path: vec![[2; 32]; 10],
        index: 5,
        batch_header: vec![3; 160].into(),
        signature: [4; 64],
    };
    let committed = Committed {
        entry: Arc::new(entry),
        detail: Default::default(),
        parts: Vec::new(),
        receipt,
        replayed: false,
    };
    bench.bench_function("receipt projection", |bench| bench.iter(|| answer(black_box(&committed))));
}

criterion_group!(way, tap_mac, decide_tap, header, envelopes, receipts);
criterion_main!(way);
