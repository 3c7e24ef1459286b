//! Reading entries off line.

use std::sync::Arc;

use super::support::*;
use crate::store::{entries::read_disk, *};

#[test]
fn entries_are_read_in_order_while_the_store_is_open() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    let written: Vec<Vec<u8>> = (0..300)
        .map(|number| commit(&store, bulky(number)).expect("committed").entry.transaction_id.clone())
        .collect();
    let read = || {
        let mut read = Vec::new();
        read_disk(Arc::clone(&world.disk), &mut |entry| {
            read.push(entry.transaction_id);
            Ok(())
        })
        .expect("the journal holds");
        read
    };
    assert_eq!(read(), written);
    store.close();
    assert_eq!(read(), written, "closing adds no entry");
}

#[test]
fn who_cannot_go_on_says_why_and_where() {
    let world = World::on(LyingDisk::new());
    let store = world.open();
    for number in 0..3 {
        commit(&store, bulky(number)).expect("committed");
    }
    store.close();
    let mut seen = 0;
    let stopped = read_disk(Arc::clone(&world.disk), &mut |_| {
        seen += 1;
        if seen == 2 { Err("enough".to_owned()) } else { Ok(()) }
    });
    let broken = stopped.expect_err("stopped");
    assert_eq!((broken.what.as_str(), seen), ("enough", 2));
    assert!(broken.sequence >= 1, "{broken}");
}
