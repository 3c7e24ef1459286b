//! Which input an order becomes: the fields of facts/domain.md §3.3 under their names,
//! amounts as exact decimals.

use serde_json::{Map, Value, json};

use super::{NhsaOptions, envelope::local};
use crate::{
    model::Millis,
    scenes::medical::{
        MedicalAct, MedicalOrder, OpenOrder, Sender,
        orders::{
            AddFees, Admit, CancelFees, CancelSettlement, Certificate, Diagnosis, Discharge, FeeLine, File,
            Purchase, ReadPerson, Reconcile, RecordVisit, Register, Settle, VisitRef,
        },
    },
};

/// The input of an order, with the platform's own names and additions.
pub(super) fn input(order: &MedicalOrder, sender: &Sender, options: &NhsaOptions) -> Value {
    let act = order.act();
    let data = |fields: Value| json!({ options.node(act, "data"): fields });
    let input = match order {
        MedicalOrder::ReadPerson(read) => data(person(read)),
        MedicalOrder::CheckEntitlement(check) => data(json!({
            "psn_no": check.psn_no,
            "insutype": check.insutype,
            "fixmedins_code": &*sender.institution,
            "med_type": check.med_type,
            "begntime": instant(check.begins_at_ms),
            "endtime": "",
            "dise_codg": check.disease_code,
            "dise_name": check.disease_name,
            "oprn_oprt_code": "",
            "oprn_oprt_name": "",
            "matn_type": "",
            "birctrl_type": "",
        })),
        MedicalOrder::PreSettlePurchase(purchase) | MedicalOrder::SettlePurchase(purchase) => json!({
            options.node(act, "druginfo"): bought(purchase),
            "drugdetail": purchase.lines.iter().map(|line| fee(line, None, &purchase.batch, "")).collect::<Vec<_>>(),
        }),
        MedicalOrder::Register(register) => data(registration(register)),
        MedicalOrder::CancelRegistration(visit) => data(json!({
            "psn_no": visit.psn_no, "mdtrt_id": visit.mdtrt_id, "ipt_otp_no": visit.ipt_otp_no,
        })),
        MedicalOrder::RecordVisit(record) => json!({
            options.node(act, "mdtrtinfo"): visited(record),
            "diseinfo": diagnoses(&record.diagnoses),
        }),
        MedicalOrder::AddFees(fees) | MedicalOrder::AddStayFees(fees) => {
            json!({ options.node(act, "feedetail"): lines(fees) })
        }
        MedicalOrder::CancelFees(cancel) | MedicalOrder::CancelStayFees(cancel) => data(dropped(cancel)),
        MedicalOrder::PreSettle(settle) | MedicalOrder::Settle(settle) => {
            data(outpatient(settle, act == MedicalAct::Settle))
        }
        MedicalOrder::PreSettleStay(settle) | MedicalOrder::SettleStay(settle) => {
            data(stay(settle, act == MedicalAct::SettleStay))
        }
        MedicalOrder::CancelPurchase(cancel)
        | MedicalOrder::CancelSettlement(cancel)
        | MedicalOrder::CancelStaySettlement(cancel) => data(cancelled(cancel)),
        MedicalOrder::Admit(admit) => json!({
            options.node(act, "mdtrtinfo"): admitted(admit),
            "diseinfo": diagnoses(&admit.diagnoses),
        }),
        MedicalOrder::Discharge(discharge) => json!({
            options.node(act, "dscginfo"): discharged(discharge),
            "diseinfo": diagnoses(&discharge.diagnoses),
        }),
        MedicalOrder::ReconcileTotals(totals) | MedicalOrder::ReconcileDetails(totals) => {
            data(statement(totals))
        }
        MedicalOrder::UploadFile(file) => json!({ options.node(act, "fsUploadIn"): uploaded(file, sender) }),
        MedicalOrder::DownloadFile(file) => json!({ options.node(act, "fsDownloadIn"): {
            "file_qury_no": file.file, "filename": file.name, "fixmedins_code": &*sender.institution,
        } }),
        MedicalOrder::SignIn => json!({ options.node(act, "signIn"): {
            "opter_no": options.sign_in.operator, "mac": options.sign_in.mac, "ip": options.sign_in.ip,
        } }),
        MedicalOrder::SignOut => json!({ options.node(act, "signOut"): {
            "sign_no": "", "opter_no": options.sign_in.operator,
        } }),
    };
    varied(input, act, options)
}

