use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{
    model::{Status, Stored},
    scenes::transit::samples,
};

/// 2026-11-22, 08:00 in Beijing.
const MORNING: Millis = 1_795_305_600_000;
const MINUTE: Millis = 60_000;
const CARD: [u8; 16] = [7; 16];

fn request(operator: &str, kind: TapKind, station: &str, minute: i64, counter: u32) -> TapRequest {
    TapRequest {
        transaction: TransactionId::from_bytes([9; 16]),
        card: CARD,
        card_province: 110_000,
        card_is_ours: false,
        subject: Subject::from_bytes([1; 16]),
        pairwise: PairwiseHolder::from_bytes([2; 16]),
        operator: operator.parse().expect("well formed"),
        kind,
        station: station.to_owned(),
        line: String::new(),
        tapped_at_ms: MORNING + minute * MINUTE,
        counter,
        valid_until: 0,
        offline: false,
        denied: None,
    }
}

/// A card and what is known of it, tap after tap.
#[derive(Default)]
struct Card {
    file: Option<TransitFile>,
    counter: u32,
    taken: i64,
}

impl Card {
    /// Taps with the next counter, committed a second later.
    fn taps(&mut self, operator: &str, kind: TapKind, station: &str, minute: i64) -> (Outcome, i64) {
        self.counter += 1;
        self.sends(&request(operator, kind, station, minute, self.counter))
    }

    fn sends(&mut self, request: &TapRequest) -> (Outcome, i64) {
        self.sends_at(request, request.tapped_at_ms + 1_000)
    }

    fn sends_at(&mut self, request: &TapRequest, committed_at_ms: Millis) -> (Outcome, i64) {
        let view = match &self.file {
            Some(file) => View::default().holding(&CARD, file),
            None => View::default().missing::<TransitFile>(&CARD),
        };
        let decision = tap(&view, request, committed_at_ms, samples::book()).expect("readable");
        self.counter = self.counter.max(request.counter);
        for write in &decision.writes {
            let body = write.body.clone().expect("never deleted");
            self.file = Some(TransitFile::decode(body).expect("just written"));
        }
        let sum: i64 = decision.postings.iter().map(|posting| posting.amount.get()).sum();
        assert_eq!(sum, 0, "postings sum to zero");
        let moved = decision.postings.first().map_or(0, |posting| posting.amount.get());
        let charge = detail(&decision).charge.unwrap_or_default();
        assert_eq!(charge.amount_fen, charge.fare_fen + charge.surcharge_fen - charge.discount_fen);
        assert_eq!(charge.amount_fen, moved, "what is charged is what moves");
        assert!(moved >= 0, "a tap never pays the holder");
        self.taken += moved;
        (decision.outcome, moved)
    }

    fn open(&self) -> Option<&OpenRide> {
        self.file.as_ref().and_then(|file| file.open.as_ref())
    }
}

fn detail(decision: &Decision) -> TapDetail {
    assert!(decision.detail.personal, "a tap is personal");
    TapDetail::decode(decision.detail.bytes.clone()).expect("just written")
}

use TapKind::{Entry, Exit};

const GRANTED: (Outcome, i64) = (Outcome::Approved, 0);

const fn charged(fen: i64) -> (Outcome, i64) {
    (Outcome::Approved, fen)
}

const fn declined(reason: Reason) -> (Outcome, i64) {
    (Outcome::Declined(reason), 0)
}

