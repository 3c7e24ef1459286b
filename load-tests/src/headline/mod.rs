//! `headline`: how much of the server's speed is left when every tap is really
//! done. The contenders take turns in every round; the servers behind them are
//! processes of their own:
//!
//! * `tonic`: plain tonic with mutual TLS, answering with a canned message;
//! * `echo`: our listener and edge, the same canned message, no work;
//! * `unary`: the gateway: MAC checked, state read and written, durable, receipt
//!   made;
//! * `echo-stream` and `stream`: echo and gateway again, with as many taps at once,
//!   each on a stream and a connection of its own.
//!
//! With `--engine postgres` the gateway keeps its journal in a database and the
//! contenders are another three:
//!
//! * `plain-16` and `plain-64`: so many connections to a database of the same schema on
//!   the same server, each writing one tap a transaction;
//! * `unary`: the gateway.
//!
//! Where `unary` was measured, a stretch follows at half of its speed, open loop: how
//! long a tap takes while there is room.
//!
//! Figures of a shared machine drift; so contenders are interleaved, ratios are
//! taken within a round, and medians are over rounds.

mod contenders;
pub mod drive;
mod echo;
pub mod figures;
mod half;
mod plain;
mod upload;

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
pub use echo::Echo;

use self::{
    contenders::Contenders,
    drive::{Measured, Shape, drive},
    figures::Figures,
};
use crate::{
    postgres::Engine,
    process,
    report::{Verdict, known_keys},
    require::Requirement,
    riders::Way,
};

/// Measures the gateway against servers that do no work, or, on PostgreSQL, against
/// one commit a request.
#[derive(Debug, Args)]
pub struct Headline {
    /// What keeps journal and state, and with it who the gateway is measured against.
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,

    /// Rounds; figures are their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Measured seconds of each contender in each round.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Connections at once; a gateway takes 32 of one terminal.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=32))]
    connections: u16,

    /// Calls in flight on each connection.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=128))]
    in_flight: u16,

    /// Measures this contender alone.
    #[arg(long)]
    only: Option<Contender>,

    /// Measured seconds of `upload`, which has one stretch for itself after the rounds;
    /// 0 leaves it out.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3600))]
    upload_seconds: u64,

    /// Threads of the client.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    client_threads: u16,

    /// Keeps keys, journal and logs in this folder instead of a passing one.
    #[arg(long)]
    data: Option<PathBuf>,

    /// A demand on a figure of the last line, for example 'unary_ratio>=0.5'.
    #[arg(long)]
    require: Vec<Requirement>,
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Contender {
    Tonic,
    Echo,
    Unary,
    EchoStream,
    Stream,
    Plain16,
    Plain64,
    /// Uploads of 100 taps; not in the rounds.
    Upload,
}

impl Contender {
    /// Those that take turns, on either engine.
    const ALL: [Contender; 7] = [
        Contender::Tonic,
        Contender::Echo,
        Contender::Unary,
        Contender::EchoStream,
        Contender::Stream,
        Contender::Plain16,
        Contender::Plain64,
    ];

    /// Who takes turns with a gateway on this engine.
    const fn with(engine: Engine) -> &'static [Contender] {
        match engine {
            Engine::Embedded => &[
                Contender::Tonic,
                Contender::Echo,
                Contender::Unary,
                Contender::EchoStream,
                Contender::Stream,
            ],
            Engine::Postgres => &[Contender::Plain16, Contender::Unary, Contender::Plain64],
        }
    }

    /// The name in tables and keys.
    pub const fn name(self) -> &'static str {
        match self {
            Contender::Tonic => "tonic",
            Contender::Echo => "echo",
            Contender::Unary => "unary",
            Contender::EchoStream => "echo-stream",
            Contender::Stream => "stream",
            Contender::Plain16 => "plain-16",
            Contender::Plain64 => "plain-64",
            Contender::Upload => "upload",
        }
    }
}

/// Before each measured stretch: connections open, caches fill.
const WARM_UP: Duration = Duration::from_millis(700);

/// The gateway's very first stretch is not measured: it gives the canned answer.
const FIRST_STRETCH: Duration = Duration::from_secs(2);

/// Syncs timed before each round.
const SYNCS: usize = 100;

