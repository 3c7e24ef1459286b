//! `growth`: whether a gateway stays as fast, and comes back as soon, when its region has
//! millions of cards and of past transactions.
//!
//! Two gateways on one machine take turns: one over a small state, one over a large.
//! Both get the same taps, of cards drawn at random from all they have, so that the
//! large one finds next to nothing in its caches.

mod fill;
mod population;
mod restart;
mod standings;
mod state;

use std::{path::PathBuf, time::Duration};

use clap::Args;
pub use fill::Fill;

use self::{
    restart::{Restart, restart},
    state::{State, quiet},
};
use crate::{
    fixture::{Folder, Gateway},
    headline::{
        drive::{Measured, Shape, Supply, Target, drive},
        figures::median,
    },
    kill::ledger::Ledger,
    line::Identity,
    process,
    report::{Summary, Verdict, known_keys, table},
    require::Requirement,
    riders::Way,
};

/// Measures a gateway over a large state against one over a small.
#[derive(Debug, Args)]
pub struct Growth {
    /// Cards in the large state.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1_000..=40_000_000))]
    cards: u32,

    /// Past transactions in the large state.
    #[arg(long, default_value_t = 10_000_000)]
    transactions: u64,

    /// Cards, and past transactions, in the small state.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(500..=1_000_000))]
    small: u32,

    /// Rounds; figures are their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Measured seconds of each state in each round.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// How often the large one is killed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    kills: u32,

    /// Connections at once; a gateway takes 32 of one terminal.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=25))]
    connections: u16,

    /// Calls in flight on each connection.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=128))]
    in_flight: u16,

    /// Keeps both states in this folder; the next run measures them at once.
    #[arg(long)]
    data: Option<PathBuf>,

    /// Fills the states and measures nothing.
    #[arg(long)]
    fill_only: bool,

    /// A demand on a figure of the last line, for example 'growth_ratio>=0.85'.
    #[arg(long)]
    require: Vec<Requirement>,
}

/// Every key of the last line.
const KEYS: &[&str] = &[
    "cards",
    "transactions",
    "small_per_s",
    "large_per_s",
    "growth_ratio",
    "restart_s",
    "rss_mb",
    "disk_mb",
];

const WARM_UP: Duration = Duration::from_millis(700);

/// Taps a second that are made ready for a state's first stretch, and beyond what the
/// last stretch used.
const FIRST_GUESS_PER_SECOND: f64 = 25_000.0;
const SPARE: f64 = 1.3;

/// Syncs timed before each round.
const SYNCS: usize = 100;

/// A state with its running gateway.
struct Side {
    name: &'static str,
    state: State,
    gateway: Gateway,
    guess: f64,
}

