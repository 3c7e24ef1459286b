//! `onecard journal export`: entries as JSON lines.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use jiff::{Timestamp, civil::Date};

use super::{
    Ended, damage,
    line::{self, Erased},
    look, tell_end,
};
use crate::{
    identity::business_day_start_ms,
    model::{Millis, ParticipantId, Scene},
    store::{Between, OfflineEntry},
};

/// Writes a line an entry, in the order of the journal. What is sealed, and what
/// names a holder within the region, appears as a hash or not at all.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The journal's folder, for example .onecard/beijing/journal
    dir: PathBuf,
    /// Committed at or after: a business date (2026-09-21, Shanghai time) or an
    /// instant (2026-09-21T08:00:00+08:00)
    #[arg(long, value_parser = instant)]
    from: Option<Millis>,
    /// Committed before: a business date or an instant
    #[arg(long, value_parser = instant)]
    to: Option<Millis>,
    /// Only this scene, for example transit
    #[arg(long, value_parser = scene)]
    scene: Option<Scene>,
    /// Only this participant, for example bj-metro
    #[arg(long)]
    participant: Option<ParticipantId>,
    /// The file to write; standard output where none is given
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(&self) -> anyhow::Result<Ended> {
        let journal = look(&self.dir)?;
        let mut out: Box<dyn Write> = match &self.out {
            None => Box::new(io::stdout().lock()),
            Some(path) => {
                let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
                Box::new(BufWriter::new(file))
            }
        };
        let erased = Erased::beside(&self.dir).context("the list of erased holders cannot be read")?;
        let mut written = Ok(());
        let between = Between { from_ms: self.from, until_ms: self.to };
        let read = journal.entries(between, &mut |entry| {
            if self.wants(&entry) && written.is_ok() {
                written = writeln!(out, "{}", line::json(&entry, &erased));
            }
        });
        match written.and_then(|()| out.flush()) {
            // Who reads has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Ended::Well),
            written => written.context("the entries cannot be written")?,
        }
        match read {
            Ok(end) => {
                tell_end(&end);
                Ok(Ended::Well)
            }
            Err(broken) => {
                eprint!("{}", damage(&broken));
                Ok(Ended::Badly)
            }
        }
    }

    fn wants(&self, read: &OfflineEntry) -> bool {
        self.scene.is_none_or(|scene| scene.name() == read.entry.scene)
            && self
                .participant
                .as_ref()
                .is_none_or(|participant| participant.as_str() == read.entry.participant)
    }
}

fn scene(name: &str) -> Result<Scene, String> {
    Scene::from_name(name).ok_or_else(|| "no scene has this name; one is transit".to_owned())
}

/// A business date begins at midnight in Shanghai.
pub(in crate::cli) fn instant(text: &str) -> Result<Millis, String> {
    if let Ok(day) = text.parse::<Date>()
        && text.len() == 10
    {
        return Ok(business_day_start_ms(day));
    }
    text.parse::<Timestamp>().map(|at| at.as_millisecond()).map_err(|_| {
        "give a date such as 2026-09-21 or an instant such as 2026-09-21T08:00:00+08:00".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_business_dates_or_instants() {
        assert_eq!(instant("1970-01-02"), Ok(16 * 3_600 * 1_000));
        assert_eq!(instant("1970-01-01T00:00:01Z"), Ok(1_000));
        assert_eq!(instant("1970-01-01T08:00:01+08:00"), Ok(1_000));
        for wrong in ["", "yesterday", "2026-13-01", "2026-09-21T08:00:00"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }
}
