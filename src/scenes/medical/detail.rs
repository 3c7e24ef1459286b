//! Answers and visits as the journal keeps them.

use super::{Insurance, MedicalAnswer, Said, rules::fees_of};
use crate::model::{
    Fen,
    record::{
        MedicalDetail, MedicalEntitlement, MedicalFeeResult, MedicalIdentity, MedicalInsurance,
        MedicalStanding, MedicalVisit,
    },
};

/// How a visit stands.
pub fn standing(id: &[u8], visit: &MedicalVisit) -> MedicalStanding {
    MedicalStanding {
        visit: id.to_vec(),
        kind: visit.kind,
        stage: visit.stage,
        mdtrt_id: visit.mdtrt_id.clone(),
        ipt_otp_no: visit.ipt_otp_no.clone(),
        insutype: visit.insutype.clone(),
        insured_region: visit.insured_region.clone(),
        med_type: visit.med_type.clone(),
        fees_fen: fees_of(visit).get(),
        fee_lines: visit
            .batches
            .iter()
            .map(|batch| u32::try_from(batch.lines.len()).unwrap_or(u32::MAX))
            .sum(),
        setl_id: visit.settlement.as_ref().map(|bill| bill.setl_id.clone()).unwrap_or_default(),
        step_pending: !visit.pending.is_empty(),
    }
}

/// Keeps what an insurer answered. Amounts are kept as a bill once their sums hold.
pub fn put_answer(detail: &mut MedicalDetail, answer: &MedicalAnswer) {
    detail.message.clone_from(&answer.message);
    match &answer.said {
        Said::Person(person) => {
            detail.psn_no.clone_from(&person.psn_no);
            detail.name.clone_from(&person.name);
            detail.sex.clone_from(&person.sex);
            detail.born = person.born;
            detail.insurances = person.insurances.iter().map(insurance).collect();
            detail.identities = person
                .identities
                .iter()
                .map(|identity| MedicalIdentity {
                    kind: identity.kind.clone(),
                    level: identity.level.clone(),
                    from_ms: identity.from_ms,
                    until_ms: identity.until_ms,
                })
                .collect();
        }
        Said::Entitlements(lines) => {
            detail.entitlements = lines
                .iter()
                .map(|line| MedicalEntitlement {
                    check: line.check.clone(),
                    fund_pay_type: line.fund_pay_type.clone(),
                    entitled: line.entitled,
                    from: line.from,
                    until: line.until,
                    result: line.result.clone(),
                })
                .collect();
        }
        Said::Fees(lines) => detail.lines = lines.iter().map(fee_result).collect(),
        Said::Settlement(info) => detail.lines = info.lines.iter().map(fee_result).collect(),
        Said::Statement(statement) => {
            detail.result.clone_from(&statement.result);
            detail.matches = statement.matches;
            detail.description.clone_from(&statement.description);
        }
        Said::File(ticket) => {
            detail.file.clone_from(&ticket.file);
            detail.file_name.clone_from(&ticket.name);
            detail.available_until_ms = ticket.available_until_ms;
        }
        Said::Content(bytes) => detail.content.clone_from(bytes),
        Said::SignedIn(at) => detail.signed_in_at_ms = *at,
        Said::Opened(_) | Said::Done => {}
    }
}

pub fn insurance(insurance: &Insurance) -> MedicalInsurance {
    MedicalInsurance {
        insutype: insurance.insutype.clone(),
        psn_type: insurance.psn_type.clone(),
        status: insurance.status.clone(),
        since: insurance.since,
        paused_since: insurance.paused_since,
        civil_servant: insurance.civil_servant,
        insured_region: insurance.insured_region.clone(),
        employer: insurance.employer.clone(),
        balance_fen: insurance.balance.get(),
    }
}

pub fn insurance_of(kept: &MedicalInsurance) -> Insurance {
    Insurance {
        insutype: kept.insutype.clone(),
        psn_type: kept.psn_type.clone(),
        status: kept.status.clone(),
        since: kept.since,
        paused_since: kept.paused_since,
        civil_servant: kept.civil_servant,
        insured_region: kept.insured_region.clone(),
        employer: kept.employer.clone(),
        balance: Fen::new(kept.balance_fen),
    }
}

fn fee_result(line: &super::FeeResult) -> MedicalFeeResult {
    MedicalFeeResult {
        serial: line.serial.clone(),
        sum_fen: line.sum.get(),
        price_limit_micro_yuan: line.price_limit.map(super::Price::units),
        self_pay_e4: line.self_pay.units(),
        fully_own_fen: line.fully_own.get(),
        over_limit_fen: line.over_limit.get(),
        first_self_pay_fen: line.first_self_pay.get(),
        in_scope_fen: line.in_scope.get(),
        item_class: line.item_class.clone(),
        item_type: line.item_type.clone(),
        memo: line.memo.clone(),
    }
}
