//! `onecard journal prove`: finds a transaction in a journal's folder and writes
//! its proof.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{Ended, damage, look, tell_end};
use crate::{model::TransactionId, store::ProofFile};

/// The proof tells the public part of every step and the hash of what is sealed.
/// Check it with `onecard journal check`.
#[derive(Debug, Args)]
pub(super) struct Prove {
    /// The transaction, as answers and receipts name it
    id: TransactionId,
    /// The journal's folder, for example .onecard/beijing/journal
    #[arg(long)]
    journal: PathBuf,
    /// The file to write; standard output where none is given
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Prove {
    pub(super) fn run(&self) -> anyhow::Result<Ended> {
        let proven = match look(&self.journal)?.prove(self.id) {
            Ok(proven) => proven,
            Err(broken) => {
                eprint!("{}", damage(&broken));
                return Ok(Ended::Badly);
            }
        };
        tell_end(&proven.end);
        if proven.unsigned > 0 {
            eprintln!(
                "{} of its steps stand in the last batch, whose signature comes to the disk with the next one: \
                 prove again after that, or after the gateway has stopped in order",
                proven.unsigned
            );
        }
        if proven.proofs.is_empty() {
            if proven.unsigned == 0 {
                eprintln!("no such transaction in this journal / 账本中没有此交易");
            }
            return Ok(Ended::Badly);
        }
        let steps = proven.proofs.len();
        let text = ProofFile { transaction: self.id, steps: proven.proofs }.to_json();
        match &self.out {
            None => print!("{text}"),
            Some(out) => {
                fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))?;
                println!("{steps} steps of {} proven in {}", self.id, out.display());
            }
        }
        Ok(if proven.unsigned == 0 { Ended::Well } else { Ended::Badly })
    }
}
