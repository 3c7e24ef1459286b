//! The embedded store on the machine's own disk, signing and sealing on: units a
//! second, CPU a unit and latency for 1, 64 and 1,024 concurrent writers, beside
//! the bare sync of the same minute, without which the figures say nothing.
//!
//! `cargo bench --bench store` or `cargo bench --bench store -- SECONDS`.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use aes_gcm::{
    AesGcm, KeyInit,
    aead::{Aead, Payload, consts::U12},
};
use onecard::{
    crypto::{KeyName, KeyVault, SealError, Sealer, VaultError, sm3},
    model::*,
    store::*,
};
use sm2::dsa::{Signature, SigningKey, signature::Signer};

struct Vault(SigningKey);

impl KeyVault for Vault {
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

/// SM4-GCM under a key made from the subject: the cost of a real sealer whose
/// keys are in memory.
struct Seals;

impl Seals {
    fn cipher(subject: Subject) -> AesGcm<sm4::Sm4, U12> {
        AesGcm::new_from_slice(&sm3(&[subject.as_bytes()])[..16]).expect("16 bytes")
    }
}

impl Sealer for Seals {
    fn seal(&self, s: Subject, nonce: &[u8; 12], aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, SealError> {
        Self::cipher(s).encrypt(&(*nonce).into(), Payload { msg, aad }).map_err(|_| SealError::Altered)
    }
    fn open(
        &self,
        s: Subject,
        nonce: &[u8; 12],
        aad: &[u8],
        msg: &[u8],
    ) -> Result<Option<Vec<u8>>, SealError> {
        let opened = Self::cipher(s).decrypt(&(*nonce).into(), Payload { msg, aad });
        opened.map(Some).map_err(|_| SealError::Altered)
    }
}

/// A tap: one open and one personal aggregate, personal detail, two postings.
fn tap(number: u32) -> Unit {
    let mut id = [0; 16];
    SystemRng.fill(&mut id[8..]);
    id[4..8].copy_from_slice(&number.to_be_bytes());
    let holder = sm3(&[&(number % 100_000).to_be_bytes()]);
    let key = |kind| AggregateKey { kind, id: holder[..16].into() };
    let (card, transit) = (key(AggregateKind::CodeUse), key(AggregateKind::Transit));
    let touches = vec![card.clone(), transit.clone()];
    let decide = move |_: &View, _: Millis| {
        let mut decision = Decision::new(Outcome::Approved);
        decision.subject = Subject::from_slice(&holder[..16]).ok();
        decision.detail = Detail { schema: 1, bytes: vec![3; 60].into(), personal: true };
        let put = |key, body: usize| Write { key, schema: 1, body: Some(vec![5; body].into()) };
        decision.writes = vec![put(card, 24), put(transit, 120)];
        let side = |account: &str, fen| Posting { account: account.to_owned(), amount: Fen::new(fen) };
        decision.postings = vec![side("participant/bj-metro/fares", -300), side("holders/transit", 300)];
        Ok(decision)
    };
    Unit {
        meta: UnitMeta {
            participant: "bj-metro".parse().expect("well formed"),
            terminal: "gate-01".parse().expect("well formed"),
            operator: "".into(),
            purpose: Purpose::TransitRide,
            scene: Scene::Transit,
            method: "Tap",
            terminal_time_ms: 1_790_000_000_000,
            trace_id: Some([9; 16]),
        },
        transaction: TransactionId::from_bytes(id),
        step: Step::First { request: RequestId::from_bytes(id), fingerprint: [1; 32] },
        touches,
        decide: Box::new(decide),
    }
}

/// CPU time of this process, all threads.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// CPU seconds by thread name.
fn cpu_by_thread() -> Vec<(String, f64)> {
    let mut threads = Vec::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanos: f64 = times.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0.0);
        threads.push((name.trim().to_owned(), nanos / 1e9));
    }
    threads
}

async fn round(store: &Arc<EmbeddedStore>, writers: usize, lasts: Duration, next: &Arc<AtomicU32>) {
    let (started, cpu_before, threads_before) = (Instant::now(), cpu(), cpu_by_thread());
    let workers: Vec<_> = (0..writers)
        .map(|_| {
            let (store, next) = (Arc::clone(store), Arc::clone(next));
            tokio::spawn(async move {
                let mut took = Vec::new();
                while started.elapsed() < lasts {
                    let asked = Instant::now();
                    match store.commit(tap(next.fetch_add(1, Ordering::Relaxed))).await {
                        Ok(_) => took.push(asked.elapsed()),
                        Err(StoreError::Busy) => tokio::time::sleep(Duration::from_millis(1)).await,
                        Err(error) => panic!("{error}"),
                    }
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for worker in workers {
        took.extend(worker.await.expect("no panic"));
    }
    let (wall, cpu) = (started.elapsed(), cpu() - cpu_before);
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let count = took.len() as f64;
    println!(
        "{writers:>5} writers: {:>8.0} units/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} us CPU/unit, lag {}",
        count / wall.as_secs_f64(),
        at(0.5),
        at(0.99),
        cpu.as_secs_f64() * 1e6 / count,
        store.index_lag(),
    );
    let threads: Vec<_> = cpu_by_thread()
        .into_iter()
        .filter(|(name, _)| name.starts_with("journal-"))
        .map(|(name, after)| {
            let before = threads_before.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, s)| *s);
            format!("{name} {:.1}", (after - before) * 1e6 / count)
        })
        .collect();
    println!("       us/unit by thread: {}", threads.join(", "));
}

fn bare_sync(disk: &RealDisk) {
    let file = disk.create("bare", 8 << 20).expect("a file");
    let mut took: Vec<_> = (0..500)
        .map(|at| {
            let started = Instant::now();
            file.write_at(at * 4096, &[1; 4096]).expect("written");
            file.sync_data().expect("synced");
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("bare 4 KiB write and sync: p50 {:?}, p99 {:?}", took[250], took[494]);
}

fn main() {
    let seconds = std::env::args().filter_map(|word| word.parse().ok()).next_back().unwrap_or(3);
    let dir = tempfile::tempdir_in(".").expect("a folder on the disk of the working directory");
    bare_sync(&RealDisk::lock(&dir.path().join("bare")).expect("locked"));
    let vault = Vault(SigningKey::from_slice("1234567812345678", &[1; 32]).expect("a scalar"));
    let options = StoreOptions::in_dir(dir.path(), 110_000);
    let store = EmbeddedStore::open(options, Arc::new(vault), Arc::new(Seals), Arc::new(SystemClock));
    let store = Arc::new(store.expect("opens"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let next = Arc::default();
    for writers in [1, 64, 1_024] {
        runtime.block_on(round(&store, writers, Duration::from_secs(seconds), &next));
    }
    drop(runtime);
    store.close();
    let started = Instant::now();
    let report = verify_dir(&dir.path().join("journal"), None).expect("the journal holds");
    println!("verified {} entries in {} batches: {:?}", report.entries, report.batches, started.elapsed());
}
