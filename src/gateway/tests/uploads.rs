use super::{super::*, rig::*};
use crate::model::{Purpose, RequestId, Status, TransactionId};

/// A ride of each person: entries first, then exits.
fn rides(region: &Region, people: &[&Person]) -> Vec<OfflineAsk> {
    let ride = |side, station: &str, counter, after_ms: i64| {
        let tap = |(person, sequence): (&&Person, u64)| OfflineAsk {
            sequence,
            tap: region.signed(person, counter, |tap| {
                (tap.side, tap.offline) = (side, true);
                tap.station = station.into();
                tap.tapped_at_ms += after_ms;
            }),
        };
        let first = u64::from(counter - 1) * people.len() as u64 + 1;
        people.iter().zip(first..).map(tap).collect::<Vec<_>>()
    };
    let mut taps = ride(TapSide::Entry, "沙河", 1, -3_600_000);
    taps.extend(ride(TapSide::Exit, "南邵", 2, -1_800_000));
    taps
}

fn amounts(uploaded: &Uploaded) -> Vec<(String, i64)> {
    uploaded.taps.taps.iter().map(|line| (line.reason.clone(), line.amount_fen)).collect()
}

fn repeated(uploaded: &Uploaded) -> Vec<bool> {
    uploaded.taps.taps.iter().map(|line| !line.earlier_upload.is_empty()).collect()
}

fn ask(key: TransactionKey) -> TransactionAsk {
    TransactionAsk { key, purpose: None }
}

#[tokio::test]
async fn an_upload_is_one_entry_and_each_tap_is_found_in_it_after_a_restart() {
    let (bj, tj) = regions();
    let (ours, theirs) = (bj.import(1).await, tj.import(1).await);
    let taps = rides(&bj, &[&ours, &theirs]);
    let before = bj.entries();
    let first = bj.upload(1, &taps).await;
    assert_eq!(bj.entries(), before + 1);
    let charged = amounts(&first);
    assert_eq!(charged[..2], [(String::new(), 0), (String::new(), 0)]);
    assert!(charged[2].1 > 0 && charged[2] == charged[3], "{charged:?}");
    assert_eq!(first.committed.entry.holders.len(), 2);

    let bj = bj.restart();
    let call = || bj.call("metro:gate", &method::GET_TRANSACTION);
    let under = TransactionKey::Tap { terminal: None, sequence: 3 };
    let by_number = bj.gateway.transaction(&call(), ask(under)).await.expect("found");
    assert_ended(&by_number[0], Status::Completed, "");
    assert_eq!(by_number[0].entry.postings[0].amount_fen, charged[2].1);
    assert_eq!(by_number[0].receipt.leaf, first.committed.receipt.leaf, "the upload's receipt covers it");
    let id: [u8; 16] = by_number[0].entry.transaction_id.as_slice().try_into().expect("an id");
    let key = TransactionKey::Transaction(TransactionId::from_bytes(id));
    let by_id = bj.gateway.transaction(&call(), ask(key)).await.expect("found");
    assert_eq!((&by_id[0].entry, &by_id[0].detail), (&by_number[0].entry, &by_number[0].detail));
    let missing = TransactionKey::Tap { terminal: None, sequence: 5 };
    assert!(bj.gateway.transaction(&call(), ask(missing)).await.is_err());

    for person in [&ours, &theirs] {
        let journeys = JourneysAsk { card: person.card, purpose: Purpose::TransitRide, most: 5 };
        let call = bj.call("metro:gate", &method::LIST_JOURNEYS);
        let journeys = bj.gateway.journeys(&call, journeys).await.expect("listed");
        let fares: Vec<_> = journeys.done.iter().map(|(_, charge)| charge.amount_fen).collect();
        assert_eq!(fares, [charged[2].1]);
        assert!(journeys.open.is_none());
    }
}