#[test]
fn a_ride_is_charged_at_its_exit_and_money_moves_from_purse_to_operator() {
    let mut card = Card::default();
    assert_eq!(card.taps("bj-metro", Entry, "西单", 0), GRANTED);
    assert_eq!(card.open().map(|open| open.station.as_str()), Some("西单"));
    let view = View::default().holding(&CARD, card.file.as_ref().expect("written"));
    let exit = request("bj-metro", Exit, "天安门东", 9, 2);
    let decision = tap(&view, &exit, exit.tapped_at_ms, samples::book()).expect("readable");
    assert_eq!((decision.outcome, decision.status), (Outcome::Approved, Status::Completed));
    assert_eq!(
        decision.postings,
        [
            Posting { account: "purse/110000".to_owned(), amount: Fen::yuan(3) },
            Posting { account: "participant/bj-metro/fares".to_owned(), amount: Fen::yuan(-3) },
        ]
    );
    let charge = detail(&decision).charge.expect("charged");
    assert_eq!((charge.from_station.as_str(), charge.to_station.as_str()), ("西单", "天安门东"));
    assert_eq!((charge.distance_metres, charge.intervals), (1_217 + 925, 0));
    assert_eq!(charge.fare_table, "beijing-metro/2014-12-28");
    assert_eq!(ridden_seconds(&charge), 9 * 60);
    assert_eq!(decision.subject, Some(exit.subject));
}

#[test]
fn a_replayed_counter_changes_nothing() {
    let mut card = Card::default();
    card.taps("bj-metro", Entry, "西单", 0);
    let before = card.file.clone();
    for counter in [0, 1] {
        let replay = request("bj-metro", Exit, "天安门东", 9, counter);
        assert_eq!(card.sends(&replay), declined(Reason::CounterReplayed));
        assert_eq!(card.file, before);
    }
}

#[test]
fn a_decline_takes_the_counter_and_keeps_the_ride() {
    let mut card = Card::default();
    card.taps("bj-metro", Entry, "西单", 0);
    assert_eq!(card.taps("bj-metro", Exit, "no such", 5), declined(Reason::StationUnknown));
    assert_eq!(card.file.as_ref().map(|file| file.counter), Some(2));
    assert!(card.open().is_some());
    assert_eq!(card.taps("bj-metro", Exit, "天安门东", 9), charged(300));
}

#[test]
fn taps_that_do_not_pair_are_declined() {
    let mut card = Card::default();
    assert_eq!(card.taps("bj-metro", Exit, "西单", 0), declined(Reason::NoEntry));
    assert_eq!(card.taps("bj-metro", Entry, "no such", 0), declined(Reason::StationUnknown));
    assert_eq!(card.taps("no-operator", Entry, "西单", 0), declined(Reason::NoFare));
    card.taps("bj-metro", Entry, "西单", 10);
    assert_eq!(card.taps("bj-metro", Exit, "天安门东", 9), declined(Reason::TapOutOfOrder));
    assert_eq!(card.taps("tj-metro", Exit, "营口道", 40), declined(Reason::NoEntry));
    assert_eq!(card.taps("tj-bus", Exit, "stop", 40), declined(Reason::NoEntry));
    assert_eq!(card.taps("bj-metro", Exit, "3号航站楼", 40), declined(Reason::NoFare));
}

#[test]
fn two_operators_of_one_network_share_a_ride() {
    let mut card = Card::default();
    card.taps("bj-metro", Entry, "西单", 0);
    assert_eq!(card.taps("bj-metro-line4", Exit, "天安门东", 9), charged(300));
}

#[test]
fn an_entry_on_an_open_ride_is_refused_for_a_day_and_then_settles_it() {
    let mut card = Card::default();
    card.taps("bj-metro", Entry, "西单", 0);
    assert_eq!(card.taps("bj-metro", Entry, "国贸", 1_439), declined(Reason::EntryOpen));
    assert_eq!(card.open().map(|open| open.station.as_str()), Some("西单"));
    assert_eq!(card.taps("bj-metro", Entry, "国贸", 1_440), charged(300));
    assert_eq!(card.open().map(|open| open.station.as_str()), Some("国贸"));
}