impl Growth {
    /// Runs it and prints the verdict.
    ///
    /// # Errors
    /// When a state cannot be filled or measured.
    pub fn run(self) -> anyhow::Result<std::process::ExitCode> {
        known_keys(&self.require, KEYS)?;
        let folder = Folder::new(self.data.as_deref())?;
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        let small = State::filled(folder.path().join("small"), self.small, self.small.into(), seed)?;
        let large = State::filled(folder.path().join("large"), self.cards, self.transactions, seed)?;
        if self.fill_only {
            println!("{} cards, {} transactions", large.cards(), large.transactions());
            return Ok(std::process::ExitCode::SUCCESS);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let verdict = runtime.block_on(self.measure(small, large))?;
        Ok(verdict.conclude(&self.require))
    }

    async fn measure(&self, small: State, large: State) -> anyhow::Result<Verdict> {
        let (cards, transactions) = (large.cards(), large.transactions());
        println!("{cards} cards and {transactions} transactions against {}", small.cards());
        let mut sides = [side("small", small).await?, side("large", large).await?];
        let mut measured: Vec<[Measured; 2]> = Vec::new();
        let mut syncs = Vec::new();
        let load_before = process::load_average();
        for round in 0..self.rounds {
            syncs.extend(process::sync_times(sides[1].state.beijing.data(), SYNCS)?);
            // Who begins changes with every round.
            let mut pair = if round % 2 == 0 {
                let small = self.stretch(round, &mut sides[0]).await?;
                [Some(small), Some(self.stretch(round, &mut sides[1]).await?)]
            } else {
                let large = self.stretch(round, &mut sides[1]).await?;
                [Some(self.stretch(round, &mut sides[0]).await?), Some(large)]
            };
            if let (Some(small), Some(large)) = (pair[0].take(), pair[1].take()) {
                measured.push([small, large]);
            }
        }
        let [small, mut large] = sides;
        small.gateway.stop()?;
        small.state.close()?;
        let rss_mb = process::resident_mib(large.gateway.pid())?;

        let (mut ledger, mut restarts) = (Ledger::default(), Vec::new());
        for kill in 1..=self.kills {
            let (gateway, restarted) = restart(&mut large.state, large.gateway, &mut ledger, kill).await?;
            large.gateway = gateway;
            println!(
                "kill {kill:>2}: {} acknowledged; ready after {:.2} s, a tap answered after {:.2} s; {} of {} last taps found",
                restarted.acknowledged,
                restarted.ready.as_secs_f64(),
                restarted.answered.as_secs_f64(),
                restarted.found,
                restarted.asked,
            );
            restarts.push(restarted);
        }
        large.gateway.stop()?;
        large.state.close()?;
        let disk_mb = large.state.disk_bytes()? >> 20;

        println!("\n{}", figures(&measured));
        println!("{}", beside(&mut syncs, &load_before));
        let each = |figure: fn(&[Measured; 2]) -> f64| {
            median(&measured.iter().map(figure).collect::<Vec<_>>()).unwrap_or_default()
        };
        let worst = restarts.iter().map(|restart| restart.answered.max(restart.ready)).max();
        let summary = Summary::new("growth")
            .count("cards", cards.into())
            .count("transactions", transactions)
            .measure("small_per_s", each(|[small, _]| small.per_second()), 0)
            .measure("large_per_s", each(|[_, large]| large.per_second()), 0)
            .measure("growth_ratio", each(|[small, large]| large.per_second() / small.per_second()), 3)
            .measure("restart_s", worst.unwrap_or_default().as_secs_f64(), 2)
            .count("rss_mb", rss_mb)
            .count("disk_mb", disk_mb);
        Ok(Verdict { summary, broken: broken(&measured, &restarts, &ledger) })
    }

    async fn stretch(&self, round: u32, side: &mut Side) -> anyhow::Result<Measured> {
        let (connections, in_flight) = (usize::from(self.connections), usize::from(self.in_flight));
        let shape = Shape { connections, in_flight, way: Way::Alone };
        let length = Duration::from_secs(self.seconds);
        let taps = side.guess * (WARM_UP + length).as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands of taps")]
        let each = taps as usize / shape.callers() + 1;
        let (mut numbers, mut magazines) = (Vec::new(), Vec::new());
        for hand in side.state.hands(shape.callers(), each)? {
            numbers.push(hand.numbers);
            magazines.push(hand.magazine);
        }
        quiet(side.gateway.pid()).await?;
        let (at, pid) = (side.state.beijing.terminals(), side.gateway.pid());
        let target = Target { at, pid, supply: Supply::Once, database: None };
        let identities = [Identity::of_gate(&side.state.beijing.pki())?];
        let (measured, magazines) = drive(&target, &identities, shape, magazines, WARM_UP, length).await?;
        for (numbers, magazine) in numbers.into_iter().zip(magazines) {
            side.state.put_back(population::Hand { numbers, magazine, lost: None });
        }
        side.guess = measured.per_second() * SPARE;
        println!(
            "round {:>2}  {:<6} {:>9.0} taps/s  p50 {:>6} µs  p99 {:>7} µs  server CPU {:>5.1} µs  {} MiB",
            round + 1,
            side.name,
            measured.per_second(),
            measured.latency.value_at_quantile(0.5),
            measured.latency.value_at_quantile(0.99),
            measured.cpu_micros(),
            measured.resident_mib,
        );
        Ok(measured)
    }
}

async fn side(name: &'static str, state: State) -> anyhow::Result<Side> {
    let began = std::time::Instant::now();
    state.open()?;
    let gateway = state.beijing.start_ready().await?;
    println!("{name}: ready after {:.2} s", began.elapsed().as_secs_f64());
    Ok(Side { name, state, gateway, guess: FIRST_GUESS_PER_SECOND })
}

fn figures(measured: &[[Measured; 2]]) -> String {
    let row = |at: usize, name: &str| {
        let each = |figure: fn(&Measured) -> f64| {
            let figures: Vec<f64> = measured.iter().map(|pair| figure(&pair[at])).collect();
            median(&figures).unwrap_or_default()
        };
        #[allow(clippy::cast_precision_loss, reason = "microseconds of a call")]
        let quantile = |of: &Measured, quantile| of.latency.value_at_quantile(quantile) as f64;
        let p = |at_quantile: f64| {
            let figures: Vec<f64> = measured.iter().map(|pair| quantile(&pair[at], at_quantile)).collect();
            format!("{:.0}", median(&figures).unwrap_or_default())
        };
        vec![
            name.to_owned(),
            format!("{:.0}", each(Measured::per_second)),
            p(0.5),
            p(0.99),
            p(0.999),
            format!("{:.1}", each(Measured::cpu_micros)),
            measured.last().map_or(0, |pair| pair[at].resident_mib).to_string(),
        ]
    };
    let heads =
        ["state", "taps/s (median)", "p50 µs", "p99 µs", "p999 µs", "server CPU µs/tap", "server MiB"];
    table(&heads, &[row(0, "small"), row(1, "large")])
}

fn beside(syncs: &mut [Duration], load_before: &str) -> String {
    syncs.sort_unstable();
    let at = |share: usize| syncs.get(syncs.len() * share / 100).map_or(0, Duration::as_micros);
    format!(
        "fdatasync of 4 KiB: p50 {} µs, p99 {} µs; load average {load_before} before, {} after",
        at(50),
        at(99),
        process::load_average()
    )
}

fn broken(measured: &[[Measured; 2]], restarts: &[Restart], ledger: &Ledger) -> Vec<String> {
    let mut broken = ledger.wrong.clone();
    for error in measured.iter().flatten().filter_map(|measured| measured.first_error.as_ref()) {
        broken.push(format!("a tap failed: {error}"));
    }
    for restart in restarts.iter().filter(|restart| restart.found < restart.asked) {
        broken.push(format!(
            "of {} taps acknowledged last, {} were found after a kill",
            restart.asked, restart.found
        ));
    }
    broken
}
