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
        let decision = apply_denial(&shelf.view(keys), PROVINCE, version, about, NOW).expect("readable");
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