#[test]
fn a_bus_ride_without_tap_off_is_charged_to_the_farther_end() {
    let mut card = Card::default();
    let tap_on = |stop: &str, minute, counter| TapRequest {
        line: "sandbox-1".to_owned(),
        ..request("bj-bus", Entry, stop, minute, counter)
    };
    assert_eq!(card.sends(&tap_on("军事博物馆", 0, 1)), GRANTED);
    // Twelve stops of 1,250 m to the farther end: 15 km, 3 yuan, the card pays half.
    assert_eq!(card.sends(&tap_on("公主坟", 60, 2)), charged(150));
    let off = TapRequest { kind: Exit, ..tap_on("木樨地", 70, 3) };
    assert_eq!(card.sends(&off), charged(100));
    let elsewhere = TapRequest { line: "sandbox-2".to_owned(), ..tap_on("前门", 80, 4) };
    assert_eq!(card.sends(&elsewhere), GRANTED);
    let off = TapRequest { kind: Exit, ..tap_on("木樨地", 90, 5) };
    assert_eq!(card.sends(&off), declined(Reason::NoFare));
}

#[test]
fn a_flat_bus_charges_at_boarding_and_leaves_a_metro_ride_alone() {
    let mut card = Card::default();
    card.taps("bj-metro", Entry, "西单", 0);
    assert_eq!(card.taps("tj-bus", Entry, "any stop", 5), charged(200));
    assert_eq!(card.taps("tj-bus", Entry, "any stop", 6), charged(200));
    assert_eq!(card.taps("bj-metro", Exit, "天安门东", 9), charged(300));
}

#[test]
fn the_time_limit_costs_a_surcharge_in_beijing_and_the_exit_in_tianjin() {
    let mut card = Card::default();
    card.taps("bj-metro", Entry, "西单", 0);
    assert_eq!(card.taps("bj-metro", Exit, "天安门东", 241), charged(600));
    card.taps("tj-metro", Entry, "营口道", 300);
    assert_eq!(card.taps("tj-metro", Exit, "小白楼", 481), declined(Reason::RideTooLong));
    assert!(card.open().is_some(), "the service desk still finds the ride");
}

#[test]
fn an_offline_tap_is_judged_by_its_own_time() {
    let mut card = Card::default();
    let entry = TapRequest { offline: true, ..request("bj-metro", Entry, "西单", 0, 1) };
    let late = entry.tapped_at_ms + limits::OFFLINE_TAP_AGE_MS;
    assert_eq!(card.sends_at(&entry, late), GRANTED);
    let exit = TapRequest { offline: true, ..request("bj-metro", Exit, "天安门东", 9, 2) };
    assert_eq!(card.sends_at(&exit, exit.tapped_at_ms + limits::OFFLINE_TAP_AGE_MS), charged(300));
    let old = TapRequest { offline: true, ..request("bj-metro", Entry, "西单", 20, 3) };
    let too_late = old.tapped_at_ms + limits::OFFLINE_TAP_AGE_MS + 1;
    assert_eq!(card.sends_at(&old, too_late), declined(Reason::TapTooOld));
}

#[test]
fn a_tap_is_taken_near_its_commitment() {
    #[track_caller]
    fn check(offline: bool, age_ms: i64, expect: (Outcome, i64)) {
        let entry = TapRequest { offline, ..request("bj-metro", Entry, "西单", 0, 1) };
        let mut card = Card::default();
        assert_eq!(card.sends_at(&entry, entry.tapped_at_ms + age_ms), expect);
        assert_eq!(card.file.map(|file| file.counter), Some(1), "the card did tap");
    }
    let (back, ahead) = (limits::ONLINE_TAP_AGE_MS, limits::TAP_AHEAD_MS);
    check(false, back, GRANTED);
    check(false, back + 1, declined(Reason::TapTooOld));
    check(true, back + 1, GRANTED);
    for offline in [false, true] {
        check(offline, -ahead, GRANTED);
        check(offline, -ahead - 1, declined(Reason::TerminalClockWrong));
    }
}

