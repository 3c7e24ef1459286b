//! Chapter 7: a library that books and then says nothing. Unknown stays unknown
//! until an inquiry finds out; nothing is lent twice.

use std::time::{Duration, Instant};

use super::{
    day::{Day, word_of},
    story::{Story, Title},
};
use crate::{
    client::TransactionKey,
    model::Purpose,
    proto::{
        common::v1::{RequestHeader, TransactionStatus},
        library::v1::CheckoutRequest,
    },
};

pub(super) const TITLE: Title =
    Title { zh: "图书馆借出后没有应答", en: "A library goes silent after it has booked" };

const READER: &str = "tj-005";
const ITEM: &str = "SILENT-AFTER-1";
const PATIENCE: Duration = Duration::from_secs(20);
const ASK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let desk = day.terminal("tianjin", "tj-library-desk-01").await?;
    story.tell(
        "馆内系统记了账却不应答：结果未知，既不算成功也不算失败。",
        "The library's system books the loan and does not answer: neither success nor failure.",
    );
    let session = day.chip_session(&desk, READER).await?;
    let before = day.town.library("tianjin").heard("11");
    let header = RequestHeader { holder_session: session, ..desk.header(Purpose::LibraryLoan) };
    let request_id = header.request_id.clone();
    let borrow = CheckoutRequest { header: Some(header), library: String::new(), item: ITEM.to_owned() };
    let borrowed = desk.checkout(borrow).await?;
    let answer = day.answer(&borrowed)?;
    story.equal("应答为待确认 the answer is pending", "PENDING", word_of(&answer));

    let asked = Instant::now();
    let mut steps = Vec::new();
    let mut status = TransactionStatus::Pending;
    while status == TransactionStatus::Pending && asked.elapsed() < PATIENCE {
        tokio::time::sleep(ASK_EVERY).await;
        let found = desk.transaction(TransactionKey::Request(request_id.clone())).await?;
        steps = found.steps.iter().map(|step| step.status()).collect();
        status = day.answer(&found)?.status();
    }
    let took = format!("{:.1} s", asked.elapsed().as_secs_f32());
    story.equal(
        format!("经查询确认为已借出 ends completed by inquiry, after {took}"),
        TransactionStatus::Completed,
        status,
    );
    story.equal(
        "账本里先待确认、后完成 the journal has both steps",
        vec![TransactionStatus::Pending, TransactionStatus::Completed],
        steps,
    );
    story.equal(
        "借书请求只发过一次 the library was asked to lend once",
        before + 1,
        day.town.library("tianjin").heard("11"),
    );
    story.equal(
        "借者无误 the holder has the item",
        Some(answer.holder_id),
        day.town.library("tianjin").holder_of(ITEM),
    );
    Ok(())
}
