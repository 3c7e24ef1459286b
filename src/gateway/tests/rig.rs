//! Two regions on one clock, joined by lines that a test can cut.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use prost::Message as _;

pub use super::insurer::FakeInsurer;
use super::{super::*, insurer::medical_policy};
use crate::{
    crypto::{
        ChipChallenge, HolderKeys, KeyName, SandboxSuite, Sm2PublicKey, SoftVault, TapRecord, VirtualChip,
        sm3,
    },
    identity::CardIdentifier,
    model::{
        ManualClock, Millis, PeerCertificate, Purpose, RequestId, Status, SystemRng, Token16,
        record::CardDetail,
    },
    scenes::{
        card::HolderData,
        library::{
            Before, Inquiry, InquiryPolicy, Library, LibraryAnswer, LibraryOrder, LibraryPolicy, LibraryPort,
            PortError,
        },
        transit::FareBook,
    },
    store::{Committed, EmbeddedStore, StoreObserver, StoreOptions},
    trust::{Member, TrustList},
};

pub const BEIJING: u32 = 110_000;
pub const TIANJIN: u32 = 120_000;
pub const START: Millis = 1_790_000_000_000;

/// Counts the entries of a journal.
#[derive(Default)]
pub struct Counted(AtomicUsize);

impl StoreObserver for Counted {
    fn batch_committed(&self, entries: usize, _: usize, _: Duration) {
        self.0.fetch_add(entries, Ordering::SeqCst);
    }
}

pub struct Region {
    pub gateway: Arc<Gateway>,
    pub clock: Arc<ManualClock>,
    pub vault: Arc<SoftVault>,
    pub line: Arc<Line>,
    pub library: Arc<FakeLibrary>,
    pub insurer: Arc<FakeInsurer>,
    entries: Arc<Counted>,
    folder: tempfile::TempDir,
}

/// What the line to the other region does with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Up,
    /// Nothing arrives.
    Away,
    /// The question arrives, the answer does not.
    LosesAnswers,
}

/// A line that calls the other gateway directly.
pub struct Line {
    from: u32,
    /// Weak, or two regions would keep each other open.
    to: OnceLock<Weak<Gateway>>,
    pub mode: Mutex<Mode>,
    pub asked: AtomicUsize,
    pub versions: Mutex<Vec<u64>>,
}

impl Line {
    fn new(from: u32) -> Arc<Self> {
        Arc::new(Line {
            from,
            to: OnceLock::new(),
            mode: Mutex::new(Mode::Up),
            asked: AtomicUsize::new(0),
            versions: Mutex::default(),
        })
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().expect("no panic") = mode;
    }

    async fn carry<T>(
        &self,
        what: &str,
        origin: Origin,
        ask: impl AsyncFnOnce(&Gateway, PeerAsker) -> Result<T, PeerError>,
    ) -> Result<T, PeerError> {
        let away = || PeerError::Unreachable("the line is cut".into());
        let mode = *self.mode.lock().expect("no panic");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let to = self.to.get().filter(|_| mode != Mode::Away).and_then(Weak::upgrade).ok_or_else(away)?;
        // As federation does: over everything but the transaction.
        let said = format!("{what} {:?} {} {}", origin.request, origin.participant, origin.terminal);
        let asker = PeerAsker { province: self.from, fingerprint: sm3(&[said.as_bytes()]), origin };
        let answer = ask(&to, asker).await;
        if mode == Mode::LosesAnswers { Err(away()) } else { answer }
    }
}

