//! What a peer may send, under a fuzzer: envelopes from a stranger, and signed
//! ones from a member that speaks nonsense.

use std::sync::{Arc, LazyLock};

use prost::Message as _;

use super::{
    envelope::{self, Envelopes, STANDARD_VERSION},
    wire,
};
use crate::{
    crypto::{KeyName, KeyVault, Sm2PublicKey, SoftVault, sm3},
    model::{ManualClock, Rng, fuzz},
    proto::federation::v1::{self as proto, Envelope, EnvelopeHeader, Message, message::Content},
    trust::{Member, TrustList},
};

const US: u32 = 110_000;
const PEER: u32 = 120_000;
const NOW: i64 = 1_790_000_000_000;

static PEER_VAULT: LazyLock<SoftVault> =
    LazyLock::new(|| SoftVault::empty().with_key(KeyName::Federation, &[0xfe; 32]).expect("a scalar"));

static TRUST: LazyLock<TrustList> = LazyLock::new(|| {
    let point = PEER_VAULT.public_key(KeyName::Federation).expect("a key");
    let key = Sm2PublicKey::from_bytes(&point).expect("a point");
    let member = Member {
        region: PEER,
        name_zh: "样例".into(),
        name_en: "Sample".into(),
        endpoint: "https://127.0.0.1:7112".into(),
        tls_name: "peer.sample.onecard".into(),
        journal_key: key.clone(),
        federation_key: key.clone(),
        ecard_key: key,
        standard_min: 1,
        standard_max: 1,
    };
    TrustList::new(1, 0, 2 * NOW, vec![member]).expect("a list")
});

/// Our run is the same in every process, so that what the fuzzer found is found again.
struct Sevens;

impl Rng for Sevens {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn at_our_door(envelope: &Envelope) -> bool {
    let clock = Arc::new(ManualClock::at(NOW));
    let ours = Envelopes::new(US, Arc::new(SoftVault::empty()), clock, Arc::new(Sevens));
    match ours.open(envelope, PEER, None, &TRUST) {
        Ok(opened) => {
            content(opened.content);
            true
        }
        Err(_) => false,
    }
}

/// Bytes of an envelope from whoever reached the port.
///
/// # Panics
/// When the door does, or believes what nobody signed.
pub fn envelopes(data: &[u8]) {
    let body = fuzz::input(&seeds(), data);
    let header = header(&body).encode_to_vec();
    let signature = vec![7; 64];
    let seed = Envelope { header: header.into(), body: body.into(), signature: signature.into() };
    if let Ok(envelope) = Envelope::decode(fuzz::input(&[seed.encode_to_vec()], data).as_slice()) {
        assert!(!at_our_door(&envelope), "nobody signed it");
    }
}

/// Messages a member signed.
///
/// # Panics
/// When the way to the gateway does.
pub fn messages(data: &[u8]) {
    let body = fuzz::input(&seeds(), data);
    if let Ok(Message { content: Some(said) }) = Message::decode(body.as_slice()) {
        content(said);
    }
    // Signing is dear: now and then the whole way through the door.
    if data.first().is_some_and(|byte| byte % 16 == 0) {
        let header = header(&body).encode_to_vec();
        let signed = envelope::signed_bytes(&header, &body);
        let signature = PEER_VAULT.sign(KeyName::Federation, &signed).expect("signs").to_vec();
        let envelope = Envelope { header: header.into(), body: body.into(), signature: signature.into() };
        let readable = Message::decode(envelope.body.clone()).is_ok_and(|message| message.content.is_some());
        assert_eq!(at_our_door(&envelope), readable, "a member's message is opened");
    }
}

fn header(body: &[u8]) -> EnvelopeHeader {
    EnvelopeHeader {
        id: vec![1; 16],
        in_reply_to: Vec::new(),
        from: format!("{PEER:06}"),
        to: format!("{US:06}"),
        standard_version: STANDARD_VERSION,
        trust_list_version: 1,
        sent_at_ms: NOW,
        body_hash: sm3(&[body]).to_vec(),
        traceparent: String::new(),
        to_run: vec![7; 16],
    }
}

/// As the server and the client read it.
fn content(said: Content) {
    let _ = wire::fingerprint(&said);
    let origin = |origin| drop(wire::origin_of(origin, ""));
    match said {
        Content::ChipRelayBegin(begin) => {
            let _ = wire::challenge_of(begin.challenge);
            origin(begin.origin);
        }
        Content::ChipRelayFinish(finish) => {
            let _ = (wire::holder_data_of(&finish), wire::token_of(&finish.chip_session));
            origin(finish.origin);
        }
        Content::CodeSettle(settle) => {
            let _ = crate::trust::SignedCode::from_bytes(&settle.code);
            origin(settle.origin);
        }
        Content::LossReport(report) => {
            let _ = (wire::loss_of(report.kind), wire::card_of(&report.card_identifier));
            origin(report.origin);
        }
        Content::LossLift(lift) => origin(lift.origin),
        Content::CardStateRead(read) => origin(read.origin),
        Content::DenyListDelta(delta) => {
            if let Ok(delta) = wire::delta_of(delta, PEER) {
                let again = wire::delta_of(wire::delta_to_wire(&delta), PEER);
                assert_eq!(again.as_ref(), Ok(&delta));
            }
        }
        Content::ChipRelayBegun(begun) => drop(wire::begun_of(&begun)),
        Content::HolderConfirmed(confirmed) => drop(wire::confirmed_of(confirmed)),
        Content::CardStateAnswer(answer) => drop(wire::said_of(&answer)),
        Content::DenyListAccepted(_) => {}
        Content::DenyListAsk(ask) => {
            let _ = wire::ask_of(&ask, PEER);
        }
        Content::DenyListTold(told) => {
            if let Ok(told) = wire::told_of(&told, PEER, None) {
                assert!(told.facts.iter().all(|(_, fact)| fact.denied));
            }
        }
        Content::Refusal(refusal) => drop(wire::refusal_of(&refusal)),
    }
}

fn seeds() -> [Vec<u8>; 3] {
    let card = [&[0x12, 0x00, 0x00], &[9; 13][..]].concat();
    let origin = Some(proto::Origin {
        request_id: vec![1; 16],
        participant: "tj-metro".into(),
        terminal: "gate-01".into(),
        purpose: 1,
        operator_id: String::new(),
        transaction_id: "120000-000-0192a3b4c5d6-9f8e7d6c5b4a".into(),
    });
    let change = |version| proto::DenyListChange {
        card_identifier: card.clone(),
        denied: true,
        card_state: 2,
        expires_at_ms: 0,
        version,
        denied_since_ms: 0,
    };
    let delta = proto::DenyListDelta {
        epoch: 4,
        region: "120000".into(),
        version: 3,
        since: 1,
        changes: vec![change(2), change(3)],
    };
    let confirmed = proto::HolderConfirmed {
        card_identifier: card.clone(),
        pairwise_holder: vec![3; 32],
        assurance: 3,
        card_state: 1,
        attributes: [("AAC003".to_owned(), "样例".to_owned())].into(),
        transaction_id: String::new(),
    };
    [
        Content::DenyListDelta(delta),
        Content::LossReport(proto::LossReport { origin, card_identifier: card, kind: 1 }),
        Content::HolderConfirmed(confirmed),
    ]
    .map(|content| Message { content: Some(content) }.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use crate::model::fuzz::smoke;

    #[test]
    fn what_a_peer_sends_is_read_in_total() {
        smoke(2_000, super::envelopes);
        smoke(500, super::messages);
    }
}