impl Headline {
    /// Runs it and prints the verdict.
    ///
    /// # Errors
    /// When something cannot be started or measured.
    pub fn run(self) -> anyhow::Result<std::process::ExitCode> {
        known_keys(&self.require, figures::keys(self.engine))?;
        if let Some(only) = self.only
            && !Contender::with(self.engine).contains(&only)
            && (only, self.engine) != (Contender::Upload, Engine::Embedded)
        {
            anyhow::bail!("{} is not measured on this engine", only.name());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(usize::from(self.client_threads))
            .enable_all()
            .build()?;
        let verdict = runtime.block_on(self.measure())?;
        Ok(verdict.conclude(&self.require))
    }

    async fn measure(&self) -> anyhow::Result<Verdict> {
        let mut figures = Figures::default();
        let mut broken = Vec::new();
        if self.only != Some(Contender::Upload) {
            broken = self.take_turns(&mut figures).await?;
        }
        let uploads = self.engine == Engine::Embedded && self.upload_seconds > 0;
        if uploads && self.only.is_none_or(|only| only == Contender::Upload) {
            figures.upload = Some(upload::measure(self).await?);
            println!("{}", figures.of_upload());
        }
        broken.extend(figures.broken());
        Ok(Verdict { summary: figures.summary(self.engine), broken })
    }

    /// Measures those that take turns; what does not hold of what was written.
    async fn take_turns(&self, figures: &mut Figures) -> anyhow::Result<Vec<String>> {
        let (connections, in_flight) = (usize::from(self.connections), usize::from(self.in_flight));
        let shape = Shape { connections, in_flight, way: Way::Alone };
        let length = Duration::from_secs(self.seconds);
        println!("making keys, cards and servers …");
        let mut contenders = Contenders::start(self, shape).await?;
        let load_before = process::load_average();
        for round in 0..self.rounds {
            figures.syncs.extend(process::sync_times(&contenders.disk(), SYNCS)?);
            figures.begin_round();
            for contender in turn(round, self.engine, self.only) {
                let measured = contenders.measure(contender, WARM_UP, length).await?;
                print_line(round, contender, &measured);
                figures.add(contender, measured);
            }
        }
        if let Some(per_second) = figures.half_speed().filter(|_| self.engine == Engine::Embedded) {
            figures.syncs.extend(process::sync_times(&contenders.disk(), SYNCS)?);
            figures.half = Some(contenders.half_load(per_second, length).await?);
        }
        let broken = contenders.stop()?;
        println!("\n{}", figures.table());
        println!("{}", figures.beside(&load_before, &process::load_average()));
        Ok(broken)
    }
}

/// Who comes when: the order moves on with every round, so that nobody always
/// follows the same neighbour.
fn turn(round: u32, engine: Engine, only: Option<Contender>) -> Vec<Contender> {
    let mut order = Contender::with(engine).to_vec();
    let first = round as usize % order.len();
    order.rotate_left(first);
    order.into_iter().filter(|contender| only.is_none_or(|only| only == *contender)).collect()
}

fn print_line(round: u32, contender: Contender, measured: &Measured) {
    println!(
        "round {:>2}  {:<11} {:>9.0} calls/s  p50 {:>6} µs  p99 {:>6} µs  server CPU {:>5.1} µs",
        round + 1,
        contender.name(),
        measured.per_second(),
        measured.latency.value_at_quantile(0.5),
        measured.latency.value_at_quantile(0.99),
        measured.cpu_micros(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_moves_on_and_everybody_has_a_turn() {
        use Contender::{Echo, EchoStream, Plain16, Plain64, Stream, Tonic, Unary};
        use Engine::{Embedded, Postgres};
        assert_eq!(turn(0, Embedded, None), [Tonic, Echo, Unary, EchoStream, Stream]);
        assert_eq!(turn(1, Embedded, None), [Echo, Unary, EchoStream, Stream, Tonic]);
        assert_eq!(turn(7, Embedded, None), [Unary, EchoStream, Stream, Tonic, Echo]);
        assert_eq!(turn(1, Embedded, Some(Unary)), [Unary]);
        assert_eq!(turn(0, Postgres, None), [Plain16, Unary, Plain64]);
        assert_eq!(turn(4, Postgres, None), [Unary, Plain64, Plain16]);
    }
}
