//! From what a terminal asks and how the visit stands to the order for the insurer,
//! or to the reason why there is none. Pure.

use std::collections::BTreeSet;

use super::{
    Broken, Count, Expected, Institution, MedicalAct, MedicalOrder, Price, SettlementInfo, Stage, SumRules,
    Verb, VisitKind, bill_of,
    choose::{NotChosen, Wanted, choose},
    detail::insurance_of,
    may,
    orders::{
        self, AddFees, Admit, CancelFees, CancelSettlement, Certificate, Discharge, FeeLine, Purchase,
        RecordVisit, Register, Settle, VisitRef,
    },
    policy::{Care, MedicalCodes},
    rules::fees_of,
};
use crate::{
    limits,
    model::{
        Fen, Millis, Reason, Subject,
        record::{
            MedicalBatch, MedicalBill, MedicalCertificate, MedicalChoice, MedicalFeeLine, MedicalFeeMark,
            MedicalPerson, MedicalVisit,
        },
    },
};

/// chrg_bchno of all fees that are not settled.
const ALL_BATCHES: &str = "0000";

/// A step of a visit that there is. Fields that the visit knows are left empty.
#[derive(Clone, PartialEq, Eq)]
pub enum StepAsk {
    CancelRegistration,
    Record(RecordVisit),
    AddFees(AddFees),
    /// Empty means all.
    CancelFees {
        batch: String,
    },
    PreSettle {
        batch: String,
        use_account: bool,
        way: String,
        interim: bool,
    },
    Settle {
        total: Fen,
        cash: Fen,
        invoice: String,
    },
    CancelSettlement {
        setl_id: String,
    },
    Discharge(Discharge),
}

/// A step that opens a visit. What the holder's session says is left empty.
#[derive(Clone, PartialEq, Eq)]
pub enum OpenAsk {
    /// `emergency` says that it was asked for as one.
    Register {
        ask: Register,
        med_type: String,
        emergency: bool,
    },
    Admit(Admit),
    Purchase(Purchase),
}

/// Insurance as the terminal wishes it; empty leaves it to us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InsuranceWish {
    pub insutype: String,
    pub insured_region: String,
}

/// An order that may be sent, and what the visit is to remember of it.
#[derive(Debug, Clone)]
pub struct Planned {
    pub order: MedicalOrder,
    pub batch: String,
    pub setl_id: String,
    pub lines: Vec<MedicalFeeMark>,
    pub med_type: String,
}

impl Planned {
    fn of(order: MedicalOrder) -> Self {
        let none = String::new;
        Planned { order, batch: none(), setl_id: none(), lines: Vec::new(), med_type: none() }
    }
}

impl StepAsk {
    pub const fn verb(&self) -> Verb {
        match self {
            StepAsk::CancelRegistration => Verb::CancelRegistration,
            StepAsk::Record(_) => Verb::Record,
            StepAsk::AddFees(_) => Verb::AddFees,
            StepAsk::CancelFees { .. } => Verb::CancelFees,
            StepAsk::PreSettle { .. } => Verb::PreSettle,
            StepAsk::Settle { .. } => Verb::Settle,
            StepAsk::CancelSettlement { .. } => Verb::CancelSettlement,
            StepAsk::Discharge(_) => Verb::Discharge,
        }
    }
}

