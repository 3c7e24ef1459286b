//! From records and scrapes to an outcome.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use onecard::model::{Clock as _, SystemClock};

use super::{
    Beside, Build, Distribution, GatewayOutcome, GatewaySecond, Machine, OperationOutcome, Outcome, Planned,
    Quantiles, SCHEMA, SecondOutcome,
};
use crate::{
    metrics::{Samples, Scraped},
    open_loop::Record,
    scenario::{About, Findings, Plan},
    stage::REGIONS,
};

/// Everything that was seen of a run.
pub struct Gathered<'a> {
    pub about: &'static About,
    pub plan: &'a Plan,
    pub arrivals: u64,
    pub records: &'a [Record],
    pub scrapes: &'a [Scraped],
    pub findings: Findings,
    pub syncs: Vec<Duration>,
    pub load_average: (String, String),
}

/// Below this many calls an operation's tail is chance, and no ratio is made of it.
const CALLS_FOR_TAIL: u64 = 200;

/// Puts an outcome together.
pub fn gather(seen: Gathered<'_>) -> Outcome {
    let About { name, zh, en, told_zh, told_en, operations, .. } = seen.about;
    let operations: Vec<_> = operations
        .iter()
        .zip(seen.records)
        .map(|(operation, record)| OperationOutcome {
            name: operation.name.to_owned(),
            zh: operation.zh.to_owned(),
            en: operation.en.to_owned(),
            approved: record.tally.approved,
            declined: record.tally.declined,
            pending: record.tally.pending,
            refused: record.tally.refused,
            failed: record.tally.failed,
            late: record.late,
            words: record.tally.words.clone(),
            latency_us: distribution(&record.latency),
            service_us: distribution(&record.service),
            lag_us: quantiles(&record.lag),
            seconds: seconds(record),
        })
        .collect();
    let beside = Beside {
        load_average_before: seen.load_average.0,
        load_average_after: seen.load_average.1,
        fdatasync_us: of_durations(&seen.syncs),
    };
    let gateways: Vec<_> =
        REGIONS.iter().enumerate().map(|(place, region)| gateway(region, seen.scrapes, place)).collect();
    let mut ratios = ratios(&operations, &gateways, &beside);
    ratios.extend(seen.findings.ratios.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    Outcome {
        schema: SCHEMA.to_owned(),
        scenario: (*name).to_owned(),
        title_zh: (*zh).to_owned(),
        title_en: (*en).to_owned(),
        told_zh: (*told_zh).to_owned(),
        told_en: (*told_en).to_owned(),
        recorded_at: jiff::Timestamp::from_second(SystemClock.now_ms() / 1_000)
            .map_or_else(|_| "?".to_owned(), |at| at.to_string()),
        build: Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        },
        plan: Planned {
            rate: seen.plan.rate,
            seconds: seen.plan.length.as_secs(),
            seed: seen.plan.seed,
            spacing: format!("{:?}", seen.plan.spacing).to_lowercase(),
            arrivals: seen.arrivals,
            in_flight: seen.plan.in_flight as u64,
            connections: seen.plan.connections as u64,
        },
        machine: Machine::here(),
        beside,
        operations,
        gateways,
        broken: seen.findings.broken,
        figures: seen.findings.figures.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect(),
        ratios,
    }
}

/// Figures that do not depend on how fast the machine is as much as rates do:
/// latencies over what a sync of the same disk cost in the same minutes, tails over
/// medians, shares, entries over batches.
fn ratios(
    operations: &[OperationOutcome],
    gateways: &[GatewayOutcome],
    beside: &Beside,
) -> BTreeMap<String, f64> {
    let mut ratios = BTreeMap::new();
    let sync = &beside.fdatasync_us;
    for operation in operations.iter().filter(|operation| operation.all() > 0) {
        let (name, took) = (&operation.name, &operation.latency_us.quantiles);
        let mut add = |what: &str, of: u64, to: u64| {
            if to > 0 {
                ratios.insert(format!("{name}_{what}"), of as f64 / to as f64);
            }
        };
        add("approved_to_all", operation.approved, operation.all());
        add("p50_to_sync_p50", took.p50, sync.p50);
        if operation.all() >= CALLS_FOR_TAIL {
            add("p99_to_sync_p99", took.p99, sync.p99);
            add("p99_to_p50", took.p99, took.p50);
        }
    }
    let sum = |of: fn(&GatewayOutcome) -> u64| gateways.iter().map(of).sum::<u64>();
    let (entries, batches) = (sum(|gateway| gateway.entries), sum(|gateway| gateway.batches));
    if batches > 0 {
        ratios.insert("entries_to_batches".to_owned(), entries as f64 / batches as f64);
    }
    ratios
}

fn seconds(record: &Record) -> Vec<SecondOutcome> {
    record
        .seconds
        .iter()
        .map(|second| SecondOutcome {
            due: second.due,
            answered: second.answered,
            p50: second.latency.value_at_quantile(0.5),
            p99: second.latency.value_at_quantile(0.99),
            max: second.latency.max(),
        })
        .collect()
}

fn quantiles(of: &Histogram<u64>) -> Quantiles {
    Quantiles {
        count: of.len(),
        p50: of.value_at_quantile(0.5),
        p90: of.value_at_quantile(0.9),
        p99: of.value_at_quantile(0.99),
        p999: of.value_at_quantile(0.999),
        max: of.max(),
    }
}

fn distribution(of: &Histogram<u64>) -> Distribution {
    let buckets = of.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()));
    Distribution { quantiles: quantiles(of), buckets: buckets.collect() }
}

fn of_durations(durations: &[Duration]) -> Quantiles {
    let mut sorted: Vec<u64> =
        durations.iter().map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).collect();
    sorted.sort_unstable();
    let at = |thousandths: usize| sorted.get(sorted.len() * thousandths / 1_000).or(sorted.last()).copied();
    Quantiles {
        count: sorted.len() as u64,
        p50: at(500).unwrap_or(0),
        p90: at(900).unwrap_or(0),
        p99: at(990).unwrap_or(0),
        p999: at(999).unwrap_or(0),
        max: sorted.last().copied().unwrap_or(0),
    }
}

fn gateway(region: &str, scrapes: &[Scraped], place: usize) -> GatewayOutcome {
    let told: Vec<(Duration, &Samples)> =
        scrapes.iter().filter_map(|scrape| Some((scrape.at, scrape.regions.get(place)?.as_ref()?))).collect();
    let seconds = told.windows(2).map(|pair| between(pair[0], pair[1])).collect::<Vec<_>>();
    let sum = |of: fn(&GatewaySecond) -> u64| seconds.iter().map(of).sum();
    GatewayOutcome {
        region: region.to_owned(),
        entries: sum(|second| second.entries),
        batches: sum(|second| second.batches),
        seconds,
    }
}

fn between(first: (Duration, &Samples), then: (Duration, &Samples)) -> GatewaySecond {
    let grown = |name: &str| (then.1.sum(name) - first.1.sum(name)).max(0.0);
    let entries = grown("onecard_commit_batch_entries_sum");
    let batches = grown("onecard_commit_batch_entries_count");
    let commits = grown("onecard_commit_seconds_count");
    let mean = |sum: f64, count: f64| (count > 0.0).then(|| sum / count);
    GatewaySecond {
        at_s: then.0.as_secs_f64(),
        entries: entries as u64,
        batches: batches as u64,
        batch: mean(entries, batches),
        commit_ms: mean(grown("onecard_commit_seconds_sum") * 1_000.0, commits),
        index_lag: then.1.sum("onecard_index_lag_entries") as u64,
    }
}
