//! A visit at a hospital's counter, step by step.

use onecard::{
    client::Terminal,
    model::{Clock as _, Purpose, SystemClock},
    proto::{
        common::v1::RequestHeader,
        medical::v1::{
            AddFeesResponse, CancelSettlementResponse, PreSettleResponse, ReadPersonResponse,
            RecordVisitResponse, RegisterResponse, SettleRequest, Settlement,
        },
    },
    sandbox::clinic::{self, Bought},
};

use super::{
    Stage,
    acts::{self, Card},
    expect::approved,
};

/// A counter with a holder at it.
pub struct Counter {
    pub terminal: Terminal,
    pub basket: Vec<Bought>,
    session: String,
}

impl Counter {
    /// The holder shows a code at the counter.
    pub async fn of(stage: &Stage, name: &str, card: &Card) -> Self {
        let terminal = stage.terminal(name).await;
        let session = acts::session(stage, card, &terminal, Purpose::MedicalCare).await.session;
        let basket = clinic::basket(stage.region(super::region_of(name)).code);
        Counter { terminal, basket, session }
    }

    fn header(&self) -> RequestHeader {
        let header = self.terminal.header(Purpose::MedicalCare);
        RequestHeader { holder_session: self.session.clone(), ..header }
    }

    pub async fn read(&self) -> ReadPersonResponse {
        self.terminal.read_person(clinic::read_person(self.header())).await.expect("answered")
    }

    pub async fn register(&self, number: &str) -> RegisterResponse {
        self.terminal.register(clinic::register(self.header(), number, "")).await.expect("answered")
    }

    pub async fn record(&self, visit: &str) -> RecordVisitResponse {
        let request = clinic::record_visit(self.header(), visit, SystemClock.now_ms());
        self.terminal.record_visit(request).await.expect("answered")
    }

    pub async fn charge(&self, visit: &str) -> AddFeesResponse {
        let request = clinic::add_fees(self.header(), visit, &self.basket, SystemClock.now_ms());
        self.terminal.add_fees(request).await.expect("answered")
    }

    pub async fn pre_settle(&self, visit: &str) -> PreSettleResponse {
        self.terminal.pre_settle(clinic::pre_settle(self.header(), visit, true)).await.expect("answered")
    }

    /// Settling for what the holder was shown.
    pub fn settling(&self, visit: &str, shown: &Settlement) -> SettleRequest {
        clinic::settle(self.header(), visit, shown)
    }

    pub async fn cancel(&self, visit: &str, setl_id: &str) -> CancelSettlementResponse {
        let request = clinic::cancel_settlement(self.header(), visit, setl_id);
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