/// Plans a step.
///
/// # Errors
/// The step that is missing, or the rule that says no.
pub fn plan(visit: &MedicalVisit, ask: &StepAsk, codes: &MedicalCodes) -> Result<Planned, Reason> {
    if !visit.pending.is_empty() {
        return Err(Reason::VisitStepPending);
    }
    let kind = VisitKind::from_number(visit.kind).ok_or(Reason::VisitUnknown)?;
    let stage = Stage::from_number(visit.stage).ok_or(Reason::VisitUnknown)?;
    let act = may(kind, stage, ask.verb())?.act;
    match ask {
        StepAsk::CancelRegistration => Ok(Planned::of(MedicalOrder::CancelRegistration(named(visit)))),
        StepAsk::Record(record) => plan_record(visit, record, codes),
        StepAsk::AddFees(fees) => plan_fees(visit, kind, fees),
        StepAsk::CancelFees { batch } => plan_cancel_fees(visit, kind, batch),
        StepAsk::PreSettle { batch, use_account, way, interim } => {
            let choice = choice_of(visit, kind, batch, *use_account, way, *interim)?;
            let order = settle(visit, &choice, None, "");
            Ok(Planned::of(match kind {
                VisitKind::Inpatient => MedicalOrder::PreSettleStay(order),
                VisitKind::Outpatient | VisitKind::Purchase => MedicalOrder::PreSettle(order),
            }))
        }
        StepAsk::Settle { total, cash, invoice } => {
            let before = visit.pre_settlement.as_ref().ok_or(Reason::NotPreSettled)?;
            if (total.get(), cash.get()) != (before.total_fen, before.cash_fen) {
                return Err(Reason::SettlementDiffers);
            }
            let choice = visit.choice.clone().unwrap_or_default();
            let order = || settle(visit, &choice, Some(before), invoice);
            Ok(Planned::of(match kind {
                VisitKind::Outpatient => MedicalOrder::Settle(order()),
                VisitKind::Inpatient => MedicalOrder::SettleStay(order()),
                VisitKind::Purchase => MedicalOrder::SettlePurchase(purchase_again(visit, &choice, invoice)),
            }))
        }
        StepAsk::CancelSettlement { setl_id } => {
            let stands = visit.settlement.as_ref().is_some_and(|bill| bill.setl_id == *setl_id);
            if !stands {
                return Err(Reason::NotSettled);
            }
            let order = CancelSettlement { visit: named(visit), setl_id: setl_id.clone() };
            let order = match kind {
                VisitKind::Outpatient => MedicalOrder::CancelSettlement(order),
                VisitKind::Inpatient => MedicalOrder::CancelStaySettlement(order),
                VisitKind::Purchase => MedicalOrder::CancelPurchase(order),
            };
            Ok(Planned { setl_id: setl_id.clone(), ..Planned::of(order) })
        }
        StepAsk::Discharge(discharge) => {
            let order =
                Discharge { visit: named(visit), insutype: visit.insutype.clone(), ..discharge.clone() };
            Ok(Planned::of(MedicalOrder::Discharge(order)))
        }
    }
    .inspect(|planned| debug_assert_eq!(planned.order.act(), act))
}

/// The visit after a pre-settlement (2206, 2303), which leaves nothing at the insurer.
/// `None` when the visit changed while it was computed.
///
/// # Errors
/// The identity that the answer breaks.
pub fn pre_settled(
    now: &MedicalVisit,
    asked_of: &MedicalVisit,
    ask: &StepAsk,
    info: &SettlementInfo,
    sums: SumRules,
) -> Result<Option<(MedicalVisit, MedicalBill)>, Broken> {
    let bill = bill_of(info, Expected::Fees(fees_of(asked_of)), sums)?;
    let StepAsk::PreSettle { batch, use_account, way, interim } = ask else { return Ok(None) };
    let kind = VisitKind::from_number(asked_of.kind);
    let choice = kind.and_then(|kind| choice_of(asked_of, kind, batch, *use_account, way, *interim).ok());
    if now != asked_of {
        return Ok(None);
    }
    let mut visit = now.clone();
    visit.stage = Stage::PreSettled.number();
    visit.pre_settlement = Some(bill.clone());
    visit.choice = choice;
    Ok(Some((visit, bill)))
}

