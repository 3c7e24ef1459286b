//! Chapter 4: the same request again gives the same transaction, also after the
//! gateway was killed; the same id with another payload is refused.

use super::{
    day::{Day, verdict, word_of},
    story::{Story, Title},
};
use crate::{
    model::Purpose,
    proto::{common::v1::RequestHeader, library::v1::CheckoutRequest, transit::v1::TapKind},
};

pub(super) const TITLE: Title =
    Title { zh: "只算一次，断电也一样", en: "Once, also after kill -9" };

const RIDER: &str = "he-002";
const READER: &str = "bj-002";
const ITEM: &str = "B0002";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let gate = day.terminal("beijing", "bj-metro-gate-01").await?;
    let desk = day.terminal("beijing", "bj-capital-desk-01").await?;
    story.tell(
        "闸机与借书台没收到应答，原样重发；随后北京网关被强行终止并重启。",
        "A gate and a desk missed their answers and send again; then Beijing's gateway is killed and started again.",
    );
    let tap = day.tap(&gate, RIDER, TapKind::Entry, "西单")?;
    let first_tap = gate.tap(tap.clone()).await?;
    let tap_answer = day.answer(&first_tap)?;
    story.equal("刷卡进站 a tap in", "APPROVED", word_of(&tap_answer));
    let session = day.chip_session(&desk, READER).await?;
    let header = RequestHeader { holder_session: session, ..desk.header(Purpose::LibraryLoan) };
    let borrow = CheckoutRequest { header: Some(header), library: String::new(), item: ITEM.to_owned() };
    let first_loan = desk.checkout(borrow.clone()).await?;
    let loan_answer = day.answer(&first_loan)?;
    story.equal("借书 a checkout", "APPROVED", word_of(&loan_answer));
    let lent = day.town.library("beijing").heard("11");

    story.equal(
        "刷卡重发，应答逐字节相同 the tap again: the same answer",
        Ok(&first_tap),
        gate.tap(tap.clone()).await.as_ref(),
    );
    story.equal(
        "借书重发，应答相同 the checkout again: the same answer",
        Ok(&first_loan),
        desk.checkout(borrow.clone()).await.as_ref(),
    );

    day.town.kill("beijing").await?;
    day.town.restart("beijing").await?;
    story.tell("北京网关已被 kill -9 并重启。", "Beijing's gateway was ended by kill -9 and is back.");
    let tap_again = gate.tap(tap.clone()).await.map(|tap| tap.answer.unwrap_or_default().transaction_id);
    story.equal(
        "刷卡仍是同一笔 the tap is still the same transaction",
        Ok(tap_answer.transaction_id),
        tap_again,
    );
    let loan_again =
        desk.checkout(borrow.clone()).await.map(|loan| loan.answer.unwrap_or_default().transaction_id);
    story.equal(
        "借书仍是同一笔 the checkout is still the same transaction",
        Ok(loan_answer.transaction_id),
        loan_again,
    );
    story.equal(
        "图书馆只收到一次借书 the library was asked to lend once",
        lent,
        day.town.library("beijing").heard("11"),
    );

    let mut other = tap.clone();
    if let Some(tap) = &mut other.tap {
        tap.station = "复兴门".to_owned();
    }
    let signed = day.tap(&gate, RIDER, TapKind::Exit, "复兴门")?;
    other.tap = signed.tap;
    story.equal(
        "同号不同内容被拒 the same id with another tap is refused",
        "REQUEST_ID_MISUSED",
        verdict(&gate.tap(other).await),
    );
    let other = CheckoutRequest { item: "B0003".to_owned(), ..borrow };
    story.equal(
        "同号借另一本被拒 the same id for another book is refused",
        "REQUEST_ID_MISUSED",
        verdict(&desk.checkout(other).await),
    );
    story.equal(
        "那本书没有借出 and that book was not lent",
        None,
        day.town.library("beijing").holder_of("B0003"),
    );
    Ok(())
}
