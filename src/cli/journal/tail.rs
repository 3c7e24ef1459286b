//! `onecard journal tail`: the newest entries, and with `-f` those to come.

use std::{
    io::{self, Write},
    path::PathBuf,
    thread,
    time::Duration,
};

use clap::Args;

use super::{
    Ended, damage,
    line::{self, Erased},
    look,
};
use crate::store::{Broken, Follower, OfflineEntry};

/// How often a journal that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The most entries that are kept while looking for the newest.
const NEWEST_MAX: u32 = 100_000;

/// Shows time (Shanghai), batch, transaction, step, status, method, who, postings.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// The journal's folder, for example .onecard/beijing/journal
    dir: PathBuf,
    /// How many of the newest entries
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=i64::from(NEWEST_MAX)))]
    lines: u32,
    /// Go on with those to come until interrupted
    #[arg(short, long)]
    follow: bool,
    /// JSON lines as `export` writes them
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub(super) fn run(&self) -> anyhow::Result<Ended> {
        let journal = look(&self.dir)?;
        match journal.tail(self.lines as usize) {
            Err(broken) => Ok(told(&broken)),
            Ok((newest, follower)) => match self.show(&newest) {
                Ok(()) if self.follow => self.go_on(follower),
                Ok(()) => Ok(Ended::Well),
                Err(error) => gone(error),
            },
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a command of its own, without a runtime, that waits for others"
    )]
    fn go_on(&self, mut follower: Follower) -> anyhow::Result<Ended> {
        loop {
            match follower.more() {
                Err(broken) => return Ok(told(&broken)),
                Ok(came) if came.is_empty() => thread::sleep(LOOK_EVERY),
                Ok(came) => {
                    if let Err(error) = self.show(&came) {
                        return gone(error);
                    }
                }
            }
        }
    }

    fn show(&self, entries: &[OfflineEntry]) -> io::Result<()> {
        let erased = Erased::beside(&self.dir)?;
        let mut out = io::stdout().lock();
        for entry in entries {
            if self.json {
                writeln!(out, "{}", line::json(entry, &erased))?;
            } else {
                writeln!(out, "{}", line::words(entry))?;
            }
        }
        out.flush()
    }
}

fn told(broken: &Broken) -> Ended {
    eprint!("{}", damage(broken));
    Ended::Badly
}

/// Who reads has read enough, or cannot be written to.
fn gone(error: io::Error) -> anyhow::Result<Ended> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(Ended::Well) } else { Err(error.into()) }
}