/// Plans a step that opens a visit, with the insurance it is charged to.
///
/// # Errors
/// Why not, with the insurances to choose from.
#[expect(clippy::too_many_arguments, reason = "who, where, when and what")]
pub fn open(
    ask: &OpenAsk,
    wish: &InsuranceWish,
    person: &MedicalPerson,
    subject: Subject,
    institution: &Institution,
    codes: &MedicalCodes,
    now: Millis,
    today: u32,
) -> Result<(MedicalVisit, Planned), NotChosen> {
    let no = |reason| NotChosen { reason, choices: Vec::new() };
    let (kind, med_type, begins_at_ms) = match ask {
        OpenAsk::Register { ask, med_type, .. } => (VisitKind::Outpatient, med_type, ask.begins_at_ms),
        OpenAsk::Admit(admit) => (VisitKind::Inpatient, &admit.med_type, admit.begins_at_ms),
        OpenAsk::Purchase(purchase) => (VisitKind::Purchase, &purchase.med_type, purchase.begins_at_ms),
    };
    let begins_at_ms = if begins_at_ms == 0 { now } else { begins_at_ms };
    let care = codes
        .care(med_type)
        .filter(|care| opens_with(ask, *care))
        .ok_or_else(|| no(Reason::MedTypeUnknown))?;
    let insurances: Vec<_> = person.insurances.iter().map(insurance_of).collect();
    let wanted = Wanted {
        care,
        care_region: &institution.region,
        insutype: &wish.insutype,
        insured_region: &wish.insured_region,
        today,
    };
    let chosen = choose(&insurances, wanted, codes)?;
    let kept = person.certificate.clone().unwrap_or_default();
    let certificate = certificate_of(&kept);
    let mut visit = MedicalVisit {
        participant: institution.participant.clone(),
        institution: institution.code.clone(),
        kind: kind.number(),
        psn_no: person.psn_no.clone(),
        insutype: chosen.insutype.clone(),
        insured_region: chosen.insured_region.clone(),
        med_type: med_type.clone(),
        begins_at_ms,
        certificate: Some(kept),
        subject: subject.as_bytes().to_vec(),
        ..MedicalVisit::default()
    };
    let (psn_no, insutype) = (person.psn_no.clone(), chosen.insutype.clone());
    let order = match ask {
        OpenAsk::Register { ask, .. } => {
            visit.ipt_otp_no.clone_from(&ask.ipt_otp_no);
            MedicalOrder::Register(Register { psn_no, insutype, begins_at_ms, certificate, ..ask.clone() })
        }
        OpenAsk::Admit(admit) => {
            visit.ipt_otp_no.clone_from(&admit.ipt_otp_no);
            MedicalOrder::Admit(Admit { psn_no, insutype, begins_at_ms, certificate, ..admit.clone() })
        }
        OpenAsk::Purchase(purchase) => {
            lines_are_right(&visit, &purchase.lines).map_err(no)?;
            let lines = purchase.lines.iter().map(mark).collect();
            visit.batches = vec![MedicalBatch { batch: purchase.batch.clone(), lines }];
            visit.lines = purchase.lines.iter().map(kept_line).collect();
            visit.disease_code.clone_from(&purchase.disease_code);
            visit.disease_name.clone_from(&purchase.disease_name);
            visit.choice = Some(MedicalChoice {
                batch: purchase.batch.clone(),
                use_account: purchase.use_account,
                ..MedicalChoice::default()
            });
            let total = fees_of(&visit);
            let purchase =
                Purchase { psn_no, insutype, begins_at_ms, certificate, total, ..purchase.clone() };
            MedicalOrder::PreSettlePurchase(purchase)
        }
    };
    Ok((visit, Planned::of(order)))
}

fn opens_with(ask: &OpenAsk, care: Care) -> bool {
    match ask {
        OpenAsk::Register { emergency: true, .. } => care == Care::Emergency,
        OpenAsk::Register { emergency: false, .. } => {
            matches!(care, Care::Outpatient | Care::Emergency | Care::Maternity | Care::LongTerm)
        }
        OpenAsk::Admit(_) => matches!(care, Care::Inpatient | Care::Maternity | Care::LongTerm),
        OpenAsk::Purchase(_) => matches!(care, Care::Pharmacy | Care::Outpatient),
    }
}

fn plan_record(visit: &MedicalVisit, record: &RecordVisit, codes: &MedicalCodes) -> Result<Planned, Reason> {
    let med_type = if record.med_type.is_empty() { &visit.med_type } else { &record.med_type };
    // Emergency care may turn out to be a clinic's and the other way round; a visit
    // does not become a stay.
    if codes.care(med_type).is_none_or(|care| matches!(care, Care::Inpatient | Care::Pharmacy)) {
        return Err(Reason::MedTypeUnknown);
    }
    let begins_at_ms = if record.begins_at_ms == 0 { visit.begins_at_ms } else { record.begins_at_ms };
    let med_type = med_type.clone();
    let order =
        RecordVisit { visit: named(visit), med_type: med_type.clone(), begins_at_ms, ..record.clone() };
    Ok(Planned { med_type, ..Planned::of(MedicalOrder::RecordVisit(order)) })
}

