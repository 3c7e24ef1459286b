//! Chapter 13: the day's statement of the metro, against what the gates were told.

use anyhow::Context as _;

use super::{
    day::{Day, word_of, yuan},
    network,
    story::{Story, Title},
};
use crate::{
    identity::business_date,
    model::Purpose,
    proto::{
        ledger::v1::{GetStatementRequest, StatementLine},
        transaction::v1::{CorrectionCause, RefundRequest},
        transit::v1::TapKind,
    },
};

pub(super) const TITLE: Title = Title { zh: "地铁的日结单", en: "The metro's statement of the day" };

const CARD: &str = "he-006";
const FROM: &str = "西直门";
const TO: &str = "国贸";
const BACK: i64 = 100;

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let gate = day.terminal("beijing", "bj-metro-gate-01").await?;
    let entered = gate.tap(day.tap(&gate, CARD, TapKind::Entry, FROM)?).await?;
    let first = day.answer(&entered)?;
    let date = business_date(first.committed_at_ms);
    let before = total(&gate, date).await?;

    let left = gate.tap(day.tap(&gate, CARD, TapKind::Exit, TO)?).await?;
    let paid = day.answer(&left)?;
    let refund = RefundRequest {
        header: Some(gate.header(Purpose::TransitRide)),
        transaction_id: paid.transaction_id,
        amount_fen: BACK,
        cause: CorrectionCause::Amount.into(),
    };
    let refunded = gate.refund(refund).await?;
    let answer = day.answer(&refunded)?;
    story.equal("退款成功 refunded", "APPROVED", word_of(&answer));
    let fare = network::fare(network::metres(FROM, TO)?);

    let last = business_date(answer.committed_at_ms);
    let after = total(&gate, last).await?;
    story.tell(
        format!("{date}：收入 {}，退回 {}。", yuan(after.earned_fen), yuan(after.given_back_fen)),
        format!("{date}: {} fen earned, {} fen given back.", after.earned_fen, after.given_back_fen),
    );
    if last == date {
        story.equal("又收一程车费 one more fare", before.earned_fen + fare, after.earned_fen);
        story.equal("又退一笔 one more refund", before.given_back_fen + BACK, after.given_back_fen);
        story.equal("多两笔 two more movements", before.count + 2, after.count);
    }
    story.equal(
        "期末 = 期初 + 收入 - 退回 closing is opening and movements",
        after.opening_fen + after.earned_fen - after.given_back_fen,
        after.closing_fen,
    );
    let next = total(&gate, last.tomorrow()?).await?;
    story.equal("次日以此开账 the next day opens with it", after.closing_fen, next.opening_fen);
    Ok(())
}

async fn total(gate: &crate::client::Terminal, date: jiff::civil::Date) -> anyhow::Result<StatementLine> {
    let told = gate.statement(GetStatementRequest { date: date.to_string() }).await?;
    told.total.context("a statement without a total")
}
