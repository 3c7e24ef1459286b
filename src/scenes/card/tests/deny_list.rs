//! The deny list over many changes: it says what the cards say and has no gaps.

use super::*;

/// Aggregates as a store would keep them.
#[derive(Default)]
struct Shelf(BTreeMap<AggregateKey, Stored>);

impl Shelf {
    fn view(&self, keys: Vec<AggregateKey>) -> View {
        keys.into_iter().fold(View::default(), |view, key| {
            let stored = self.0.get(&key).cloned();
            view.with(key, stored)
        })
    }

    fn take(&mut self, decision: &Decision) {
        for write in &decision.writes {
            let body = write.body.clone().expect("nothing is deleted");
            self.0.insert(write.key.clone(), Stored { revision: 1, schema: 1, body });
        }
    }

    fn get<T: AggregateBody>(&self, id: &[u8]) -> Option<T> {
        let stored = self.0.get(&AggregateKey::of::<T>(id))?;
        Some(T::decode(stored.body.clone()).expect("its own body"))
    }
}

fn change_keys(card: &CardIdentifier) -> Vec<AggregateKey> {
    vec![
        AggregateKey::of::<CardFile>(card.as_bytes()),
        AggregateKey::of::<DenyFile>(card.as_bytes()),
        AggregateKey::of::<DenyListHead>(&deny_head_id(PROVINCE)),
    ]
}

#[test]
fn a_peers_list_is_taken_over_once_and_never_backwards() {
    let fact = |last, denied| DenyFact {
        card: card_number(last),
        denied,
        card_state: if denied { 2 } else { 1 },
        expires_at_ms: 0,
        since_ms: 0,
    };
    let mut shelf = Shelf::default();
    let mut apply = |version, fact: Option<DenyFact>| {
        let mut keys = vec![AggregateKey::of::<DenyListHead>(&deny_head_id(PROVINCE))];
        keys.extend(fact.iter().map(|fact| AggregateKey::of::<DenyFile>(fact.card.as_bytes())));
        let about = fact.map(|fact| (who().subject, fact));
        let decision = apply_denial(&shelf.view(keys), PROVINCE, (0, version), about, NOW).expect("readable");
        shelf.take(&decision);
        let head: DenyListHead = shelf.get(&deny_head_id(PROVINCE)).unwrap_or_default();
        let denied = |last| {
            let file: Option<DenyFile> = shelf.get(card_number(last).as_bytes());
            file.is_some_and(|file| file.denied)
        };
        (decision.writes.len(), head.version, denied(1), denied(2))
    };
    assert_eq!(apply(1, Some(fact(1, true))), (2, 1, true, false));
    assert_eq!(apply(2, Some(fact(2, true))), (2, 2, true, true));
    assert_eq!(apply(2, Some(fact(2, true))), (0, 2, true, true));
    assert_eq!(apply(3, Some(fact(1, false))), (2, 3, false, true));
    // An old fact that arrives late revives and kills nobody.
    assert_eq!(apply(1, Some(fact(1, true))), (0, 3, false, true));
    // Nothing more up to here.
    assert_eq!(apply(4, None), (1, 4, false, true));
}

/// A list as a peer holds it, of a region whose store is put back.
struct Peer(Shelf);

impl Peer {
    fn heard(&mut self, to: (u64, u64), fact: Option<DenyFact>) {
        let mut keys = vec![AggregateKey::of::<DenyListHead>(&deny_head_id(PROVINCE))];
        keys.extend(fact.iter().map(|fact| AggregateKey::of::<DenyFile>(fact.card.as_bytes())));
        let about = fact.map(|fact| (who().subject, fact));
        let decision = apply_denial(&self.0.view(keys), PROVINCE, to, about, NOW).expect("readable");
        self.0.take(&decision);
    }

    /// Until when the card is refused: `None` it is not, 0 for ever.
    fn refuses(&self, last: u8) -> Option<Millis> {
        let file: Option<DenyFile> = self.0.get(card_number(last).as_bytes());
        file.filter(|file| file.denied).map(|file| file.expires_at_ms)
    }

