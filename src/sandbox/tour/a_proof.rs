//! Chapter 14: a third party asks for evidence. One transaction is proven from the
//! running region's journal, checked with a public key and nothing else, and a
//! forged one is refused.

use std::{collections::BTreeMap, fs};

use anyhow::Context as _;

use super::{
    day::{Day, yuan},
    story::{Story, Title},
};
use crate::{
    crypto::Sm2PublicKey,
    model::TransactionId,
    store::{OfflineJournal, ProofFile},
};

pub(super) const TITLE: Title = Title { zh: "一份举证", en: "A proof for a third party" };

const PROVINCE: &str = "11";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let transaction = most_told(day)?;
    story.tell(
        format!("第三方要求对交易 {transaction} 举证；网关照常运行。"),
        format!("A third party wants evidence of {transaction}; the gateway keeps running."),
    );
    let prepared = &day.town.prepared;
    let folder = prepared.journal_of("beijing");
    let found = OfflineJournal::look(&folder).context("Beijing's journal")?.prove(transaction);
    let found = found.map_err(|broken| anyhow::anyhow!("{broken}"))?;
    let path = prepared.data.join("proof.json");
    fs::write(&path, ProofFile { transaction, steps: found.proofs }.to_json())?;

    let key = Sm2PublicKey::from_hex(&prepared.town.region("beijing")?.journal_key)?;
    let proof = ProofFile::parse(&fs::read_to_string(&path)?)?;
    let proven = proof.check(&key);
    let steps = proven.as_ref().map_or(0, Vec::len);
    story.holds(
        format!("凭公钥即可核对，共 {steps} 步 it holds by the public key alone, {steps} steps"),
        steps > 1,
        &proven,
    );
    for step in proven.into_iter().flatten() {
        let booked: i64 = step.entry.postings.iter().map(|posting| posting.amount_fen.max(0)).sum();
        story.tell(
            format!("  {} 批次 {}，记账 {}", step.entry.method, step.header.sequence, yuan(booked)),
            format!("  {} in batch {}, {booked} fen booked", step.entry.method, step.header.sequence),
        );
    }

    let other = Sm2PublicKey::from_hex(&prepared.town.region("hebei")?.journal_key)?;
    let foreign = proof.check(&other);
    story.holds("他区公钥不认 another region's key does not vouch for it", foreign.is_err(), &foreign);

    let mut forged = proof;
    let last = forged.steps.last_mut().context("a step")?;
    let mut entry = last.public_part.to_vec();
    *entry.last_mut().context("an entry with a body")? ^= 1;
    last.public_part = entry.into();
    let refused = forged.check(&key);
    story.holds("改动一位即被识破 with one bit changed it is refused", refused.is_err(), &refused);
    fs::remove_file(path)?;
    Ok(())
}

/// The transaction of Beijing with the most answers: what was reserved, taken and
/// given back in part.
fn most_told(day: &Day) -> anyhow::Result<TransactionId> {
    let mut told = BTreeMap::<&str, usize>::new();
    for answer in day.answers().iter().filter(|answer| answer.transaction_id.starts_with(PROVINCE)) {
        *told.entry(&answer.transaction_id).or_default() += 1;
    }
    let most = told.into_iter().max_by_key(|(_, answers)| *answers);
    let (transaction, _) = most.context("a day without a transaction in Beijing")?;
    transaction.parse().context("a transaction id")
}
