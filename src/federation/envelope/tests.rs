use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{
    crypto::{Sm2PublicKey, SoftVault},
    model::{ManualClock, SystemRng},
    proto::federation::v1::DenyListAccepted,
    trust::Member,
};

const NOW: Millis = 1_790_000_000_000;
const BEIJING: u32 = 110_000;
const TIANJIN: u32 = 120_000;
const HEBEI: u32 = 130_000;

/// Every side's, where a test does not start it again.
const RUN: RunId = [5; 16];
const QUESTION: Sealed = Sealed::Question { to_run: Some(RUN) };

static VAULTS: LazyLock<[Arc<SoftVault>; 2]> =
    LazyLock::new(|| [0, 1].map(|_| Arc::new(SoftVault::generate(&SystemRng))));

fn member(region: u32, vault: &SoftVault) -> Member {
    let point = vault.public_key(KeyName::Federation).expect("a key");
    let key = Sm2PublicKey::from_bytes(&point).expect("a point");
    Member {
        region,
        name_zh: "样例".into(),
        name_en: "Sample".into(),
        endpoint: "https://127.0.0.1:7112".into(),
        tls_name: "peer.sample.onecard".into(),
        journal_key: key.clone(),
        federation_key: key.clone(),
        ecard_key: key,
        standard_min: 1,
        standard_max: 1,
    }
}

fn trust() -> TrustList {
    let members = vec![member(BEIJING, &VAULTS[0]), member(TIANJIN, &VAULTS[1])];
    TrustList::new(1, 0, NOW + 86_400_000, members).expect("a list")
}

fn side(province: u32, vault: usize, now: Millis) -> Envelopes {
    let clock = Arc::new(ManualClock::at(now));
    let envelopes = Envelopes::new(province, Arc::clone(&VAULTS[vault]) as _, clock, Arc::new(SystemRng));
    Envelopes { run: RUN, ..envelopes }
}

fn content() -> Content {
    Content::DenyListAccepted(DenyListAccepted { version: 7, epoch: None })
}

fn sealed() -> (Envelope, [u8; 16]) {
    side(TIANJIN, 1, NOW).seal(BEIJING, content(), QUESTION, "", &trust()).expect("signs")
}

/// An envelope as Tianjin would sign it with another header or body.
fn signed_with(change: impl FnOnce(&mut EnvelopeHeader, &mut Vec<u8>)) -> Envelope {
    let (envelope, _) = sealed();
    let mut header = EnvelopeHeader::decode(envelope.header).expect("its own header");
    let mut body = envelope.body.to_vec();
    change(&mut header, &mut body);
    let header = header.encode_to_vec();
    let signature = VAULTS[1].sign(KeyName::Federation, &signed_bytes(&header, &body)).expect("signs");
    Envelope { header: header.into(), body: body.into(), signature: signature.to_vec().into() }
}

fn open_at_beijing(envelope: &Envelope, caller: u32) -> Result<Opened, EnvelopeRefused> {
    side(BEIJING, 0, NOW).open(envelope, caller, None, &trust())
}

#[test]
fn a_sealed_message_is_opened_by_whom_it_is_for() {
    let (envelope, id) = sealed();
    let opened = open_at_beijing(&envelope, TIANJIN).expect("right");
    assert_eq!((opened.from, opened.id, opened.content), (TIANJIN, id, content()));
}