impl Peers for Line {
    fn begin_chip(
        &self,
        _: u32,
        origin: Origin,
        challenge: ChipChallenge,
        card: CardIdentifier,
    ) -> BoxFuture<'_, Result<ChipBegun, PeerError>> {
        Box::pin(self.carry("begin", origin, async move |gateway, asker| {
            gateway.peer_begin_chip(asker, ChipAsk { card, challenge }).await
        }))
    }

    fn finish_chip(
        &self,
        _: u32,
        origin: Origin,
        session: Token16,
        data: HolderData,
    ) -> BoxFuture<'_, Result<HolderConfirmed, PeerError>> {
        Box::pin(self.carry("finish", origin, async move |gateway, asker| {
            gateway.peer_finish_chip(asker, session, data).await
        }))
    }

    fn settle_code(
        &self,
        _: u32,
        origin: Origin,
        code: Vec<u8>,
        stood_in_at: Option<Millis>,
    ) -> BoxFuture<'_, Result<HolderConfirmed, PeerError>> {
        Box::pin(self.carry("code", origin, async move |gateway, asker| {
            gateway.peer_settle_code(asker, &code, stood_in_at).await
        }))
    }

    fn ask_card(
        &self,
        _: u32,
        origin: Origin,
        card: CardIdentifier,
        ask: CardAsk,
    ) -> BoxFuture<'_, Result<CardSaid, PeerError>> {
        Box::pin(
            self.carry("card", origin, async move |gateway, asker| {
                gateway.peer_ask_card(asker, card, ask).await
            }),
        )
    }

    fn deny_list_changed(&self, version: u64) {
        self.versions.lock().expect("no panic").push(version);
    }
}

/// A library that answers as it was told, in order.
#[derive(Default)]
pub struct FakeLibrary {
    pub answers: Mutex<VecDeque<Result<LibraryAnswer, PortError>>>,
    pub inquiries: Mutex<VecDeque<Result<Inquiry, PortError>>>,
    pub called: Mutex<Vec<(crate::scenes::library::LibraryAct, Duration)>>,
    /// Inquiries that never end, counted down.
    pub hangs: AtomicUsize,
    /// Runs while the library is being looked at.
    pub meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl LibraryPort for FakeLibrary {
    fn observe(&self, _: LibraryOrder, _: Duration) -> BoxFuture<'_, Result<Before, PortError>> {
        let meanwhile = self.meanwhile.lock().expect("no panic").take();
        Box::pin(async move {
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            Ok(Before { observed: true, ..Before::default() })
        })
    }

    fn call(&self, order: LibraryOrder, within: Duration) -> BoxFuture<'_, Result<LibraryAnswer, PortError>> {
        self.called.lock().expect("no panic").push((order.act, within));
        let answer = self.answers.lock().expect("no panic").pop_front();
        Box::pin(async move { answer.expect("the test says what the library answers") })
    }

    fn inquire(&self, _: LibraryOrder, _: Before, _: Duration) -> BoxFuture<'_, Result<Inquiry, PortError>> {
        let hangs = self.hangs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if hangs.is_ok() {
            return Box::pin(std::future::pending());
        }
        let found = self.inquiries.lock().expect("no panic").pop_front();
        Box::pin(async move { found.expect("the test says what the library finds") })
    }
}

const PARTICIPANTS: &str = r#"
[[participant]]
id = "clinic"
name_zh = "医院"
name_en = "Clinic"
role = "terminal"
scenes = ["medical", "authentication"]
terminals = ["desk"]

[[participant]]
id = "metro"
name_zh = "地铁"
name_en = "Metro"
role = "terminal"
scenes = ["transit"]
terminals = ["gate"]

[[participant]]
id = "hall"
name_zh = "大厅"
name_en = "Hall"
role = "operator"
scenes = ["card"]
terminals = ["desk"]

[[participant]]
id = "app"
name_zh = "电子社保卡"
name_en = "App"
role = "ecard"
scenes = ["card"]
terminals = ["backend"]

[[participant]]
id = "lib"
name_zh = "图书馆"
name_en = "Library"
role = "terminal"
scenes = ["library", "authentication", "transaction"]
terminals = ["desk", "kiosk"]
attributes = ["AAC003"]
library = "lib"
"#;

fn policy() -> PolicyFile {
    let mut policy: PolicyFile =
        toml::from_str(include_str!("../../../config/beijing/policy.toml")).expect("a policy");
    policy.abroad = [("120000.lib".to_owned(), vec!["AAC004".to_owned()])].into();
    policy
}

fn fares() -> FareBook {
    let table = include_str!("../../../config/fares/beijing-metro.toml").to_owned();
    let stations = |_: &str| Some(include_str!("../../../config/stations/beijing.csv").to_owned());
    let operator = OperatorLine { participant: "metro".into(), table: "beijing-metro".into() };
    FareBook::parse(&[("beijing-metro".into(), table)], &stations, &[operator]).expect("a fare book")
}

