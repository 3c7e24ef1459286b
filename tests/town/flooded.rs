//! A participant that sends more than its rate waits; the others do not.

use onecard::{
    client::{CallError, Terminal},
    proto::transit::v1::TapKind,
};
use tonic::Code;

use crate::support::{
    acts::Card,
    edit,
    expect::{approved, refused},
    in_a_town_of_its_own,
};

const RATE: usize = 20;

async fn tap(gate: &Terminal, card: &Card) -> Result<(), CallError> {
    let tapped = gate.tap(card.ride(gate, "beijing")).await?;
    approved(&tapped.answer);
    Ok(())
}

#[test]
fn a_flooding_participant_is_refused_with_a_retry_hint_while_another_is_served() {
    in_a_town_of_its_own(
        |prepared| {
            let file = prepared.data.join("config/beijing/participants.toml");
            edit(&file, |registry| {
                let participants = registry["participant"].as_array_mut().expect("a list");
                let bus = participants.iter_mut().find(|line| line["id"].as_str() == Some("bj-bus"));
                let bus = bus.and_then(toml::Value::as_table_mut).expect("the bus operator");
                bus.insert("rate_per_second".into(), i64::try_from(RATE).expect("small").into());
            });
        },
        async |stage| {
            let (flooding, other) =
                (stage.terminal("bj-bus-bus-01").await, stage.terminal("bj-metro-gate-01").await);
            let (card, flood) = (stage.card("tj"), stage.card("tj"));
            let mut refusals = Vec::new();
            for _ in 0..RATE * 4 {
                if let Err(error) =
                    flooding.tap(flood.tap(&flooding, TapKind::Entry, "西直门")).await.map(drop)
                {
                    refusals.push(error);
                }
                tap(&other, &card).await.expect("another is served all the while");
                if refusals.len() >= 3 {
                    break;
                }
            }
            assert!(refusals.len() >= 3, "a flood is refused");
            for error in refusals {
                let wait = error.retry_after.expect("the hint when to come back");
                refused::<()>(Err(error), Code::ResourceExhausted, "RATE_EXCEEDED");
                // Whoever waits as told is served.
                tokio::time::sleep(wait).await;
                flooding
                    .tap(flood.tap(&flooding, TapKind::Entry, "西直门"))
                    .await
                    .expect("served after the wait");
            }
            let shed = stage.metric("beijing", "onecard_requests_total", &["bj-bus", "outcome=\"shed\""]);
            assert!(shed >= 3.0, "{shed}");
            assert_eq!(
                stage.metric("beijing", "onecard_requests_total", &["bj-metro", "outcome=\"shed\""]),
                0.0
            );
        },
    );
}
