//! Promise 6, peers: a message between regions is signed, fresh and for us, or it
//! is refused and counted.

use std::sync::Arc;

use onecard::{
    federation::{Envelopes, RunId, Sealed},
    model::{Clock, Millis, SystemClock, SystemRng, TransactionId},
    proto::federation::v1::{
        CardStateRead, DenyListDelta, Envelope, EnvelopeHeader, ExchangeRequest, ExchangeResponse, Message,
        Origin, message::Content, peer_service_client::PeerServiceClient,
    },
    trust::TrustList,
};
use prost::Message as _;
use tonic::{Code, Status};

use crate::support::{
    Stage, acts,
    expect::{approved, refused},
    in_a_town_of_its_own, on_the_town, until, until_asked,
    wire::Shown,
};

const BEIJING: u32 = 110_000;
const TIANJIN: u32 = 120_000;
const HEBEI: u32 = 130_000;

/// A clock that is off by some milliseconds.
struct Off(Millis);

impl Clock for Off {
    fn now_ms(&self) -> Millis {
        SystemClock.now_ms() + self.0
    }
}

/// One message through a region's peers' door.
pub async fn exchanged(
    stage: &Stage,
    at: &str,
    shown: &Shown,
    envelope: Envelope,
) -> Result<ExchangeResponse, Status> {
    let channel = stage.channel(&stage.peers_door(at), Some(shown)).await.expect("TLS");
    let request = ExchangeRequest { envelope: Some(envelope) };
    PeerServiceClient::new(channel).exchange(request).await.map(tonic::Response::into_inner)
}

fn trust(stage: &Stage) -> TrustList {
    let bytes = std::fs::read(stage.prepared.data.join("trust.toml")).expect("a trust list");
    TrustList::parse(&bytes).expect("a trust list")
}

/// Envelopes as a region makes them, by a clock that is `off` milliseconds.
fn envelopes(stage: &Stage, region: &str, province: u32, off: Millis) -> Envelopes {
    Envelopes::new(province, Arc::new(stage.vault(region)), Arc::new(Off(off)), Arc::new(SystemRng))
}

/// A sign of life: the smallest message there is.
fn alive() -> Content {
    Content::DenyListDelta(DenyListDelta { region: TIANJIN.to_string(), ..DenyListDelta::default() })
}

fn seal(stage: &Stage, envelopes: &Envelopes, to: (u32, RunId), content: Content) -> Envelope {
    let (to, run) = to;
    let question = Sealed::Question { to_run: Some(run) };
    envelopes.seal(to, content, question, "", &trust(stage)).expect("sealed").0
}

/// The run a region goes on in, as it tells a peer that does not know it.
async fn run_of(stage: &Stage, at: &str, to: u32) -> RunId {
    let unknown = Sealed::Question { to_run: None };
    let asks = envelopes(stage, "tianjin", TIANJIN, 0);
    let (envelope, _) = asks.seal(to, alive(), unknown, "", &trust(stage)).expect("sealed");
    let told = exchanged(stage, at, &stage.shown("peers/tianjin"), envelope).await.expect("sent back");
    sent_back(told)
}

/// The run that is named in the place of an answer.
#[track_caller]
fn sent_back(response: ExchangeResponse) -> RunId {
    assert!(response.envelope.is_none(), "nothing is answered");
    response.run.try_into().expect("a run")
}

fn refusals(stage: &Stage) -> f64 {
    stage.metric("beijing", "onecard_envelopes_refused_total", &[])
}

