//! The adapter against the simulated insurer: every transaction, every fault, the
//! variants that deployed systems have.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use super::{Fault, Insurance, Insured, Insurer, InsurerHandle, InsurerOptions, MessageKey};
use crate::{
    adapters::{
        NoObserver,
        nhsa::{MessageSignature, NhsaAdapter, NhsaOptions, NhsaParts},
    },
    crypto::{KeyName, KeyVault as _, Sm2PublicKey, SoftVault},
    model::{Fen, ManualClock, SystemRng, TransactionId},
    scenes::medical::{
        Inquiry, MedicalAct, MedicalAnswer, MedicalOrder, MedicalPort as _, MsgId, OpenOrder, PortError,
        Reversal, Said, Sender, SettlementInfo,
        orders::{
            AddFees, Admit, CancelFees, CancelSettlement, Certificate, CheckEntitlement, Diagnosis,
            Discharge, FeeLine, Purchase, ReadPerson, RecordVisit, Register, Settle, VisitRef,
        },
    },
};

const NOW: i64 = 1_795_000_000_000;
const WITHIN: Duration = Duration::from_secs(30);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PERSON: &str = "1100000000000000000001";
const HOSPITAL: &str = "H11010100001";

struct World {
    insurer: InsurerHandle,
    adapter: NhsaAdapter,
    sent: u32,
}

fn person() -> Insured {
    let insurance =
        Insurance { kind: "310".into(), place: "119900".into(), status: "1".into(), balance_fen: 30_000 };
    Insured {
        number: PERSON.into(),
        document: "11010119900307001X".into(),
        name: "王样例".into(),
        sex: "1".into(),
        ethnicity: "01".into(),
        born: 19_900_307,
        cards: vec![("A00000019".into(), "00".repeat(16))],
        tokens: Vec::new(),
        insurances: vec![insurance],
        retired: false,
        civil_servant: false,
        identity: None,
        family: None,
        filed: false,
    }
}

async fn world(
    insurer: impl FnOnce(&mut InsurerOptions),
    adapter: impl FnOnce(&mut NhsaOptions),
    vault: SoftVault,
) -> World {
    let clock = Arc::new(ManualClock::at(NOW));
    let mut options =
        InsurerOptions { clock: clock.clone(), persons: vec![person()], ..InsurerOptions::default() };
    insurer(&mut options);
    let path = options.path.clone();
    let (addr, insurer) = Insurer::bind(ANY, options).await.unwrap();
    let mut options = NhsaOptions::at(format!("http://{addr}{path}"));
    // Silence is waited for; everything else is answered at once.
    options.timeout_ms = 800;
    options.breaker.failures = 1_000;
    adapter(&mut options);
    let parts =
        NhsaParts { vault: Arc::new(vault), clock, rng: Arc::new(SystemRng), observer: Arc::new(NoObserver) };
    World { insurer, adapter: NhsaAdapter::new("beijing", options, parts).unwrap(), sent: 0 }
}

async fn usual() -> World {
    world(|_| {}, |_| {}, SoftVault::empty()).await
}

impl World {
    fn sender(&mut self) -> Sender {
        self.sent += 1;
        Sender {
            msgid: MsgId::new(HOSPITAL, "20261122093000", self.sent).unwrap(),
            transaction: TransactionId::new(110_000, 0, NOW, &SystemRng),
            institution: HOSPITAL.into(),
            institution_name: "北京沙箱三级医院".into(),
            care_region: "110101".into(),
            insured_region: "119900".into(),
            operator: "".into(),
            sent_at_ms: NOW,
            trace_id: None,
        }
    }

    async fn ask(&mut self, order: MedicalOrder) -> Result<MedicalAnswer, PortError> {
        let sender = self.sender();
        self.adapter.call(sender, order, WITHIN).await
    }

    async fn said(&mut self, order: MedicalOrder) -> Said {
        self.ask(order).await.unwrap().said
    }

    async fn settlement(&mut self, order: MedicalOrder) -> SettlementInfo {
        match self.said(order).await {
            Said::Settlement(info) => *info,
            _ => panic!("not a settlement"),
        }
    }

