use super::wire::*;
use crate::{
    crypto::ChipChallenge,
    gateway::{CardAsk, CardSaid, ChipBegun, DenyDelta, HolderConfirmed, Origin, PeerError},
    identity::CardIdentifier,
    model::{Assurance, PairwiseHolder, Purpose, Reason, RequestId, Token16, TransactionId},
    proto::{auth::v1 as auth, federation::v1 as message, federation::v1::message::Content},
    scenes::card::{DenyFact, HolderData, LossKind},
};

fn card(region: &str) -> CardIdentifier {
    format!("{region}{:026}", 7).parse().expect("a region")
}

fn origin(transaction: u8) -> Origin {
    let mut id = [transaction; 16];
    // 120000 and shard 0.
    id[..4].copy_from_slice(&(120_000_u32 << 12).to_be_bytes());
    Origin {
        request: RequestId::from_bytes([1; 16]),
        participant: "lib".into(),
        terminal: "desk".into(),
        purpose: Purpose::LibraryLoan,
        operator: "clerk".into(),
        transaction: TransactionId::from_bytes(id),
        traceparent: "00-trace".into(),
    }
}

fn data() -> HolderData {
    HolderData {
        social_security_number: "11010119900307663X".into(),
        card_number: "A00000001".into(),
        name: "样例甲".parse().expect("a name"),
    }
}

fn challenge() -> ChipChallenge {
    ChipChallenge {
        internal_factor: [1; 8],
        internal_data: [2; 16],
        internal_cryptogram: [3; 16],
        external_factor: [4; 8],
        external_data: [5; 16],
    }
}

#[test]
fn what_is_said_is_what_is_heard() {
    let heard = origin_of(Some(origin_to_wire(&origin(3))), "00-trace").expect("well formed");
    assert_eq!(format!("{heard:?}"), format!("{:?}", origin(3)));

    let (heard, same) =
        challenge_of(Some(challenge_to_wire(&challenge(), card("110101")))).expect("well formed");
    assert_eq!((heard, same), (card("110101"), challenge()));

    let begun = ChipBegun {
        session: Token16::from_bytes([1; 16]),
        expires_at_ms: 5,
        internal_authenticator: [2; 16],
        external_authenticator: [3; 16],
    };
    let heard = begun_of(&begun_to_wire(&begun)).expect("well formed");
    assert_eq!(format!("{heard:?}"), format!("{begun:?}"));

    let finish = finish_to_wire(&origin(3), begun.session, &data());
    let heard = holder_data_of(&finish).expect("well formed");
    assert_eq!(heard.social_security_number, data().social_security_number);
    assert_eq!((heard.card_number, heard.name.reveal()), (data().card_number, "样例甲"));
    assert_eq!(token_of(&finish.chip_session), Ok(begun.session));

    let confirmed = HolderConfirmed {
        card: card("110101"),
        pairwise: PairwiseHolder::from_bytes([6; 16]),
        state: 1,
        attributes: [("AAC003".to_owned(), "样例甲".to_owned())].into(),
    };
    let heard = confirmed_of(confirmed_to_wire(&confirmed, Assurance::Chip)).expect("well formed");
    assert_eq!(format!("{heard:?}"), format!("{confirmed:?}"));

    let said = CardSaid {
        state: 4,
        expires_at_ms: 9,
        deny_list_version: 3,
        pairwise: PairwiseHolder::from_bytes([6; 16]),
    };
    assert_eq!(format!("{:?}", said_of(&said_to_wire(&said)).expect("well formed")), format!("{said:?}"));
}