#[test]
fn a_message_that_is_not_signed_fresh_and_for_us_is_refused() {
    on_the_town(async |stage| {
        let tianjin = stage.shown("peers/tianjin");
        let right = envelopes(stage, "tianjin", TIANJIN, 0);
        let beijing = (BEIJING, run_of(stage, "beijing", BEIJING).await);
        let good = seal(stage, &right, beijing, alive());
        let ask = async |envelope: &Envelope| exchanged(stage, "beijing", &tianjin, envelope.clone()).await;
        ask(&good).await.expect("a right message is answered");

        let altered_body = {
            let fresh = seal(stage, &right, beijing, alive());
            let other = DenyListDelta { region: TIANJIN.to_string(), version: 9, ..DenyListDelta::default() };
            let body = Message { content: Some(Content::DenyListDelta(other)) }.encode_to_vec();
            Envelope { body: body.into(), ..fresh }
        };
        // The hash in the header is mended too: then the signature does not fit.
        let altered_both = {
            let mut header = EnvelopeHeader::decode(altered_body.header.clone()).expect("a header");
            header.body_hash = onecard::crypto::sm3(&[&altered_body.body]).to_vec();
            Envelope { header: header.encode_to_vec().into(), ..altered_body.clone() }
        };
        let altered_header = {
            let fresh = seal(stage, &right, beijing, alive());
            let mut header = EnvelopeHeader::decode(fresh.header.clone()).expect("a header");
            header.sent_at_ms += 1;
            Envelope { header: header.encode_to_vec().into(), ..fresh }
        };
        let cut_signature = {
            let fresh = seal(stage, &right, beijing, alive());
            Envelope { signature: fresh.signature.slice(..63), ..fresh }
        };
        let hebei_signs = {
            // Hebei's key under Tianjin's name and Tianjin's certificate.
            let liar = envelopes(stage, "hebei", TIANJIN, 0);
            seal(stage, &liar, beijing, alive())
        };
        let answer_to_nothing = {
            let sealed = right.seal(BEIJING, alive(), Sealed::AnswerTo([7; 16]), "", &trust(stage));
            sealed.expect("sealed").0
        };
        let wrong = [
            ("replayed", good),
            ("stale", seal(stage, &envelopes(stage, "tianjin", TIANJIN, -45_000), beijing, alive())),
            ("from the future", seal(stage, &envelopes(stage, "tianjin", TIANJIN, 45_000), beijing, alive())),
            ("an altered body", altered_body),
            ("an altered body and its hash", altered_both),
            ("an altered header", altered_header),
            ("a cut signature", cut_signature),
            ("for another region", seal(stage, &right, (HEBEI, beijing.1), alive())),
            ("signed by another region", hebei_signs),
            ("from another region than the certificate", {
                seal(stage, &envelopes(stage, "hebei", HEBEI, 0), beijing, alive())
            }),
            (
                "from nobody on the list",
                seal(stage, &envelopes(stage, "hebei", 310_000, 0), beijing, alive()),
            ),
            ("an answer to nothing", answer_to_nothing),
            ("empty", Envelope::default()),
            (
                "garbage",
                Envelope {
                    header: vec![0xff; 40].into(),
                    body: vec![0xff; 40].into(),
                    signature: vec![0xff; 64].into(),
                },
            ),
        ];
        for (what, envelope) in wrong {
            let before = refusals(stage);
            let status = ask(&envelope).await.map(drop).expect_err(what);
            assert_eq!(status.code(), Code::PermissionDenied, "{what}: {status}");
            until(&format!("the counter moves: {what}"), || refusals(stage) >= before + 1.0);
        }
        // Within the skew a message is taken.
        for off in [-25_000, 25_000] {
            let skewed = seal(stage, &envelopes(stage, "tianjin", TIANJIN, off), beijing, alive());
            ask(&skewed).await.expect("a clock may be off a little");
        }
        assert!(stage.log("beijing").contains("refused an envelope"), "and it is logged");
    });
}

#[test]
fn a_peer_cannot_speak_for_another_region() {
    on_the_town(async |stage| {
        let tianjin = stage.shown("peers/tianjin");
        let right = envelopes(stage, "tianjin", TIANJIN, 0);
        let beijing = (BEIJING, run_of(stage, "beijing", BEIJING).await);
        // Tianjin says that cards of Hebei are dead: not its list.
        let card = stage.card("he");
        let lie = Content::DenyListDelta(DenyListDelta {
            epoch: 0,
            region: HEBEI.to_string(),
            since: 0,
            version: 1_000_000,
            changes: vec![onecard::proto::federation::v1::DenyListChange {
                card_identifier: hex::decode(card.identifier()).expect("hexadecimal"),
                denied: true,
                card_state: 2,
                expires_at_ms: 0,
                version: 1_000_000,
                denied_since_ms: 0,
            }],
        });
        let answer = exchanged(stage, "beijing", &tianjin, seal(stage, &right, beijing, lie)).await;
        let answer = answer.expect("answered").envelope.expect("an envelope");
        let message = Message::decode(answer.body).expect("a message").content;
        assert!(matches!(message, Some(Content::Refusal(_))), "{message:?}");

        // Nor does it learn of cards that are not Beijing's.
        let read = Content::CardStateRead(CardStateRead {
            origin: Some(Origin {
                request_id: vec![1; 16],
                participant: "tj-hall".to_owned(),
                terminal: "counter-01".to_owned(),
                purpose: 4,
                operator_id: String::new(),
                transaction_id: TransactionId::new(TIANJIN, 0, SystemClock.now_ms(), &SystemRng).to_string(),
            }),
            card_identifier: hex::decode(card.identifier()).expect("hexadecimal"),
        });
        let answer = exchanged(stage, "beijing", &tianjin, seal(stage, &right, beijing, read)).await;
        let answer = answer.expect("answered").envelope.expect("an envelope");
        let Some(Content::Refusal(refusal)) = Message::decode(answer.body).expect("a message").content else {
            panic!("a card of Hebei is not Beijing's to tell of");
        };
        assert_eq!(refusal.reason, "HOME_REGION_ONLY");

        let gate = stage.terminal("bj-metro-gate-01").await;
        let tap = card.tap(&gate, onecard::proto::transit::v1::TapKind::Entry, "西直门");
        crate::support::expect::approved(&gate.tap(tap).await.expect("answered").answer);
    });
}

