//! A visit at a hospital's counter, step by step.

use onecard::{
    client::Terminal,
    model::{Clock as _, Purpose, SystemClock},
    proto::{
        common::v1::RequestHeader,
        medical::v1::{
            AddFeesRequest, AddFeesResponse, CancelSettlementRequest, CancelSettlementResponse, Diagnosis,
            FeeLine, PreSettleRequest, PreSettleResponse, ReadPersonRequest, ReadPersonResponse,
            RecordVisitRequest, RecordVisitResponse, RegisterRequest, RegisterResponse, Registration,
            SettleRequest, Settlement,
        },
    },
};

use super::{
    Stage,
    acts::{self, Card},
    expect::approved,
};

/// What was bought: code of the sandbox's catalogue, count, price in fen. It is more
/// than the deductible.
pub const BOUGHT: [(&str, i64, i64); 4] = [
    ("SANDBOX-S0001", 1, 5_000),
    ("SANDBOX-D0005", 3, 2_405),
    ("SANDBOX-D0008", 1, 12_000),
    ("SANDBOX-S0004", 10, 30_000),
];

/// A counter with a holder at it.
pub struct Counter {
    pub terminal: Terminal,
    session: String,
}

impl Counter {
    /// The holder shows a code at the counter.
    pub async fn of(stage: &Stage, name: &str, card: &Card) -> Self {
        let terminal = stage.terminal(name).await;
        let session = acts::session(stage, card, &terminal, Purpose::MedicalCare).await.session;
        Counter { terminal, session }
    }

    fn header(&self) -> Option<RequestHeader> {
        let header = self.terminal.header(Purpose::MedicalCare);
        Some(RequestHeader { holder_session: self.session.clone(), ..header })
    }

    pub async fn read(&self) -> ReadPersonResponse {
        let request = ReadPersonRequest { header: self.header(), ..Default::default() };
        self.terminal.read_person(request).await.expect("answered")
    }

    pub async fn register(&self, number: &str) -> RegisterResponse {
        let registration = Registration {
            med_type: "11".into(),
            ipt_otp_no: number.to_owned(),
            doctor_code: "D110000000001".into(),
            doctor_name: "医生".into(),
            department_code: "01".into(),
            department_name: "内科".into(),
            department_category: "A03".into(),
            ..Registration::default()
        };
        let request = RegisterRequest { header: self.header(), registration: Some(registration) };
        self.terminal.register(request).await.expect("answered")
    }

    pub async fn record(&self, visit: &str) -> RecordVisitResponse {
        let diagnosis = Diagnosis {
            r#type: "1".into(),
            order: 1,
            code: "I10.x00".into(),
            name: "高血压".into(),
            department: "内科".into(),
            doctor_code: "D110000000001".into(),
            doctor_name: "医生".into(),
            at_ms: SystemClock.now_ms(),
            withdrawn: false,
        };
        let request = RecordVisitRequest {
            header: self.header(),
            visit_id: visit.to_owned(),
            diagnoses: vec![diagnosis],
            ..Default::default()
        };
        self.terminal.record_visit(request).await.expect("answered")
    }

    pub async fn charge(&self, visit: &str) -> AddFeesResponse {
        let line = |(at, (code, count, price_fen)): (usize, &(&str, i64, i64))| FeeLine {
            serial: (at + 1).to_string(),
            charged_at_ms: SystemClock.now_ms(),
            catalogue_code: (*code).into(),
            institution_code: (*code).into(),
            sum_fen: count * price_fen,
            count_e4: count * 10_000,
            price_micro_yuan: price_fen * 10_000,
            department_code: "01".into(),
            department_name: "内科".into(),
            doctor_code: "D110000000001".into(),
            doctor_name: "医生".into(),
            ..FeeLine::default()
        };
        let request = AddFeesRequest {
            header: self.header(),
            visit_id: visit.to_owned(),
            batch: "1".into(),
            disease_code: String::new(),
            lines: BOUGHT.iter().enumerate().map(line).collect(),
        };
        self.terminal.add_fees(request).await.expect("answered")
    }

    pub async fn pre_settle(&self, visit: &str) -> PreSettleResponse {
        let request = PreSettleRequest {
            header: self.header(),
            visit_id: visit.to_owned(),
            use_account: true,
            ..Default::default()
        };
        self.terminal.pre_settle(request).await.expect("answered")
    }

    /// Settling for what the holder was shown.
    pub fn settling(&self, visit: &str, shown: &Settlement) -> SettleRequest {
        SettleRequest {
            header: self.header(),
            visit_id: visit.to_owned(),
            total_fen: shown.total_fen,
            cash_fen: shown.cash_fen,
            invoice: String::new(),
        }
    }

    pub async fn cancel(&self, visit: &str, setl_id: &str) -> CancelSettlementResponse {
        let (visit_id, setl_id) = (visit.to_owned(), setl_id.to_owned());
        let request = CancelSettlementRequest { header: self.header(), visit_id, setl_id };
        self.terminal.cancel_settlement(request).await.expect("answered")
    }

    /// Leads a new visit to its bill: its id and what settling would cost.
    pub async fn bill(&self, number: &str) -> (String, Settlement) {
        approved(&self.read().await.answer);
        let registered = self.register(number).await;
        approved(&registered.answer);
        let visit = registered.visit.expect("a visit").visit_id;
        approved(&self.record(&visit).await.answer);
        approved(&self.charge(&visit).await.answer);
        let told = self.pre_settle(&visit).await;
        approved(&told.answer);
        (visit, told.settlement.expect("who pays what"))
    }
}
