use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    model::{AggregateBody, Status, Stored, record},
    scenes::transit::{TapKind, samples, tap},
};

/// 2026-11-22, 08:00 in Beijing.
const MORNING: Millis = 1_795_305_600_000;
const MINUTE: Millis = 60_000;
const LATER: Millis = MORNING + 24 * 3_600_000;
const GATE: [u8; 16] = [5; 16];

/// What is stored, as units leave it.
#[derive(Default)]
struct World {
    rows: HashMap<AggregateKey, Stored>,
    uploads: u8,
    uploaded: HashMap<Vec<u8>, UploadDetail>,
    taken: i64,
}

impl World {
    fn view(&self, keys: &[AggregateKey]) -> View {
        keys.iter().fold(View::default(), |view, key| view.with(key.clone(), self.rows.get(key).cloned()))
    }

    fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            let body = write.body.expect("never deleted");
            self.rows.insert(write.key, Stored { revision: 1, schema: 1, body });
        }
    }

    fn upload(&mut self, taps: Vec<NumberedTap>) -> UploadDetail {
        self.uploads += 1;
        let transaction = TransactionId::from_bytes([self.uploads; 16]).as_upload();
        let request = UploadRequest { transaction, terminal: GATE, operator: metro(), taps };
        let view = self.view(&upload_touches(&request));
        let mut unreadable = 0;
        let decision = upload(&view, &request, LATER, samples::book(), &mut |_| unreadable += 1);
        let decision = decision.expect("readable");
        let sum: i64 = decision.postings.iter().map(|posting| posting.amount.get()).sum();
        assert_eq!(sum, 0, "postings sum to zero");
        let debit = decision.postings.iter().map(|posting| posting.amount.get().max(0)).sum::<i64>();
        let detail = UploadDetail::decode(decision.detail.bytes.clone()).expect("just written");
        assert_eq!(
            debit,
            detail.taps.iter().map(|line| line.amount_fen).sum::<i64>(),
            "every charge has a line"
        );
        assert!(!decision.detail.personal && decision.subject.is_none());
        assert!(decision.writes.iter().all(|write| !write.key.kind.is_personal()));
        let internal = detail.taps.iter().filter(|line| line.reason == "INTERNAL").count();
        assert_eq!(unreadable, internal, "each is told");
        self.taken += debit;
        self.write(decision.writes);
        self.write(decision.parts.into_iter().flat_map(|part| part.writes));
        self.uploaded.insert(transaction.as_bytes().to_vec(), detail.clone());
        detail
    }

    /// The outcome of a line, wherever it stands: reason, charge.
    fn outcome<'a>(&'a self, line: &'a UploadedTap) -> (&'a str, i64) {
        let line = match line.earlier_upload.is_empty() {
            true => line,
            false => &self.uploaded[&line.earlier_upload].taps[line.earlier_place as usize],
        };
        (&line.reason, line.amount_fen)
    }

    fn file(&self, card: u8) -> TransitFile {
        let stored = self.rows.get(&AggregateKey::of::<TransitFile>(&[card; 16]));
        stored.map(|stored| TransitFile::decode(stored.body.clone()).expect("readable")).unwrap_or_default()
    }
}

fn metro() -> ParticipantId {
    "bj-metro".parse().expect("well formed")
}

fn ask(card: u8, kind: TapKind, station: &str, minute: i64, counter: u32) -> TapRequest {
    TapRequest {
        transaction: TransactionId::from_bytes([9; 16]),
        card: [card; 16],
        card_province: if card.is_multiple_of(2) { 110_000 } else { 120_000 },
        card_is_ours: false,
        subject: Subject::from_bytes([card; 16]),
        pairwise: PairwiseHolder::from_bytes([card; 16]),
        operator: metro(),
        kind,
        station: station.to_owned(),
        line: String::new(),
        tapped_at_ms: MORNING + minute * MINUTE,
        counter,
        valid_until: 0,
        offline: true,
        denied: None,
    }
}

fn numbered(sequence: u64, tap: TapRequest) -> NumberedTap {
    NumberedTap { sequence, digest: [sequence as u8; 8], tap: Ok(tap) }
}

