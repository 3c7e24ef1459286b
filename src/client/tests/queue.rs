//! Promises of the queue: a tap that was taken is there after a crash and is
//! uploaded under the header it was taken with.

use std::{fs, path::Path};

use proptest::prelude::*;
use tonic::Status;

use super::town::{Step, Town};
use crate::{
    client::{OfflineQueue, QueueError, RetryPolicy, Terminal, UploadError},
    proto::{
        common::v1::RequestHeader,
        transit::v1::{Tap, TapRequest},
    },
};

fn tap(number: u32) -> TapRequest {
    TapRequest {
        header: Some(RequestHeader { request_id: format!("id-{number}"), ..RequestHeader::default() }),
        tap: Some(Tap { station: "西直门".to_owned(), tapped_at_ms: number.into(), ..Tap::default() }),
    }
}

fn filled(path: &Path, taps: u32) -> OfflineQueue {
    let mut queue = OfflineQueue::open(path).expect("a queue");
    for number in 0..taps {
        queue.push(&tap(number)).expect("kept");
    }
    queue
}

#[test]
fn a_tap_that_was_taken_survives_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("taps.queue");
    let mut queue = filled(&path, 3);
    queue.mark(["id-1"]).expect("marked");
    drop(queue);
    let again = OfflineQueue::open(&path).expect("the queue");
    assert_eq!(again.pending(10), [tap(0), tap(2)]);
}

#[test]
fn a_queue_has_one_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("taps.queue");
    let _owner = filled(&path, 1);
    assert!(matches!(OfflineQueue::open(&path), Err(QueueError::InUse(_))));
}

#[test]
fn a_tap_is_queued_once_and_never_without_an_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut queue = filled(&folder.path().join("taps.queue"), 1);
    assert!(matches!(queue.push(&tap(0)), Err(QueueError::Duplicate)));
    assert!(matches!(queue.push(&TapRequest::default()), Err(QueueError::NoRequestId)));
    assert_eq!(queue.len(), 1);
}

#[test]
fn an_empty_queue_takes_no_room_and_a_long_one_is_compacted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("taps.queue");
    let mut queue = filled(&path, 1_500);
    let ids: Vec<String> = (0..1_400).map(|number| format!("id-{number}")).collect();
    let full = fs::metadata(&path).expect("it is there").len();
    queue.mark(ids.iter().map(String::as_str)).expect("marked");
    assert!(fs::metadata(&path).expect("it is there").len() < full / 5, "answered taps are left out");
    queue.push(&tap(9_000)).expect("the new file takes taps");
    drop(queue);
    let mut queue = OfflineQueue::open(&path).expect("the queue");
    assert_eq!(queue.len(), 101);
    let rest: Vec<TapRequest> = queue.pending(200);
    let ids: Vec<String> =
        rest.iter().filter_map(|tap| tap.header.clone()).map(|header| header.request_id).collect();
    queue.mark(ids.iter().map(String::as_str)).expect("marked");
    assert_eq!(fs::metadata(&path).expect("it is there").len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_torn_last_frame_costs_nothing_else(torn in 1usize..40) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("taps.queue");
        drop(filled(&path, 3));
        let bytes = fs::read(&path).expect("it is there");
        let frame = bytes.len() / 3;
        fs::write(&path, &bytes[..bytes.len() - torn.min(frame)]).expect("torn");
        let mut again = OfflineQueue::open(&path).expect("it opens");
        prop_assert_eq!(again.pending(10), [tap(0), tap(1)]);
        again.push(&tap(7)).expect("it goes on");
        drop(again);
        prop_assert_eq!(OfflineQueue::open(&path).expect("it opens").pending(10), [tap(0), tap(1), tap(7)]);
    }

    #[test]
    fn a_changed_byte_is_never_a_tap(place in any::<prop::sample::Index>(), bit in 0u8..8) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("taps.queue");
        drop(filled(&path, 2));
        let mut bytes = fs::read(&path).expect("it is there");
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        fs::write(&path, &bytes).expect("changed");
        let queue = OfflineQueue::open(&path).expect("it opens");
        for kept in queue.pending(10) {
            prop_assert!(kept == tap(0) || kept == tap(1), "{:?}", kept);
        }
        prop_assert!(queue.len() < 2);
        prop_assert!(fs::metadata(path.with_extension("torn")).expect("kept aside").len() > 0);
    }
}

#[tokio::test]
async fn an_upload_that_was_not_answered_is_sent_again_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut queue = filled(&folder.path().join("taps.queue"), 3);
    let mut town = Town::with([Step::Fail(Status::unavailable("the answer was lost"))]).await;
    town.options.retry = RetryPolicy::never();
    let terminal = Terminal::connect(&town.options).await.expect("the town answers");
    let lost = terminal.upload_queue(&mut queue).await.expect_err("no answer");
    assert!(matches!(lost, UploadError::Call(_)), "{lost}");
    assert_eq!(queue.len(), 3, "without an answer nothing is forgotten");
    let outcomes = terminal.upload_queue(&mut queue).await.expect("answered");
    assert_eq!((outcomes.len(), queue.len()), (3, 0));
    let seen = town.script.seen();
    assert_eq!(seen[0].taps, seen[1].taps, "the same headers both times");
    assert!(terminal.upload_queue(&mut queue).await.expect("nothing to do").is_empty());
    assert_eq!(town.script.seen().len(), 2);
}

#[tokio::test]
async fn a_tap_the_gateway_had_no_room_for_stays_queued() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut queue = filled(&folder.path().join("taps.queue"), 3);
    let town = Town::with([Step::NoRoomAt(1)]).await;
    let terminal = Terminal::connect(&town.options).await.expect("the town answers");
    terminal.upload_queue(&mut queue).await.expect("answered");
    assert_eq!(queue.pending(10), [tap(1)]);
}