pub fn live(trust: TrustList) -> Live {
    let registry: RegistryFile = toml::from_str(PARTICIPANTS).expect("participants");
    let policy = policy();
    let abroad = Live::read_abroad(&policy.abroad).expect("known attributes");
    let library = Library {
        code: "lib".into(),
        name_zh: "图书馆".into(),
        name_en: String::new(),
        minimum_assurance: crate::model::Assurance::Document,
        patron: Default::default(),
    };
    Live {
        registry: Registry::build(&registry).expect("right participants"),
        policy,
        fares: fares(),
        caps: CapBook::default(),
        medical: medical_policy(),
        libraries: LibraryPolicy { libraries: vec![library], inquiry: InquiryPolicy::default() },
        trust,
        codes: crate::identity::CodeTables::embedded().clone(),
        abroad,
    }
}

fn member(region: u32, vault: &SoftVault) -> Member {
    let key = |name| {
        let point = crate::crypto::KeyVault::public_key(vault, name).expect("a key");
        Sm2PublicKey::from_bytes(&point).expect("a point")
    };
    Member {
        region,
        name_zh: "样例".into(),
        name_en: "Sample".into(),
        endpoint: "https://127.0.0.1:7112".into(),
        tls_name: "peer.sample.onecard".into(),
        journal_key: key(KeyName::Journal),
        federation_key: key(KeyName::Federation),
        ecard_key: key(KeyName::Ecard),
        standard_min: 1,
        standard_max: 1,
    }
}

impl Region {
    fn open(
        province: u32,
        vault: Arc<SoftVault>,
        trust: TrustList,
        clock: Arc<ManualClock>,
        folder: tempfile::TempDir,
    ) -> Self {
        let sealer =
            HolderKeys::open(&folder.path().join("keys"), Arc::clone(&vault) as _, Arc::new(SystemRng))
                .expect("holder keys");
        let mut options = StoreOptions::in_dir(folder.path(), province);
        options.segment_bytes = 1024 * 1024;
        let entries = Arc::new(Counted::default());
        let store = EmbeddedStore::open_watched(
            options,
            Arc::clone(&vault) as _,
            Arc::new(sealer),
            Arc::clone(&clock) as _,
            Arc::clone(&entries) as _,
        )
        .expect("a store");
        let library = Arc::new(FakeLibrary::default());
        let libraries: Libraries = [("lib".to_owned(), Arc::clone(&library) as Arc<dyn LibraryPort>)].into();
        let insurer = Arc::new(FakeInsurer::default());
        let gateway = at_once(Gateway::open(Parts {
            province,
            store: Arc::new(store),
            vault: Arc::clone(&vault) as _,
            suite: Arc::new(SandboxSuite),
            libraries,
            insurers: [("insurer".to_owned(), Arc::clone(&insurer) as _)].into(),
            live: live(trust),
            clock: Arc::clone(&clock) as _,
            rng: Arc::new(SystemRng),
        }))
        .expect("a gateway");
        let line = Line::new(province);
        gateway.join(Arc::clone(&line) as _);
        Region { gateway, clock, vault, line, library, insurer, entries, folder }
    }

    /// Stops the gateway and opens it again over the same store.
    pub fn restart(self) -> Self {
        let Region { gateway, clock, vault, folder, line, .. } = self;
        let (province, trust) = (gateway.province(), gateway.live().trust.clone());
        drop((gateway, line));
        Region::open(province, vault, trust, clock, folder)
    }

    /// Opened again over the same store, with the key of `subject` destroyed.
    pub fn erased(self, subject: crate::model::Subject) -> Self {
        let Region { gateway, clock, vault, folder, line, .. } = self;
        let (province, trust) = (gateway.province(), gateway.live().trust.clone());
        drop((gateway, line));
        let keys =
            HolderKeys::open(&folder.path().join("keys"), Arc::clone(&vault) as _, Arc::new(SystemRng));
        keys.expect("the keys").destroy(subject).expect("destroyed");
        Region::open(province, vault, trust, clock, folder)
    }

