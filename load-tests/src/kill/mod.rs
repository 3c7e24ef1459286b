//! `kill`: kills the gateway again and again while many gates tap, and then asks
//! for everything it ever acknowledged.
//!
//! The writers are what a vendor would build: a request id is made before it is
//! sent, a call without an answer is repeated under the same id until there is
//! one. So at the end every request was acknowledged, and each must be found, as
//! it was acknowledged, exactly once.
//!
//! `kill -9` takes the process and leaves the kernel's page cache; what power
//! loss does to a disk is tested in the store, on a disk that lies.

mod audit;
pub mod ledger;
mod writer;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use onecard::{
    client::{RetryPolicy, Terminal, TerminalOptions},
    limits,
    sandbox::people::HOMES,
    store::VerifyReport,
};

use self::{
    audit::Audit,
    ledger::Ledger,
    writer::{Crowd, Writer, Written},
};
use crate::{
    dice::Dice,
    fixture::{Beijing, Folder, Gateway},
    line::{GATE, SERVER_NAME},
    postgres::{Database, Engine},
    report::{Summary, Verdict, known_keys, table},
    require::Requirement,
    riders::{holders, riders},
};

/// Kills the gateway under load and counts what is left.
#[derive(Debug, Args)]
pub struct Kill {
    /// How often.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,

    /// What keeps journal and state. With a database, every other kill hits the
    /// database's server, and the gateway has to find it again by itself.
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,

    /// Gates that tap at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    writers: u16,

    /// Connections they share.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=32))]
    connections: u16,

    /// Chooses the moments; printed, so that a run can be repeated.
    #[arg(long)]
    seed: Option<u64>,

    /// Keeps keys, journal and logs in this folder instead of a passing one.
    #[arg(long)]
    data: Option<PathBuf>,

    /// A demand on a figure of the last line, for example 'doubled==0'.
    #[arg(long)]
    require: Vec<Requirement>,
}

/// Every key of the last line.
const KEYS: &[&str] = &[
    "kills",
    "acknowledged",
    "found",
    "doubled",
    "repeated",
    "resent",
    "journeys",
    "cards",
    "batches",
    "entries",
    "ledger",
    "seconds",
];

/// Cards of Beijing and of the others. One makes at most a hundred journeys here,
/// because that is what one question for them answers.
const HOME_CARDS: u32 = 600;
const FOREIGN_CARDS_EACH: u32 = 5_000;

/// From the first answer after a start to the kill.
const MOMENT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(700));

/// One kill in so many is followed by another while the gateway starts: recovery
/// must survive that too.
const STARTING: u64 = 6;
const STARTING_MOMENT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(400));

/// How long the writers go on after the last start.
const LAST_STRETCH: Duration = Duration::from_millis(500);

/// Writers that get no answer for this long after a start are not under load.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long somebody waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Sends once only: the writers repeat by themselves and count it.
    OfAGate,
    /// As long as the gateway works on a call: a card's whole history is no call
    /// that somebody waits for at a gate.
    OfAnAuditor,
}

impl Kill {
    /// Runs it and prints the verdict.
    ///
    /// # Errors
    /// When something cannot be started, or the gateway does not come back.
    pub fn run(self) -> anyhow::Result<std::process::ExitCode> {
        known_keys(&self.require, KEYS)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let verdict = runtime.block_on(self.kill_and_count())?;
        Ok(verdict.conclude(&self.require))
    }

