//! `onecard journal …`: looks at a journal from outside, whether its gateway runs
//! or not. Nothing here opens a store or needs a secret.
//!
//! Every act ends with 0 when all is well, 1 when the journal or a proof does not
//! hold or has not what was asked for, 2 when it could not be looked at.

mod check;
mod export;
mod line;
mod prove;
mod retain;
mod tail;
mod verify;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
pub(super) use export::instant as parse_instant;
pub(super) use line::instant;
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};

use crate::{
    crypto::Sm2PublicKey,
    sandbox::town_file::Town,
    store::{Broken, OfflineEnd, OfflineJournal},
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
    Verify(verify::Verify),
    /// Write a proof of a transaction that needs nothing but the region's public key
    Prove(prove::Prove),
    /// Check proofs with nothing but the region's public key
    Check(check::Check),
    /// Write entries as JSON lines, without anything personal
    Export(export::Export),
    /// Drop the personal parts of entries whose scene's term is over
    Retain(retain::Retain),
    /// Show the newest entries, and those to come
    Tail(tail::Tail),
}

/// How an act that could be done ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    /// Something does not hold, or is not there; it was said.
    Badly,
}

/// Runs it.
pub fn run(args: &JournalArgs) -> ExitCode {
    let (name, ended) = match &args.act {
        Act::Verify(act) => ("verify", act.run()),
        Act::Prove(act) => ("prove", act.run()),
        Act::Check(act) => ("check", act.run()),
        Act::Export(act) => ("export", act.run()),
        Act::Retain(act) => ("retain", act.run()),
        Act::Tail(act) => ("tail", act.run()),
    };
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Badly) => ExitCode::from(1),
        Err(error) => {
            eprintln!("onecard journal {name}: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Where the public key of a journal comes from.
#[derive(Debug, Args)]
pub(super) struct KeyFrom {
    /// Public key of the region's journal: 04 then x then y in hexadecimal, or a
    /// PEM file
    #[arg(long, conflicts_with = "town")]
    key: Option<String>,
    /// Data folder of a sandbox that knows the key
    #[arg(long, requires = "region")]
    town: Option<PathBuf>,
    /// The region of the sandbox whose journal this is
    #[arg(long, requires = "town")]
    region: Option<String>,
}

impl KeyFrom {
    pub(super) fn key(&self) -> anyhow::Result<Option<Sm2PublicKey>> {
        match (&self.key, &self.town, &self.region) {
            (Some(key), _, _) => read_key(key).map(Some),
            (None, Some(town), Some(region)) => {
                let text = Town::load(town)?.region(region)?.journal_key.clone();
                Sm2PublicKey::from_hex(&text).map(Some).context("the journal's key")
            }
            (None, _, _) => Ok(None),
        }
    }
}

/// A key as hexadecimal, or the PEM file that holds it.
fn read_key(given: &str) -> anyhow::Result<Sm2PublicKey> {
    if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Sm2PublicKey::from_hex(given).context("the journal's key");
    }
    let pem = std::fs::read(given).with_context(|| format!("cannot read the key {given}"))?;
    let key = SubjectPublicKeyInfoDer::from_pem_slice(&pem)
        .map_err(|error| anyhow::anyhow!("{given} is no PEM file of a public key: {error}"))?;
    Sm2PublicKey::from_spki(&key).with_context(|| format!("the key in {given}"))
}

fn look(dir: &Path) -> anyhow::Result<OfflineJournal> {
    OfflineJournal::look(dir).with_context(|| format!("`{}` is not a folder", dir.display()))
}

/// Where a journal is broken, as people read it.
fn damage(broken: &Broken) -> String {
    format!(
        "segment    {:020}.journal\noffset     {}\nsequence   {}\ndamage     {}\nchain broken\n",
        broken.segment, broken.offset, broken.sequence, broken.what
    )
}

/// Says on standard error what was taken as the journal's end.
fn tell_end(end: &OfflineEnd) {
    if let Some(unfinished) = &end.unfinished {
        eprintln!("{}", verify::unfinished(unfinished, end.last_sequence));
    }
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
            ("journal prove 110000-000-0192a3b4c5d6-9f8e7d6c5b4a --journal DIR --out FILE", true),
            ("journal prove nothing --journal DIR", false),
            ("journal check --key 04ab FILE FILE", true),
            ("journal check --key 04ab", false),
            ("journal export DIR --from 2026-09-21 --to 2026-09-22T00:00:00Z --scene transit", true),
            ("journal export DIR --from yesterday", false),
            ("journal tail DIR -n 3 -f", true),
            ("journal retain --config config/beijing --dry-run", true),
            ("journal retain", false),
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

    #[test]
    fn a_key_is_read_from_hexadecimal_and_from_pem() {
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAECfnfMR5UIaFQ3X0WHkvFxnIXn60Y\n\
                   M/wHa7CP81b/NQIMzqSQzid3XS1SxOobB6YA1U9yTPRnMUJ4mh8U2bcc1g==\n-----END PUBLIC KEY-----\n";
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key.pem");
        let key = |text: &str| {
            std::fs::write(&file, text).expect("written");
            read_key(file.to_str().expect("UTF-8"))
        };
        // The example key may be none of the curve; its form is what is read here.
        let told = key(pem).map(|key| key.to_hex()).map_err(|error| format!("{error:#}"));
        let again = told.as_ref().map(|text| read_key(text).expect("hexadecimal").to_hex());
        assert_eq!(again.ok(), told.clone().ok());
        assert!(
            told.is_ok() || told.as_ref().is_err_and(|text| text.contains("not on the curve")),
            "{told:?}"
        );
        assert!(key("no PEM").is_err());
        assert!(read_key("04ab").is_err());
    }
}