#[test]
fn a_peer_that_is_away_is_given_a_rest_and_found_again() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let breaker = || stage.metric("beijing", "onecard_peer_breaker_state", &["peer=\"130000\""]);
            let kept = || {
                let labels = ["peer=\"130000\"", "outcome=\"not-sent\""];
                stage.metric("beijing", "onecard_peer_calls_total", &labels)
            };
            assert!(
                stage.ops("beijing", "/metrics").1.contains("onecard_peer_breaker_state{peer=\"130000\"} 0")
            );
            stage.kill("hebei").await;
            until("the breaker opens", || breaker() == 2.0);
            let desk = stage.terminal("bj-capital-desk-01").await;
            let card = stage.card("he");
            until_asked("a call that is kept", async || {
                let told = acts::chip(&desk, &card).await;
                refused(told, Code::Unavailable, "HOME_REGION_UNAVAILABLE");
                kept() >= 1.0
            })
            .await;
            stage.restart("hebei").await;
            until("the breaker closes", || breaker() == 0.0);
            approved(&acts::chip(&desk, &card).await.expect("answered").answer);
        },
    );
}

#[test]
fn what_was_heard_before_a_restart_is_not_heard_again_after_it() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            let tianjin = stage.shown("peers/tianjin");
            let ask = async |envelope: &Envelope| exchanged(stage, "hebei", &tianjin, envelope.clone()).await;
            let sent_back_to = |peer: &str| {
                stage.metric("hebei", "onecard_envelopes_sent_back_total", &[&format!("peer=\"{peer}\"")])
            };
            let signer = envelopes(stage, "tianjin", TIANJIN, 0);
            let before = run_of(stage, "hebei", HEBEI).await;
            let captured = seal(stage, &signer, (HEBEI, before), alive());
            ask(&captured).await.expect("answered").envelope.expect("an answer");
            let again = ask(&captured).await.expect_err("seen");
            assert_eq!(again.code(), Code::PermissionDenied);
            let desk = stage.terminal("bj-capital-desk-01").await;
            let card = stage.card("he");
            approved(&acts::chip(&desk, &card).await.expect("answered").answer);

            stage.kill("hebei").await;
            stage.restart("hebei").await;

            // It is fresh and rightly signed still: only the run tells.
            let counted = sent_back_to("120000");
            let now = sent_back(ask(&captured).await.expect("sent back"));
            assert_ne!(now, before);
            sent_back(ask(&captured).await.expect("sent back as often as it is sent"));
            assert!(sent_back_to("120000") >= counted + 2.0);
            assert!(stage.log("hebei").contains("sent an envelope back"));
            let anew = seal(stage, &signer, (HEBEI, now), alive());
            ask(&anew).await.expect("answered").envelope.expect("an answer");

            // Beijing was sent back once, by whatever it asked first, and loses no call.
            let breaker = || stage.metric("beijing", "onecard_peer_breaker_state", &["peer=\"130000\""]);
            until("Beijing has found Hebei again", || breaker() == 0.0 && sent_back_to("110000") > 0.0);
            let lost = || {
                stage.metric(
                    "beijing",
                    "onecard_peer_calls_total",
                    &["peer=\"130000\"", "outcome=\"unknown\""],
                )
            };
            let unknown = lost();
            for _ in 0..5 {
                approved(&acts::chip(&desk, &card).await.expect("answered").answer);
            }
            assert_eq!((lost(), sent_back_to("110000")), (unknown, 1.0));
        },
    );
}