    async fn kill_and_count(&self) -> anyhow::Result<Verdict> {
        let seed = self.seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        println!("seed {seed}; making keys and cards …");
        let home = holders(&HOMES[0], HOME_CARDS);
        let database = (self.engine == Engine::Postgres).then(|| Database::start(1));
        let beijing = Beijing::prepare(Folder::new(self.data.as_deref())?, &home, database)?;
        let vault = beijing.vault()?;
        let foreign = HOMES[1..].iter().flat_map(|home| holders(home, FOREIGN_CARDS_EACH)).collect();
        let crowd = Arc::new(Crowd::new(riders(home, &vault)?, riders(foreign, &vault)?));

        let started = Instant::now();
        let gateway = beijing.start_ready().await?;
        let terminals = self.connect(&beijing, Patience::OfAGate).await?;
        let writers: Vec<_> = (0..usize::from(self.writers))
            .map(|at| {
                let writer = Writer::new(terminals[at % terminals.len()].clone(), Arc::clone(&crowd));
                tokio::spawn(writer.write())
            })
            .collect();
        let mut ledger = Ledger::default();
        let killed = self.kill_often(&beijing, gateway, &crowd, &mut Dice::new(seed), &mut ledger).await;
        crowd.stop();
        let mut written = Written::default();
        for writer in writers {
            written.add(writer.await?);
        }
        let gateway = killed.with_context(|| format!("seed {seed}; {}", written.wrong.join("; ")))?;

        println!("{} taps acknowledged; asking for every one of them …", written.taps.len());
        drop(terminals);
        let auditors = self.connect(&beijing, Patience::OfAnAuditor).await?;
        let audit = Audit::of(&written, &auditors, beijing.journal_key()?).await?;
        drop(auditors);
        gateway.stop()?;
        let journal = match beijing.database() {
            None => audit::journal(&beijing.journal(), beijing.journal_key()?),
            Some(database) => audit::database(database, beijing.journal_key()?).await,
        };
        let verdict = self.verdict(&written, &audit, journal, &ledger, started.elapsed());
        if !verdict.broken.is_empty() {
            eprintln!("the seed was {seed}");
        }
        Ok(verdict)
    }