    pub fn entries(&self) -> usize {
        self.entries.0.load(Ordering::SeqCst)
    }

    /// A call of `terminal` (participant:terminal), let in.
    #[track_caller]
    pub fn call(&self, terminal: &str, method: &'static Method) -> Call {
        let certificate = PeerCertificate {
            serial: "01".into(),
            not_after: 0,
            common_name: None,
            uris: vec![format!("onecard:terminal:{terminal}")],
            fingerprint: [0; 32],
        };
        let call = Call {
            caller: self.gateway.caller(&certificate).expect("registered"),
            method,
            deadline: self.gateway.default_deadline(),
            traceparent: String::new(),
            trace_id: None,
            permit: None,
        };
        self.gateway.admit(call).expect("let in")
    }

    /// A header of request number `request`; its payload is always the same.
    pub fn header(&self, request: u8, purpose: Purpose) -> Header {
        Header {
            request: RequestId::from_bytes([request; 16]),
            fingerprint: [request; 32],
            terminal_time_ms: self.gateway.now_ms(),
            purpose,
            operator: "clerk".into(),
            session: None,
        }
    }

    pub async fn import(&self, number: u8) -> Person {
        let person = Person::of(self.gateway.province(), number);
        let report = self.gateway.import_cards(&person.line()).await.expect("a journal");
        assert_eq!((report.taken, report.wrong), (1, Default::default()));
        person
    }

    pub async fn lose(&self, request: u8, card: CardIdentifier) -> Result<Committed, Refusal> {
        let call = self.call("hall:desk", &method::REPORT_LOSS);
        let header = self.header(request, Purpose::CardService);
        self.gateway.report_loss(&call, header, card, crate::scenes::card::LossKind::Formal).await
    }

    pub async fn tap(&self, request: u8, person: &Person, counter: u32) -> Result<Committed, Refusal> {
        self.tap_as(request, person, counter, |_| {}).await
    }

    /// A tap that `change` makes different from an ordinary one.
    pub async fn tap_as(
        &self,
        request: u8,
        person: &Person,
        counter: u32,
        change: impl FnOnce(&mut TapAsk),
    ) -> Result<Committed, Refusal> {
        let ask = self.signed(person, counter, change);
        let call = self.call("metro:gate", &method::TAP);
        self.gateway.tap(&call, self.header(request, Purpose::TransitRide), ask).await
    }

    /// A tap as the card signs it, made different from an ordinary one by `change`.
    pub fn signed(&self, person: &Person, counter: u32, change: impl FnOnce(&mut TapAsk)) -> TapAsk {
        let mut ask = TapAsk {
            side: TapSide::Entry,
            station: "沙河".into(),
            line: "昌平线".into(),
            tapped_at_ms: self.gateway.now_ms(),
            card: person.card,
            counter,
            mac: [0; 8],
            valid_until: 0,
            offline: false,
        };
        change(&mut ask);
        let record = TapRecord {
            kind: u8::try_from(ask.side.number()).expect("small"),
            station: &ask.station,
            line: &ask.line,
            tapped_at_ms: ask.tapped_at_ms,
            counter,
            card: *person.card.as_bytes(),
            valid_until: ask.valid_until,
        };
        let chip = VirtualChip::personalise(&*self.vault, *person.card.as_bytes()).expect("roots");
        ask.mac = chip.tap_mac(&record);
        ask
    }

    /// An upload of numbered taps, with the earlier ones that have its answers.
    pub async fn upload(&self, request: u8, taps: &[OfflineAsk]) -> Uploaded {
        let call = self.call("metro:gate", &method::UPLOAD_CHUNK);
        let header = self.header(request, Purpose::TransitRide);
        let committed = self.gateway.upload_chunk(&call, header, taps.to_vec()).await.expect("taken");
        self.gateway.uploaded(committed).await.expect("readable")
    }

    /// A code of one of our cards, from the app's backend.
    pub async fn code(&self, request: u8, card: CardIdentifier) -> String {
        let call = self.call("app:backend", &method::ISSUE_CODE);
        let header = self.header(request, Purpose::CardService);
        let issued = self.gateway.issue_code(&call, header, card).await.expect("a good card");
        card_detail(&issued).code
    }

