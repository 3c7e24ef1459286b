//! `onecard journal check`: checks proofs with a public key and nothing else.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;

use super::{Ended, KeyFrom, line};
use crate::{
    crypto::Sm2PublicKey,
    model::Status,
    store::{PROOF_FILE_BYTES_MAX, ProofFile, ProvenStep},
};

/// A proof is of the time when it was made.
const LATER: &str = "later steps may exist / 此后可能还有后续步骤";

/// Exit status 0 when every proof holds, 1 when one does not, 2 when something
/// could not be read.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    key: KeyFrom,
    /// Files that `onecard journal prove` wrote
    #[arg(required = true)]
    proofs: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(&self) -> anyhow::Result<Ended> {
        let key = self.key.key()?.context("give the region's public key with --key")?;
        let mut ended = Ended::Well;
        for path in &self.proofs {
            match check(path, &key)? {
                Ok(text) => println!("{}: holds / 成立\n{text}\n  {LATER}", path.display()),
                Err(reason) => {
                    ended = Ended::Badly;
                    println!("{}: proves nothing / 不成立: {reason}", path.display());
                }
            }
        }
        Ok(ended)
    }
}

/// What a proof proves, or why it proves nothing.
fn check(path: &Path, key: &Sm2PublicKey) -> anyhow::Result<Result<String, String>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut text = String::new();
    file.take(PROOF_FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(cannot)?;
    anyhow::ensure!(text.len() as u64 <= PROOF_FILE_BYTES_MAX, "{} is too large for a proof", path.display());
    let proof = match ProofFile::parse(&text) {
        Ok(proof) => proof,
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(match proof.check(key) {
        Ok(steps) => Ok(steps.iter().map(|step| told(&proof, step)).collect::<Vec<_>>().join("\n")),
        Err(forged) => Err(forged.to_string()),
    })
}

fn told(proof: &ProofFile, step: &ProvenStep) -> String {
    let (entry, header) = (&step.entry, &step.header);
    let status = Status::from_number(entry.status).map_or("unknown", Status::name);
    let reason = if entry.reason.is_empty() { String::new() } else { format!(" {}", entry.reason) };
    let mut text = format!(
        "  {} #{} {status}{reason}\n  {}.{} by {} {}\n  committed {} in batch {} of {} {} epoch {}",
        proof.transaction,
        entry.step,
        entry.scene,
        entry.method,
        entry.participant,
        entry.terminal,
        line::instant(entry.committed_at_ms),
        header.sequence,
        header.region,
        header.node,
        header.epoch,
    );
    for posting in &entry.postings {
        text.push_str(&format!("\n  {} {:+} fen", posting.account, posting.amount_fen));
    }
    text
}
