//! Chapter 9: taps taken while the line was down are uploaded twice and count
//! once; a gate's stream of taps.

use std::collections::BTreeSet;

use super::{
    day::Day,
    story::{Story, Title},
};
use crate::{
    client::{OfflineQueue, Terminal},
    model::{Clock, Purpose, SystemClock},
    proto::transit::v1::{
        ListJourneysRequest, TapKind, TapOutcome, TapRequest, UploadTapsRequest, tap_outcome,
        tap_stream_response,
    },
};

pub(super) const TITLE: Title =
    Title { zh: "离线刷卡与刷卡流", en: "Offline taps and a stream of taps" };

const RIDERS: [&str; 3] = ["bj-007", "bj-008", "bj-009"];
const STREAMED: [&str; 4] = ["bj-010", "bj-011", "bj-012", "bj-005"];
const MINUTE_MS: i64 = 60_000;

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let gate = day.terminal("beijing", "bj-metro-concentrator-01").await?;
    uploaded_twice(day, story, &gate).await?;
    streamed(day, story, &gate).await
}

async fn uploaded_twice(day: &mut Day, story: &mut Story, gate: &Terminal) -> anyhow::Result<()> {
    story.tell(
        "线路中断期间，闸机把刷卡先存盘再放行；恢复后上传，并因故再传一遍。",
        "While the line was down taps went to disk before the gate opened; now they are uploaded, twice.",
    );
    let mut queue = OfflineQueue::open(&day.town.prepared.data.join("gate.queue"))?;
    let now = SystemClock.now_ms();
    for (kind, station, minutes_ago) in [(TapKind::Entry, "西直门", 50), (TapKind::Exit, "西单", 30)] {
        for card in RIDERS {
            queue.push(&day.tap_at(gate, card, kind, station, now - minutes_ago * MINUTE_MS)?)?;
        }
    }
    let taps = queue.pending(usize::MAX);
    story.equal("六笔在盘上 six taps are on disk", 6, queue.len());

    let first = gate.upload_queue(&mut queue).await?;
    story.equal("全部受理 every tap is accepted", vec!["APPROVED"; 6], verdicts(&first));
    story.holds("队列已空 the queue is empty", queue.is_empty(), queue.len());
    let second = gate.upload_taps(UploadTapsRequest { taps: taps.clone() }).await?.outcomes;
    story.equal(
        "再传得到同样的六笔交易 again: the same six transactions",
        transactions(&first),
        transactions(&second),
    );
    for outcome in &first {
        if let Some(tap_outcome::Result::Tap(tap)) = &outcome.result {
            day.answer(tap)?;
        }
    }

    let mut journeys = Vec::new();
    for card in RIDERS {
        let ask = ListJourneysRequest {
            purpose: i32::try_from(Purpose::TransitRide.number())?,
            card_identifier: day.card(card)?.holder.card_identifier,
            page_size: 0,
        };
        journeys.push(gate.list_journeys(ask).await?.journeys.len());
    }
    story.equal("每人一次行程 one journey each", vec![1; 3], journeys);
    Ok(())
}

async fn streamed(day: &mut Day, story: &mut Story, gate: &Terminal) -> anyhow::Result<()> {
    story.tell("一道闸机用一条长连接流连续刷卡。", "A gate sends its taps on one long-lived stream.");
    let stream = gate.tap_stream().await?;
    let mut sent = BTreeSet::new();
    let mut taps: Vec<TapRequest> = Vec::new();
    for card in STREAMED {
        taps.push(day.tap(gate, card, TapKind::Entry, "西直门")?);
    }
    let mut bad = taps[0].clone();
    bad.header = Some(gate.header(Purpose::TransitRide));
    if let Some(read) = bad.tap.as_mut().and_then(|tap| tap.read.as_mut()) {
        read.mac[0] ^= 1;
    }
    taps.insert(1, bad);
    for tap in taps {
        sent.insert(tap.header.as_ref().map(|header| header.request_id.clone()).unwrap_or_default());
        stream.send(tap).await?;
    }
    let answers = stream.finish().await?;
    let answered: BTreeSet<String> = answers.iter().map(|answer| answer.request_id.clone()).collect();
    story.equal("每一笔都有应答 every tap has its answer", sent, answered);
    let mut words = Vec::new();
    for answer in &answers {
        words.push(match &answer.result {
            Some(tap_stream_response::Result::Tap(tap)) => super::day::word_of(&day.answer(tap)?),
            Some(tap_stream_response::Result::Refusal(refusal)) => refusal.reason.clone(),
            None => "no result".to_owned(),
        });
    }
    words.sort();
    story.equal(
        "错的那笔单独被拒，流不断 the wrong one is refused alone, the stream goes on",
        vec!["APPROVED", "APPROVED", "APPROVED", "APPROVED", "MAC_WRONG"],
        words,
    );
    Ok(())
}

fn verdicts(outcomes: &[TapOutcome]) -> Vec<String> {
    let word = |outcome: &TapOutcome| match &outcome.result {
        Some(tap_outcome::Result::Tap(tap)) => {
            tap.answer.as_ref().map(super::day::word_of).unwrap_or_default()
        }
        Some(tap_outcome::Result::Refusal(refusal)) => refusal.reason.clone(),
        None => "no result".to_owned(),
    };
    outcomes.iter().map(word).collect()
}

fn transactions(outcomes: &[TapOutcome]) -> Vec<String> {
    let id = |outcome: &TapOutcome| match &outcome.result {
        Some(tap_outcome::Result::Tap(tap)) => {
            tap.answer.as_ref().map(|answer| answer.transaction_id.clone()).unwrap_or_default()
        }
        Some(tap_outcome::Result::Refusal(_)) | None => String::new(),
    };
    outcomes.iter().map(id).collect()
}
