//! Chapter 11: a counter reserves, takes less, gives a part back; more than was
//! taken never comes back, however many ask at once.

use anyhow::Context as _;

use super::{
    day::{Day, verdict, word_of, yuan},
    story::{Story, Title},
};
use crate::{
    client::Terminal,
    model::Purpose,
    proto::{
        common::v1::{RequestHeader, TransactionStatus},
        transaction::v1::{CaptureRequest, CorrectionCause, RefundRequest, ReserveRequest},
    },
};

pub(super) const TITLE: Title =
    Title { zh: "预授权、请款、退款", en: "Reserve, take less, give a part back" };

const HOLDER: &str = "tj-006";
const RESERVED: i64 = 10_000;
const TAKEN: i64 = 6_400;
const PART: i64 = 2_500;
const ASKERS: usize = 8;

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let desk = day.terminal("beijing", "bj-capital-desk-01").await?;
    story.tell(
        format!("天津读者在首都图书馆预授权 {}，实收 {}。", yuan(RESERVED), yuan(TAKEN)),
        format!("A reader from Tianjin has {RESERVED} fen reserved in Beijing; {TAKEN} fen are taken."),
    );
    let session = day.chip_session(&desk, HOLDER).await?;
    let header = RequestHeader { holder_session: session, ..desk.header(Purpose::LibraryLoan) };
    let reserved =
        desk.reserve(ReserveRequest { header: Some(header), amount_fen: RESERVED, life_ms: 600_000 }).await?;
    let answer = day.answer(&reserved)?;
    story.equal("已冻结 reserved", TransactionStatus::Reserved, answer.status());
    let transaction = answer.transaction_id;

    let capture = |amount_fen| CaptureRequest {
        header: Some(desk.header(Purpose::LibraryLoan)),
        transaction_id: transaction.clone(),
        amount_fen,
    };
    let too_much = desk.capture(capture(RESERVED + 1)).await;
    story.equal(
        "多收一分也不行 not a fen more than was reserved",
        "AMOUNT_EXCEEDS_RESERVATION",
        verdict(&too_much),
    );
    let taken = desk.capture(capture(TAKEN)).await?;
    let answer = day.answer(&taken)?;
    story.equal("请款成功 captured", "APPROVED", word_of(&answer));
    let money = taken.money.context("money")?;
    story.equal("余额解冻 what is left over is free", (TAKEN, 0), (money.captured_fen, money.reserved_fen));

    story.tell(
        format!("{ASKERS} 个请求同时各退 {}。", yuan(PART)),
        format!("{ASKERS} requests ask for {PART} fen each, all at once."),
    );
    let asked = (0..ASKERS).map(|_| tokio::spawn(give_back(desk.clone(), transaction.clone())));
    let mut granted = 0;
    for one in asked.collect::<Vec<_>>() {
        granted += usize::from(one.await?? == "APPROVED");
    }
    let fits = usize::try_from(TAKEN / PART)?;
    story.equal(format!("只有 {fits} 笔成功 only {fits} fit"), fits, granted);
    let found = desk.transaction(crate::client::TransactionKey::Transaction(transaction)).await?;
    let answer = day.answer(&found)?;
    story.equal(
        "交易仍为已完成 the transaction stays completed",
        TransactionStatus::Completed,
        answer.status(),
    );
    let refunded = found.money.context("money")?.refunded_fen;
    story.equal("退款合计不超过实收 never more than was taken", PART * (TAKEN / PART), refunded);
    Ok(())
}

/// One refund; its verdict.
async fn give_back(desk: Terminal, transaction_id: String) -> anyhow::Result<String> {
    let refund = RefundRequest {
        header: Some(desk.header(Purpose::LibraryLoan)),
        transaction_id,
        amount_fen: PART,
        cause: CorrectionCause::Holder.into(),
    };
    Ok(verdict(&desk.refund(refund).await))
}