fn plan_fees(visit: &MedicalVisit, kind: VisitKind, fees: &AddFees) -> Result<Planned, Reason> {
    if fees.batch.is_empty() || fees.batch == ALL_BATCHES {
        return Err(Reason::BatchUnknown);
    }
    let other = visit.batches.iter().any(|batch| batch.batch != fees.batch);
    if kind == VisitKind::Outpatient && other {
        return Err(Reason::BatchOpen);
    }
    lines_are_right(visit, &fees.lines)?;
    let order = AddFees { visit: named(visit), ..fees.clone() };
    let order = match kind {
        VisitKind::Inpatient => MedicalOrder::AddStayFees(order),
        VisitKind::Outpatient | VisitKind::Purchase => MedicalOrder::AddFees(order),
    };
    let lines = fees.lines.iter().map(mark).collect();
    Ok(Planned { batch: fees.batch.clone(), lines, ..Planned::of(order) })
}

fn plan_cancel_fees(visit: &MedicalVisit, kind: VisitKind, batch: &str) -> Result<Planned, Reason> {
    if !batch.is_empty() && !visit.batches.iter().any(|stands| stands.batch == batch) {
        return Err(Reason::BatchUnknown);
    }
    let all = batch.is_empty();
    let order =
        CancelFees { visit: named(visit), batch: if all { ALL_BATCHES.into() } else { batch.to_owned() } };
    let order = match kind {
        VisitKind::Inpatient => MedicalOrder::CancelStayFees(order),
        VisitKind::Outpatient | VisitKind::Purchase => MedicalOrder::CancelFees(order),
    };
    Ok(Planned { batch: batch.to_owned(), ..Planned::of(order) })
}

/// Serials are unique in the visit, amounts are count times price, and there is room.
fn lines_are_right(visit: &MedicalVisit, lines: &[FeeLine]) -> Result<(), Reason> {
    let standing = visit.batches.iter().flat_map(|batch| &batch.lines);
    let mut serials: BTreeSet<&str> = standing.map(|line| line.serial.as_str()).collect();
    if lines.is_empty() {
        return Err(Reason::FeesMissing);
    }
    if serials.len() + lines.len() > limits::FEE_LINES_PER_VISIT_MAX {
        return Err(Reason::FeeLinesExceeded);
    }
    for line in lines {
        if !serials.insert(&line.serial) {
            return Err(Reason::FeeSerialUsed);
        }
        if line.price.times(line.count) != Ok(line.sum) || line.sum.get() > limits::AMOUNT_FEN_MAX {
            return Err(Reason::FeeSumWrong);
        }
    }
    Ok(())
}

/// How a pre-settlement is asked for; the settlement repeats it.
fn choice_of(
    visit: &MedicalVisit,
    kind: VisitKind,
    batch: &str,
    use_account: bool,
    way: &str,
    interim: bool,
) -> Result<MedicalChoice, Reason> {
    Ok(MedicalChoice {
        batch: batch_of(visit, kind, batch)?,
        use_account,
        // 01: by item.
        way: if way.is_empty() { "01".into() } else { way.to_owned() },
        interim: interim && kind == VisitKind::Inpatient,
    })
}

fn batch_of(visit: &MedicalVisit, kind: VisitKind, batch: &str) -> Result<String, Reason> {
    match (kind, batch) {
        (VisitKind::Inpatient, _) => Ok(String::new()),
        (_, "") => Ok(last_batch(visit)),
        (_, named) if visit.batches.iter().any(|stands| stands.batch == named) => Ok(named.to_owned()),
        (_, _) => Err(Reason::BatchUnknown),
    }
}

fn last_batch(visit: &MedicalVisit) -> String {
    let outpatient = visit.kind == VisitKind::Outpatient.number();
    visit.batches.last().filter(|_| outpatient).map(|batch| batch.batch.clone()).unwrap_or_default()
}

fn settle(
    visit: &MedicalVisit,
    choice: &MedicalChoice,
    before: Option<&MedicalBill>,
    invoice: &str,
) -> Settle {
    let part = |of: fn(&MedicalBill) -> i64| before.map_or(Fen::ZERO, |bill| Fen::new(of(bill)));
    Settle {
        visit: named(visit),
        certificate: certificate_of(&visit.certificate.clone().unwrap_or_default()),
        insutype: visit.insutype.clone(),
        med_type: visit.med_type.clone(),
        total: fees_of(visit),
        way: choice.way.clone(),
        batch: choice.batch.clone(),
        use_account: choice.use_account,
        interim: choice.interim,
        invoice: invoice.to_owned(),
        fully_own: part(|bill| bill.fully_own_fen),
        over_limit: part(|bill| bill.over_limit_fen),
        first_self_pay: part(|bill| bill.first_self_pay_fen),
        in_scope: part(|bill| bill.in_scope_fen),
    }
}

