use std::{sync::Arc, time::Duration};

use super::{
    super::{ask::Ask, *},
    rig::*,
};
use crate::{
    model::{
        Fen, Purpose, Status, Subject, TaskState, Token16, TransactionId, decoded,
        record::{MedicalDetail, MedicalVisit},
    },
    scenes::medical::{
        Count, FeeResult, Heard, Inquiry, Insurance, InsuranceWish, MedicalAct, MedicalAnswer, MedicalOrder,
        NotSent, OpenAsk, Opened, Person as Insured, PortError, Price, Refused, Reversal, Said,
        SettlementInfo, Stage, StepAsk, SystemFailed, Unknown, Who,
        orders::{AddFees, Admit, Certificate, FeeLine, Purchase, RecordVisit, Register},
    },
    store::{Committed, Step},
};

/// One desk with a holder, whose requests are numbered.
struct Counter {
    bj: Region,
    session: Token16,
    person: Person,
    next: u8,
}

impl Counter {
    async fn open() -> Self {
        Self::open_for(false).await
    }

    /// Whether the holder is of another region.
    async fn open_for(foreign: bool) -> Self {
        let (bj, tj) = regions();
        let home = if foreign { &tj } else { &bj };
        let person = home.import(1).await;
        let call = bj.call("clinic:desk", &method::PRESENT_CODE);
        let code = home.code(201, person.card).await;
        let header = bj.header(200, Purpose::MedicalCare);
        let scanned = bj.gateway.present_code(&call, header, &code).await.expect("a good code");
        let session = Token16::from_slice(&card_detail(&scanned).holder_session).expect("a session");
        Counter { bj, session, person, next: 0 }
    }

    fn answers(&self, answer: Result<Said, PortError>) {
        self.bj.insurer.answers.lock().expect("no panic").push_back(answer.map(MedicalAnswer::from));
    }

    fn finds(&self, found: Result<Inquiry, PortError>) {
        self.bj.insurer.inquiries.lock().expect("no panic").push_back(found);
    }

    fn reverses(&self, said: Result<Reversal, PortError>) {
        self.bj.insurer.reversals.lock().expect("no panic").push_back(said);
    }

    async fn repeat(&self, number: u8, ask: MedicalAsk) -> Result<Committed, Refusal> {
        let call = self.bj.call("clinic:desk", &method::SETTLE);
        let header = Header { session: Some(self.session), ..self.bj.header(number, Purpose::MedicalCare) };
        self.bj.gateway.medical(&call, header, ask).await
    }

    async fn ask(&mut self, ask: MedicalAsk) -> Committed {
        self.next += 1;
        self.repeat(self.next, ask).await.expect("an answer")
    }

    /// The insurer answers, and the step is completed.
    async fn done(&mut self, said: Said, ask: MedicalAsk) -> Committed {
        self.answers(Ok(said));
        let committed = self.ask(ask).await;
        assert_ended(&committed, Status::Completed, "");
        committed
    }

    async fn read(&mut self) {
        let insured = |insutype: &str, region: &str| Insurance {
            insutype: insutype.into(),
            status: "1".into(),
            insured_region: region.into(),
            ..Insurance::default()
        };
        let said = Insured {
            psn_no: "P1".into(),
            document_number: self.person.line.social_security_number.clone(),
            name: self.person.line.name.clone(),
            insurances: vec![insured("320", "130399"), insured("310", "130399")],
            ..Insured::default()
        };
        let ask = MedicalAsk::ReadPerson { certificate: Certificate::default(), begins_at_ms: 0 };
        let told = detail(&self.done(Said::Person(said), ask).await);
        // No policy line grants the clinic either.
        assert_eq!((told.psn_no.as_str(), told.name.as_str()), ("", ""));
    }

    async fn visit(&self, id: TransactionId) -> MedicalVisit {
        self.bj.gateway.peek(id.as_bytes()).await.expect("readable").expect("a visit")
    }

    /// A visit with fees that are pre-settled.
    async fn pre_settled(&mut self, kind: Kind) -> TransactionId {
        self.read().await;
        let opened = |id: &str| Said::Opened(Opened { mdtrt_id: id.into() });
        let id = match kind {
            Kind::Clinic => {
                let id = id_of(&self.done(opened("M1"), register()).await);
                self.done(Said::Done, step(id, StepAsk::Record(RecordVisit::default()))).await;
                id
            }
            Kind::Stay => {
                let admit = Admit { med_type: "21".into(), ipt_otp_no: "I1".into(), ..Admit::default() };
                id_of(&self.done(opened("M1"), open(OpenAsk::Admit(admit))).await)
            }
            Kind::Shop => return id_of(&self.done(settlement(false), purchase()).await),
        };
        self.done(Said::Fees(vec![FeeResult::default()]), step(id, fees("F1"))).await;
        self.done(settlement(false), step(id, pre_settle())).await;
        id
    }

