//! Promises 1 and 2 for gates that were cut off: what they upload counts once,
//! whenever the gateway is killed and however the repeat is cut.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use onecard::{
    client::Terminal,
    model::Purpose,
    proto::{
        common::v1::Decision,
        transaction::v1::{GetTransactionRequest, TerminalSequence, get_transaction_request::By},
        transit::v1::{ListJourneysRequest, OfflineTap, OfflineTapOutcome, TapKind, UploadChunkRequest},
    },
};

use crate::support::{
    acts::{Card, stations},
    in_a_town_of_its_own, until_asked,
};

const KILLS: usize = 4;
const RIDES: usize = 150;

/// A queue of entries and exits, as a gate keeps it.
fn queue(gate: &Terminal, cards: &[Card]) -> Vec<OfflineTap> {
    let (from, to) = stations("beijing");
    let mut taps = Vec::new();
    for _ in 0..RIDES {
        for (kind, station) in [(TapKind::Entry, from), (TapKind::Exit, to)] {
            for card in cards {
                let sequence = taps.len() as u64 + 1;
                taps.push(OfflineTap { sequence, tap: card.tap(gate, kind, station).tap });
            }
        }
    }
    taps
}

/// Uploads the queue, each time somewhere else and of another length, beginning again a
/// little further back after an answer that did not come. Answers with what each tap
/// was told first.
async fn upload(gate: Terminal, taps: Vec<OfflineTap>, told: Arc<AtomicUsize>) -> Vec<OfflineTapOutcome> {
    let mut outcomes: HashMap<u64, OfflineTapOutcome> = HashMap::new();
    let (mut sent, mut try_number) = (0, 0);
    while sent < taps.len() {
        try_number += 1;
        let from = sent.saturating_sub(try_number * 7 % 40);
        let to = (from + 10 + try_number * 13 % 90).clamp(sent + 1, sent + 80).min(taps.len());
        let to = to.min(from + 128);
        let request = UploadChunkRequest {
            header: Some(gate.header(Purpose::TransitRide)),
            taps: taps[from..to].to_vec(),
        };
        let Ok(answer) = gate.upload_chunk(request).await else { continue };
        assert_eq!(answer.outcomes.len(), to - from);
        for (tap, outcome) in taps[from..to].iter().zip(answer.outcomes) {
            assert_eq!(tap.sequence, outcome.sequence);
            assert_eq!(outcome.decision, i32::from(Decision::Approved), "{outcome:?}");
            let known = outcomes.entry(tap.sequence).or_insert_with(|| outcome.clone());
            let same = OfflineTapOutcome { repeated: known.repeated, ..outcome };
            assert_eq!(*known, same, "a repeat is told what was told");
        }
        sent = to;
        told.store(sent, Ordering::Relaxed);
    }
    taps.iter().map(|tap| outcomes[&tap.sequence].clone()).collect()
}

#[test]
fn what_a_gate_uploads_counts_once_whenever_the_gateway_is_killed() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let gate = stage.terminal("bj-metro-concentrator-01").await;
            let cards = [stage.card("bj"), stage.card("tj"), stage.card("bj")];
            let taps = queue(&gate, &cards);
            let told = Arc::new(AtomicUsize::new(0));
            let uploading = tokio::spawn(upload(gate.clone(), taps.clone(), Arc::clone(&told)));
            for kill in 1..=KILLS {
                let due = taps.len() * kill / (KILLS + 1);
                until_asked("uploads", async || told.load(Ordering::Relaxed) >= due).await;
                stage.kill("beijing").await;
                stage.restart("beijing").await;
            }
            let outcomes = uploading.await.expect("no panic");
            let charged: i64 =
                outcomes.iter().filter_map(|told| Some(told.charge.as_ref()?.amount_fen)).sum();
            assert!(charged > 0);

            // Each is found by the terminal's number, once and with its money.
            for (place, told) in outcomes.iter().enumerate().step_by(97) {
                let by = By::Tap(TerminalSequence { terminal: String::new(), sequence: place as u64 + 1 });
                let asked = GetTransactionRequest { by: Some(by), ..GetTransactionRequest::default() };
                let found = gate.get_transaction(asked).await.expect("found");
                assert_eq!(found.answer.expect("an answer").transaction_id, told.transaction_id);
                let booked: i64 = found.steps.iter().map(|step| step.amount_fen).sum();
                assert_eq!(booked, told.charge.as_ref().map_or(0, |charge| charge.amount_fen));
            }
            for card in &cards {
                let asked = ListJourneysRequest {
                    purpose: onecard::proto::common::v1::Purpose::TransitRide.into(),
                    card_identifier: card.identifier(),
                    page_size: 100,
                };
                let journeys = gate.list_journeys(asked).await.expect("listed");
                assert_eq!(journeys.journeys.len(), 100);
                assert!(journeys.open.is_none());
            }
            let report = stage.verified("beijing");
            assert_eq!(report.ledger.debit_fen, i128::from(charged), "every ride is booked once");
        },
    );
}
