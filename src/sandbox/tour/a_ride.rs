//! Chapter 1: a Tianjin card rides the Beijing metro and pays the table's fare.

use anyhow::Context as _;

use super::{
    day::{Day, verdict, word_of, yuan},
    network,
    story::{Story, Title},
};
use crate::{
    model::Purpose,
    proto::transit::v1::{ListJourneysRequest, TapKind},
};

pub(super) const TITLE: Title =
    Title { zh: "天津的卡坐北京地铁", en: "A Tianjin card rides the Beijing metro" };

const CARD: &str = "tj-001";
const FROM: &str = "西直门";
const TO: &str = "国贸";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let gate = day.terminal("beijing", "bj-metro-gate-01").await?;
    let metres = network::metres(FROM, TO)?;
    let due = network::fare(metres);
    story.tell(
        format!("{CARD} 从{FROM}进站，到{TO}出站；查表 {metres} 米，应付 {}。", yuan(due)),
        format!("{CARD} enters at {FROM} and leaves at {TO}: {metres} m by the distance table, {due} fen by the price list."),
    );

    let entered = gate.tap(day.tap(&gate, CARD, TapKind::Entry, FROM)?).await?;
    let entered = day.answer(&entered)?;
    story.equal("进站放行 the gate opens", "APPROVED", word_of(&entered));

    let left = gate.tap(day.tap(&gate, CARD, TapKind::Exit, TO)?).await?;
    let answer = day.answer(&left)?;
    story.equal("出站放行 the gate opens again", "APPROVED", word_of(&answer));
    let charge = left.charge.context("an exit without a charge")?;
    story.equal(
        format!("按最短路 {metres} 米计程 the ride is measured by the shortest way"),
        metres,
        charge.distance_metres,
    );
    story.equal(format!("扣款 {} charged {due} fen", yuan(due)), due, charge.amount_fen);
    story.equal(
        "行程起讫 the charge names both ends",
        (FROM, TO),
        (charge.from_station.as_str(), charge.to_station.as_str()),
    );

    let again = gate.tap(day.tap(&gate, CARD, TapKind::Exit, TO)?).await;
    story.equal("没有进站记录不能再出站 no exit without an entry", "NO_ENTRY", verdict(&again));

    let gate_2 = day.terminal("beijing", "bj-metro-gate-02").await?;
    let listed = gate_2
        .list_journeys(ListJourneysRequest {
            purpose: i32::try_from(Purpose::TransitRide.number())?,
            card_identifier: day.card(CARD)?.holder.card_identifier,
            page_size: 0,
        })
        .await?;
    let amounts: Vec<i64> =
        listed.journeys.iter().filter_map(|journey| Some(journey.charge.as_ref()?.amount_fen)).collect();
    story.equal("另一道闸机查到这次行程 another gate of the metro lists the journey", vec![due], amounts);
    Ok(())
}