    fn at(&self) -> (u64, u64) {
        let head: DenyListHead = self.0.get(&deny_head_id(PROVINCE)).unwrap_or_default();
        (head.epoch, head.version)
    }
}

fn said(last: u8, denied: bool, expires_at_ms: Millis) -> DenyFact {
    DenyFact {
        card: card_number(last),
        denied,
        card_state: if denied { 2 } else { 1 },
        expires_at_ms,
        since_ms: 5,
    }
}

#[test]
fn a_list_begun_anew_kills_and_does_not_revive() {
    let mut peer = Peer(Shelf::default());
    // The old epoch: 1 is lost, 2 lost and lifted, 3 lost for a time and then for ever.
    for (version, fact) in [
        (1, said(1, true, 0)),
        (2, said(2, true, 0)),
        (3, said(2, false, 0)),
        (4, said(3, true, NOW + TERM)),
        (5, said(3, true, 0)),
    ] {
        peer.heard((10, version), Some(fact));
    }
    // The store was put back to before 1 was lost (and had been lifted once), before 2
    // was lifted, before 3 was lost for ever.
    peer.heard((100, 0), None);
    for (version, fact) in [(1, said(1, false, 0)), (2, said(2, true, 0)), (4, said(3, true, NOW + TERM))] {
        peer.heard((100, version), Some(fact));
    }
    assert_eq!([peer.refuses(1), peer.refuses(2), peer.refuses(3)], [Some(0); 3]);
    assert_eq!(peer.at(), (100, 4));
    // What is said in the new epoch holds.
    peer.heard((100, 101), Some(said(1, false, 0)));
    assert_eq!((peer.refuses(1), peer.at()), (None, (100, 101)));
    // One who speaks of an epoch that is over is behind: it kills, and no more.
    peer.heard((10, 6), Some(said(3, false, 0)));
    peer.heard((10, 7), Some(said(4, true, 0)));
    assert_eq!((peer.refuses(3), peer.refuses(4), peer.at()), (Some(0), Some(0), (100, 101)));
}

#[test]
fn an_epoch_begins_above_all_that_was_said() {
    let mut shelf = Shelf::default();
    let mut begin = |epoch| {
        let view = shelf.view(vec![AggregateKey::of::<DenyListHead>(&deny_head_id(PROVINCE))]);
        shelf.take(&begin_deny_epoch(&view, PROVINCE, epoch, NOW).expect("readable"));
        let head: DenyListHead = shelf.get(&deny_head_id(PROVINCE)).unwrap_or_default();
        (head.epoch, head.version)
    };
    assert_eq!(begin(100), (100, 100));
    assert_eq!(begin(100), (100, 100), "it begins once");
    assert_eq!(begin(50), (100, 100), "and never goes back");
    assert_eq!(begin(101), (101, 101));
    let put = crate::model::Write::put(
        &deny_head_id(PROVINCE),
        &DenyListHead { version: 500, epoch: 101, ..DenyListHead::default() },
    );
    shelf.take(&Decision { writes: vec![put], ..Decision::new(Outcome::Approved) });
    let view = shelf.view(vec![AggregateKey::of::<DenyListHead>(&deny_head_id(PROVINCE))]);
    let decision = begin_deny_epoch(&view, PROVINCE, 102, NOW).expect("readable");
    shelf.take(&decision);
    let head: DenyListHead = shelf.get(&deny_head_id(PROVINCE)).expect("begun");
    assert_eq!((head.epoch, head.version), (501, 501), "a version is above every epoch before it");
}