    /// A visit with its fees, and what settling it needs.
    async fn charged(&mut self, number: &str) -> Settle {
        let register = Register {
            psn_no: PERSON.into(),
            insutype: "310".into(),
            begins_at_ms: NOW,
            certificate: card(),
            ipt_otp_no: number.into(),
            doctor_code: "D1".into(),
            doctor_name: "医生".into(),
            department_code: "01".into(),
            department_name: "内科".into(),
            department_category: "A03".into(),
        };
        let Said::Opened(opened) = self.said(MedicalOrder::Register(register)).await else { panic!() };
        let visit = VisitRef { psn_no: PERSON.into(), mdtrt_id: opened.mdtrt_id, ipt_otp_no: number.into() };
        let record = RecordVisit {
            visit: visit.clone(),
            med_type: "11".into(),
            begins_at_ms: NOW,
            diagnoses: vec![diagnosis()],
            ..RecordVisit::default()
        };
        assert!(self.said(MedicalOrder::RecordVisit(record)).await == Said::Done);
        let fees =
            AddFees { visit: visit.clone(), batch: "1".into(), disease_code: "I10".into(), lines: lines() };
        let Said::Fees(results) = self.said(MedicalOrder::AddFees(fees)).await else { panic!() };
        assert_eq!(results[1].over_limit, Fen::new(1_215));
        assert_eq!(results[1].price_limit.unwrap().units(), 20_000_000);
        assert_eq!(results[2].price_limit, None, "999999 stands for no ceiling");
        settle(visit)
    }
}

fn card() -> Certificate {
    Certificate { kind: "03".into(), number: "A00000019".into(), card_sn: "00".repeat(16) }
}

fn diagnosis() -> Diagnosis {
    Diagnosis {
        kind: "1".into(),
        order: 1,
        code: "I10".into(),
        name: "高血压".into(),
        department: "内科".into(),
        doctor_code: "D1".into(),
        doctor_name: "医生".into(),
        at_ms: NOW,
        valid: true,
    }
}

fn lines() -> Vec<FeeLine> {
    let line = |serial: &str, code: &str, sum: i64, count: &str, price: &str| FeeLine {
        serial: serial.into(),
        charged_at_ms: NOW,
        catalogue_code: code.into(),
        institution_code: code.into(),
        sum: Fen::new(sum),
        count: count.parse().unwrap(),
        price: price.parse().unwrap(),
        department_code: "01".into(),
        department_name: "内科".into(),
        doctor_code: "D1".into(),
        doctor_name: "医生".into(),
        approval: 1,
        ..FeeLine::default()
    };
    vec![
        line("1", "SANDBOX-S0001", 5_000, "1", "50"),
        line("2", "SANDBOX-D0005", 7_215, "3", "24.05"),
        line("3", "SANDBOX-D0008", 400_000, "1", "4000"),
        line("4", "SANDBOX-S0004", 300_000, "10", "300"),
    ]
}

fn settle(visit: VisitRef) -> Settle {
    Settle {
        visit,
        certificate: card(),
        insutype: "310".into(),
        med_type: "11".into(),
        total: Fen::new(712_215),
        way: "01".into(),
        batch: "1".into(),
        use_account: true,
        interim: false,
        invoice: "1".into(),
        fully_own: Fen::new(400_000),
        over_limit: Fen::new(1_215),
        first_self_pay: Fen::new(30_600),
        in_scope: Fen::new(280_400),
    }
}

fn open(sender: &Sender, order: &Settle) -> OpenOrder {
    OpenOrder {
        act: MedicalAct::Settle,
        msgid: sender.msgid.clone(),
        psn_no: PERSON.into(),
        mdtrt_id: order.visit.mdtrt_id.clone(),
        ipt_otp_no: order.visit.ipt_otp_no.clone(),
        setl_id: String::new(),
        batch: "1".into(),
        sent_at_ms: NOW,
    }
}

#[tokio::test]
async fn a_person_is_read_with_all_insurances() {
    let mut world = usual().await;
    let read = ReadPerson { certificate: card(), begins_at_ms: NOW, ..ReadPerson::default() };
    let Said::Person(person) = world.said(MedicalOrder::ReadPerson(read)).await else { panic!() };
    assert_eq!((person.psn_no.as_str(), person.born), (PERSON, 19_900_307));
    assert_eq!(person.insurances[0].balance, Fen::new(30_000));
    let check = CheckEntitlement {
        psn_no: PERSON.into(),
        insutype: "310".into(),
        med_type: "11".into(),
        begins_at_ms: NOW,
        ..CheckEntitlement::default()
    };
    let Said::Entitlements(rows) = world.said(MedicalOrder::CheckEntitlement(check)).await else { panic!() };
    assert!(rows[0].entitled);
}