#[test]
fn reasons_cross_the_border_and_an_outage_does_not() {
    for error in [PeerError::Declined(Reason::CardLost), PeerError::Refused(Reason::SessionUsed)] {
        assert_eq!(refusal_to_wire(&error).map(|wire| refusal_of(&wire)), Some(error));
    }
    assert!(refusal_to_wire(&PeerError::Unreachable("busy".into())).is_none());
    let strange = message::PeerRefusal { reason: "NEVER_HEARD".into(), ..Default::default() };
    assert_eq!(refusal_of(&strange), PeerError::Declined(Reason::Internal));
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let no_origin = |change: fn(&mut message::Origin)| {
        let mut wire = origin_to_wire(&origin(3));
        change(&mut wire);
        origin_of(Some(wire), "").is_err()
    };
    assert!(origin_of(None, "").is_err());
    assert!(no_origin(|wire| wire.request_id.clear()));
    assert!(no_origin(|wire| wire.purpose = 0));
    assert!(no_origin(|wire| wire.purpose = 99));
    assert!(no_origin(|wire| wire.transaction_id = "x".into()));

    let no_challenge = |change: fn(&mut auth::ChipChallenge)| {
        let mut wire = challenge_to_wire(&challenge(), card("110101"));
        change(&mut wire);
        challenge_of(Some(wire)).is_err()
    };
    assert!(challenge_of(None).is_err());
    assert!(no_challenge(|wire| wire.card_identifier = "ff".repeat(16)));
    assert!(no_challenge(|wire| wire.internal_factor.push(0)));
    assert!(no_challenge(|wire| wire.external_data.clear()));

    assert!(loss_of(0).is_err() && loss_of(9).is_err());
    assert!(card_of(&[0xff; 16]).is_err() && card_of(&[]).is_err());
    assert!(holder_data_of(&message::ChipRelayFinish::default()).is_err());
    assert!(confirmed_of(message::HolderConfirmed::default()).is_err());
    assert!(said_of(&message::CardStateAnswer { card_state: 256, ..Default::default() }).is_err());
}

#[test]
fn a_region_speaks_for_its_own_list_only() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut message::DenyListDelta), from: u32, fits: bool) {
        let fact = |number: u8| {
            let mut bytes = *card("120101").as_bytes();
            bytes[15] = number;
            let card = CardIdentifier::from_bytes(bytes).expect("a region");
            DenyFact { card, denied: true, card_state: 2, expires_at_ms: 0, since_ms: 0 }
        };
        let delta = DenyDelta {
            province: 120_000,
            epoch: 3,
            since: 4,
            version: 7,
            facts: vec![(5, fact(1)), (7, fact(2))],
        };
        let mut wire = delta_to_wire(&delta);
        change(&mut wire);
        let heard = delta_of(wire, from);
        assert_eq!(heard.is_ok(), fits, "{heard:?}");
        if fits {
            assert_eq!(heard, Ok(delta));
        }
    }
    check(|_| (), 120_000, true);
    check(|_| (), 110_000, false);
    check(|wire| wire.region = "110000".into(), 120_000, false);
    // Tianjin cannot put a card of Beijing on its list, nor lift one from it.
    let beijings = card("110101").as_bytes().to_vec();
    check(move |wire| wire.changes[0].card_identifier = beijings, 120_000, false);
    check(|wire| wire.version = 3, 120_000, false);
    check(|wire| wire.changes[0].version = 4, 120_000, false);
    check(|wire| wire.changes[1].version = 8, 120_000, false);
    check(|wire| wire.changes.reverse(), 120_000, false);
    check(|wire| wire.changes[0].card_state = 300, 120_000, false);
    check(|wire| wire.changes[0].card_identifier.clear(), 120_000, false);
}

#[test]
fn a_repeat_in_another_transaction_is_the_same_request() {
    type Ask = fn(&Origin) -> Content;
    let asks: [Ask; 4] = [
        |origin| card_ask_to_wire(origin, card("110101"), CardAsk::ReportLoss(LossKind::Formal)),
        |origin| card_ask_to_wire(origin, card("110101"), CardAsk::LiftLoss),
        |origin| Content::ChipRelayFinish(finish_to_wire(origin, Token16::from_bytes([1; 16]), &data())),
        |origin| {
            Content::CodeSettle(message::CodeSettle {
                origin: Some(origin_to_wire(origin)),
                code: vec![1],
                // A settlement after a stand-in is the question it follows.
                stood_in_at_ms: i64::from(origin.transaction.as_bytes()[15]),
            })
        },
    ];
    let mut all = std::collections::HashSet::new();
    for ask in asks {
        assert_eq!(fingerprint(&ask(&origin(1))), fingerprint(&ask(&origin(2))));
        assert!(all.insert(fingerprint(&ask(&origin(1)))), "two requests look the same");
        let other = Origin { terminal: "kiosk".into(), ..origin(1) };
        assert!(all.insert(fingerprint(&ask(&other))), "another terminal looks the same");
    }
    let temporary = card_ask_to_wire(&origin(1), card("110101"), CardAsk::ReportLoss(LossKind::Temporary));
    assert!(all.insert(fingerprint(&temporary)));
}
