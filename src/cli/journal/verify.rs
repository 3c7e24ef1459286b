//! `onecard journal verify`: the strict check.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Ended, KeyFrom, damage, line};
use crate::store::{Unfinished, VerifyReport, verify_dir, verify_killed};

/// Exit status 0 when the chain is intact, 1 when it is not, 2 when it could not
/// be looked at. While the gateway runs, what it is writing is the end.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The journal's folder, for example .onecard/beijing/journal
    dir: PathBuf,
    /// The gateway was killed and not started since: an unfinished last frame is the
    /// end
    #[arg(long)]
    killed: bool,
    /// With a key, every signature is checked too
    #[command(flatten)]
    key: KeyFrom,
}

impl Verify {
    pub(super) fn run(&self) -> anyhow::Result<Ended> {
        anyhow::ensure!(self.dir.is_dir(), "`{}` is not a folder", self.dir.display());
        let verify = if self.killed { verify_killed } else { verify_dir };
        let verified = match self.key.key()? {
            None => verify(&self.dir, None),
            Some(key) => {
                let check = |message: &[u8], signature: &[u8; 64]| key.verify(message, signature).is_ok();
                verify(&self.dir, Some(&check))
            }
        };
        match verified {
            Ok(report) => {
                print!("{}", told(&self.dir, &report));
                Ok(Ended::Well)
            }
            Err(broken) => {
                print!("{}", damage(&broken));
                Ok(Ended::Badly)
            }
        }
    }
}

/// What was taken as the end, in a line.
pub(super) fn unfinished(unfinished: &Unfinished, last: u64) -> String {
    format!(
        "read to batch {last}: at offset {} of {:020}.journal an unfinished frame ({}) was taken as the end",
        unfinished.offset, unfinished.segment, unfinished.what
    )
}

fn told(dir: &Path, report: &VerifyReport) -> String {
    let mut end = String::new();
    if report.running {
        end.push_str("state      the gateway runs: checked to what was written when it was read\n");
    }
    if let Some(frame) = &report.unfinished {
        end.push_str(&format!("end        {}\n", unfinished(frame, report.last_sequence)));
    }
    if report.epochs.len() > 1 {
        let forks: Vec<_> =
            report.epochs.iter().map(|(epoch, first)| format!("{epoch} from batch {first}")).collect();
        end.push_str(&format!("epochs     {}: put back to an earlier point\n", forks.join(", ")));
    }
    if report.heads_elsewhere > 0 {
        let heads = report.heads_elsewhere;
        end.push_str(&format!("heads      {heads} named of other chains, which are not in this folder\n"));
    }
    if report.dropped > 0 {
        let until = report.dropped_until_ms.map(line::instant).unwrap_or_default();
        let dropped = report.dropped;
        end.push_str(&format!(
            "dropped    {dropped} sealed parts after their term, of entries to {until}; their digests hold\n"
        ));
    }
    let signatures = match (report.signatures_checked, report.last_unsigned) {
        (0, _) => "not checked (no key given)".to_owned(),
        (count, false) => format!("{count} checked"),
        (count, true) if report.running => {
            format!("{count} checked; that of the last batch comes to the disk with the next one")
        }
        (count, true) => format!("{count} checked; the last batch is signed at the next start"),
    };
    format!(
        "journal    {}\nsegments   {}\nbatches    {}\nentries    {}\ncheckpoints {}, their {} heads are on the chain\nledger     {} postings, sum {} fen\nsequence   {} to {}\nhead       {}\nsignatures {signatures}\n{end}chain intact\n",
        dir.display(),
        report.segments,
        report.batches,
        report.entries,
        report.checkpoints,
        report.heads,
        report.ledger.count,
        report.ledger.sum_fen(),
        report.first_sequence,
        report.last_sequence,
        hex::encode(report.head_hash),
    )
}
