//! `kill -9` under load at the large size, and how long it takes until a gate is answered
//! again.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use onecard::proto::transit::v1::TapResponse;
use prost::Message as _;

use super::{population::Hand, state::State};
use crate::{
    fixture::Gateway,
    kill::ledger::Ledger,
    line::{Identity, Line},
};

/// Gates that tap when it is killed, and the connections they share.
const CALLERS: usize = 64;
const CONNECTIONS: usize = 8;

/// Taps made ready for each: more than it sends until the kill.
const TAPS_EACH: usize = 1_500;

/// Load before the kill: enough that the index is behind and segments are open.
const LOADED: Duration = Duration::from_millis(1_500);

/// After a start somebody is answered within this, or never.
const ANSWERED_MAX: Duration = Duration::from_secs(120);
const TRY_EVERY: Duration = Duration::from_millis(10);

/// A restart as a gate saw it; from the start of the process on.
#[derive(Debug, Clone, Copy)]
pub struct Restart {
    pub ready: Duration,
    pub answered: Duration,
    pub acknowledged: u64,
    /// Last acknowledged taps that were asked for again, and were found the same.
    pub asked: usize,
    pub found: usize,
}

/// What a gate was told last.
struct Told {
    hand: Hand,
    acknowledged: u64,
    /// The last tap that was answered, and its transaction.
    last: Option<(Bytes, String)>,
}

/// Kills the gateway under load and starts it again.
///
/// # Errors
/// When it does not come back.
pub async fn restart(
    state: &mut State,
    gateway: Gateway,
    ledger: &mut Ledger,
    kill: u32,
) -> anyhow::Result<(Gateway, Restart)> {
    let identity = Identity::of_gate(&state.beijing.pki())?;
    let at = state.beijing.terminals();
    let mut lines = Vec::new();
    for _ in 0..CONNECTIONS {
        lines.push(Line::connect(at, &identity).await?);
    }
    let mut hands = state.hands(CALLERS + 1, TAPS_EACH)?;
    let mut probe = hands.pop().context("one hand is left for the first tap after it")?;
    let callers: Vec<_> = hands
        .into_iter()
        .enumerate()
        .map(|(at, hand)| tokio::spawn(tap(lines[at % CONNECTIONS].clone(), hand)))
        .collect();
    drop(lines);
    tokio::time::sleep(LOADED).await;
    gateway.kill()?;
    let mut told = Vec::with_capacity(CALLERS);
    for caller in callers {
        told.push(caller.await?);
    }

    let began = Instant::now();
    let mut gateway = state.beijing.start()?;
    let (ready, answered) = tokio::join!(
        async { gateway.ready().await.map(|()| began.elapsed()) },
        first_answer(state.beijing.terminals(), &identity, &mut probe, began),
    );
    let log = || format!("the end of its log:\n{}", state.beijing.log_tail());
    let (ready, answered) = (ready.with_context(log)?, answered.with_context(log)?);

    let mut line = Line::connect(at, &identity).await?;
    let (mut asked, mut found, mut acknowledged) = (0, 0, 0);
    for told in &told {
        acknowledged += told.acknowledged;
        let Some((frame, transaction)) = &told.last else { continue };
        asked += 1;
        let again = line.tap(frame.clone()).await.map_err(anyhow::Error::from).and_then(transaction_of);
        found += usize::from(again.is_ok_and(|again| again == *transaction));
    }
    ledger.look(gateway.operators(), kill).await?;
    told.into_iter().map(|told| told.hand).chain([probe]).for_each(|hand| state.put_back(hand));
    Ok((gateway, Restart { ready, answered, acknowledged, asked, found }))
}

/// Taps until the line breaks. The tap that was not answered may have been done: its
/// card is used no more.
async fn tap(mut line: Line, hand: Hand) -> Told {
    let mut told = Told { hand, acknowledged: 0, last: None };
    while let Some(frame) = told.hand.magazine.take() {
        match line.tap(frame.clone()).await.map_err(anyhow::Error::from).and_then(transaction_of) {
            Ok(transaction) => {
                told.acknowledged += 1;
                told.last = Some((frame, transaction));
            }
            Err(_) => {
                told.hand.lost = told.hand.magazine.last_card();
                break;
            }
        }
    }
    told
}

fn transaction_of(answer: Bytes) -> anyhow::Result<String> {
    let answer = TapResponse::decode(answer)?.answer.context("an empty answer")?;
    anyhow::ensure!(answer.receipt.is_some(), "no receipt: {}", answer.reason);
    Ok(answer.transaction_id)
}

/// Tries until a tap is answered.
async fn first_answer(
    at: std::net::SocketAddr,
    identity: &Identity,
    probe: &mut Hand,
    began: Instant,
) -> anyhow::Result<Duration> {
    let frame = probe.magazine.take().context("a tap was made ready")?;
    while began.elapsed() < ANSWERED_MAX {
        if let Ok(mut line) = Line::connect(at, identity).await
            && let Ok(answer) = line.tap(frame.clone()).await
        {
            transaction_of(answer)?;
            return Ok(began.elapsed());
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    anyhow::bail!("no tap was answered within {} s", ANSWERED_MAX.as_secs())
}
