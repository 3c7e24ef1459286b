//! Chapter 4: the same request again gives the same transaction, also after the
//! gateway was killed and after the session it was made under has ended; the same
//! id with another payload is refused.

use anyhow::Context as _;

use super::{
    day::{Day, begin_chip, finish_chip, verdict, word_of},
    story::{Story, Title},
};
use crate::{
    client::{Answered, CallError, Terminal},
    model::Purpose,
    proto::{
        common::v1::RequestHeader,
        library::v1::{CheckoutRequest, EndSessionRequest},
        transit::v1::{TapKind, TapRequest},
    },
};

pub(super) const TITLE: Title =
    Title { zh: "只算一次，断电也一样", en: "Once, also after kill -9" };

const RIDER: &str = "he-002";
const READER: &str = "bj-002";
const ITEM: &str = "B0002";
const OTHER_ITEM: &str = "B0003";

/// What was sent once, with the transactions it made.
struct Sent {
    gate: Terminal,
    desk: Terminal,
    tap: TapRequest,
    tapped: String,
    borrow: CheckoutRequest,
    borrowed: String,
    /// Times the library was asked to lend.
    lent: u64,
}

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    story.tell(
        "闸机与借书台没收到应答，原样重发；随后北京网关被强行终止并重启。",
        "A gate and a desk missed their answers and send again; then Beijing's gateway is killed and started again.",
    );
    let sent = sent_twice(day, story).await?;
    after_a_kill(day, story, &sent).await?;
    after_the_session(day, story, &sent).await?;
    misused(day, story, &sent).await
}

async fn sent_twice(day: &mut Day, story: &mut Story) -> anyhow::Result<Sent> {
    let gate = day.terminal("beijing", "bj-metro-gate-01").await?;
    let desk = day.terminal("beijing", "bj-capital-desk-01").await?;

    let tap = day.tap(&gate, RIDER, TapKind::Entry, "西单")?;
    let first_tap = gate.tap(tap.clone()).await?;
    let tapped = day.answer(&first_tap)?;
    story.equal("刷卡进站 a tap in", "APPROVED", word_of(&tapped));
    let again = gate.tap(tap.clone()).await;
    story.equal("刷卡重发，应答相同 the tap again: the same answer", Ok(&first_tap), again.as_ref());

    let session = session_once(day, story, &desk).await?;
    let header = RequestHeader { holder_session: session, ..desk.header(Purpose::LibraryLoan) };
    let borrow = CheckoutRequest { header: Some(header), library: String::new(), item: ITEM.to_owned() };
    let first_loan = desk.checkout(borrow.clone()).await?;
    let borrowed = day.answer(&first_loan)?;
    story.equal("借书 a checkout", "APPROVED", word_of(&borrowed));
    let lent = day.town.library("beijing").heard("11");
    let again = desk.checkout(borrow.clone()).await;
    story.equal("借书重发，应答相同 the checkout again: the same answer", Ok(&first_loan), again.as_ref());

    let (tapped, borrowed) = (tapped.transaction_id, borrowed.transaction_id);
    Ok(Sent { gate, desk, tap, tapped, borrow, borrowed, lent })
}

/// The second call of the chip relay uses its session up; a repeat of that very
/// call is answered all the same.
async fn session_once(day: &mut Day, story: &mut Story, desk: &Terminal) -> anyhow::Result<String> {
    let card = day.card(READER)?;
    let begun = desk.begin_chip(begin_chip(desk, &card)).await?;
    let finish = finish_chip(desk, &card, &begun.chip_session);
    let first = desk.finish_chip(finish.clone()).await?;
    day.answer(&first)?;
    let again = desk.finish_chip(finish).await;
    story.equal("芯片认证重发，会话相同 the chip again: the same session", Ok(&first), again.as_ref());
    Ok(first.session.context("an authenticated chip without a session")?.session)
}

async fn after_a_kill(day: &mut Day, story: &mut Story, sent: &Sent) -> anyhow::Result<()> {
    day.town.kill("beijing").await?;
    day.town.restart("beijing").await?;
    story.tell("北京网关已被 kill -9 并重启。", "Beijing's gateway was ended by kill -9 and is back.");
    let again = transaction(sent.gate.tap(sent.tap.clone()).await);
    story.equal("刷卡仍是同一笔 the tap is still the same transaction", Ok(sent.tapped.clone()), again);
    let again = transaction(sent.desk.checkout(sent.borrow.clone()).await);
    story.equal(
        "借书仍是同一笔 the checkout is still the same transaction",
        Ok(sent.borrowed.clone()),
        again,
    );
    let lent = day.town.library("beijing").heard("11");
    story.equal("图书馆只收到一次借书 the library was asked to lend once", sent.lent, lent);
    Ok(())
}

async fn after_the_session(day: &mut Day, story: &mut Story, sent: &Sent) -> anyhow::Result<()> {
    let session = sent.borrow.header.clone().unwrap_or_default().holder_session;
    let header = RequestHeader { holder_session: session, ..sent.desk.header(Purpose::LibraryLoan) };
    let goodbye = EndSessionRequest { header: Some(header.clone()), library: String::new() };
    let ended = sent.desk.end_session(goodbye).await;
    story.equal("读者结束会话 the reader's session ends", "APPROVED", verdict(&ended));
    let header =
        RequestHeader { holder_session: header.holder_session, ..sent.desk.header(Purpose::LibraryLoan) };
    let next = CheckoutRequest { header: Some(header), item: OTHER_ITEM.to_owned(), ..sent.borrow.clone() };
    let next = sent.desk.checkout(next).await;
    story.holds(
        "新的借书被拒 a new checkout is refused",
        verdict(&next).starts_with("SESSION_"),
        verdict(&next),
    );
    let again = transaction(sent.desk.checkout(sent.borrow.clone()).await);
    story.equal(
        "旧的借书重发仍是同一笔 the old one again is still the same",
        Ok(sent.borrowed.clone()),
        again,
    );
    day.town.library("beijing").holder_of(ITEM).context("the loan stands")?;
    Ok(())
}

async fn misused(day: &mut Day, story: &mut Story, sent: &Sent) -> anyhow::Result<()> {
    let other = day.tap(&sent.gate, RIDER, TapKind::Exit, "复兴门")?;
    let other = TapRequest { header: sent.tap.header.clone(), ..other };
    let misused = sent.gate.tap(other).await;
    story.equal(
        "同号另刷被拒 the same id with another tap is refused",
        "REQUEST_ID_MISUSED",
        verdict(&misused),
    );
    let other = CheckoutRequest { item: OTHER_ITEM.to_owned(), ..sent.borrow.clone() };
    let misused = sent.desk.checkout(other).await;
    story.equal(
        "同号另借被拒 the same id for another book is refused",
        "REQUEST_ID_MISUSED",
        verdict(&misused),
    );
    let lent = day.town.library("beijing").holder_of(OTHER_ITEM);
    story.equal("那本书没有借出 and that book was not lent", None, lent);
    Ok(())
}

fn transaction<R: Answered>(called: Result<R, CallError>) -> Result<String, CallError> {
    called.map(|response| response.answer().map(|answer| answer.transaction_id.clone()).unwrap_or_default())
}
