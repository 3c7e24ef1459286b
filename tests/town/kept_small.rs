//! Garbage cannot fill a disk: before authentication it is a counter, after it a
//! bounded number of entries.

use std::io::{Read as _, Write as _};

use onecard::{
    limits,
    model::{Clock as _, Purpose, SystemClock},
    proto::transit::v1::TapKind,
};
use tonic::Code;

use crate::support::{
    SOON,
    expect::{approved, refused},
    in_a_town_of_its_own, until,
};

#[test]
fn garbage_leaves_a_counter_and_nothing_on_disk() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            stage.knows_all_deny_lists("beijing");
            let before = stage.verified("beijing");
            let logged = stage.log("beijing").len();
            let refused = || stage.metric("beijing", "onecard_connections_refused_total", &[]);
            let garbage: [&[u8]; 5] = [
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                &[0xff; 4096],
                &[0x16, 0x03, 0x01, 0xff, 0xff],
                b"\x16\x03\x01\x00\x05hello",
            ];
            let doors = [stage.terminals_door("beijing"), stage.peers_door("beijing")];
            for door in &doors {
                for bytes in garbage {
                    let mut line = std::net::TcpStream::connect(&door.address).expect("somebody listens");
                    line.set_read_timeout(Some(SOON)).expect("a timeout");
                    // It may be cut off while we still write.
                    let _ = line.write_all(bytes);
                    let _ = line.shutdown(std::net::Shutdown::Write);
                    let _ = line.read_to_end(&mut Vec::new());
                }
            }
            let sent = (doors.len() * garbage.len()) as f64;
            until("every one is counted", || refused() >= sent);
            let after = stage.verified("beijing");
            assert_eq!(
                (after.entries, after.batches, after.head_hash),
                (before.entries, before.batches, before.head_hash)
            );
            assert_eq!(stage.log("beijing").len(), logged, "nor in the log");
            let gate = stage.terminal("bj-metro-gate-01").await;
            let tap = stage.card("tj").tap(&gate, TapKind::Entry, "西直门");
            approved(&gate.tap(tap).await.expect("answered").answer);
        },
    );
}

#[test]
fn a_thousand_wrong_macs_leave_a_few_entries() {
    in_a_town_of_its_own(
        |_| {},
        async |stage| {
            const WRONG: usize = 1_000;
            let gate = stage.terminal("bj-metro-gate-01").await;
            let card = stage.card("tj");
            stage.knows_all_deny_lists("beijing");
            let before = stage.verified("beijing").entries;
            let minute = || SystemClock.now_ms() / 60_000;
            let began = minute();
            let mut forger = Vec::new();
            for part in 0..8 {
                let (gate, mut forged) = (gate.clone(), card.tap(&gate, TapKind::Entry, "西直门"));
                forger.push(tokio::spawn(async move {
                    for number in 0..WRONG / 8 {
                        forged.header = Some(gate.header(Purpose::TransitRide));
                        let read = forged.tap.as_mut().and_then(|tap| tap.read.as_mut()).expect("a read");
                        read.mac =
                            [&[part], &[7; 5][..], &u16::try_from(number).expect("small").to_be_bytes()]
                                .concat();
                        refused(gate.tap(forged.clone()).await, Code::PermissionDenied, "MAC_WRONG");
                    }
                }));
            }
            for part in forger {
                part.await.expect("all were refused");
            }
            let minutes = u64::try_from(minute() - began + 1).expect("time goes on");
            assert_eq!(stage.metric("beijing", "onecard_refusals_total", &["MAC_WRONG"]), WRONG as f64);

            // A tap that is taken comes after them in the journal: once it is
            // answered, all that was to be journalled before is there.
            approved(&gate.tap(card.tap(&gate, TapKind::Entry, "西直门")).await.expect("answered").answer);
            let grown = stage.verified("beijing").entries - before - 1;
            let most = u64::from(limits::REFUSALS_JOURNALLED_PER_MINUTE) * minutes;
            assert!((1..=most).contains(&grown), "{grown} entries of {WRONG} refusals in {minutes} minutes");
        },
    );
}
