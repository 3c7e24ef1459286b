//! What the journal keeps of a medical step, as the contract tells it.

use super::super::answer::transaction_text;
use crate::{
    model::record,
    proto::medical::v1 as wire,
    scenes::medical::{funds_fen, person_fen},
};

pub fn visit(kept: record::MedicalStanding) -> wire::Visit {
    wire::Visit {
        visit_id: transaction_text(&kept.visit),
        kind: i32::try_from(kept.kind).unwrap_or(0),
        stage: i32::try_from(kept.stage).unwrap_or(0),
        mdtrt_id: kept.mdtrt_id,
        ipt_otp_no: kept.ipt_otp_no,
        insutype: kept.insutype,
        insured_region: kept.insured_region,
        med_type: kept.med_type,
        fees_fen: kept.fees_fen,
        fee_lines: kept.fee_lines,
        setl_id: kept.setl_id,
        step_pending: kept.step_pending,
    }
}

pub fn insurances(kept: Vec<record::MedicalInsurance>) -> Vec<wire::Insurance> {
    let one = |kept: record::MedicalInsurance| wire::Insurance {
        insutype: kept.insutype,
        psn_type: kept.psn_type,
        status: kept.status,
        since: kept.since,
        paused_since: kept.paused_since,
        civil_servant: kept.civil_servant,
        insured_region: kept.insured_region,
        employer: kept.employer,
        balance_fen: kept.balance_fen,
    };
    kept.into_iter().map(one).collect()
}

pub fn identities(kept: Vec<record::MedicalIdentity>) -> Vec<wire::PersonIdentity> {
    let one = |kept: record::MedicalIdentity| wire::PersonIdentity {
        kind: kept.kind,
        level: kept.level,
        from_ms: kept.from_ms,
        until_ms: kept.until_ms,
    };
    kept.into_iter().map(one).collect()
}

pub fn entitlements(kept: Vec<record::MedicalEntitlement>) -> Vec<wire::Entitlement> {
    let one = |kept: record::MedicalEntitlement| wire::Entitlement {
        check: kept.check,
        fund_pay_type: kept.fund_pay_type,
        entitled: kept.entitled,
        from: kept.from,
        until: kept.until,
        result: kept.result,
    };
    kept.into_iter().map(one).collect()
}

pub fn lines(kept: Vec<record::MedicalFeeResult>) -> Vec<wire::FeeLineResult> {
    let one = |kept: record::MedicalFeeResult| wire::FeeLineResult {
        serial: kept.serial,
        sum_fen: kept.sum_fen,
        price_limit_micro_yuan: kept.price_limit_micro_yuan,
        self_pay_e4: u32::try_from(kept.self_pay_e4).unwrap_or(0),
        fully_own_fen: kept.fully_own_fen,
        over_limit_fen: kept.over_limit_fen,
        first_self_pay_fen: kept.first_self_pay_fen,
        in_scope_fen: kept.in_scope_fen,
        item_class: kept.item_class,
        item_type: kept.item_type,
        memo: kept.memo,
    };
    kept.into_iter().map(one).collect()
}

pub fn settlement(bill: record::MedicalBill) -> wire::Settlement {
    let part = |part: record::MedicalBillPart| wire::SettlementPart {
        fund_pay_type: part.fund_pay_type,
        name: part.name,
        in_scope_fen: part.in_scope_fen,
        limit_fen: part.limit_fen,
        paid_fen: part.paid_fen,
    };
    wire::Settlement {
        funds_fen: funds_fen(&bill),
        person_fen: person_fen(&bill),
        setl_id: bill.setl_id,
        settled_at_ms: bill.settled_at_ms,
        total_fen: bill.total_fen,
        fully_own_fen: bill.fully_own_fen,
        over_limit_fen: bill.over_limit_fen,
        first_self_pay_fen: bill.first_self_pay_fen,
        in_scope_fen: bill.in_scope_fen,
        deductible_fen: bill.deductible_fen,
        pool_ratio_e4: u32::try_from(bill.pool_ratio_e4).unwrap_or(0),
        basic_pool_fen: bill.basic_pool_fen,
        civil_servants_fen: bill.civil_servants_fen,
        enterprise_fen: bill.enterprise_fen,
        serious_illness_fen: bill.serious_illness_fen,
        large_amount_fen: bill.large_amount_fen,
        medical_aid_fen: bill.medical_aid_fen,
        other_funds_fen: bill.other_funds_fen,
        account_fen: bill.account_fen,
        family_account_fen: bill.family_account_fen,
        cash_fen: bill.cash_fen,
        hospital_fen: bill.hospital_fen,
        balance_fen: bill.balance_fen,
        parts: bill.parts.into_iter().map(part).collect(),
        clearing_office: bill.clearing_office,
        clearing_way: bill.clearing_way,
        clearing_type: bill.clearing_type,
    }
}
