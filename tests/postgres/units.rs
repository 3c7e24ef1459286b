//! Units of work for tests: what was done twice or lost shows in their writes.

use bytes::Bytes;
use onecard::{model::*, store::*};

pub fn transaction(number: u32) -> TransactionId {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    TransactionId::from_bytes(bytes)
}

pub fn request(number: u32) -> RequestId {
    RequestId::from_bytes(*transaction(number).as_bytes())
}

pub fn participant() -> ParticipantId {
    "bj-metro".parse().expect("well formed")
}

pub fn subject(number: u8) -> Subject {
    Subject::from_bytes([number; 16])
}

/// The personal aggregate of a holder.
pub fn transit(number: u8) -> AggregateKey {
    AggregateKey { kind: AggregateKind::Transit, id: [number; 16].as_slice().into() }
}

/// An open aggregate.
pub fn code(number: u8) -> AggregateKey {
    AggregateKey { kind: AggregateKind::CodeUse, id: [number; 16].as_slice().into() }
}

pub fn unit_with(
    number: u32,
    step: Step,
    touches: Vec<AggregateKey>,
    decide: impl FnOnce(&View, Millis) -> Result<Decision, CorruptAggregate> + Send + 'static,
) -> Unit {
    let meta = UnitMeta {
        participant: participant(),
        terminal: "gate-01".parse().expect("well formed"),
        operator: "".into(),
        purpose: Purpose::TransitRide,
        scene: Scene::Transit,
        method: "Tap",
        terminal_time_ms: 1,
        trace_id: None,
    };
    Unit { meta, transaction: transaction(number), step, touches, decide: Box::new(decide) }
}

pub fn first(number: u32) -> Step {
    Step::First { request: request(number), fingerprint: [number as u8; 32] }
}

/// Takes back request `number` before it comes.
pub fn withdrawal(number: u32, transaction: u32) -> Unit {
    unit_with(transaction, Step::withdrawing(request(number)), vec![], |_, _| {
        let mut decision = Decision::new(Outcome::Declined(Reason::ReversedBeforeArrival));
        decision.status = Status::Reversed;
        Ok(decision)
    })
}

fn put(key: &AggregateKey, body: Vec<u8>) -> Write {
    Write { key: key.clone(), schema: 1, body: Some(body.into()) }
}

/// Counts rides in one open and one personal aggregate of `holder`, with money and
/// a personal detail.
pub fn tap(number: u32, transaction: u32, holder: u8) -> Unit {
    let (card, transit) = (code(holder), transit(holder));
    let touches = vec![card.clone(), transit.clone()];
    unit_with(transaction, first(number), touches, move |view, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.subject = Some(subject(holder));
        decision.detail = Detail { schema: 1, bytes: Bytes::from(format!("ride {number}")), personal: true };
        let rides = view.revision(&card) as u32 + 1;
        assert_eq!(view.revision(&transit) as u32 + 1, rides, "both are written together");
        decision.writes = vec![
            put(&card, rides.to_be_bytes().to_vec()),
            put(&transit, [number.to_be_bytes(), rides.to_be_bytes()].concat()),
        ];
        decision.postings = vec![
            Posting { account: "a".to_owned(), amount: Fen::new(300) },
            Posting { account: "b".to_owned(), amount: Fen::new(-300) },
        ];
        Ok(decision)
    })
}

/// The same where the holder's rows lie with the transaction.
pub fn tap_at_home(number: u32, transaction: u32, holder: u8) -> Unit {
    let unit = tap(number, transaction, holder);
    Unit { transaction: unit.transaction.in_shard(code(holder).slot()), ..unit }
}

/// A step that leaves `status` and a task.
pub fn step_with_task(number: u32, step: Step, status: Status, done: bool, due: Millis) -> Unit {
    unit_with(number, step, vec![], move |_, _| {
        let mut decision = Decision::new(Outcome::Pending);
        decision.status = status;
        let asked = Task::ask(TaskKind::LibraryInquire, "library/lib".to_owned(), 0, due);
        let state = if done { TaskState::Done } else { TaskState::Waiting };
        decision.tasks = vec![Task { state, body: Bytes::from_static(b"body"), ..asked }];
        Ok(decision)
    })
}
