//! Chapter 10: a gate gets no answer and takes its ride back; the service desk tries
//! the same a moment later. One effect.

use anyhow::Context as _;

use super::{
    day::{Day, verdict, word_of, yuan},
    story::{Story, Title},
};
use crate::{
    client::TransactionKey,
    model::Purpose,
    proto::{
        common::v1::{Answer, TransactionStatus},
        transaction::v1::{CorrectionCause, ReverseRequest, reverse_request::By},
        transit::v1::TapKind,
    },
};

pub(super) const TITLE: Title = Title {
    zh: "闸机没收到应答，冲正一次",
    en: "A gate without an answer takes its ride back, once",
};

const CARD: &str = "bj-004";
const FROM: &str = "西直门";
const TO: &str = "国贸";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let gate = day.terminal("beijing", "bj-metro-gate-01").await?;
    let desk = day.terminal("beijing", "bj-desk-desk-01").await?;
    let entered = gate.tap(day.tap(&gate, CARD, TapKind::Entry, FROM)?).await?;
    day.answer(&entered)?;
    let exit = day.tap(&gate, CARD, TapKind::Exit, TO)?;
    let request_id = exit.header.as_ref().context("a header")?.request_id.clone();
    let left = gate.tap(exit.clone()).await?;
    let paid = day.answer(&left)?;
    let fare = left.charge.as_ref().context("an exit without a charge")?.amount_fen;
    story.tell(
        format!("出站扣款 {}，应答在路上丢了；闸机只记得自己的请求编号。", yuan(fare)),
        format!(
            "The exit is charged {fare} fen and its answer lost: the gate knows its own request id only."
        ),
    );

    let reverse = |by: By, terminal: &crate::client::Terminal| ReverseRequest {
        header: Some(terminal.header(Purpose::TransitRide)),
        by: Some(by),
        cause: CorrectionCause::Terminal.into(),
    };
    let request = reverse(By::RequestId(request_id.clone()), &gate);
    let back = gate.reverse(request.clone()).await?;
    let answer = day.answer(&back)?;
    story.equal("冲正成功 the gate takes it back", "APPROVED", word_of(&answer));
    story.equal("交易已冲正 the transaction is reversed", TransactionStatus::Reversed, answer.status());
    story.equal("同一笔交易 the same transaction", &paid.transaction_id, &answer.transaction_id);
    let given = back.money.context("money")?.refunded_fen;
    story.equal(format!("退回 {} all of it comes back", yuan(fare)), fare, given);

    let again = gate.reverse(request).await?;
    story.equal("重发得到同一应答 the repeat gets the same answer", Some(answer), again.answer);
    let mut by_clerk = reverse(By::TransactionId(paid.transaction_id.clone()), &desk);
    by_clerk.header.get_or_insert_default().operator_id = "clerk-7".to_owned();
    let late = desk.reverse(by_clerk).await;
    story.equal("服务台再冲正被拒 the desk comes too late", "ALREADY_REVERSED", verdict(&late));
    let tap_again = gate.tap(exit).await?.answer.map(|answer: Answer| answer.receipt);
    story.equal("原请求重发仍是原应答 the first request keeps its receipt", Some(paid.receipt), tap_again);

    let found = gate.transaction(TransactionKey::Request(request_id)).await?;
    let moved: Vec<i64> = found.steps.iter().map(|step| step.amount_fen).filter(|fen| *fen != 0).collect();
    story.equal("账本里一收一退 the journal has one charge and one return", vec![fare, fare], moved);
    Ok(())
}