/// A queue of `count` taps: some cards that enter and leave, some that do neither well.
fn queue(seed: &[(u8, u8, u8)]) -> Vec<NumberedTap> {
    const STATIONS: [&str; 4] = ["西单", "天安门东", "王府井", "nowhere"];
    let mut counters = HashMap::<u8, u32>::new();
    let taps = seed.iter().zip(1_u64..).map(|((card, station, kind), sequence)| {
        let counter = counters.entry(*card).or_default();
        // Now and then a counter comes twice.
        *counter += u32::from(*kind < 30);
        let side = if kind % 2 == 0 { TapKind::Entry } else { TapKind::Exit };
        let station = STATIONS[usize::from(*station) % STATIONS.len()];
        let one = numbered(sequence, ask(*card, side, station, sequence as i64, *counter));
        // And now and then a MAC is wrong.
        if *kind == 29 { NumberedTap { tap: Err(Reason::MacWrong), ..one } } else { one }
    });
    taps.collect()
}

/// The same taps one by one, as the outcome each had.
fn one_by_one(taps: &[NumberedTap]) -> (Vec<(String, i64)>, World) {
    let mut world = World::default();
    let mut outcomes = Vec::new();
    for one in taps {
        let Ok(request) = &one.tap else {
            outcomes.push((Reason::MacWrong.code().to_owned(), 0));
            continue;
        };
        let view = world.view(&crate::scenes::transit::touches(request));
        let decision = tap(&view, request, LATER, samples::book()).expect("readable");
        let moved = decision.postings.first().map_or(0, |posting| posting.amount.get());
        let reason = match decision.outcome {
            Outcome::Declined(reason) => reason.code(),
            Outcome::Approved | Outcome::Pending => "",
        };
        outcomes.push((reason.to_owned(), moved));
        world.taken += moved;
        world.write(decision.writes);
    }
    (outcomes, world)
}

fn files(world: &World) -> Vec<(u32, Option<(String, i64)>)> {
    let open = |file: &TransitFile| file.open.as_ref().map(|open| (open.station.clone(), open.entered_at_ms));
    (0..8).map(|card| world.file(card)).map(|file| (file.counter, open(&file))).collect()
}

proptest! {
    #[test]
    fn however_a_queue_is_cut_and_repeated_every_tap_has_the_outcome_it_would_have_alone(
        seed in proptest::collection::vec((0..8_u8, 0..5_u8, 0..36_u8), 1..300),
        cuts in proptest::collection::vec((0..300_usize, 1..128_usize), 0..12),
    ) {
        let taps = queue(&seed);
        let (alone, one_by_one) = one_by_one(&taps);
        let mut world = World::default();
        let mut sent = 0;
        // A gate never leaves a gap behind it, but may begin anywhere in what it sent.
        for (from, length) in cuts {
            let from = from.min(sent);
            let to = (from + length).min(taps.len());
            let told = world.upload(taps[from..to].to_vec());
            for (place, line) in told.taps.iter().enumerate() {
                prop_assert_eq!(line.earlier_upload.is_empty(), from + place >= sent);
                let (reason, amount) = world.outcome(line);
                prop_assert_eq!((reason.to_owned(), amount), alone[from + place].clone());
            }
            sent = sent.max(to);
        }
        for rest in taps[sent..].chunks(100) {
            world.upload(rest.to_vec());
        }
        prop_assert_eq!(world.taken, one_by_one.taken);
        prop_assert_eq!(files(&world), files(&one_by_one));
    }
}

#[test]
fn another_tap_under_a_taken_sequence_changes_nothing() {
    let mut world = World::default();
    world.upload(vec![numbered(7, ask(1, TapKind::Entry, "西单", 0, 1))]);
    let before = world.rows.clone();
    let other = NumberedTap { digest: [0xee; 8], ..numbered(7, ask(1, TapKind::Exit, "王府井", 9, 2)) };
    let told = world.upload(vec![other]);
    assert!(told.taps[0].misused);
    assert_eq!((told.taps[0].amount_fen, told.taps[0].holder), (0, 0));
    assert_eq!(world.rows, before);
}

#[test]
fn several_taps_of_a_card_see_each_other_and_money_goes_from_each_purse() {
    let mut world = World::default();
    let told = world.upload(vec![
        numbered(1, ask(1, TapKind::Entry, "西单", 0, 1)),
        numbered(2, ask(2, TapKind::Entry, "西单", 1, 1)),
        numbered(3, ask(1, TapKind::Exit, "天安门东", 9, 2)),
        numbered(4, ask(2, TapKind::Exit, "天安门东", 9, 2)),
        numbered(5, ask(1, TapKind::Exit, "天安门东", 10, 3)),
    ]);
    let lines: Vec<_> =
        told.taps.iter().map(|line| (line.reason.as_str(), line.amount_fen, line.purse)).collect();
    assert_eq!(lines, [("", 0, 0), ("", 0, 0), ("", 300, 120_000), ("", 300, 110_000), ("NO_ENTRY", 0, 0)]);
    assert_eq!((world.file(1).counter, world.file(1).open), (3, None));
}