#[tokio::test]
async fn a_repeat_that_is_cut_otherwise_takes_what_is_new_and_tells_what_was() {
    let (bj, _tj) = regions();
    let people = [bj.import(1).await, bj.import(2).await, bj.import(3).await];
    let taps = rides(&bj, &people.each_ref());
    let first = bj.upload(1, &taps[..4]).await;
    let bj = bj.restart();
    let second = bj.upload(2, &taps[2..]).await;
    assert_eq!(repeated(&second), [true, true, false, false]);
    let id =
        TransactionId::from_bytes(first.committed.entry.transaction_id.as_slice().try_into().expect("an id"));
    assert_eq!(second.earlier[&id].entry, first.committed.entry, "the answer it had");
    assert_eq!(amounts(&second)[2..], vec![amounts(&first)[3].clone(); 2]);
    let totals = bj.gateway.store().ledger_totals().await.expect("summed");
    let all = bj.upload(3, &taps).await;
    assert_eq!(repeated(&all), [true; 6]);
    let after = bj.gateway.store().ledger_totals().await.expect("summed");
    assert_eq!((totals.debit_fen, totals.credit_fen), (after.debit_fen, after.credit_fen));
    assert_eq!(totals.debit_fen, i128::from(3 * amounts(&first)[3].1));

    // The upload's own request is once as everywhere.
    let again = bj.upload(1, &taps[..4]).await;
    assert!(again.committed.replayed);
    assert_eq!(again.committed.entry, first.committed.entry);
    assert_eq!(again.committed.parts, first.committed.parts);
    let call = bj.call("metro:gate", &method::UPLOAD_CHUNK);
    let mut header = bj.header(1, Purpose::TransitRide);
    header.fingerprint = [9; 32];
    let misused = bj.gateway.upload_chunk(&call, header, taps[..1].to_vec()).await;
    assert_eq!(misused.expect_err("another payload").kind, RefusalKind::Misused);
}

#[tokio::test]
async fn what_cannot_be_granted_has_its_own_line() {
    let (bj, tj) = regions();
    let (good, lost, nobody) = (bj.import(1).await, tj.import(2).await, Person::of(BEIJING, 9));
    bj.clock.advance_ms(10_000);
    tj.lose(1, lost.card).await.expect("reported");
    let delta = tj.gateway.deny_delta(0).await.expect("a delta");
    assert_eq!(
        bj.gateway.take_deny_delta(delta).await.map(|position| position.version),
        Ok(tj.gateway.deny_list_version())
    );
    let tap = |sequence, person: &Person, counter, ago_ms| OfflineAsk {
        sequence,
        tap: bj.signed(person, counter, |tap| {
            tap.offline = true;
            tap.tapped_at_ms -= ago_ms;
        }),
    };
    let mut forged = tap(1, &good, 1, 0);
    forged.tap.mac = [0; 8];
    let taps = [
        forged,
        tap(2, &nobody, 1, 0),
        // Before it was reported, and after.
        tap(3, &lost, 1, 5_000),
        tap(4, &lost, 2, 0),
        tap(5, &good, 1, 4_000),
        tap(6, &good, 1, 3_000),
    ];
    let told = bj.upload(1, &taps).await;
    let reasons: Vec<_> = told.taps.taps.iter().map(|line| line.reason.as_str()).collect();
    assert_eq!(reasons, ["MAC_WRONG", "CARD_UNKNOWN", "", "CARD_LOST", "", "COUNTER_REPLAYED"]);

    let other = OfflineAsk { sequence: 5, ..tap(5, &good, 2, 1_000) };
    let told = bj.upload(2, &[other, tap(7, &good, 3, 500)]).await;
    assert!(told.taps.taps[0].misused);
    assert!(!told.taps.taps[1].misused);
}

#[tokio::test]
async fn an_erased_holder_is_gone_from_an_upload_and_the_others_stay() {
    let (bj, tj) = regions();
    let (stays, goes) = (tj.import(1).await, tj.import(2).await);
    let taps = rides(&bj, &[&stays, &goes]);
    let first = bj.upload(1, &taps).await;
    let holders = &first.committed.entry.holders;
    let subject = crate::model::Subject::from_slice(&holders[1].subject).expect("a subject");
    let bj = bj.erased(subject);
    let call = bj.call("metro:gate", &method::UPLOAD_CHUNK);
    let kept = bj.gateway.answered_before(&call, RequestId::from_bytes([1; 16]), &[1; 32]).await;
    let kept = kept.expect("readable").expect("kept");
    assert_eq!(kept.receipt.leaf, first.committed.receipt.leaf, "the chain says the same");
    assert_eq!(kept.parts[0], first.committed.parts[0]);
    assert!(first.committed.parts[1].is_some() && kept.parts[1].is_none());
    // Nothing is kept of them from now on, and their taps stop nobody.
    let more = [1_u64, 2].map(|at| OfflineAsk {
        sequence: 4 + at,
        tap: bj.signed([&stays, &goes][at as usize - 1], 3, |tap| tap.offline = true),
    });
    let told = bj.upload(2, &more).await;
    assert!(told.committed.parts[0].is_some() && told.committed.parts[1].is_none());
}