#[test]
fn a_lost_loss_is_taken_up_again_and_nothing_else() {
    #[track_caller]
    fn check(file: Option<(bool, u64, Millis)>, told: (u64, DenyFact), taken: bool) {
        let mut shelf = Shelf::default();
        let head = DenyListHead { version: 103, epoch: 100, ..DenyListHead::default() };
        let card = card_number(1);
        let mut writes = vec![
            crate::model::Write::put(&deny_head_id(PROVINCE), &head),
            crate::model::Write::put(card.as_bytes(), &super::file(CardState::Normal)),
        ];
        if let Some((denied, version, expires_at_ms)) = file {
            let file = DenyFile {
                region: PROVINCE,
                card_state: 2,
                denied,
                version,
                expires_at_ms,
                ..DenyFile::default()
            };
            writes.push(crate::model::Write::put(card.as_bytes(), &file));
        }
        shelf.take(&Decision { writes, ..Decision::new(Outcome::Approved) });
        let view = shelf.view(change_keys(&card));
        let decision = take_up_denial(&view, who().subject, told, 130_000, NOW).expect("readable");
        assert_eq!(!decision.writes.is_empty(), taken, "{file:?} {told:?}");
        if !taken {
            return;
        }
        shelf.take(&decision);
        let file: DenyFile = shelf.get(card.as_bytes()).expect("denied");
        let card: CardFile = shelf.get(card.as_bytes()).expect("known");
        assert_eq!((file.version, file.denied, file.told_by), (104, true, 130_000));
        assert_eq!((card.state, card.state_expires_at_ms), (file.card_state, file.expires_at_ms));
        assert_eq!((detail(&decision).deny_list_version, detail(&decision).told_by), (104, 130_000));
    }
    let lost = (10, said(1, true, 0));
    check(None, lost, true);
    check(None, (10, said(1, true, NOW)), false);
    check(None, (10, said(1, true, NOW + 1)), true);
    check(None, (10, said(1, false, 0)), false);
    // Lifted before the loss, after the loss, and after the list was begun anew.
    check(Some((false, 9, 0)), lost, true);
    check(Some((false, 11, 0)), lost, false);
    check(Some((false, 102, 0)), lost, false);
    // Dead already: as long, for a time only, for a time that is over.
    check(Some((true, 3, 0)), lost, false);
    check(Some((true, 3, NOW + 1)), lost, true);
    check(Some((true, 102, NOW + 1)), lost, true);
    check(Some((true, 3, NOW)), lost, true);
    check(Some((true, 3, 0)), (10, said(1, true, NOW + 1)), false);
    // What no home says of a dead card is taken up from nobody.
    for card_state in 0..=u8::MAX {
        let told = (10, DenyFact { card_state, ..said(1, true, 0) });
        check(None, told, [2, 3, 4, 9].contains(&card_state));
    }
}

proptest! {
    #[test]
    fn the_deny_list_says_what_the_card_says_and_has_no_gaps(
        acts in proptest::collection::vec((0..3u8, 1..3u8, 0..TERM), 1..40),
    ) {
        let mut shelf = Shelf::default();
        for last in 1..3 {
            let put = crate::model::Write::put(card_number(last).as_bytes(), &file(CardState::Normal));
            let decision = Decision { writes: vec![put], ..Decision::new(Outcome::Approved) };
            shelf.take(&decision);
        }
        let (mut now, mut version) = (NOW, 0);
        for (act, last, later) in acts {
            now += later;
            let who = Who { card: card_number(last), ..who() };
            let view = shelf.view(change_keys(&who.card));
            let decision = match act {
                0 => report_loss(&view, &who, LossKind::Temporary, TERM, now),
                1 => report_loss(&view, &who, LossKind::Formal, TERM, now),
                _ => lift_loss(&view, &who, now),
            }.expect("readable");
            shelf.take(&decision);
            let head: DenyListHead = shelf.get(&deny_head_id(PROVINCE)).unwrap_or_default();
            let changed = u64::from(!decision.writes.is_empty());
            prop_assert_eq!(head.version, version + changed, "one change, one version");
            version = head.version;
            if changed == 1 {
                prop_assert_eq!(detail(&decision).deny_list_version, version);
            }
            for last in 1..3 {
                let card = card_number(last);
                let file: CardFile = shelf.get(card.as_bytes()).expect("registered");
                let view = shelf.view(change_keys(&card));
                // Also a moment later, so that both lapse together.
                for at in [now, now + TERM - 1, now + TERM, now + 2 * TERM] {
                    prop_assert_eq!(
                        not_denied(&view, &card, at).expect("readable"),
                        standing_of(&file).usable(at),
                        "card {} at {}", last, at - NOW
                    );
                }
            }
        }
    }
}