#[test]
fn a_dead_cards_tap_is_declined_and_stops_nobody() {
    let mut world = World::default();
    let denied = Some(crate::model::Denial { reason: Reason::CardLost, since_ms: MORNING + 5 * MINUTE });
    let of_dead = |sequence, minute, counter| {
        numbered(sequence, TapRequest { denied, ..ask(1, TapKind::Entry, "西单", minute, counter) })
    };
    let nobody =
        NumberedTap { tap: Err(Reason::CardUnknown), ..numbered(2, ask(3, TapKind::Entry, "西单", 0, 1)) };
    let told = world.upload(vec![
        of_dead(1, 4, 1),
        nobody,
        of_dead(3, 6, 2),
        numbered(4, ask(2, TapKind::Entry, "西单", 7, 1)),
    ]);
    let reasons: Vec<_> = told.taps.iter().map(|line| line.reason.as_str()).collect();
    assert_eq!(reasons, ["", "CARD_UNKNOWN", "CARD_LOST", ""]);
    assert_eq!(told.taps.iter().map(|line| line.holder).collect::<Vec<_>>(), [1, 0, 1, 2]);
}

#[test]
fn a_card_whose_file_cannot_be_read_stops_nobody() {
    let mut world = World::default();
    let of_no_state = CardFile { state: 7, ..CardFile::default() };
    world.write([
        Write::put(&ask(1, TapKind::Entry, "西单", 0, 1).card, &of_no_state),
        Write {
            body: Some((&b"\xff"[..]).into()),
            ..Write::put(&ask(2, TapKind::Entry, "西单", 0, 1).card, &TransitFile::default())
        },
    ]);
    let ours = TapRequest { card_is_ours: true, ..ask(1, TapKind::Entry, "西单", 4, 1) };
    let told = world.upload(vec![
        numbered(1, ours),
        numbered(2, ask(2, TapKind::Entry, "西单", 5, 1)),
        numbered(3, ask(3, TapKind::Entry, "西单", 6, 1)),
    ]);
    let reasons: Vec<_> = told.taps.iter().map(|line| line.reason.as_str()).collect();
    assert_eq!(reasons, ["INTERNAL", "INTERNAL", ""]);
    assert_eq!(told.taps.iter().map(|line| line.holder).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_tap_of_an_upload_is_told_as_if_it_had_come_alone() {
    let taps = vec![
        numbered(130, ask(1, TapKind::Entry, "西单", 0, 1)),
        numbered(131, ask(1, TapKind::Exit, "天安门东", 9, 2)),
    ];
    let transaction = TransactionId::from_bytes([4; 16]).as_upload();
    let request = UploadRequest { transaction, terminal: GATE, operator: metro(), taps };
    let view = World::default().view(&upload_touches(&request));
    let decision = upload(&view, &request, LATER, samples::book(), &mut |_| ()).expect("readable");
    let lines = UploadDetail::decode(decision.detail.bytes.clone()).expect("just written");
    let part = &decision.parts[0];
    let holder = HolderTaps::decode(part.detail.clone()).expect("just written");
    let entry = Entry {
        transaction_id: transaction.as_bytes().to_vec(),
        participant: "bj-metro".to_owned(),
        holders: vec![record::EntryHolder { subject: vec![1; 16], pairwise_holder: vec![1; 16] }],
        ..Entry::default()
    };
    let (exit, detail) = tap_in_upload(&entry, &lines, Some(&holder), 1).expect("it is there");
    assert_eq!(exit.status, Status::Completed.number());
    assert_eq!(exit.transaction_id, transaction.of_tap(1).as_bytes());
    assert_eq!(exit.subject, [1; 16]);
    let amounts: Vec<_> = exit.postings.iter().map(|posting| posting.amount_fen).collect();
    assert_eq!(amounts, [300, -300]);
    assert_eq!(detail.charge.expect("an exit").to_station, "天安门东");
    assert_eq!(tap_in_upload(&entry, &lines, None, 2), None);
    let block = decision.writes[0].body.clone().expect("written");
    let block = UploadBlock::decode(block).expect("just written");
    assert_eq!(find_in_block(&block, 131), Some((transaction, 1)));
    assert_eq!(find_in_block(&block, 132), None);
    assert_eq!(decision.writes[0].key.kind, UploadBlock::KIND);
}
