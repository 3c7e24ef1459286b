//! `onecard journal …`: looks at a journal without its gateway.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    crypto::Sm2PublicKey,
    sandbox::town_file::Town,
    store::{Broken, VerifyReport, verify_dir},
};

/// Look at a journal without its gateway
#[derive(Debug, Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Check that everything that was written is still what was written
    Verify(Verify),
}

/// Exit status 0 when the chain is intact, 1 when it is not, 2 when it could not
/// be looked at.
#[derive(Debug, Args)]
struct Verify {
    /// The journal's folder, for example .onecard/beijing/journal; nobody should
    /// write to it meanwhile
    dir: PathBuf,
    /// Public key of the journal, 04 then x then y in hexadecimal: also checks
    /// every signature
    #[arg(long, conflicts_with = "town")]
    key: Option<String>,
    /// Data folder of a sandbox that knows the key
    #[arg(long, requires = "region")]
    town: Option<PathBuf>,
    /// The region of the sandbox whose journal this is
    #[arg(long, requires = "town")]
    region: Option<String>,
}

/// Runs it.
pub fn run(args: &JournalArgs) -> ExitCode {
    match &args.act {
        Act::Verify(verify) => match verify.run() {
            Ok(Ok(report)) => {
                print!("{}", told(&verify.dir, &report));
                ExitCode::SUCCESS
            }
            Ok(Err(broken)) => {
                print!("{}", damage(&broken));
                ExitCode::from(1)
            }
            Err(error) => {
                eprintln!("onecard journal verify: {error:#}");
                ExitCode::from(2)
            }
        },
    }
}

impl Verify {
    fn run(&self) -> anyhow::Result<Result<VerifyReport, Broken>> {
        anyhow::ensure!(self.dir.is_dir(), "`{}` is not a folder", self.dir.display());
        let Some(key) = self.key()? else {
            return Ok(verify_dir(&self.dir, None));
        };
        let check = |message: &[u8], signature: &[u8; 64]| key.verify(message, signature).is_ok();
        Ok(verify_dir(&self.dir, Some(&check)))
    }

    fn key(&self) -> anyhow::Result<Option<Sm2PublicKey>> {
        let text = match (&self.key, &self.town, &self.region) {
            (Some(key), _, _) => key.clone(),
            (None, Some(town), Some(region)) => Town::load(town)?.region(region)?.journal_key.clone(),
            (None, _, _) => return Ok(None),
        };
        Sm2PublicKey::from_hex(&text).map(Some).context("the journal's key")
    }
}

fn told(dir: &Path, report: &VerifyReport) -> String {
    let signatures = match (report.signatures_checked, report.last_unsigned) {
        (0, _) => "not checked (no key given)".to_owned(),
        (count, false) => format!("{count} checked"),
        (count, true) => format!("{count} checked; the last batch is signed at the next start"),
    };
    format!(
        "journal    {}\nsegments   {}\nbatches    {}\nentries    {}\nsequence   {} to {}\nhead       {}\nsignatures {signatures}\nchain intact\n",
        dir.display(),
        report.segments,
        report.batches,
        report.entries,
        report.first_sequence,
        report.last_sequence,
        hex::encode(report.head_hash),
    )
}

fn damage(broken: &Broken) -> String {
    format!(
        "segment    {:020}.journal\noffset     {}\nsequence   {}\ndamage     {}\nchain broken\n",
        broken.segment, broken.offset, broken.sequence, broken.what
    )
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        journal: JournalArgs,
    }

    #[test]
    fn a_key_comes_from_one_place() {
        Line::command().debug_assert();
        for (line, understood) in [
            ("journal verify DIR", true),
            ("journal verify DIR --key 04ab", true),
            ("journal verify DIR --town .onecard --region beijing", true),
            ("journal verify DIR --town .onecard", false),
            ("journal verify DIR --region beijing", false),
            ("journal verify DIR --key 04ab --town .onecard --region beijing", false),
            ("journal verify", false),
        ] {
            assert_eq!(Line::try_parse_from(line.split(' ')).is_ok(), understood, "{line}");
        }
    }

    #[test]
    fn damage_is_told_with_its_place() {
        let broken =
            Broken { segment: 1, offset: 4_096, sequence: 7, what: "the checksum is wrong".to_owned() };
        let text = damage(&broken);
        for words in ["00000000000000000001.journal", "4096", "7", "checksum", "chain broken"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
