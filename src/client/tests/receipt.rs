//! Promises of a receipt: the right one is believed, any other is not.

use proptest::prelude::*;
use prost::Message;
use sm2::dsa::{SigningKey, signature::Signer};

use crate::{
    client::{CheckedReceipt, JournalKey, ReceiptRefused, check_answer, check_receipt},
    crypto::{Digest32, sm3},
    model::record::BatchHeader,
    proto::common::v1::{Answer, Receipt},
};

fn signer() -> SigningKey {
    SigningKey::from_slice("1234567812345678", &[7; 32]).expect("a scalar")
}

fn key() -> JournalKey {
    JournalKey::from_point(&signer().verifying_key().to_sec1_bytes()).expect("a point")
}

/// All rows of the tree, leaves first, as the contract states it.
fn rows(leaves: Vec<Digest32>) -> Vec<Vec<Digest32>> {
    let mut rows = vec![leaves];
    while let Some(row) = rows.last().filter(|row| row.len() > 1) {
        let next = row.chunks(2).map(|pair| match pair {
            [left, right] => sm3(&[&[1], left, right]),
            lonely => lonely[0],
        });
        let next = next.collect();
        rows.push(next);
    }
    rows
}

/// The receipt of the entry at `index` in a signed batch of `count`.
fn receipt(count: u32, index: u32) -> Receipt {
    let leaves = (0..count).map(|n| sm3(&[&[0], &n.to_be_bytes()])).collect();
    let rows = rows(leaves);
    let mut path = Vec::new();
    let mut place = index as usize;
    for row in &rows[..rows.len() - 1] {
        if let Some(sibling) = row.get(place ^ 1) {
            path.push(sibling.to_vec());
        }
        place /= 2;
    }
    let header = BatchHeader {
        schema: 1,
        region: 110_000,
        node: "bj-1".to_owned(),
        epoch: 1,
        sequence: 9,
        previous: vec![0; 32],
        root: rows[rows.len() - 1][0].to_vec(),
        count,
        committed_at_ms: 1_790_000_000_000,
        key_id: "journal".to_owned(),
        checkpoint_digest: Vec::new(),
    };
    let batch_header = header.encode_to_vec();
    let tagged = [&b"onecard/journal/batch/v1\0"[..], &batch_header].concat();
    let signature: sm2::dsa::Signature = signer().sign(&tagged);
    Receipt {
        leaf: rows[0][index as usize].to_vec(),
        path,
        index,
        batch_header,
        signature: signature.to_bytes().to_vec(),
    }
}

fn check(receipt: &Receipt) -> Result<CheckedReceipt, ReceiptRefused> {
    check_receipt(receipt, &key())
}

#[test]
fn every_entry_of_a_batch_of_any_size_is_proved() {
    for count in 1..=33 {
        for index in 0..count {
            let checked = check(&receipt(count, index)).expect("a sound receipt");
            assert_eq!((checked.region, checked.sequence, checked.count), (110_000, 9, count));
        }
    }
}

#[test]
fn the_receipt_of_another_position_proves_nothing() {
    for count in 2..=17 {
        for index in 0..count {
            for claimed in (0..=count).filter(|claimed| *claimed != index) {
                let moved = Receipt { index: claimed, ..receipt(count, index) };
                assert!(check(&moved).is_err(), "{index} passes as {claimed} of {count}");
            }
        }
    }
}

#[test]
fn a_path_may_be_neither_shorter_nor_longer() {
    let mut short = receipt(5, 1);
    short.path.pop();
    assert_eq!(check(&short), Err(ReceiptRefused::Path));
    let mut long = receipt(5, 1);
    long.path.push(vec![0; 32]);
    assert_eq!(check(&long), Err(ReceiptRefused::Path));
    long.path = vec![vec![0; 32]; 40];
    assert_eq!(check(&long), Err(ReceiptRefused::Path));
}

#[test]
fn another_journals_signature_is_not_believed() {
    let other = SigningKey::from_slice("1234567812345678", &[8; 32]).expect("a scalar");
    let other = JournalKey::from_point(&other.verifying_key().to_sec1_bytes()).expect("a point");
    assert_eq!(check_receipt(&receipt(3, 2), &other), Err(ReceiptRefused::Signature));
    assert!(JournalKey::from_hex("04ff").is_err());
}

#[test]
fn a_receipt_of_another_region_does_not_cover_the_answer() {
    let answer = |transaction: &str, receipt: Option<Receipt>| Answer {
        transaction_id: transaction.to_owned(),
        receipt,
        ..Answer::default()
    };
    let here = "110000-000-0192a3b4c5d6-9f8e7d6c5b4a";
    let there = "120000-000-0192a3b4c5d6-9f8e7d6c5b4a";
    assert!(check_answer(&answer(here, Some(receipt(4, 3))), &key()).is_ok());
    let other = ReceiptRefused::OtherRegion { transaction: 120_000, receipt: 110_000 };
    assert_eq!(check_answer(&answer(there, Some(receipt(4, 3))), &key()), Err(other));
    assert_eq!(check_answer(&answer(here, None), &key()), Err(ReceiptRefused::Missing));
    assert_eq!(check_answer(&answer("", Some(receipt(1, 0))), &key()), Err(ReceiptRefused::NoTransaction));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_changed_bit_is_refused(
        count in 1u32..20, at in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        let mut changed = receipt(count, at.index(count as usize) as u32);
        let mut parts: Vec<&mut Vec<u8>> =
            vec![&mut changed.leaf, &mut changed.batch_header, &mut changed.signature];
        parts.extend(changed.path.iter_mut());
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut place = place.index(bytes);
        for part in parts {
            if place < part.len() {
                part[place] ^= 1 << bit;
                break;
            }
            place -= part.len();
        }
        prop_assert!(check(&changed).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), index in any::<u32>()) {
        let garbage = Receipt {
            leaf: bytes.iter().copied().take(32).collect(), path: vec![bytes.clone()], index,
            batch_header: bytes.clone(), signature: bytes,
        };
        prop_assert!(check(&garbage).is_err());
    }
}