#[test]
fn a_denied_card_is_declined_online_and_offline_and_its_tap_is_used_up() {
    for offline in [false, true] {
        let mut card = Card::default();
        card.taps("bj-metro", Entry, "西单", 0);
        let exit = TapRequest { offline, ..request("bj-metro", Exit, "天安门东", 9, 2) };
        let denied =
            TapRequest { denied: Some(Denial { reason: Reason::CardLost, since_ms: 0 }), ..exit.clone() };
        assert_eq!(card.sends(&denied), declined(Reason::CardLost));
        assert!(card.open().is_some(), "the ride is not forgotten");
        // After the lift the recorded tap is worth nothing, the next one is good.
        assert_eq!(card.sends(&exit), declined(Reason::CounterReplayed));
        assert_eq!(card.sends(&TapRequest { counter: 3, ..exit }), charged(300));
    }
}

#[test]
fn an_upload_of_a_tap_taken_before_the_card_was_denied_stands() {
    #[track_caller]
    fn check(offline: bool, since_ms: i64, expect: (Outcome, i64)) {
        let entry = request("bj-metro", Entry, "西单", 0, 1);
        let denied = Some(Denial { reason: Reason::CardLost, since_ms: entry.tapped_at_ms + since_ms });
        assert_eq!(Card::default().sends(&TapRequest { offline, denied, ..entry }), expect);
    }
    check(true, 1, GRANTED);
    check(true, 0, declined(Reason::CardLost));
    check(false, 1, declined(Reason::CardLost));
}

#[test]
fn our_own_card_rides_for_taps_taken_before_its_loss_was_reported() {
    let lost = CardFile { state: 2, region: 110_000, ..CardFile::default() };
    let check = |since_ms: i64, expect| {
        let entry = request("bj-metro", Entry, "西单", 0, 1);
        let denied = Some(Denial { reason: Reason::CardLost, since_ms: entry.tapped_at_ms + since_ms });
        let entry = TapRequest { card_is_ours: true, offline: true, denied, ..entry };
        let view = View::default().missing::<TransitFile>(&CARD).holding(&CARD, &lost);
        let decision = tap(&view, &entry, entry.tapped_at_ms + MINUTE, samples::book()).expect("readable");
        assert_eq!(decision.outcome, expect);
    };
    check(1, Outcome::Approved);
    check(-1, Outcome::Declined(Reason::CardLost));
}

#[test]
fn a_card_that_says_it_has_expired_is_declined_wherever_it_comes_from() {
    #[track_caller]
    fn check(valid_until: u32, expect: (Outcome, i64)) {
        let entry = request("bj-metro", Entry, "西单", 0, 1);
        assert_eq!(Card::default().sends(&TapRequest { valid_until, ..entry }), expect);
    }
    check(20_991_231, GRANTED);
    check(0, GRANTED);
    check(20_201_231, declined(Reason::CardExpired));
}

#[track_caller]
fn check_card_state(file: Option<CardFile>, expect: Outcome) {
    let entry = TapRequest { card_is_ours: true, ..request("bj-metro", Entry, "西单", 0, 1) };
    let view = View::default().missing::<TransitFile>(&CARD);
    let view = match &file {
        Some(file) => view.holding(&CARD, file),
        None => view.missing::<CardFile>(&CARD),
    };
    let decision = tap(&view, &entry, entry.tapped_at_ms, samples::book()).expect("readable");
    assert_eq!(decision.outcome, expect, "{file:?}");
}

#[test]
fn a_card_of_this_region_must_be_usable() {
    let card = |state, expires, until| {
        Some(CardFile { state, state_expires_at_ms: expires, valid_until: until, ..CardFile::default() })
    };
    check_card_state(None, Outcome::Declined(Reason::CardUnknown));
    check_card_state(card(0, 0, 0), Outcome::Declined(Reason::CardNotActivated));
    check_card_state(card(1, 0, 0), Outcome::Approved);
    check_card_state(card(1, 0, 20_261_122), Outcome::Approved);
    check_card_state(card(1, 0, 20_261_121), Outcome::Declined(Reason::CardExpired));
    check_card_state(card(2, 0, 0), Outcome::Declined(Reason::CardLost));
    check_card_state(card(3, 0, 0), Outcome::Declined(Reason::CardLocked));
    check_card_state(card(4, MORNING + 1, 0), Outcome::Declined(Reason::CardTemporarilyLost));
    check_card_state(card(4, MORNING, 0), Outcome::Approved);
    check_card_state(card(9, 0, 0), Outcome::Declined(Reason::CardCancelled));
}

