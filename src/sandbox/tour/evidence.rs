//! Chapter 15: in the evening every receipt of the day is checked against the
//! journals' keys; then the gateways stop and the journals themselves are checked.

use std::{fs, path::Path};

use anyhow::Context as _;

use super::{
    day::Day,
    story::{Story, Title},
};
use crate::{
    client::{ReceiptRefused, check_answer},
    crypto::Sm2PublicKey,
    model::TransactionId,
    store::{VerifyReport, verify_dir},
};

pub(super) const TITLE: Title = Title { zh: "回执与账本", en: "Receipts and journals" };

pub(super) async fn tell(day: Day, story: &mut Story) -> anyhow::Result<()> {
    receipts(&day, story)?;
    let prepared = day.town.stop().await?;
    story.tell(
        "三地网关已停止，离线核对账本。",
        "The gateways have stopped; the journals are checked without them.",
    );
    for region in &prepared.plan.regions {
        let journal = prepared.journal_of(region.name);
        let key = Sm2PublicKey::from_hex(&prepared.town.region(region.name)?.journal_key)?;
        let verified = verify(&journal, &key);
        let told = match &verified {
            Ok(report) => format!("{} batches, {} entries", report.batches, report.entries),
            Err(broken) => broken.to_string(),
        };
        story.holds(format!("{} 账本链完整 chain intact: {told}", region.name), verified.is_ok(), &verified);
    }
    flipped_byte(story, &prepared.journal_of("beijing"), &prepared.data.join("tampered"))
}

fn receipts(day: &Day, story: &mut Story) -> anyhow::Result<()> {
    let answers = day.answers();
    story.tell(
        format!("这一天收到 {} 张回执。", answers.len()),
        format!("{} receipts were given this day.", answers.len()),
    );
    let mut refused = Vec::new();
    for answer in answers {
        let transaction: TransactionId = answer.transaction_id.parse().context("a transaction id")?;
        if let Err(why) = check_answer(answer, &day.journal_key(transaction.province())?) {
            refused.push(format!("{}: {why}", answer.transaction_id));
        }
    }
    story.equal(
        "每张回执都对得上账本公钥 every receipt holds against its journal's key",
        Vec::<String>::new(),
        refused,
    );
    story.holds("回执来自三地 receipts of all three regions", of_regions(day) == 3, of_regions(day));

    let mut forged = answers.first().context("a day without a receipt")?.clone();
    let province = forged.transaction_id.parse::<TransactionId>()?.province();
    if let Some(receipt) = &mut forged.receipt {
        receipt.leaf[0] ^= 1;
    }
    let forged = check_answer(&forged, &day.journal_key(province)?);
    story.equal(
        "改一位的回执不成立 a receipt with one bit changed does not",
        Err(ReceiptRefused::Root),
        forged.map(drop),
    );
    Ok(())
}

fn of_regions(day: &Day) -> usize {
    let provinces: std::collections::BTreeSet<&str> =
        day.answers().iter().filter_map(|answer| answer.transaction_id.get(..2)).collect();
    provinces.len()
}

fn verify(journal: &Path, key: &Sm2PublicKey) -> Result<VerifyReport, crate::store::Broken> {
    let check = |message: &[u8], signature: &[u8; 64]| key.verify(message, signature).is_ok();
    verify_dir(journal, Some(&check))
}

/// One byte of a copy is changed in the middle of what was written.
fn flipped_byte(story: &mut Story, journal: &Path, copy: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(copy)?;
    let mut segments = Vec::new();
    for entry in fs::read_dir(journal)? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?;
        if path.is_file() {
            fs::copy(&path, copy.join(name))?;
            if path.extension().is_some_and(|extension| extension == "journal") {
                segments.push(copy.join(name));
            }
        }
    }
    segments.sort();
    let segment = segments.first().context("a journal without a segment")?;
    let mut bytes = fs::read(segment)?;
    let written = bytes.iter().rposition(|byte| *byte != 0).context("an empty segment")?;
    let place = (written / 2..=written).find(|at| bytes[*at] != 0).unwrap_or(written);
    bytes[place] ^= 0x40;
    fs::write(segment, &bytes)?;
    let found = verify_dir(copy, None);
    let told = match &found {
        Err(broken) => broken.to_string(),
        Ok(_) => "not found".to_owned(),
    };
    let near = found.as_ref().err().is_some_and(|broken| broken.offset <= place as u64);
    story.holds(
        format!("副本中改动一个字节被发现 one byte changed at {place} of a copy is found: {told}"),
        near,
        &found,
    );
    fs::remove_dir_all(copy)?;
    Ok(())
}
