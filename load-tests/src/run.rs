//! `run SCENARIO`: sets a town up, plays the scenario at the rate it is due, holds
//! the answers against the promises, and leaves a JSON result and a page.

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, builder::PossibleValuesParser};

use crate::{
    fixture::Folder,
    metrics::Watching,
    open_loop::{Arrival, Bounds, Spacing, drive},
    outcome::{Gathered, Outcome, gather},
    process,
    report::{Summary, Verdict, known_keys, table},
    require::Requirement,
    scenario::{self, About, Plan, Scenario},
    stage::Stage,
};

/// Plays a scenario at its rate and says how long callers waited.
#[derive(Debug, Args)]
pub struct Run {
    /// Which.
    #[arg(value_parser = PossibleValuesParser::new(scenario::ALL.iter().map(|scenario| scenario.about().name)))]
    scenario: String,

    /// Arrivals a second at the scenario's peak, instead of its own.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    rate: Option<u32>,

    /// Length of the run in seconds, instead of the scenario's own; a holder's session at
    /// a library lasts ten minutes, so a run lasts eight at most.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=480))]
    seconds: Option<u64>,

    /// Makes the schedule; printed, so that a run can be repeated.
    #[arg(long)]
    seed: Option<u64>,

    /// How arrivals lie between each other.
    #[arg(long, value_enum, default_value_t = Spacing::Poisson)]
    spacing: Spacing,

    /// Writes SCENARIO.json and SCENARIO.html into this folder.
    #[arg(long)]
    out: Option<PathBuf>,

    /// Calls under way at once; further ones wait, and their wait counts.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,

    /// Connections of each terminal; a gateway takes 32 of one.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=12))]
    connections: u16,

    /// Keeps keys, journals and logs in this folder instead of a passing one.
    #[arg(long)]
    data: Option<PathBuf>,

    /// A demand on a figure of the last line, for example 'tap_in_p99_ms<=20'.
    #[arg(long)]
    require: Vec<Requirement>,
}

/// Keys of every scenario's last line.
const KEYS: [&str; 10] = [
    "arrivals",
    "approved",
    "declined",
    "pending",
    "refused",
    "failed",
    "late",
    "per_s",
    "batch",
    "sync_p99_ms",
];

/// Syncs measured before the run and after it, for each second of the run: a slow
/// disk takes some milliseconds for one, and a short run is not to be a long one.
const SYNCS_PER_SECOND: usize = 10;
const SYNCS_MAX: usize = 200;

/// How long the last calls are waited for: longer than a request is repeated.
const DRAIN: Duration = Duration::from_secs(30);

impl Run {
    /// Runs it and prints the verdict.
    ///
    /// # Errors
    /// When something cannot be started or written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let scenario = scenario::named(&self.scenario).expect("the parser takes names of scenarios only");
        let keys = keys(scenario.about());
        known_keys(&self.require, &keys.iter().map(String::as_str).collect::<Vec<_>>())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.play(scenario))?;
        if let Some(out) = &self.out {
            outcome.save(out)?;
            println!("written to {}", out.join(format!("{}.html", outcome.scenario)).display());
        }
        println!("\n{}", printed(&outcome));
        Ok(verdict(scenario.about(), outcome).conclude(&self.require))
    }

    async fn play(&self, scenario: &'static dyn Scenario) -> anyhow::Result<Outcome> {
        let about = scenario.about();
        let plan = self.plan(about);
        let schedule = Arc::new(scenario.schedule(&plan)?);
        println!(
            "{} {}: {} arrivals in {} s, {} a second at the peak; seed {}",
            about.zh,
            about.en,
            schedule.arrivals().len(),
            plan.length.as_secs(),
            plan.rate,
            plan.seed
        );
        println!("making keys and cards, starting three gateways …");
        let cards = u32::try_from(scenario.cards_each(&plan, &schedule))?;
        let mut stage = Stage::set(Folder::new(self.data.as_deref())?, cards).await?;
        let play = scenario.open(&stage, &plan, &schedule).await?;

        println!("playing …");
        let rounds = (plan.length.as_secs() as usize * SYNCS_PER_SECOND).min(SYNCS_MAX);
        let mut syncs = process::sync_times(stage.folder(), rounds)?;
        let load_before = process::load_average();
        let watching = Watching::begin(stage.operators().to_vec());
        let bounds = Bounds {
            in_flight: NonZeroUsize::new(plan.in_flight).unwrap_or(NonZeroUsize::MIN),
            drain: DRAIN,
        };
        let call = {
            let play = Arc::clone(&play);
            move |arrival: Arrival| Arc::clone(&play).call(arrival)
        };
        let driven = drive(Arc::clone(&schedule), about.operations.len(), bounds, call).await;
        let scrapes = watching.end().await?;
        if let Some(region) = stage.fallen() {
            anyhow::bail!("the gateway of {region} ended during the run; see its log (--data DIR keeps it)");
        }
        let records = driven?;
        let load_after = process::load_average();
        syncs.extend(process::sync_times(stage.folder(), rounds)?);

        println!("asking afterwards …");
        let findings = play.audit(&stage, &records).await?;
        drop(play);
        stage.stop().await?;
        Ok(gather(Gathered {
            about,
            plan: &plan,
            arrivals: schedule.arrivals().len() as u64,
            records: &records,
            scrapes: &scrapes,
            findings,
            syncs,
            load_average: (load_before, load_after),
        }))
    }

    fn plan(&self, about: &About) -> Plan {
        Plan {
            rate: self.rate.map_or(about.rate, f64::from),
            length: Duration::from_secs(self.seconds.unwrap_or(about.seconds)),
            seed: self.seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0),
            spacing: self.spacing,
            connections: usize::from(self.connections),
            in_flight: usize::from(self.in_flight),
        }
    }
}

