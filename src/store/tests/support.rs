//! A vault, a sealer and units for tests of the store.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use aes_gcm::{
    AesGcm, KeyInit,
    aead::{Aead, Payload, consts::U12},
};
use bytes::Bytes;
use sm2::dsa::{
    Signature, SigningKey, VerifyingKey,
    signature::{Signer, Verifier},
};

use crate::{
    crypto::{KeyName, KeyVault, SealError, Sealer, VaultError, sm3},
    model::*,
    store::*,
};

type Sm4Gcm = AesGcm<sm4::Sm4, U12>;

const USER_ID: &str = "1234567812345678";

/// A vault with a journal key only.
pub(super) struct TestVault(SigningKey);

impl TestVault {
    pub(super) fn new(seed: u8) -> Self {
        TestVault(SigningKey::from_slice(USER_ID, &[seed; 32]).expect("a scalar"))
    }
}

impl KeyVault for TestVault {
    fn sign(&self, _: KeyName, message: &[u8]) -> Result<[u8; 64], VaultError> {
        let signature: Signature = self.0.sign(message);
        Ok(signature.to_bytes().into())
    }
    fn public_key(&self, _: KeyName) -> Result<[u8; 65], VaultError> {
        let point = self.0.verifying_key().to_sec1_bytes();
        point.as_ref().try_into().map_err(|_| VaultError::WrongKind("journal"))
    }
    fn mac(&self, key: KeyName, _: &[u8]) -> Result<[u8; 16], VaultError> {
        Err(VaultError::Missing(key.label()))
    }
    fn diversify(&self, key: KeyName, _: &[u8; 16]) -> Result<zeroize::Zeroizing<[u8; 16]>, VaultError> {
        Err(VaultError::Missing(key.label()))
    }
}

/// Checks with the public key of [`TestVault::new`]`(1)`.
pub(super) fn signed_by_test_vault(message: &[u8], signature: &[u8; 64]) -> bool {
    let point = TestVault::new(1).public_key(KeyName::Journal).expect("the key is there");
    let key = VerifyingKey::from_sec1_bytes(USER_ID, &point).expect("a point");
    Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
}

/// Seals under a key made from the subject, and refuses a nonce that was used.
#[derive(Default)]
pub(super) struct TestSealer {
    destroyed: Mutex<HashSet<Subject>>,
    nonces: Mutex<HashSet<(Subject, [u8; 12])>>,
    /// Keys cannot be put on disk any more.
    pub(super) disk_gone: AtomicBool,
}

impl TestSealer {
    pub(super) fn destroy(&self, subject: Subject) {
        self.destroyed.lock().expect("no panic").insert(subject);
    }
    fn cipher(subject: Subject) -> Sm4Gcm {
        let key = sm3(&[subject.as_bytes()]);
        Sm4Gcm::new_from_slice(&key[..16]).expect("16 bytes")
    }
}

impl Sealer for TestSealer {
    fn seal(&self, s: Subject, nonce: &[u8; 12], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        if self.destroyed.lock().expect("no panic").contains(&s) {
            return Err(SealError::Keys("destroyed".to_owned()));
        }
        assert!(self.nonces.lock().expect("no panic").insert((s, *nonce)), "a nonce came twice");
        let payload = Payload { msg: plain, aad: bound };
        Self::cipher(s).encrypt(&(*nonce).into(), payload).map_err(|_| SealError::Altered)
    }
    fn open(
        &self,
        s: Subject,
        nonce: &[u8; 12],
        bound: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, SealError> {
        if self.destroyed.lock().expect("no panic").contains(&s) {
            return Ok(None);
        }
        let payload = Payload { msg: sealed, aad: bound };
        Self::cipher(s).decrypt(&(*nonce).into(), payload).map(Some).map_err(|_| SealError::Altered)
    }
    fn make_durable(&self) -> Result<(), SealError> {
        match self.disk_gone.load(Ordering::Relaxed) {
            true => Err(SealError::Keys("the disk has gone".to_owned())),
            false => Ok(()),
        }
    }
    fn destroyed(&self) -> u64 {
        self.destroyed.lock().expect("no panic").len() as u64
    }
}

/// What survives a restart in a test: disk, index, sealer, clock.
#[derive(Clone)]
pub(super) struct World {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index: Arc<MemIndex>,
    pub(super) sealer: Arc<TestSealer>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) options: StoreOptions,
}

impl World {
    pub(super) fn on(disk: impl Disk) -> Self {
        let mut options = StoreOptions::in_dir("unused", 110_000);
        options.segment_bytes = 256 * 1024;
        World {
            disk: Arc::new(disk),
            index: Arc::default(),
            sealer: Arc::default(),
            clock: Arc::new(ManualClock::at(1_790_000_000_000)),
            options,
        }
    }

    /// The same world with another disk and nothing indexed: after power loss.
    pub(super) fn found(&self, disk: LyingDisk) -> Self {
        World { disk: Arc::new(disk), index: Arc::default(), ..self.clone() }
    }

