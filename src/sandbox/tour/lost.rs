//! Chapter 5: a card reported lost is refused in all three regions, and how fast.

use std::time::{Duration, Instant};

use super::{
    day::{Day, begin_chip, verdict, word_of},
    story::{Story, Title},
};
use crate::{
    client::Terminal,
    model::Purpose,
    proto::{
        card::v1::{CardState, GetCardStateRequest, LiftLossRequest, LossKind, ReportLossRequest},
        transit::v1::TapKind,
    },
};

pub(super) const TITLE: Title =
    Title { zh: "挂失，三地即刻停用", en: "Reported lost, dead in all three" };

const CARD: &str = "tj-003";

/// The promise: under a second from the acknowledged report.
const GOAL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
const TAP_EVERY: Duration = Duration::from_millis(5);

struct Gate {
    region: &'static str,
    terminal: Terminal,
    station: &'static str,
}

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let identifier = day.card(CARD)?.holder.card_identifier;
    let hall = day.terminal("hebei", "he-hall-counter-01").await?;
    let mut gates = Vec::new();
    for (region, name, station) in [
        ("beijing", "bj-metro-gate-01", "西直门"),
        ("tianjin", "tj-metro-gate-01", "营口道"),
        ("hebei", "he-metro-gate-01", "西王"),
    ] {
        gates.push(Gate { region, terminal: day.terminal(region, name).await?, station });
    }
    story.tell(
        format!("天津的卡 {CARD} 在河北服务大厅挂失；三地闸机不停刷这张卡，看何时被拒。"),
        format!("The Tianjin card {CARD} is reported lost in Hebei; gates of all three keep tapping it."),
    );
    for gate in &gates {
        let tap = gate.terminal.tap(day.tap(&gate.terminal, CARD, TapKind::Entry, gate.station)?).await;
        story.equal(format!("{} 挂失前可用 works before", gate.region), "APPROVED", verdict(&tap));
    }

    let report = ReportLossRequest {
        header: Some(hall.header(Purpose::CardService)),
        card_identifier: identifier.clone(),
        kind: LossKind::Temporary.into(),
    };
    let reported = hall.report_loss(report).await?;
    let acknowledged = Instant::now();
    let answer = day.answer(&reported)?;
    story.equal("挂失已受理 the report is acknowledged", "APPROVED", word_of(&answer));
    story.equal("状态为临时挂失 the state is temporarily lost", CardState::TemporarilyLost, reported.state());

    let [beijing, tianjin, hebei] = &gates[..] else { anyhow::bail!("the town has three regions") };
    let (beijing, tianjin, hebei) = tokio::join!(
        refused_after(day, beijing, acknowledged),
        refused_after(day, tianjin, acknowledged),
        refused_after(day, hebei, acknowledged),
    );
    for (gate, refused) in gates.iter().zip([beijing?, tianjin?, hebei?]) {
        let told = refused.map_or_else(|| "never".to_owned(), |after| format!("{} ms", after.as_millis()));
        let holds = refused.is_some_and(|after| after < GOAL);
        story.holds(format!("{} 受理后被拒 refused after {told} (goal < 1 s)", gate.region), holds, told);
    }
    let counter = day.terminal("beijing", "bj-hall-counter-01").await?;
    let chip = counter.begin_chip(begin_chip(&counter, &day.card(CARD)?)).await;
    story.equal(
        "北京柜台也拒绝这张芯片 a counter in Beijing refuses its chip",
        "CARD_TEMPORARILY_LOST",
        verdict(&chip),
    );

    only_the_holder_revives_it(day, story, &hall, &identifier).await?;
    lifted(day, story, &gates[0], &identifier).await?;
    lost_for_good(day, story, &hall).await
}

/// Taps until the card is refused as lost; `None` when that does not come.
async fn refused_after(day: &Day, gate: &Gate, since: Instant) -> anyhow::Result<Option<Duration>> {
    while since.elapsed() < PATIENCE {
        let tap = day.tap(&gate.terminal, CARD, TapKind::Entry, gate.station)?;
        let tapped = gate.terminal.tap(tap).await;
        if verdict(&tapped) == "CARD_TEMPORARILY_LOST" {
            return Ok(Some(since.elapsed()));
        }
        tokio::time::sleep(TAP_EVERY).await;
    }
    Ok(None)
}

/// Who finds a card and stands at a counter, or at a desk where nobody signs for
/// it, must not undo the loss.
async fn only_the_holder_revives_it(
    day: &mut Day,
    story: &mut Story,
    hall: &Terminal,
    identifier: &str,
) -> anyhow::Result<()> {
    let at_the_counter = hall.lift_loss(lift(hall, identifier)).await;
    story.equal("柜台终端无权解挂 a counter lifts no loss", "ROLE_NOT_PERMITTED", verdict(&at_the_counter));
    let desk = day.terminal("hebei", "he-desk-desk-01").await?;
    let unnamed = desk.lift_loss(lift(&desk, identifier)).await;
    story.equal("服务台解挂须有经办人 nor does a desk without a clerk", "FIELD_INVALID", verdict(&unnamed));
    Ok(())
}

async fn lifted(day: &mut Day, story: &mut Story, gate: &Gate, identifier: &str) -> anyhow::Result<()> {
    let app = day.terminal("hebei", "he-ecard-app-01").await?;
    let lifted = app.lift_loss(lift(&app, identifier)).await?;
    let answer = day.answer(&lifted)?;
    story.equal("找到卡片，本人在手机上解挂 found again: the holder lifts it", "APPROVED", word_of(&answer));
    let ask = GetCardStateRequest {
        header: Some(app.header(Purpose::CardService)),
        card_identifier: identifier.to_owned(),
    };
    story.equal("状态恢复正常 the state is normal", CardState::Normal, app.card_state(ask).await?.state());

    let started = Instant::now();
    let mut last = String::new();
    while started.elapsed() < PATIENCE {
        let tap = day.tap(&gate.terminal, CARD, TapKind::Exit, gate.station)?;
        last = verdict(&gate.terminal.tap(tap).await);
        if last == "APPROVED" {
            break;
        }
        tokio::time::sleep(TAP_EVERY).await;
    }
    story.equal("北京出站恢复可用 the ride in Beijing ends as usual", "APPROVED", last);
    Ok(())
}

async fn lost_for_good(day: &mut Day, story: &mut Story, hall: &Terminal) -> anyhow::Result<()> {
    let identifier = day.card("he-004")?.holder.card_identifier;
    let report = ReportLossRequest {
        header: Some(hall.header(Purpose::CardService)),
        card_identifier: identifier.clone(),
        kind: LossKind::Formal.into(),
    };
    let reported = hall.report_loss(report).await?;
    day.answer(&reported)?;
    story.equal("正式挂失 a formal loss", CardState::Lost, reported.state());
    let desk = day.terminal("hebei", "he-desk-desk-01").await?;
    let mut named = lift(&desk, &identifier);
    if let Some(header) = &mut named.header {
        header.operator_id = "clerk-7".to_owned();
    }
    let lifted = desk.lift_loss(named).await;
    story.equal("正式挂失不能解除 cannot be lifted", "LOSS_IS_FINAL", verdict(&lifted));
    Ok(())
}

fn lift(terminal: &Terminal, identifier: &str) -> LiftLossRequest {
    LiftLossRequest {
        header: Some(terminal.header(Purpose::CardService)),
        card_identifier: identifier.to_owned(),
    }
}