/// 2102 says again what 2101 said.
fn purchase_again(visit: &MedicalVisit, choice: &MedicalChoice, invoice: &str) -> Purchase {
    Purchase {
        psn_no: visit.psn_no.clone(),
        certificate: certificate_of(&visit.certificate.clone().unwrap_or_default()),
        insutype: visit.insutype.clone(),
        med_type: visit.med_type.clone(),
        begins_at_ms: visit.begins_at_ms,
        batch: choice.batch.clone(),
        disease_code: visit.disease_code.clone(),
        disease_name: visit.disease_name.clone(),
        lines: visit.lines.iter().map(line_of).collect(),
        total: fees_of(visit),
        use_account: choice.use_account,
        mdtrt_id: visit.mdtrt_id.clone(),
        invoice: invoice.to_owned(),
    }
}

fn named(visit: &MedicalVisit) -> VisitRef {
    VisitRef {
        psn_no: visit.psn_no.clone(),
        mdtrt_id: visit.mdtrt_id.clone(),
        ipt_otp_no: visit.ipt_otp_no.clone(),
    }
}

fn certificate_of(kept: &MedicalCertificate) -> Certificate {
    Certificate { kind: kept.kind.clone(), number: kept.number.clone(), card_sn: kept.card_sn.clone() }
}

fn mark(line: &FeeLine) -> MedicalFeeMark {
    MedicalFeeMark { serial: line.serial.clone(), sum_fen: line.sum.get() }
}

fn kept_line(line: &FeeLine) -> MedicalFeeLine {
    let line = line.clone();
    MedicalFeeLine {
        serial: line.serial,
        charged_at_ms: line.charged_at_ms,
        catalogue_code: line.catalogue_code,
        institution_code: line.institution_code,
        sum_fen: line.sum.get(),
        count_e4: line.count.units(),
        price_micro_yuan: line.price.units(),
        prescription: line.prescription,
        outside_prescription: line.outside_prescription,
        department_code: line.department_code,
        department_name: line.department_name,
        doctor_code: line.doctor_code,
        doctor_name: line.doctor_name,
        approval: line.approval,
        dose: line.dose,
        frequency: line.frequency,
        way: line.way,
        days_e2: line.days_e2,
    }
}

fn line_of(kept: &MedicalFeeLine) -> FeeLine {
    let kept = kept.clone();
    FeeLine {
        serial: kept.serial,
        charged_at_ms: kept.charged_at_ms,
        catalogue_code: kept.catalogue_code,
        institution_code: kept.institution_code,
        sum: Fen::new(kept.sum_fen),
        count: Count::from_units(kept.count_e4),
        price: Price::from_units(kept.price_micro_yuan),
        prescription: kept.prescription,
        outside_prescription: kept.outside_prescription,
        department_code: kept.department_code,
        department_name: kept.department_name,
        doctor_code: kept.doctor_code,
        doctor_name: kept.doctor_name,
        approval: kept.approval,
        dose: kept.dose,
        frequency: kept.frequency,
        way: kept.way,
        days_e2: kept.days_e2,
    }
}

/// The order that takes a fee batch back, for an upload or a cancellation that got no
/// answer.
pub fn cancel_batch(open: &super::OpenOrder) -> MedicalOrder {
    let order = orders::CancelFees {
        visit: VisitRef {
            psn_no: open.psn_no.clone(),
            mdtrt_id: open.mdtrt_id.clone(),
            ipt_otp_no: open.ipt_otp_no.clone(),
        },
        batch: if open.batch.is_empty() { ALL_BATCHES.into() } else { open.batch.clone() },
    };
    if matches!(open.act, MedicalAct::AddStayFees | MedicalAct::CancelStayFees) {
        MedicalOrder::CancelStayFees(order)
    } else {
        MedicalOrder::CancelFees(order)
    }
}