#[test]
fn a_file_that_cannot_be_read_stops_the_unit() {
    let key = AggregateKey::of::<TransitFile>(&CARD);
    let stored = Stored { revision: 1, schema: 1, body: vec![0xff; 3].into() };
    let view = View::default().with(key, Some(stored));
    let entry = request("bj-metro", Entry, "西单", 0, 1);
    assert!(tap(&view, &entry, MORNING, samples::book()).is_err());
    let ours = TapRequest { card_is_ours: true, ..entry };
    let odd = CardFile { state: 7, ..CardFile::default() };
    let view = View::default().missing::<TransitFile>(&CARD).holding(&CARD, &odd);
    assert!(tap(&view, &ours, MORNING, samples::book()).is_err());
}

#[test]
fn a_unit_touches_the_card_file_of_its_own_cards_only() {
    let foreign = request("bj-metro", Entry, "西单", 0, 1);
    assert_eq!(touches(&foreign), [AggregateKey::of::<TransitFile>(&CARD)]);
    assert_eq!(touches(&TapRequest { card_is_ours: true, ..foreign }).len(), 2);
}

#[test]
fn a_debugged_request_names_no_card() {
    let text = format!("{:?}", request("bj-metro", Entry, "西单", 0, 1));
    assert!(!text.contains("西单") && !text.contains("card") && text.contains("bj-metro"), "{text}");
}

fn any_tap() -> impl Strategy<Value = (usize, bool, usize, i64, u32)> {
    (0usize..3, any::<bool>(), 0usize..4, 0i64..500, 1u32..60)
}

proptest! {
    #[test]
    fn no_instant_is_too_strange(entered in any::<i64>(), left in any::<i64>(), committed in any::<i64>()) {
        let mut card = Card::default();
        for offline in [false, true] {
            card.counter += 1;
            let entry = TapRequest { tapped_at_ms: entered, offline, ..request("bj-metro", Entry, "西单", 0, card.counter) };
            card.sends_at(&entry, committed);
            card.counter += 1;
            let exit = TapRequest { tapped_at_ms: left, offline, ..request("bj-metro", Exit, "国贸", 0, card.counter) };
            card.sends_at(&exit, committed);
        }
    }

    #[test]
    fn no_story_of_taps_charges_a_counter_twice(taps in proptest::collection::vec(any_tap(), 1..40)) {
        let operators = ["bj-metro", "tj-metro", "tj-bus"];
        let stations = ["西单", "国贸", "营口道", "小白楼"];
        let (mut card, mut minute, mut by_counter) = (Card::default(), 0, BTreeMap::<u32, i64>::new());
        for (operator, enters, station, later, counter) in taps {
            minute += later;
            let kind = if enters { Entry } else { Exit };
            let tapped = request(operators[operator], kind, stations[station], minute, counter);
            let before = card.open().cloned();
            let (outcome, moved) = card.sends(&tapped);
            let replayed = by_counter.contains_key(&counter);
            if replayed {
                prop_assert_eq!((outcome, moved), declined(Reason::CounterReplayed));
            }
            if outcome != Outcome::Declined(Reason::CounterReplayed) {
                by_counter.insert(counter, moved);
            }
            let boards = operators[operator] == "tj-bus";
            match (outcome, kind) {
                (Outcome::Approved, Exit) => prop_assert!(before.is_some() && card.open().is_none()),
                (Outcome::Approved, Entry) if !boards => prop_assert_eq!(
                    card.open().map(|open| open.entered_at_ms),
                    Some(tapped.tapped_at_ms)
                ),
                (Outcome::Approved | Outcome::Declined(_) | Outcome::Pending, _) => {
                    prop_assert_eq!(card.open().cloned(), before);
                }
            }
        }
        prop_assert_eq!(card.taken, by_counter.values().sum::<i64>());
    }
}