#[test]
fn each_fault_of_an_envelope_has_its_name() {
    #[track_caller]
    fn check(expect: EnvelopeRefused, change: impl FnOnce(&mut EnvelopeHeader, &mut Vec<u8>)) {
        let refused = open_at_beijing(&signed_with(change), TIANJIN).map(|opened| opened.id);
        assert_eq!(refused, Err(expect));
    }
    use EnvelopeRefused::{
        Altered, Malformed, NotForUs, NotTheAnswer, NotTheCaller, OtherRun, Stale, Version,
    };
    check(NotForUs, |header, _| header.to = "130000".into());
    check(NotForUs, |header, _| header.to = String::new());
    check(NotTheCaller, |header, _| header.from = "130000".into());
    check(Malformed, |header, _| header.from = "tianjin".into());
    check(Malformed, |header, _| header.id = vec![1; 15]);
    check(Version, |header, _| header.standard_version = 2);
    check(Altered, |_, body| body.push(0));
    check(Altered, |header, _| header.body_hash.clear());
    check(NotTheAnswer, |header, _| header.in_reply_to = vec![1; 16]);
    check(OtherRun, |header, _| header.to_run = vec![6; 16]);
    check(OtherRun, |header, _| header.to_run = RUN[..15].to_vec());
    check(OtherRun, |header, _| header.to_run.clear());
    for sent_at in [NOW - 30_001, NOW + 30_001, 0, i64::MIN, i64::MAX] {
        check(Stale, |header, _| header.sent_at_ms = sent_at);
    }
    check(Malformed, |header, body| {
        body.clear();
        header.body_hash = sm3(&[&body[..]]).to_vec();
    });
    for sent_at in [NOW - 30_000, NOW + 30_000] {
        assert!(open_at_beijing(&signed_with(|header, _| header.sent_at_ms = sent_at), TIANJIN).is_ok());
    }
}

#[test]
fn garbage_from_nobody_and_lists_that_do_not_hold_are_refused() {
    let garbage = Envelope { header: vec![0xff; 40].into(), ..Envelope::default() };
    assert_eq!(open_at_beijing(&garbage, TIANJIN).map(|_| ()), Err(EnvelopeRefused::Malformed));
    assert_eq!(open_at_beijing(&Envelope::default(), TIANJIN).map(|_| ()), Err(EnvelopeRefused::Malformed));
    let (envelope, _) = sealed();
    let short = Envelope { signature: vec![0; 63].into(), ..envelope.clone() };
    assert_eq!(open_at_beijing(&short, TIANJIN).map(|_| ()), Err(EnvelopeRefused::Malformed));
    let forged = Envelope { signature: vec![7; 64].into(), ..envelope.clone() };
    assert_eq!(open_at_beijing(&forged, TIANJIN).map(|_| ()), Err(EnvelopeRefused::SignatureWrong));
    let hebei = signed_with(|header, _| header.from = "130000".into());
    assert_eq!(open_at_beijing(&hebei, HEBEI).map(|_| ()), Err(EnvelopeRefused::UnknownMember));

    let members = || trust().members().cloned().collect();
    let lapsed = TrustList::new(1, 0, NOW, members()).expect("a list");
    let refused = side(BEIJING, 0, NOW).open(&envelope, TIANJIN, None, &lapsed).map(|_| ());
    assert_eq!(refused, Err(EnvelopeRefused::ListExpired));
}

#[test]
fn a_region_cannot_speak_with_anothers_key() {
    // Beijing's key, Tianjin's name.
    let (envelope, _) =
        side(TIANJIN, 0, NOW).seal(BEIJING, content(), QUESTION, "", &trust()).expect("signs");
    assert_eq!(open_at_beijing(&envelope, TIANJIN).map(|_| ()), Err(EnvelopeRefused::SignatureWrong));
}

#[test]
fn an_answer_belongs_to_its_question() {
    let question = [9; 16];
    let seal =
        |sealed| side(TIANJIN, 1, NOW).seal(BEIJING, content(), sealed, "", &trust()).expect("signs").0;
    let open =
        |envelope| side(BEIJING, 0, NOW).open(&envelope, TIANJIN, Some(question), &trust()).map(|_| ());
    assert_eq!(open(seal(Sealed::AnswerTo(question))), Ok(()));
    assert_eq!(open(seal(Sealed::AnswerTo([8; 16]))), Err(EnvelopeRefused::NotTheAnswer));
    assert_eq!(open(seal(QUESTION)), Err(EnvelopeRefused::NotTheAnswer));
}

#[test]
fn an_envelope_is_taken_once_and_a_forgery_does_not_use_its_id_up() {
    let beijing = side(BEIJING, 0, NOW);
    let open = |envelope: &Envelope| beijing.open(envelope, TIANJIN, None, &trust()).map(|_| ());
    let (envelope, _) = sealed();
    let forged = Envelope { signature: vec![7; 64].into(), ..envelope.clone() };
    assert_eq!(open(&forged), Err(EnvelopeRefused::SignatureWrong));
    assert_eq!(open(&envelope), Ok(()));
    assert_eq!(open(&envelope), Err(EnvelopeRefused::Replayed));
}