#[tokio::test]
async fn an_outpatient_visit_goes_its_whole_way() {
    let mut world = usual().await;
    let order = world.charged("MZ1").await;
    let trial = world.settlement(MedicalOrder::PreSettle(order.clone())).await;
    let settled = world.settlement(MedicalOrder::Settle(order.clone())).await;
    assert!(trial.setl_id.is_empty() && !settled.setl_id.is_empty());
    assert_eq!(trial.funds, settled.funds);
    assert_eq!(settled.total.get(), settled.funds.get() + settled.person.unwrap().get() + 1_215);
    let cancel = CancelSettlement { visit: order.visit.clone(), setl_id: settled.setl_id };
    let cancelled = world.settlement(MedicalOrder::CancelSettlement(cancel)).await;
    assert_eq!(cancelled.funds, settled.funds.negated());
    let drop = CancelFees { visit: order.visit.clone(), batch: "0000".into() };
    assert!(world.said(MedicalOrder::CancelFees(drop)).await == Said::Done);
    assert!(world.said(MedicalOrder::CancelRegistration(order.visit)).await == Said::Done);
}

#[tokio::test]
async fn a_stay_and_a_purchase_go_their_whole_way() {
    let mut world = usual().await;
    let admit = Admit {
        psn_no: PERSON.into(),
        insutype: "310".into(),
        med_type: "21".into(),
        begins_at_ms: NOW,
        certificate: card(),
        ipt_otp_no: "ZY1".into(),
        doctor_code: "D1".into(),
        department_code: "01".into(),
        department_name: "内科".into(),
        diagnoses: vec![diagnosis()],
        ..Admit::default()
    };
    let Said::Opened(opened) = world.said(MedicalOrder::Admit(admit)).await else { panic!() };
    let visit = VisitRef { psn_no: PERSON.into(), mdtrt_id: opened.mdtrt_id, ipt_otp_no: "ZY1".into() };
    let fees = AddFees { visit: visit.clone(), batch: "1".into(), lines: lines(), ..AddFees::default() };
    world.said(MedicalOrder::AddStayFees(fees)).await;
    let order = Settle { med_type: "21".into(), batch: String::new(), ..settle(visit.clone()) };
    let trial = world.settlement(MedicalOrder::PreSettleStay(order.clone())).await;
    let settled = world.settlement(MedicalOrder::SettleStay(order)).await;
    assert_eq!(trial.funds, settled.funds);
    let discharge = Discharge { visit: visit.clone(), insutype: "310".into(), ..Discharge::default() };
    assert!(world.said(MedicalOrder::Discharge(discharge)).await == Said::Done);

    let mut purchase = Purchase {
        psn_no: PERSON.into(),
        certificate: card(),
        insutype: "310".into(),
        med_type: "41".into(),
        begins_at_ms: NOW,
        batch: "1".into(),
        lines: lines()[1..2].to_vec(),
        total: Fen::new(7_215),
        use_account: true,
        ..Purchase::default()
    };
    let trial = world.settlement(MedicalOrder::PreSettlePurchase(purchase.clone())).await;
    assert_eq!(trial.lines[0].first_self_pay, Fen::new(600));
    purchase.mdtrt_id = trial.mdtrt_id;
    purchase.invoice = "F1".into();
    let bought = world.settlement(MedicalOrder::SettlePurchase(purchase.clone())).await;
    let visit = VisitRef { mdtrt_id: bought.mdtrt_id, ..visit };
    let cancel = CancelSettlement { visit, setl_id: bought.setl_id };
    let back = world.settlement(MedicalOrder::CancelPurchase(cancel)).await;
    assert_eq!(back.person, bought.person.map(Fen::negated), "psn_pay stands for psn_part_amt");
}

