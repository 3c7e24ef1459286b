//! Results are read back as they were written, and the page stands alone.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    metrics::Scraped,
    open_loop::{Answer, Bounds, Profile, Schedule, Spacing, Stream, drive},
    scenario::{self, Findings, Plan},
};

/// A run of the mixed day whose every call is answered at once.
async fn outcome(broken: Vec<String>) -> Outcome {
    let about = scenario::named("mixed-day").expect("it is there").about();
    let plan = Plan {
        rate: 200.0,
        length: Duration::from_secs(1),
        seed: 9,
        spacing: Spacing::Uniform,
        connections: 2,
        in_flight: 32,
    };
    let streams: Vec<_> = (0..about.operations.len())
        .map(|operation| Stream {
            operation,
            profile: Profile::flat(30.0, plan.length),
            spacing: Spacing::Uniform,
        })
        .collect();
    let schedule = Arc::new(Schedule::of(&streams, plan.seed).expect("a schedule"));
    let arrivals = schedule.arrivals().len() as u64;
    let bounds = Bounds { in_flight: std::num::NonZeroUsize::MIN, drain: Duration::from_secs(5) };
    let answer =
        |nth| if nth % 7 == 0 { Answer::Declined("ITEM_<UNKNOWN>".to_owned()) } else { Answer::Approved };
    let call = move |arrival: crate::open_loop::Arrival| async move { answer(arrival.nth) };
    let records = drive(schedule, about.operations.len(), bounds, call).await.expect("driven");
    let scrapes = [Scraped { at: Duration::ZERO, regions: vec![None, None, None] }];
    let mut findings = Findings { broken, ..Findings::default() };
    findings.count("doubled", 0);
    findings.ratios.push(("its_own", 1.5));
    gather(Gathered {
        about,
        plan: &plan,
        arrivals,
        records: &records,
        scrapes: &scrapes,
        findings,
        syncs: (1..=200).map(Duration::from_micros).collect(),
        load_average: ("0.10".to_owned(), "0.20".to_owned()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_read_back_as_it_was_written() {
    let outcome = outcome(Vec::new()).await;
    let folder = tempfile::tempdir().expect("a folder");
    outcome.save(folder.path()).expect("saved");
    let read = Outcome::load(&folder.path().join("mixed-day.json")).expect("read");
    for (name, ratio) in &outcome.ratios {
        // The last digit of a double may be lost on the way through text.
        assert!((read.ratios[name] - ratio).abs() < 1e-9, "{name}");
    }
    assert!(Outcome { ratios: outcome.ratios.clone(), ..read.clone() } == outcome, "{read:?}");
    for operation in &read.operations {
        let buckets: u64 = operation.latency_us.buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(buckets, operation.all(), "the histogram is there whole");
        let due: u64 = operation.seconds.iter().map(|second| second.due).sum();
        assert_eq!(due, operation.all());
    }
    let sync = &read.beside.fdatasync_us;
    assert_eq!((sync.count, sync.p50, sync.p99, sync.max), (200, 101, 199, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_another_schema_is_refused() {
    let outcome = Outcome { schema: "onecard.load/0".to_owned(), ..outcome(Vec::new()).await };
    let folder = tempfile::tempdir().expect("a folder");
    outcome.save(folder.path()).expect("saved");
    let refused = Outcome::load(&folder.path().join("mixed-day.json")).expect_err("another schema");
    assert!(refused.to_string().contains("has schema onecard.load/0"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ratios_say_how_latencies_stand_to_the_disk_and_no_rate() {
    let outcome = outcome(Vec::new()).await;
    assert!((outcome.ratios["its_own"] - 1.5).abs() < 1e-9);
    let approved = outcome.ratios["tap_in_approved_to_all"];
    assert!((approved - 25.0 / 30.0).abs() < 1e-9, "{approved}");
    let p50 = &outcome.operations[0].latency_us.quantiles.p50;
    assert!((outcome.ratios["tap_in_p50_to_sync_p50"] - *p50 as f64 / 101.0).abs() < 1e-9);
    assert!(!outcome.ratios.contains_key("tap_in_p99_to_p50"), "thirty calls have no tail");
    assert!(!outcome.ratios.contains_key("entries_to_batches"), "no gateway told its metrics");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_stands_alone_and_hides_nothing() {
    let page = page::page(&outcome(vec!["a <thing> broke".to_owned()]).await);
    for words in
        ["混合一日", "Mixed day", "a &lt;thing&gt; broke", "ITEM_&lt;UNKNOWN&gt;", "<svg", "fdatasync"]
    {
        assert!(page.contains(words), "{words}");
    }
    for foreign in ["http:", "https:", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!page.contains("every invariant holds"));
}
