//! What a hospital's counter of the sandbox sends and shows: the requests of an
//! outpatient visit with a basket of the sandbox's catalogue, and the bill line by line.

use super::insurer;
use crate::{
    model::Millis,
    proto::{
        common::v1::RequestHeader,
        medical::v1::{
            AddFeesRequest, CancelSettlementRequest, Diagnosis, FeeLine, PreSettleRequest, ReadPersonRequest,
            RecordVisitRequest, RegisterRequest, Registration, SettleRequest, Settlement,
        },
    },
};

/// Code of the sandbox's catalogue, count, price in fen. Together they are more than
/// any outpatient deductible of the sandbox, so that a fund pays too.
const BASKET: [(&str, i64, i64); 4] = [
    ("SANDBOX-S0001", 1, 5_000),
    ("SANDBOX-D0005", 3, 2_405),
    ("SANDBOX-D0008", 1, 12_000),
    ("SANDBOX-S0004", 10, 30_000),
];

const DOCTOR: (&str, &str) = ("D110000000001", "样例医生");
const DEPARTMENT: (&str, &str) = ("01", "内科");
const BATCH: &str = "1";

/// Something bought at a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bought {
    pub code: &'static str,
    pub name: &'static str,
    pub count: i64,
    pub price_fen: i64,
}

impl Bought {
    pub const fn fen(&self) -> i64 {
        self.count * self.price_fen
    }
}

/// What is bought at every visit, with the names that a province's catalogue has.
pub fn basket(province: u32) -> Vec<Bought> {
    let wares = insurer::wares(province);
    let name = |code: &str| wares.iter().find(|ware| ware.code == code).map_or("", |ware| ware.name);
    BASKET.map(|(code, count, price_fen)| Bought { code, name: name(code), count, price_fen }).to_vec()
}

pub fn read_person(header: RequestHeader) -> ReadPersonRequest {
    ReadPersonRequest { header: Some(header), ..Default::default() }
}

/// `insutype` is empty where the holder's insurances leave no choice.
pub fn register(header: RequestHeader, number: &str, insutype: &str) -> RegisterRequest {
    let registration = Registration {
        insutype: insutype.to_owned(),
        med_type: "11".into(),
        ipt_otp_no: number.to_owned(),
        doctor_code: DOCTOR.0.into(),
        doctor_name: DOCTOR.1.into(),
        department_code: DEPARTMENT.0.into(),
        department_name: DEPARTMENT.1.into(),
        department_category: "A03".into(),
        ..Registration::default()
    };
    RegisterRequest { header: Some(header), registration: Some(registration) }
}

pub fn record_visit(header: RequestHeader, visit: &str, at_ms: Millis) -> RecordVisitRequest {
    let diagnosis = Diagnosis {
        r#type: "1".into(),
        order: 1,
        code: "I10.x00".into(),
        name: "高血压".into(),
        department: DEPARTMENT.1.into(),
        doctor_code: DOCTOR.0.into(),
        doctor_name: DOCTOR.1.into(),
        at_ms,
        withdrawn: false,
    };
    RecordVisitRequest {
        header: Some(header),
        visit_id: visit.to_owned(),
        diagnoses: vec![diagnosis],
        ..Default::default()
    }
}

pub fn add_fees(header: RequestHeader, visit: &str, basket: &[Bought], at_ms: Millis) -> AddFeesRequest {
    let line = |(serial, bought): (u32, &Bought)| FeeLine {
        serial: serial.to_string(),
        charged_at_ms: at_ms,
        catalogue_code: bought.code.into(),
        institution_code: bought.code.into(),
        sum_fen: bought.fen(),
        count_e4: bought.count * 10_000,
        price_micro_yuan: bought.price_fen * 10_000,
        department_code: DEPARTMENT.0.into(),
        department_name: DEPARTMENT.1.into(),
        doctor_code: DOCTOR.0.into(),
        doctor_name: DOCTOR.1.into(),
        ..FeeLine::default()
    };
    AddFeesRequest {
        header: Some(header),
        visit_id: visit.to_owned(),
        batch: BATCH.into(),
        disease_code: String::new(),
        lines: (1..).zip(basket).map(line).collect(),
    }
}

/// `use_account`: the personal account pays what it can.
pub fn pre_settle(header: RequestHeader, visit: &str, use_account: bool) -> PreSettleRequest {
    PreSettleRequest {
        header: Some(header),
        visit_id: visit.to_owned(),
        use_account,
        ..PreSettleRequest::default()
    }
}

/// Settling for what the holder was shown.
pub fn settle(header: RequestHeader, visit: &str, shown: &Settlement) -> SettleRequest {
    SettleRequest {
        header: Some(header),
        visit_id: visit.to_owned(),
        total_fen: shown.total_fen,
        cash_fen: shown.cash_fen,
        invoice: String::new(),
    }
}

pub fn cancel_settlement(header: RequestHeader, visit: &str, setl_id: &str) -> CancelSettlementRequest {
    let (visit_id, setl_id) = (visit.to_owned(), setl_id.to_owned());
    CancelSettlementRequest { header: Some(header), visit_id, setl_id }
}

/// Who pays an amount of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The field of the contract.
    pub key: &'static str,
    pub zh: &'static str,
    pub fen: i64,
}

/// Everybody who pays; together they are the total.
pub fn shares(bill: &Settlement) -> [Share; 11] {
    let share = |key, zh, fen| Share { key, zh, fen };
    [
        share("basic_pool_fen", "统筹基金", bill.basic_pool_fen),
        share("civil_servants_fen", "公务员", bill.civil_servants_fen),
        share("enterprise_fen", "企业补充", bill.enterprise_fen),
        share("serious_illness_fen", "大病保险", bill.serious_illness_fen),
        share("large_amount_fen", "大额补助", bill.large_amount_fen),
        share("medical_aid_fen", "医疗救助", bill.medical_aid_fen),
        share("other_funds_fen", "其他基金", bill.other_funds_fen),
        share("account_fen", "个人账户", bill.account_fen),
        share("family_account_fen", "共济账户", bill.family_account_fen),
        share("cash_fen", "现金", bill.cash_fen),
        share("hospital_fen", "医院负担", bill.hospital_fen),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_province_sells_what_is_in_the_basket() {
        for province in [110_000, 120_000, 130_000] {
            assert!(basket(province).iter().all(|bought| !bought.name.is_empty()), "{province}");
        }
    }
}