#[tokio::test]
async fn every_fault_of_a_settlement_is_told_as_what_it_is_and_can_be_cleared_up() {
    for (_, fault) in Fault::ALL {
        let mut world = world(|insurer| insurer.slow_ms = 2_000, |_| {}, SoftVault::empty()).await;
        let order = world.charged("MZ1").await;
        world.insurer.fail_next("2207", fault);
        let sender = world.sender();
        let got = world.adapter.call(sender.clone(), MedicalOrder::Settle(order.clone()), WITHIN).await;
        match (fault, &got) {
            // Whether sums hold is the scene's rule; the clock of the other side is its own.
            (Fault::Sums | Fault::Clock, Ok(_)) => {}
            (Fault::System | Fault::SystemAfter, Err(PortError::SystemFailed(_))) => {}
            (
                Fault::SilentBefore | Fault::SilentAfter | Fault::Slow | Fault::Stale,
                Err(PortError::Unknown(_)),
            ) => {}
            (fault, _) => panic!("{fault:?} was told as {:?}", got.err()),
        }
        assert_eq!(world.insurer.heard("2207"), 1, "{fault:?}: a settlement is sent once");
        if got.is_ok() {
            continue;
        }
        let open = open(&sender, &order);
        let asker = world.sender();
        let inquiry = world.adapter.inquire(asker, open.clone(), WITHIN).await.unwrap();
        let is_booked = world.insurer.is_settled(&order.visit.mdtrt_id);
        match inquiry {
            Inquiry::Happened(_) => assert!(is_booked, "{fault:?}"),
            Inquiry::NotFound => assert!(!is_booked, "{fault:?}"),
            Inquiry::CannotTell => panic!("{fault:?}: 5203 tells"),
        }
        let reverser = world.sender();
        let back = world.adapter.reverse(reverser, open, WITHIN).await.unwrap();
        assert_eq!(back, Reversal::TakenBack);
        assert_eq!(world.insurer.totals(None), super::Totals::default(), "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_to_another_message_is_no_answer() {
    let mut world = usual().await;
    let order = world.charged("MZ1").await;
    world.settlement(MedicalOrder::PreSettle(order.clone())).await;
    world.insurer.fail_next("2207", Fault::Stale);
    assert!(matches!(world.ask(MedicalOrder::Settle(order)).await, Err(PortError::Unknown(_))));
}

#[tokio::test]
async fn variants_of_deployed_systems_are_configuration() {
    let vault = SoftVault::generate(&SystemRng);
    let key = Sm2PublicKey::from_bytes(&vault.public_key(KeyName::Medical).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let mut world = world(
        |insurer| {
            insurer.code_as_text = true;
            insurer.header = Some(("account".into(), "secret".into()));
            insurer.signature = Some(MessageKey::Sm2(key));
            insurer.path = "/fsi/api".into();
        },
        |adapter| {
            adapter.account = "account".into();
            adapter.token_file = Some(token);
            adapter.header_seconds = true;
            adapter.signature = MessageSignature::Sm2;
            adapter.infno =
                BTreeMap::from([("2207".into(), "2207A".into()), ("2203".into(), "2203A".into())]);
            adapter.extra = BTreeMap::from([("2207.exp_content".into(), String::new())]);
        },
        vault,
    )
    .await;
    let order = world.charged("MZ1").await;
    world.settlement(MedicalOrder::Settle(order)).await;
    assert_eq!((world.insurer.heard("2207A"), world.insurer.heard("2207")), (1, 0));
}

#[tokio::test]
async fn a_sign_in_that_is_over_is_taken_anew_and_the_order_sent_again() {
    let mut world = usual().await;
    let order = world.charged("MZ1").await;
    assert_eq!(world.insurer.heard("9001"), 1, "one sign-in for all messages");
    world.insurer.sign_all_out();
    world.settlement(MedicalOrder::Settle(order)).await;
    assert_eq!(world.insurer.heard("9001"), 2);
    assert_eq!(world.insurer.totals(None).count, 1);
}

#[tokio::test]
async fn a_refusal_reaches_the_terminal_in_the_insurers_words() {
    let mut world = usual().await;
    let read = ReadPerson {
        certificate: Certificate { number: "A99999999".into(), ..card() },
        ..ReadPerson::default()
    };
    match world.ask(MedicalOrder::ReadPerson(read)).await {
        Err(PortError::Refused(refused)) => {
            assert_eq!((refused.code.as_str(), refused.message.as_str()), ("-2", "未查到参保人员信息"));
        }
        _ => panic!("refused"),
    }
}

#[tokio::test]
async fn what_never_left_is_told_so() {
    let mut world =
        world(|_| {}, |adapter| adapter.url = "http://127.0.0.1:9/hsa".into(), SoftVault::empty()).await;
    let read = ReadPerson { certificate: card(), ..ReadPerson::default() };
    assert!(matches!(world.ask(MedicalOrder::ReadPerson(read)).await, Err(PortError::NotSent(_))));
}