/// 5203 by visit.
pub(super) fn inquiry(visit: &VisitRef) -> Value {
    json!({ "data": { "psn_no": visit.psn_no, "setl_id": "", "mdtrt_id": visit.mdtrt_id } })
}

/// 2601.
pub(super) fn reversal(open: &OpenOrder, infno: &str) -> Value {
    json!({ "data": { "psn_no": open.psn_no, "omsgid": open.msgid.as_str(), "oinfno": infno } })
}

/// Renames fields and adds those that the platform wants besides.
fn varied(mut input: Value, act: MedicalAct, options: &NhsaOptions) -> Value {
    if options.rename.is_empty() && options.extra.is_empty() {
        return input;
    }
    let number = act.infno().to_string();
    let here = |key: &str| match key.split_once('.') {
        Some((of, name)) => (of == number).then(|| name.to_owned()),
        None => Some(key.to_owned()),
    };
    let change = |fields: &mut Map<String, Value>| {
        for (key, other) in &options.rename {
            if let Some(value) = here(key).and_then(|name| fields.remove(&name)) {
                fields.insert(other.clone(), value);
            }
        }
        for (key, value) in &options.extra {
            if let Some(name) = here(key) {
                fields.insert(name, Value::from(value.as_str()));
            }
        }
    };
    for node in input.as_object_mut().into_iter().flat_map(Map::values_mut) {
        match node {
            Value::Object(fields) => change(fields),
            Value::Array(rows) => rows.iter_mut().filter_map(Value::as_object_mut).for_each(change),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    input
}

fn person(read: &ReadPerson) -> Value {
    let Certificate { kind, number, card_sn } = &read.certificate;
    json!({
        "mdtrt_cert_type": kind,
        "mdtrt_cert_no": number,
        "card_sn": card_sn,
        "begntime": instant(read.begins_at_ms),
        "psn_cert_type": read.document_kind,
        "certno": read.document_number,
        "psn_name": read.name,
    })
}

fn registration(register: &Register) -> Value {
    json!({
        "psn_no": register.psn_no,
        "insutype": register.insutype,
        "begntime": instant(register.begins_at_ms),
        "mdtrt_cert_type": register.certificate.kind,
        "mdtrt_cert_no": register.certificate.number,
        "ipt_otp_no": register.ipt_otp_no,
        "atddr_no": register.doctor_code,
        "dr_name": register.doctor_name,
        "dept_code": register.department_code,
        "dept_name": register.department_name,
        "caty": register.department_category,
    })
}

fn visited(record: &RecordVisit) -> Value {
    json!({
        "mdtrt_id": record.visit.mdtrt_id,
        "psn_no": record.visit.psn_no,
        "med_type": record.med_type,
        "begntime": instant(record.begins_at_ms),
        "main_cond_dscr": record.condition,
        "dise_codg": record.disease_code,
        "dise_name": record.disease_name,
        "birctrl_type": "",
        "birctrl_matn_date": "",
    })
}

fn diagnoses(diagnoses: &[Diagnosis]) -> Vec<Value> {
    let row = |diagnosis: &Diagnosis| {
        json!({
            "diag_type": diagnosis.kind,
            "diag_srt_no": diagnosis.order,
            "diag_code": diagnosis.code,
            "diag_name": diagnosis.name,
            "diag_dept": diagnosis.department,
            "dise_dor_no": diagnosis.doctor_code,
            "dise_dor_name": diagnosis.doctor_name,
            "diag_time": instant(diagnosis.at_ms),
            "vali_flag": flag(diagnosis.valid),
        })
    };
    diagnoses.iter().map(row).collect()
}

fn lines(fees: &AddFees) -> Vec<Value> {
    fees.lines.iter().map(|line| fee(line, Some(&fees.visit), &fees.batch, &fees.disease_code)).collect()
}

fn fee(line: &FeeLine, visit: Option<&VisitRef>, batch: &str, disease: &str) -> Value {
    let mut fields = json!({
        "feedetl_sn": line.serial,
        "chrg_bchno": batch,
        "dise_codg": disease,
        "rxno": line.prescription,
        "rx_circ_flag": flag(line.outside_prescription),
        "fee_ocur_time": instant(line.charged_at_ms),
        "med_list_codg": line.catalogue_code,
        "medins_list_codg": line.institution_code,
        "det_item_fee_sumamt": decimal(&line.sum),
        "cnt": decimal(&line.count),
        "pric": decimal(&line.price),
        "sin_dos_dscr": line.dose,
        "used_frqu_dscr": line.frequency,
        "prd_days": days(line.days_e2),
        "medc_way_dscr": line.way,
        "bilg_dept_codg": line.department_code,
        "bilg_dept_name": line.department_name,
        "bilg_dr_codg": line.doctor_code,
        "bilg_dr_name": line.doctor_name,
        "acord_dept_codg": "",
        "acord_dept_name": "",
        "orders_dr_code": "",
        "orders_dr_name": "",
        "hosp_appr_flag": line.approval.to_string(),
        "tcmdrug_used_way": "",
        "etip_flag": "0",
        "etip_hosp_code": "",
        "dscg_tkdrug_flag": "0",
        "matn_fee_flag": "0",
    });
    if let Some(visit) = visit {
        fields["mdtrt_id"] = visit.mdtrt_id.as_str().into();
        fields["psn_no"] = visit.psn_no.as_str().into();
    }
    fields
}

fn dropped(cancel: &CancelFees) -> Value {
    json!({
        "mdtrt_id": cancel.visit.mdtrt_id,
        "psn_no": cancel.visit.psn_no,
        "chrg_bchno": cancel.batch,
        // 2302 names lines where 2205 names a batch; all of them is "0000" in both.
        "feedetl_sn": if cancel.batch == "0000" { "0000" } else { "" },
    })
}

fn outpatient(settle: &Settle, is_final: bool) -> Value {
    let mut fields = json!({
        "psn_no": settle.visit.psn_no,
        "mdtrt_cert_type": settle.certificate.kind,
        "mdtrt_cert_no": settle.certificate.number,
        "med_type": settle.med_type,
        "medfee_sumamt": decimal(&settle.total),
        "psn_setlway": settle.way,
        "mdtrt_id": settle.visit.mdtrt_id,
        "chrg_bchno": settle.batch,
        "acct_used_flag": flag(settle.use_account),
        "insutype": settle.insutype,
    });
    if is_final {
        fields["invono"] = settle.invoice.as_str().into();
        fields["fulamt_ownpay_amt"] = decimal(&settle.fully_own);
        fields["overlmt_selfpay"] = decimal(&settle.over_limit);
        fields["preselfpay_amt"] = decimal(&settle.first_self_pay);
        fields["inscp_scp_amt"] = decimal(&settle.in_scope);
    }
    fields
}

fn stay(settle: &Settle, is_final: bool) -> Value {
    let mut fields = json!({
        "psn_no": settle.visit.psn_no,
        "mdtrt_cert_type": settle.certificate.kind,
        "mdtrt_cert_no": settle.certificate.number,
        "medfee_sumamt": decimal(&settle.total),
        "mdtrt_id": settle.visit.mdtrt_id,
        "insutype": settle.insutype,
        "med_type": settle.med_type,
        "acct_used_flag": flag(settle.use_account),
        "psn_setlway": settle.way,
        "mid_setl_flag": flag(settle.interim),
        "order_no": "",
        "mdtrt_mode": "",
        "hcard_basinfo": "",
        "hcard_chkinfo": "",
    });
    if is_final {
        fields["invono"] = settle.invoice.as_str().into();
    }
    fields
}

fn cancelled(cancel: &CancelSettlement) -> Value {
    json!({ "setl_id": cancel.setl_id, "mdtrt_id": cancel.visit.mdtrt_id, "psn_no": cancel.visit.psn_no })
}

fn bought(purchase: &Purchase) -> Value {
    json!({
        "psn_no": purchase.psn_no,
        "mdtrt_cert_type": purchase.certificate.kind,
        "mdtrt_cert_no": purchase.certificate.number,
        "card_sn": purchase.certificate.card_sn,
        "mdtrt_id": purchase.mdtrt_id,
        "insutype": purchase.insutype,
        "med_type": purchase.med_type,
        "begntime": instant(purchase.begins_at_ms),
        "chrg_bchno": purchase.batch,
        "dise_codg": purchase.disease_code,
        "dise_name": purchase.disease_name,
        "medfee_sumamt": decimal(&purchase.total),
        "acct_used_flag": flag(purchase.use_account),
        "invono": purchase.invoice,
    })
}

fn admitted(admit: &Admit) -> Value {
    let main = admit.diagnoses.first();
    json!({
        "psn_no": admit.psn_no,
        "insutype": admit.insutype,
        "coner_name": admit.contact_name,
        "tel": admit.contact_phone,
        "begntime": instant(admit.begins_at_ms),
        "mdtrt_cert_type": admit.certificate.kind,
        "mdtrt_cert_no": admit.certificate.number,
        "hcard_basinfo": "",
        "hcard_chkinfo": "",
        "med_type": admit.med_type,
        "ipt_otp_no": admit.ipt_otp_no,
        "medrcdno": admit.medical_record_number,
        "atddr_no": admit.doctor_code,
        "chfpdr_name": admit.doctor_name,
        "adm_diag_dscr": admit.diagnosis_text,
        "adm_dept_codg": admit.department_code,
        "adm_dept_name": admit.department_name,
        "adm_bed": admit.bed,
        "dscg_maindiag_code": main.map_or("", |diagnosis| diagnosis.code.as_str()),
        "dscg_maindiag_name": main.map_or("", |diagnosis| diagnosis.name.as_str()),
        "er_flag": flag(admit.emergency),
        "dise_codg": "",
        "dise_name": "",
        "repeat_ipt_flag": "0",
        "ttp_resp": "0",
        "merg_setl_flag": "0",
    })
}

fn discharged(discharge: &Discharge) -> Value {
    json!({
        "mdtrt_id": discharge.visit.mdtrt_id,
        "psn_no": discharge.visit.psn_no,
        "insutype": discharge.insutype,
        "endtime": instant(discharge.ends_at_ms),
        "dscg_dept_codg": discharge.department_code,
        "dscg_dept_name": discharge.department_name,
        "dscg_way": discharge.way,
    })
}

fn statement(totals: &Reconcile) -> Value {
    json!({
        "insutype": totals.insutype,
        "clr_type": totals.clearing_type,
        "setl_optins": totals.office,
        "file_qury_no": totals.file,
        "stmt_begndate": day(totals.from),
        "stmt_enddate": day(totals.until),
        "medfee_sumamt": decimal(&totals.total),
        "fund_pay_sumamt": decimal(&totals.funds),
        "acct_pay": decimal(&totals.account),
        "cash_payamt": decimal(&totals.cash),
        "fixmedins_setl_cnt": totals.settlements.to_string(),
    })
}

fn uploaded(file: &File, sender: &Sender) -> Value {
    json!({ "in": file.content, "filename": file.name, "fixmedins_code": &*sender.institution })
}

/// A decimal as it prints, in a text: no binary fraction can touch it.
fn decimal(value: &impl std::fmt::Display) -> Value {
    Value::from(value.to_string())
}

/// prd_days, 4,2.
fn days(hundredths: i64) -> Value {
    Value::from(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

fn flag(is: bool) -> &'static str {
    if is { "1" } else { "0" }
}

/// yyyy-MM-dd HH:mm:ss; empty for 0, which stands for none.
fn instant(at_ms: Millis) -> String {
    if at_ms == 0 { String::new() } else { local(at_ms, "%Y-%m-%d %H:%M:%S") }
}

/// yyyy-MM-dd
fn day(yyyymmdd: u32) -> String {
    format!("{:04}-{:02}-{:02}", yyyymmdd / 10_000, yyyymmdd / 100 % 100, yyyymmdd % 100)
}