/// Everything that may be demanded of a scenario.
fn keys(about: &About) -> Vec<String> {
    let of_operation = |name: &str| ["p50_ms", "p99_ms"].map(|what| format!("{name}_{what}"));
    KEYS.into_iter()
        .map(str::to_owned)
        .chain(about.operations.iter().flat_map(|operation| of_operation(operation.name)))
        .chain(about.figures.iter().map(|figure| (*figure).to_owned()))
        .collect()
}

fn verdict(about: &'static About, outcome: Outcome) -> Verdict {
    let sum =
        |of: fn(&crate::outcome::OperationOutcome) -> u64| outcome.operations.iter().map(of).sum::<u64>();
    let answered = sum(crate::outcome::OperationOutcome::all);
    let mut summary = Summary::new(about.name)
        .count("arrivals", outcome.plan.arrivals)
        .count("approved", sum(|operation| operation.approved))
        .count("declined", sum(|operation| operation.declined))
        .count("pending", sum(|operation| operation.pending))
        .count("refused", sum(|operation| operation.refused))
        .count("failed", sum(|operation| operation.failed))
        .count("late", sum(|operation| operation.late))
        .measure("per_s", answered as f64 / outcome.plan.seconds as f64, 1)
        .measure("batch", outcome.ratios.get("entries_to_batches").copied().unwrap_or(0.0), 2)
        .measure("sync_p99_ms", outcome.beside.fdatasync_us.p99 as f64 / 1_000.0, 2);
    for operation in outcome.operations.iter().filter(|operation| operation.all() > 0) {
        let took = &operation.latency_us.quantiles;
        for (what, micros) in [("p50_ms", took.p50), ("p99_ms", took.p99)] {
            summary = summary.measure(format!("{}_{what}", operation.name), micros as f64 / 1_000.0, 2);
        }
    }
    for figure in about.figures {
        if let Some(value) = outcome.figures.get(*figure) {
            summary = summary.measure(*figure, *value, 0);
        }
    }
    let mut broken = outcome.broken;
    if answered != outcome.plan.arrivals {
        broken.push(format!("{} calls were due and {answered} ended", outcome.plan.arrivals));
    }
    Verdict { summary, broken }
}

/// The table for people.
fn printed(outcome: &Outcome) -> String {
    const HEADS: [&str; 10] = [
        "operation",
        "calls",
        "approved",
        "pending",
        "declined",
        "failed",
        "late",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
    ];
    let rows: Vec<_> = outcome
        .operations
        .iter()
        .map(|operation| {
            let ms = |micros: u64| format!("{:.2}", micros as f64 / 1_000.0);
            let took = &operation.latency_us.quantiles;
            vec![
                operation.name.clone(),
                operation.all().to_string(),
                operation.approved.to_string(),
                operation.pending.to_string(),
                (operation.declined + operation.refused).to_string(),
                operation.failed.to_string(),
                operation.late.to_string(),
                ms(took.p50),
                ms(took.p99),
                ms(took.p999),
            ]
        })
        .collect();
    let mut text = table(&HEADS, &rows);
    for operation in &outcome.operations {
        for (word, count) in &operation.words {
            text += &format!("{}: {word} {count} times\n", operation.name);
        }
    }
    let sync = &outcome.beside.fdatasync_us;
    text + &format!(
        "a plain fdatasync of 4 KiB: p50 {} µs, p99 {} µs; load average {} before, {} after",
        sync.p50, sync.p99, outcome.beside.load_average_before, outcome.beside.load_average_after
    )
}
