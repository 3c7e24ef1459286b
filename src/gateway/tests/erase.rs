use super::{super::*, rig::*};
use crate::{
    model::{
        AggregateBody, Decision, Outcome, Scene, Status, Task, TaskKind, TransactionId, decoded,
        record::{CardFile, DocumentFile, HolderErasure, HolderFile},
    },
    store::Committed,
};

fn hands() -> ErasingHands {
    ErasingHands::new("li.na", "wang.lei", "本人申请 / asked for it").expect("right")
}

/// A person of Beijing with two cards.
async fn with_two_cards(bj: &Region) -> (Person, Person) {
    let first = bj.import(1).await;
    let mut second = Person::of(BEIJING, 2);
    second.line.holder = first.line.holder.clone();
    second.line.social_security_number = first.line.social_security_number.clone();
    let report = bj.gateway.import_cards(&second.line()).await.expect("a journal");
    assert_eq!(report.taken, 1, "{report:?}");
    (first, second)
}

fn of(committed: &Committed) -> HolderOf {
    let id = <[u8; 16]>::try_from(committed.entry.transaction_id.as_slice()).expect("16 bytes");
    HolderOf::Transaction(TransactionId::from_bytes(id))
}

async fn file<T: AggregateBody>(bj: &Region, id: &[u8]) -> Option<T> {
    bj.gateway.peek(id).await.expect("readable")
}

/// Nothing is left of the person, and nobody serves their cards.
async fn is_gone(bj: &Region, people: [&Person; 2], ride: HolderOf, request: u8) {
    for person in people {
        assert!(file::<CardFile>(bj, person.card.as_bytes()).await.is_none());
        let tap = bj.tap(request, person, 9).await;
        assert_refused(tap, RefusalKind::Forbidden, Reason::HolderErased);
        let lost = bj.lose(request + 1, person.card).await;
        assert_refused(lost, RefusalKind::Forbidden, Reason::HolderErased);
        assert_eq!(bj.gateway.not_denied(&person.card), Err(Reason::CardCancelled));
        let again = bj.gateway.erase_holder(HolderOf::Card(person.card), &hands()).await;
        assert_eq!(again, Err(NotErased::Already));
        let report = bj.gateway.import_cards(&person.line()).await.expect("a journal");
        assert_eq!((report.taken, report.wrong[&1][0].field.as_str()), (0, "holder"));
    }
    let holder: crate::model::HolderId = people[0].line.holder.parse().expect("a holder");
    assert!(file::<HolderFile>(bj, holder.as_bytes()).await.is_none());
    let document = bj.gateway.document_hash("01", &people[0].line.social_security_number).expect("a key");
    assert!(file::<DocumentFile>(bj, &document).await.is_none());
    let HolderOf::Transaction(id) = ride else { panic!("a transaction") };
    let steps = bj.gateway.store().steps(id).await.expect("readable");
    assert!(steps[0].detail.is_empty() && !steps[0].entry.subject.is_empty(), "the entry stands, unread");
    assert_eq!(bj.gateway.erase_holder(ride, &hands()).await, Err(NotErased::Already));
}

#[tokio::test]
async fn an_erased_holder_is_read_by_nobody_and_their_cards_are_closed() {
    let (bj, _tj) = regions();
    let (first, second) = with_two_cards(&bj).await;
    let other = bj.import(3).await;
    let ride = bj.tap(1, &first, 1).await.expect("an answer");
    assert!(!ride.detail.is_empty());
    assert_eq!(bj.gateway.erase_holder(of(&ride), &hands()).await, Ok(2), "both cards");
    is_gone(&bj, [&first, &second], of(&ride), 10).await;

    let subject = crate::model::Subject::from_slice(&ride.entry.subject).expect("a subject");
    let about = bj.gateway.store().about(subject, Scene::Operations, 10).await.expect("readable");
    let erasure = &about.iter().find(|step| step.entry.method == "EraseHolder").expect("journalled").entry;
    let said: HolderErasure = decoded(&erasure.detail).expect("open");
    assert_eq!((erasure.operator_id.as_str(), said.second_operator_id.as_str()), ("li.na", "wang.lei"));
    assert!(said.reason.contains("asked for it"));

    let bj = bj.restart();
    is_gone(&bj, [&first, &second], of(&ride), 20).await;
    assert_ended(&bj.tap(2, &other, 1).await.expect("an answer"), Status::Completed, "");
}

#[tokio::test]
async fn nobody_is_erased_while_something_must_still_happen_about_them() {
    let (bj, _tj) = regions();
    let person = bj.import(1).await;
    let ride = bj.tap(1, &person, 1).await.expect("an answer");
    let subject = crate::model::Subject::from_slice(&ride.entry.subject).expect("a subject");
    let meta = bj.gateway.own_meta(Scene::Library, "Checkout");
    let open = bj.gateway.note(meta, Vec::new(), move |_, now| {
        let mut decision = Decision::new(Outcome::Pending);
        decision.subject = Some(subject);
        decision.tasks = vec![Task::ask(TaskKind::LibraryInquire, "library/lib".into(), now, now)];
        Ok(decision)
    });
    open.await.expect("taken");
    let refused = bj.gateway.erase_holder(of(&ride), &hands()).await;
    assert_eq!(refused, Err(NotErased::TasksOpen(1)));
    assert!(file::<CardFile>(&bj, person.card.as_bytes()).await.is_some());
}

#[tokio::test]
async fn nobody_is_erased_who_cannot_be() {
    let (bj, tj) = regions();
    let (here, away) = (bj.import(1).await, tj.import(1).await);
    let foreign = bj.tap(1, &away, 1).await.expect("an answer");
    let entries = bj.entries();
    for (of, refused) in [
        (HolderOf::Card(away.card), NotErased::NotOurs),
        (of(&foreign), NotErased::NotOurs),
        (HolderOf::Transaction(TransactionId::from_bytes([7; 16])), NotErased::NobodyOf),
    ] {
        assert_eq!(bj.gateway.erase_holder(of, &hands()).await, Err(refused), "{of:?}");
    }
    assert_eq!(bj.entries(), entries, "nothing is journalled");
    assert_eq!(ErasingHands::new("li.na", "Li.Na", "why"), Err(NotErased::OnePerson));
    assert_eq!(ErasingHands::new("li.na", "", "why"), Err(NotErased::Hand(HandRefused::Operator)));
    assert_eq!(ErasingHands::new("li.na", "wang.lei", ""), Err(NotErased::Hand(HandRefused::Reason)));
    assert_ended(&bj.tap(2, &here, 1).await.expect("an answer"), Status::Completed, "");
}