    async fn connect(&self, beijing: &Beijing, patience: Patience) -> anyhow::Result<Vec<Terminal>> {
        let read = |name: &str| {
            let path = beijing.pki().join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mut options = TerminalOptions::new(
            beijing.terminals().to_string(),
            SERVER_NAME,
            read("ca.pem")?,
            read(&format!("terminals/{GATE}.pem"))?,
            read(&format!("terminals/{GATE}.key"))?,
        );
        match patience {
            Patience::OfAGate => options.retry = RetryPolicy::never(),
            Patience::OfAnAuditor => options.deadline = limits::DEADLINE_MAX,
        }
        let mut terminals = Vec::new();
        for _ in 0..self.connections {
            terminals.push(Terminal::connect(&options).await?);
        }
        Ok(terminals)
    }

    /// Kills and starts until it is enough; the gateway runs at the end.
    async fn kill_often(
        &self,
        beijing: &Beijing,
        mut gateway: Gateway,
        crowd: &Crowd,
        dice: &mut Dice,
        ledger: &mut Ledger,
    ) -> anyhow::Result<Gateway> {
        let mut kills = 0;
        while kills < self.kills {
            under_load(crowd).await?;
            let moment = dice.between(MOMENT.0, MOMENT.1);
            tokio::time::sleep(moment).await;
            if let Some(database) = beijing.database()
                && kills % 2 == 1
            {
                let began = Instant::now();
                tokio::task::block_in_place(|| database.kill());
                kills += 1;
                under_load(crowd).await.with_context(|| format!("after kill {kills}, of the database"))?;
                ledger.found(database.ledger_sum_fen()?, kills);
                println!(
                    "kill {kills:>3}: {:>3} ms into the load, the database; answers again in {} ms; {} acknowledged so far",
                    moment.as_millis(),
                    began.elapsed().as_millis(),
                    crowd.acknowledged()
                );
                continue;
            }
            gateway.kill()?;
            kills += 1;
            let mut starting = String::new();
            while kills < self.kills && dice.below(STARTING) == 0 {
                let gateway = beijing.start()?;
                let moment = dice.between(STARTING_MOMENT.0, STARTING_MOMENT.1);
                tokio::time::sleep(moment).await;
                gateway.kill()?;
                kills += 1;
                starting += &format!(", {} ms into its start", moment.as_millis());
            }
            let began = Instant::now();
            gateway = beijing.start_ready().await.with_context(|| format!("after kill {kills}"))?;
            let ready_after = began.elapsed();
            ledger.look(gateway.operators(), kills).await?;
            if let Some(database) = beijing.database() {
                ledger.found(database.ledger_sum_fen()?, kills);
            }
            println!(
                "kill {kills:>3}: {:>3} ms into the load{starting}; ready again in {} ms; {} acknowledged so far",
                moment.as_millis(),
                ready_after.as_millis(),
                crowd.acknowledged()
            );
        }
        under_load(crowd).await?;
        tokio::time::sleep(LAST_STRETCH).await;
        Ok(gateway)
    }

    fn verdict(
        &self,
        written: &Written,
        audit: &Audit,
        journal: Result<VerifyReport, String>,
        ledger: &Ledger,
        took: Duration,
    ) -> Verdict {
        let acknowledged = written.taps.len() as u64;
        let (report, damage) = match journal {
            Ok(report) => (report, None),
            Err(what) => (VerifyReport::default(), Some(format!("the journal does not hold: {what}"))),
        };
        let mut broken = [written.wrong.as_slice(), audit.wrong.as_slice()].concat();
        let mut demand = |holds: bool, what: String| broken.extend((!holds).then_some(what));
        demand(
            audit.found == acknowledged,
            format!("{acknowledged} taps were acknowledged and {} are found as they were", audit.found),
        );
        demand(audit.doubled == 0, format!("{} effects happened twice", audit.doubled));
        demand(
            audit.lost_journeys == 0,
            format!("{} acknowledged exits left no journey", audit.lost_journeys),
        );
        demand(
            damage.is_some() || report.entries >= acknowledged,
            format!("the journal has {} entries for {acknowledged} taps", report.entries),
        );
        broken.extend(damage);
        broken.extend(ledger.wrong.iter().cloned());
        println!("\n{}", self.table(written, audit, &report));
        let summary = Summary::new("kill")
            .count("kills", u64::from(self.kills))
            .count("acknowledged", acknowledged)
            .count("found", audit.found)
            .count("doubled", audit.doubled)
            .count("repeated", written.repeated)
            .count("resent", audit.resent)
            .count("journeys", audit.journeys)
            .count("cards", audit.cards)
            .count("batches", report.batches)
            .count("entries", report.entries);
        let summary = match ledger.farthest_fen {
            Some(fen) => summary.measure("ledger", fen, 0),
            None => summary.word("ledger", "unknown"),
        };
        Verdict { summary: summary.measure("seconds", took.as_secs_f64(), 1), broken }
    }

    fn table(&self, written: &Written, audit: &Audit, report: &VerifyReport) -> String {
        let rows = [
            ("kills", u64::from(self.kills)),
            ("taps acknowledged", written.taps.len() as u64),
            ("found as acknowledged", audit.found),
            ("calls repeated, outcome unknown", written.repeated),
            ("requests sent once more", audit.resent),
            ("receipts checked", audit.receipts),
            ("cards", audit.cards),
            ("journeys found", audit.journeys),
            ("effects that happened twice", audit.doubled),
            ("journal: batches", report.batches),
            ("journal: entries", report.entries),
            ("journal: signatures checked", report.signatures_checked),
        ];
        table(&["what", "count"], &rows.map(|(what, count)| vec![what.to_owned(), count.to_string()]))
    }
}

/// Waits until somebody is answered, so that the kill hits work and not silence.
async fn under_load(crowd: &Crowd) -> anyhow::Result<()> {
    let (before, deadline) = (crowd.acknowledged(), Instant::now() + FIRST_ANSWER_MAX);
    while crowd.acknowledged() == before {
        anyhow::ensure!(!crowd.is_stopped(), "the writers gave up");
        anyhow::ensure!(Instant::now() < deadline, "nobody is answered after a start");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