    pub async fn scan(&self, request: u8, code: &str) -> Result<Committed, Refusal> {
        let call = self.call("lib:desk", &method::PRESENT_CODE);
        self.gateway.present_code(&call, self.header(request, Purpose::LibraryLoan), code).await
    }

    /// As the edge does after a refusal.
    pub async fn answered(&self, terminal: &str, request: u8) -> Option<Committed> {
        let call = self.call(terminal, &method::GET_TRANSACTION);
        let request_id = RequestId::from_bytes([request; 16]);
        self.gateway.answered_before(&call, request_id, &[request; 32]).await.expect("readable")
    }
}

/// Waits for a future that is ready as soon as it is asked, within a test's own
/// runtime too.
fn at_once<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    let run = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future);
    std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"))
}

/// Two regions with one transit root, joined.
pub fn regions() -> (Region, Region) {
    let root = [0x70; 16];
    let vault = || {
        let vault = SoftVault::generate(&SystemRng).with_key(KeyName::TransitRoot, &root);
        Arc::new(vault.expect("16 bytes"))
    };
    let (bj, tj) = (vault(), vault());
    let members = vec![member(BEIJING, &bj), member(TIANJIN, &tj)];
    let trust = TrustList::new(1, 0, START + 86_400_000, members).expect("a list");
    let clock = Arc::new(ManualClock::at(START));
    let open = |province, vault| {
        let folder = tempfile::tempdir().expect("a folder");
        Region::open(province, vault, trust.clone(), Arc::clone(&clock), folder)
    };
    let (bj, tj) = (open(BEIJING, bj), open(TIANJIN, tj));
    assert!(
        bj.line.to.set(Arc::downgrade(&tj.gateway)).is_ok()
            && tj.line.to.set(Arc::downgrade(&bj.gateway)).is_ok()
    );
    (bj, tj)
}

/// Somebody synthetic with a card.
#[derive(Clone)]
pub struct Person {
    pub card: CardIdentifier,
    pub line: CardLine,
}

impl Person {
    pub fn of(province: u32, number: u8) -> Self {
        let district = province + 101;
        let identifier = format!("{district:06}{number:026}");
        let line = CardLine {
            card_identifier: identifier.clone(),
            card_number: format!("A{number:08}"),
            state: 1,
            state_expires_at_ms: 0,
            holder: format!("{district:06}{number:026x}"),
            social_security_number: resident_number(district, number),
            name: "样例甲".into(),
            sex: "1".into(),
            ethnicity: "01".into(),
            born: 19_900_307,
            valid_until: 20_361_231,
            region: district,
        };
        Person { card: identifier.parse().expect("a region"), line }
    }

    pub fn line(&self) -> String {
        serde_json::to_string(&self.line).expect("strings and numbers")
    }

    pub fn data(&self) -> HolderData {
        HolderData {
            social_security_number: self.line.social_security_number.clone(),
            card_number: self.line.card_number.clone(),
            name: self.line.name.parse().expect("a name"),
        }
    }
}

/// Eighteen digits whose last is the check of GB 11643.
fn resident_number(district: u32, number: u8) -> String {
    let body = format!("{district:06}19900307{number:03}");
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = body.bytes().zip(weights).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    let check = ["1", "0", "X", "9", "8", "7", "6", "5", "4", "3", "2"][(sum % 11) as usize];
    body + check
}

#[track_caller]
pub fn assert_ended(committed: &Committed, status: Status, reason: &str) {
    let entry = &committed.entry;
    assert_eq!((entry.status, entry.reason.as_str()), (status.number(), reason));
}

#[track_caller]
pub fn assert_refused(result: Result<Committed, Refusal>, kind: RefusalKind, reason: Reason) -> Refusal {
    let refusal = result.expect_err("it must be refused");
    assert_eq!((refusal.kind, refusal.reason), (kind, reason));
    refusal
}

pub fn card_detail(committed: &Committed) -> CardDetail {
    CardDetail::decode(committed.detail.clone()).expect("a card's detail")
}