    pub(super) fn try_open(&self) -> Result<EmbeddedStore, OpenError> {
        let parts = Parts {
            disk: Arc::clone(&self.disk),
            index: Arc::clone(&self.index) as _,
            vault: Arc::new(TestVault::new(1)),
            sealer: Arc::clone(&self.sealer) as _,
            clock: Arc::clone(&self.clock) as _,
            rng: Arc::new(SystemRng),
            observer: Arc::new(NoObserver),
        };
        EmbeddedStore::assemble(&self.options, parts)
    }

    #[track_caller]
    pub(super) fn open(&self) -> EmbeddedStore {
        self.try_open().expect("the store opens")
    }

    pub(super) fn verify(&self) -> Result<VerifyReport, Broken> {
        verify_disk(Arc::clone(&self.disk), Some(&signed_by_test_vault))
    }
}

pub(super) fn transaction(number: u32) -> TransactionId {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    TransactionId::from_bytes(bytes)
}

pub(super) fn request(number: u32) -> RequestId {
    RequestId::from_bytes(*transaction(number).as_bytes())
}

pub(super) fn participant() -> ParticipantId {
    "bj-metro".parse().expect("well formed")
}

pub(super) fn subject(number: u8) -> Subject {
    Subject::from_bytes([number; 16])
}

/// The personal aggregate of a holder in tests.
pub(super) fn transit(number: u8) -> AggregateKey {
    AggregateKey { kind: AggregateKind::Transit, id: [number; 16].as_slice().into() }
}

/// An open aggregate.
pub(super) fn code(number: u8) -> AggregateKey {
    AggregateKey { kind: AggregateKind::CodeUse, id: [number; 16].as_slice().into() }
}

fn meta() -> UnitMeta {
    UnitMeta {
        participant: participant(),
        terminal: "gate-01".parse().expect("well formed"),
        operator: "".into(),
        purpose: Purpose::TransitRide,
        scene: Scene::Transit,
        method: "Tap",
        terminal_time_ms: 1,
        trace_id: None,
    }
}

pub(super) fn unit_with(
    number: u32,
    step: Step,
    touches: Vec<AggregateKey>,
    decide: impl FnOnce(&View, Millis) -> Result<Decision, CorruptAggregate> + Send + 'static,
) -> Unit {
    Unit { meta: meta(), transaction: transaction(number), step, touches, decide: Box::new(decide) }
}

pub(super) fn first(number: u32) -> Step {
    Step::First { request: request(number), fingerprint: [number as u8; 32] }
}

fn put(key: &AggregateKey, body: Vec<u8>) -> Write {
    Write { key: key.clone(), schema: 1, body: Some(body.into()) }
}

/// Appends the request's number to one open and one personal aggregate of
/// `holder`: what was done twice or lost shows in the bodies.
pub(in crate::store) fn tap(number: u32, transaction: u32, holder: u8) -> Unit {
    let (card, transit) = (code(holder), transit(holder));
    let touches = vec![card.clone(), transit.clone()];
    let step = Step::First { request: request(number), fingerprint: [number as u8; 32] };
    unit_with(transaction, step, touches, move |view, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.subject = Some(subject(holder));
        decision.detail = Detail { schema: 1, bytes: Bytes::from(format!("ride {number}")), personal: true };
        let rides = view.revision(&card) as u32 + 1;
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

/// An entry that fills four sectors, so that segments are soon full.
pub(super) fn bulky(number: u32) -> Unit {
    unit_with(number, first(number), vec![], |_, _| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.detail = Detail { schema: 1, bytes: vec![7; 1_500].into(), personal: false };
        Ok(decision)
    })
}

/// A step that leaves `status` and a task.
pub(super) fn step_with_task(number: u32, step: Step, status: Status, done: bool, due: Millis) -> Unit {
    unit_with(number, step, vec![], move |_, _| {
        let mut decision = Decision::new(Outcome::Pending);
        decision.status = status;
        let task = match done {
            true => Task::done(TaskKind::LibraryInquire, 0),
            false => Task::ask(TaskKind::LibraryInquire, String::new(), 0, due),
        };
        decision.tasks = vec![Task { body: Bytes::from_static(b"body"), ..task }];
        Ok(decision)
    })
}

/// Runs a future to its end without a runtime.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(future)
}

pub(super) fn commit(store: &EmbeddedStore, unit: Unit) -> Result<Committed, StoreError> {
    wait(store.commit(unit))
}

/// Holds a receipt against the key and against the entry.
#[track_caller]
pub(super) fn assert_receipt(committed: &Committed) {
    check_receipt(&committed.receipt, None, &signed_by_test_vault).expect("the receipt holds");
}

/// Waits until the index has everything.
pub(super) fn settle(store: &EmbeddedStore) {
    while store.index_lag() > 0 {
        std::thread::yield_now();
    }
}