    async fn last(&self, committed: &Committed) -> Committed {
        let steps = self.bj.gateway.store().steps(id_of(committed)).await.expect("readable");
        steps.last().expect("it has steps").clone()
    }

    /// Lets the task of a pending step come due and run.
    async fn turn(&self) {
        self.bj.clock.advance_ms(61_000);
        TaskRunner::new(Arc::clone(&self.bj.gateway), Duration::from_secs(1)).turn().await;
    }

    async fn open_tasks(&self) -> usize {
        self.bj.gateway.store().due_tasks(i64::MAX, 10).await.expect("readable").len()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clinic,
    Stay,
    Shop,
}

fn id_of(committed: &Committed) -> TransactionId {
    TransactionId::from_bytes(committed.entry.transaction_id.as_slice().try_into().expect("sixteen bytes"))
}

fn detail(committed: &Committed) -> MedicalDetail {
    decoded(&committed.detail).expect("a medical detail")
}

fn open(ask: OpenAsk) -> MedicalAsk {
    MedicalAsk::Open { ask, wish: InsuranceWish::default() }
}

fn register() -> MedicalAsk {
    let ask = Register { ipt_otp_no: "O1".into(), ..Register::default() };
    open(OpenAsk::Register { ask, med_type: "11".into(), emergency: false })
}

fn line(serial: &str) -> FeeLine {
    FeeLine {
        serial: serial.into(),
        sum: Fen::yuan(100),
        count: Count::from_units(20_000),
        price: Price::from_units(50_000_000),
        ..FeeLine::default()
    }
}

fn purchase() -> MedicalAsk {
    let purchase = Purchase {
        med_type: "41".into(),
        batch: "B1".into(),
        lines: vec![line("F1")],
        ..Purchase::default()
    };
    open(OpenAsk::Purchase(purchase))
}

fn fees(serial: &str) -> StepAsk {
    StepAsk::AddFees(AddFees { batch: "B1".into(), lines: vec![line(serial)], ..AddFees::default() })
}

fn pre_settle() -> StepAsk {
    StepAsk::PreSettle { batch: String::new(), use_account: true, way: String::new(), interim: false }
}

fn pay() -> StepAsk {
    StepAsk::Settle { total: Fen::yuan(100), cash: Fen::yuan(30), invoice: "V1".into() }
}

fn cancel() -> StepAsk {
    StepAsk::CancelSettlement { setl_id: "S1".into() }
}

fn step(visit: TransactionId, ask: StepAsk) -> MedicalAsk {
    MedicalAsk::Step { visit, ask }
}

fn amounts(sign: i64, setl_id: &str) -> SettlementInfo {
    let yuan = |yuan| Fen::yuan(yuan * sign);
    SettlementInfo {
        mdtrt_id: "M1".into(),
        setl_id: setl_id.into(),
        total: yuan(100),
        in_scope: yuan(100),
        funds: yuan(60),
        basic_pool: yuan(60),
        account: yuan(10),
        cash: yuan(30),
        ..SettlementInfo::default()
    }
}

fn settlement(settled: bool) -> Said {
    Said::Settlement(Box::new(amounts(1, if settled { "S1" } else { "" })))
}

fn cancelled() -> Said {
    Said::Settlement(Box::new(amounts(-1, "S2")))
}

fn unknown() -> PortError {
    Unknown { why: "no answer".into() }.into()
}

fn failed() -> PortError {
    SystemFailed { message: "-1".into() }.into()
}

fn booked(committed: &Committed) -> Vec<(&str, i64)> {
    let postings = &committed.entry.postings;
    postings.iter().map(|posting| (posting.account.as_str(), posting.amount_fen)).collect()
}

#[tokio::test]
async fn a_visit_is_settled_booked_and_cancelled() {
    for (kind, back) in
        [(Kind::Clinic, Stage::Charged), (Kind::Stay, Stage::Charged), (Kind::Shop, Stage::Cancelled)]
    {
        let mut desk = Counter::open().await;
        let id = desk.pre_settled(kind).await;
        let settled = desk.done(settlement(true), step(id, pay())).await;
        let expect = [
            ("fund/130399/hifp", 6_000),
            ("account/130399/own", 1_000),
            ("participant/clinic/cash", 3_000),
            ("participant/clinic/care", -10_000),
        ];
        assert_eq!(booked(&settled), expect, "{kind:?}");
        assert_eq!(desk.visit(id).await.stage, Stage::Settled.number());
        let taken_back = desk.done(cancelled(), step(id, cancel())).await;
        assert_eq!(booked(&taken_back), expect.map(|(account, fen)| (account, -fen)), "{kind:?}");
        assert_eq!(detail(&taken_back).takes_back, settled.entry.transaction_id);
        assert_eq!(desk.visit(id).await.stage, back.number());
        assert_eq!(desk.open_tasks().await, 0);
        // Every account is even again.
        let left: i64 = booked(&settled).iter().chain(&booked(&taken_back)).map(|(_, fen)| fen).sum();
        assert_eq!(left, 0);
    }
}

#[tokio::test]
async fn every_outcome_of_every_reversible_step_ends() {
    #[derive(Debug, Clone, Copy)]
    enum Fault {
        Unknown,
        SystemFailed,
        WrongSums,
        OtherAnswer,
    }
    let faults = [Fault::Unknown, Fault::SystemFailed, Fault::WrongSums, Fault::OtherAnswer];
    let inquiries = [Some(true), Some(false), None];
    for kind in [Kind::Clinic, Kind::Stay, Kind::Shop] {
        for cancels in [false, true] {
            for fault in faults {
                for happened in inquiries {
                    let mut desk = Counter::open().await;
                    let id = desk.pre_settled(kind).await;
                    if cancels {
                        desk.done(settlement(true), step(id, pay())).await;
                    }
                    let right = if cancels { cancelled() } else { settlement(true) };
                    let before = desk.visit(id).await;
                    desk.answers(match fault {
                        Fault::Unknown => Err(unknown()),
                        Fault::SystemFailed => Err(failed()),
                        Fault::OtherAnswer => Ok(Said::Done),
                        Fault::WrongSums => {
                            let mut wrong = amounts(if cancels { -1 } else { 1 }, "S1");
                            wrong.basic_pool = Fen::yuan(61);
                            Ok(Said::Settlement(Box::new(wrong)))
                        }
                    });
                    let pending = desk.ask(step(id, if cancels { cancel() } else { pay() })).await;
                    let story = format!("{kind:?} cancels={cancels} {fault:?} happened={happened:?}");
                    assert_eq!(pending.entry.status, Status::Pending.number(), "{story}");
                    assert!(pending.entry.postings.is_empty(), "{story}");
                    let again = desk.ask(step(id, if cancels { cancel() } else { pay() })).await;
                    assert_ended(&again, Status::Declined, "VISIT_STEP_PENDING");
                    let broken = matches!(fault, Fault::WrongSums);
                    if !broken {
                        desk.finds(match happened {
                            Some(true) => Ok(Inquiry::Happened(right.into())),
                            Some(false) => Ok(Inquiry::NotFound),
                            None => Err(unknown()),
                        });
                    }
                    desk.reverses(Err(unknown()));
                    desk.reverses(Ok(Reversal::TakenBack));
                    for _ in 0..4 {
                        desk.turn().await;
                    }
                    let last = desk.last(&pending).await;
                    if happened == Some(true) && !broken {
                        assert_ended(&last, Status::Completed, "");
                        assert!(!last.entry.postings.is_empty(), "{story}");
                    } else {
                        assert_ended(&last, Status::Reversed, "OUTCOME_REVERSED");
                        assert!(last.entry.postings.is_empty(), "{story}");
                        assert_eq!(desk.visit(id).await, before, "{story}");
                        let reversed = desk.bj.insurer.reversed.lock().expect("no panic");
                        let sent = desk.bj.insurer.called.lock().expect("no panic");
                        let (sender, order) = sent.last().expect("it was sent");
                        assert!(
                            reversed.iter().all(|open| open.msgid == sender.msgid && open.act == order.act()),
                            "{story}"
                        );
                    }
                    assert_eq!(desk.open_tasks().await, 0, "{story}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_admission_without_answer_is_reversed_by_its_msgid() {
    let mut desk = Counter::open().await;
    desk.read().await;
    desk.answers(Err(failed()));
    let admit = Admit { med_type: "21".into(), ..Admit::default() };
    let pending = desk.ask(open(OpenAsk::Admit(admit))).await;
    assert_ended(&pending, Status::Pending, "");
    desk.finds(Ok(Inquiry::CannotTell));
    desk.reverses(Ok(Reversal::NothingThere));
    desk.turn().await;
    desk.turn().await;
    assert_ended(&desk.last(&pending).await, Status::Reversed, "OUTCOME_REVERSED");
    assert_eq!(desk.visit(id_of(&pending)).await.stage, Stage::Cancelled.number());
}

#[tokio::test]
async fn fees_without_answer_are_taken_back_by_their_own_cancellation() {
    let mut desk = Counter::open().await;
    let id = desk.pre_settled(Kind::Stay).await;
    desk.answers(Err(unknown()));
    let pending = desk.ask(step(id, fees("F2"))).await;
    assert_ended(&pending, Status::Pending, "");
    desk.finds(Ok(Inquiry::CannotTell));
    desk.answers(Ok(Said::Done));
    desk.turn().await;
    desk.turn().await;
    assert_ended(&desk.last(&pending).await, Status::Reversed, "OUTCOME_REVERSED");
    assert_eq!(desk.open_tasks().await, 0);
}

#[tokio::test]
async fn lines_without_answer_take_their_standing_batch_along() {
    for kind in [Kind::Clinic, Kind::Stay] {
        let refusal = || Err(Refused { code: "-2".into(), message: "no such batch".into() }.into());
        for said in [Ok(Said::Done), refusal()] {
            let mut desk = Counter::open().await;
            let id = desk.pre_settled(kind).await;
            desk.answers(Err(unknown()));
            let pending = desk.ask(step(id, fees("F2"))).await;
            desk.finds(Ok(Inquiry::CannotTell));
            desk.answers(said);
            desk.turn().await;
            desk.turn().await;
            assert_ended(&desk.last(&pending).await, Status::Reversed, "OUTCOME_REVERSED");
            let visit = desk.visit(id).await;
            let stage = if kind == Kind::Clinic { Stage::Visited } else { Stage::Admitted };
            assert_eq!(visit.stage, stage.number(), "{kind:?}");
            assert!(visit.batches.is_empty() && visit.pre_settlement.is_none(), "{kind:?}");
            assert_eq!(desk.open_tasks().await, 0);
            // Both may be said again.
            desk.done(Said::Fees(Vec::new()), step(id, fees("F1"))).await;
        }
    }
}

#[tokio::test]
async fn a_cancellation_of_fees_without_answer_is_repeated_until_the_batch_is_gone() {
    for kind in [Kind::Clinic, Kind::Stay] {
        let refusal = || Err(Refused { code: "-2".into(), message: "no such batch".into() }.into());
        for (batch, said) in [("B1", Ok(Said::Done)), ("", refusal())] {
            let mut desk = Counter::open().await;
            let id = desk.pre_settled(kind).await;
            desk.answers(Err(unknown()));
            let pending = desk.ask(step(id, StepAsk::CancelFees { batch: batch.into() })).await;
            desk.finds(Ok(Inquiry::CannotTell));
            desk.answers(Err(failed()));
            desk.answers(said);
            for _ in 0..3 {
                desk.turn().await;
            }
            assert_ended(&desk.last(&pending).await, Status::Completed, "");
            assert!(desk.visit(id).await.batches.is_empty(), "{kind:?} {batch}");
            assert_eq!(desk.open_tasks().await, 0);
            let called = desk.bj.insurer.called.lock().expect("no panic");
            let orders: Vec<_> = called.iter().rev().take(3).map(|(_, order)| order).collect();
            assert!(orders.iter().all(|order| *order == orders[2]), "{kind:?}: the same order each time");
        }
    }
}

#[tokio::test]
async fn what_no_reversal_takes_back_stays_pending_for_people() {
    let mut desk = Counter::open().await;
    let id = desk.pre_settled(Kind::Clinic).await;
    let before = desk.visit(id).await;
    desk.answers(Err(unknown()));
    let pending = desk.ask(step(id, pay())).await;
    desk.finds(Ok(Inquiry::NotFound));
    for _ in 0..12 {
        desk.reverses(Err(Refused { code: "-2".into(), message: "no".into() }.into()));
    }
    for _ in 0..14 {
        desk.turn().await;
    }
    // It may stand at the insurer: neither reversed here, nor is the visit free.
    assert_eq!(desk.last(&pending).await.entry.status, Status::Pending.number());
    assert_eq!(desk.visit(id).await.pending, pending.entry.transaction_id);
    let left = desk.bj.gateway.store().due_tasks(i64::MAX, 10).await.expect("readable");
    let tasks: Vec<_> = left.iter().map(|task| (task.kind.as_str(), task.state)).collect();
    assert_eq!(tasks, [("medical.settle", TaskState::Stuck)]);
    let hand = TaskHand::new("op1", "taken back at the insurer").expect("an operator and a reason");
    desk.bj.gateway.close_task(&left[0].key(), &hand).await.expect("closed");
    assert_ended(&desk.last(&pending).await, Status::Reversed, "OUTCOME_REVERSED");
    assert_eq!(desk.open_tasks().await, 0);
    assert_eq!(desk.visit(id).await, before);
}

#[tokio::test]
async fn a_late_answer_completes_nothing_that_a_task_takes_back() {
    let mut desk = Counter::open().await;
    let id = desk.pre_settled(Kind::Clinic).await;
    desk.answers(Err(unknown()));
    let pending = desk.ask(step(id, pay())).await;
    desk.finds(Ok(Inquiry::NotFound));
    desk.turn().await;
    // The call's own answer comes while the reversal is under way on another node.
    let call = desk.bj.call("clinic:desk", &method::SETTLE);
    let ask = desk.bj.gateway.ask(&call, &desk.bj.header(0, Purpose::MedicalCare));
    let next = Ask { step: Step::Next, transaction: id_of(&pending), ..ask };
    let visit = desk.visit(id).await;
    let subject = Subject::from_slice(&visit.subject).expect("a subject");
    let who = Who { subject, pairwise: None, assurance: None };
    let (gateway, word) = (&desk.bj.gateway, Ok(MedicalAnswer::from(settlement(true))));
    let late = gateway.commit_insurers_word(&next, who, (id, MedicalAct::Settle), Heard::ByCall, word).await;
    let late = late.expect("journalled").expect("an entry");
    assert_eq!(late.entry.status, Status::Pending.number());
    assert!(late.entry.postings.is_empty());
    desk.reverses(Ok(Reversal::TakenBack));
    desk.turn().await;
    assert_ended(&desk.last(&pending).await, Status::Reversed, "OUTCOME_REVERSED");
    assert_eq!(desk.visit(id).await.stage, Stage::PreSettled.number());
}

#[tokio::test]
async fn a_reversal_that_was_not_sent_spends_no_try() {
    let mut desk = Counter::open().await;
    let id = desk.pre_settled(Kind::Clinic).await;
    desk.answers(Err(unknown()));
    let pending = desk.ask(step(id, pay())).await;
    desk.finds(Ok(Inquiry::NotFound));
    for _ in 0..20 {
        desk.reverses(Err(NotSent { why: "the line rests".into() }.into()));
    }
    desk.reverses(Ok(Reversal::TakenBack));
    for _ in 0..23 {
        desk.turn().await;
    }
    assert_ended(&desk.last(&pending).await, Status::Reversed, "OUTCOME_REVERSED");
    assert_eq!(desk.open_tasks().await, 0);
}

#[tokio::test]
async fn the_insurers_no_is_a_decline_with_its_words() {
    let mut desk = Counter::open().await;
    let id = desk.pre_settled(Kind::Clinic).await;
    let before = desk.visit(id).await;
    desk.answers(Err(Refused { code: "-2".into(), message: "待遇已暂停".into() }.into()));
    let no = desk.ask(step(id, pay())).await;
    assert_ended(&no, Status::Declined, "INSURER_REFUSED");
    assert_eq!(detail(&no).message, "待遇已暂停");
    desk.answers(Err(NotSent { why: "no line".into() }.into()));
    assert_ended(&desk.ask(step(id, pay())).await, Status::Declined, "BACKEND_UNAVAILABLE");
    assert_eq!(desk.visit(id).await, before);
    // A repeat asks the insurer nothing: it has no further answer.
    let again = desk.repeat(desk.next - 1, step(id, pay())).await.expect("as before");
    assert!(again.replayed);
    assert_ended(&again, Status::Declined, "INSURER_REFUSED");
}

#[tokio::test]
async fn a_pre_settlement_whose_sums_are_wrong_is_no_success() {
    let mut desk = Counter::open().await;
    let id = desk.pre_settled(Kind::Clinic).await;
    let mut wrong = amounts(1, "");
    wrong.cash = Fen::yuan(31);
    desk.answers(Ok(Said::Settlement(Box::new(wrong))));
    let no = desk.ask(step(id, pre_settle())).await;
    assert_ended(&no, Status::Declined, "INSURER_SUMS_WRONG");
    assert!(detail(&no).bill.is_none());
}

#[tokio::test]
async fn rules_decline_before_the_insurer_is_asked() {
    let mut desk = Counter::open().await;
    assert_ended(&desk.ask(register()).await, Status::Declined, "PERSON_NOT_READ");
    let id = desk.pre_settled(Kind::Clinic).await;
    let asked = desk.bj.insurer.called.lock().expect("no panic").len();
    let other = StepAsk::Settle { total: Fen::yuan(100), cash: Fen::yuan(29), invoice: String::new() };
    assert_ended(&desk.ask(step(id, other)).await, Status::Declined, "SETTLEMENT_DIFFERS");
    assert_ended(&desk.ask(step(id, fees("F1"))).await, Status::Declined, "FEE_SERIAL_USED");
    let cheap = AddFees {
        batch: "B1".into(),
        lines: vec![FeeLine { sum: Fen::new(9_999), ..line("F2") }],
        ..AddFees::default()
    };
    assert_ended(&desk.ask(step(id, StepAsk::AddFees(cheap))).await, Status::Declined, "FEE_SUM_WRONG");
    assert_ended(&desk.ask(step(id, cancel())).await, Status::Declined, "NOT_SETTLED");
    assert_eq!(desk.bj.insurer.called.lock().expect("no panic").len(), asked);
    // Details that change make the pre-settlement stale.
    desk.done(Said::Fees(Vec::new()), step(id, fees("F2"))).await;
    assert_ended(&desk.ask(step(id, pay())).await, Status::Declined, "NOT_PRE_SETTLED");
}

fn by_certificate(kind: &str) -> MedicalAsk {
    let certificate = Certificate { kind: kind.into(), number: "N1".into(), card_sn: String::new() };
    MedicalAsk::ReadPerson { certificate, begins_at_ms: 0 }
}

#[tokio::test]
async fn another_regions_holder_is_read_by_the_sessions_card_alone() {
    let mut desk = Counter::open_for(true).await;
    for (number, kind) in [(1, "01"), (2, "02")] {
        let refused = desk.repeat(number, by_certificate(kind)).await;
        assert_refused(refused, RefusalKind::Invalid, Reason::FieldInvalid);
    }
    assert!(desk.bj.insurer.called.lock().expect("no panic").is_empty());
    desk.next = 2;
    desk.done(Said::Person(Insured::default()), by_certificate("03")).await;
    let called = desk.bj.insurer.called.lock().expect("no panic");
    let MedicalOrder::ReadPerson(order) = &called[0].1 else { panic!("1101") };
    assert_eq!(order.certificate.card_sn, hex::encode(desk.person.card.as_bytes()));
}

#[tokio::test]
async fn a_token_that_the_insurer_names_nobody_for_is_nobodys() {
    let mut desk = Counter::open().await;
    for (number, status, reason) in [
        (String::new(), Status::Declined, "PERSON_DIFFERS"),
        ("110101199001010000".into(), Status::Declined, "PERSON_DIFFERS"),
        (desk.person.line.social_security_number.clone(), Status::Completed, ""),
    ] {
        desk.answers(Ok(Said::Person(Insured { document_number: number, ..Insured::default() })));
        assert_ended(&desk.ask(by_certificate("01")).await, status, reason);
    }
}

#[tokio::test]
async fn a_settlement_is_taken_back_at_the_insurer_and_nowhere_else() {
    let mut desk = Counter::open().await;
    let id = desk.pre_settled(Kind::Clinic).await;
    let settled = desk.done(settlement(true), step(id, pay())).await;
    let call = desk.bj.call("clinic:desk", &method::REVERSE);
    let ask = MoneyAsk::Later {
        of: TransactionKey::Transaction(id_of(&settled)),
        later: crate::ledger::payment::Later::Refund {
            amount: Fen::yuan(1),
            cause: crate::ledger::payment::Cause::Holder,
        },
    };
    let refused = desk.bj.gateway.money(&call, desk.bj.header(99, Purpose::MedicalCare), ask).await;
    assert_refused(refused, RefusalKind::Forbidden, Reason::CancelAtInsurer);
}