#[test]
fn what_was_for_one_run_is_taken_in_no_other() {
    // Started again at any time by its clock, before or after it was signed: a clock
    // that a restart has moved lets nothing in.
    let (seen, _) = sealed();
    assert!(open_at_beijing(&seen, TIANJIN).is_ok());
    for now in [NOW - 29_000, NOW, NOW + 29_000] {
        let clock = Arc::new(ManualClock::at(now));
        let started_again = Envelopes::new(BEIJING, Arc::clone(&VAULTS[0]) as _, clock, Arc::new(SystemRng));
        let open = |envelope: &Envelope| started_again.open(envelope, TIANJIN, None, &trust()).map(|_| ());
        assert_eq!(open(&seen), Err(EnvelopeRefused::OtherRun));
        // Sealed anew for the run that goes on, the message is heard, and once.
        let to_run = Sealed::Question { to_run: Some(started_again.run()) };
        let (anew, _) = side(TIANJIN, 1, NOW).seal(BEIJING, content(), to_run, "", &trust()).expect("signs");
        assert_eq!(open(&anew), Ok(()));
        assert_eq!(open(&anew), Err(EnvelopeRefused::Replayed));
    }
}

#[test]
fn who_does_not_know_the_run_names_none() {
    let unknown = Sealed::Question { to_run: None };
    let (first, _) = side(TIANJIN, 1, NOW).seal(BEIJING, content(), unknown, "", &trust()).expect("signs");
    assert_eq!(open_at_beijing(&first, TIANJIN).map(|_| ()), Err(EnvelopeRefused::OtherRun));
}

#[test]
fn ids_are_forgotten_when_their_envelopes_are_stale_anyway() {
    let mut seen = Seen::default();
    assert_eq!(seen.remember([1; 16], NOW), Ok(()));
    let last = NOW + limits::ENVELOPE_MEMORY_MS;
    assert_eq!(seen.remember([1; 16], last), Err(EnvelopeRefused::Replayed));
    assert_eq!(seen.remember([2; 16], last + 1), Ok(()));
    assert_eq!((seen.ids.len(), seen.by_time.len()), (1, 1));
    const { assert!(limits::ENVELOPE_MEMORY_MS > 2 * limits::ENVELOPE_SKEW_MS) };
}

#[test]
fn the_memory_of_ids_is_bounded_for_each_member_alone() {
    let mut memory = Memory::default();
    let seen = memory.by_member.entry(TIANJIN).or_default();
    for number in 0..u128::from(limits::ENVELOPES_PER_MEMBER_MAX) {
        seen.ids.insert(number.to_be_bytes());
    }
    assert_eq!(seen.remember([0xff; 16], NOW), Err(EnvelopeRefused::TooMany));
    assert_eq!(seen.remember([0; 16], NOW), Err(EnvelopeRefused::Replayed));
    assert_eq!(memory.remember(TIANJIN, [0xff; 16], NOW), Err(EnvelopeRefused::TooMany));
    assert_eq!(memory.remember(BEIJING, [0xff; 16], NOW), Ok(()), "another member is heard");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_anywhere_is_refused(part in 0..3u8, at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (mut envelope, _) = sealed();
        let bytes = match part {
            0 => &mut envelope.header,
            1 => &mut envelope.body,
            _ => &mut envelope.signature,
        };
        let mut altered = bytes.to_vec();
        let at = at.index(altered.len());
        altered[at] ^= 1 << bit;
        *bytes = altered.into();
        prop_assert!(open_at_beijing(&envelope, TIANJIN).is_err());
    }

    #[test]
    fn opening_never_panics(header in prop::collection::vec(any::<u8>(), 0..80), body in prop::collection::vec(any::<u8>(), 0..20)) {
        let envelope = Envelope { header: header.into(), body: body.into(), signature: vec![0; 64].into() };
        prop_assert!(open_at_beijing(&envelope, TIANJIN).is_err());
    }
}
