//! Transactions that read a person and lead a visit to its bill: 1101, 2001, 2201 to
//! 2205, 2301, 2302, 2401, 2402, 2404.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::{
    book::{Ask, Book, Did, Line, Visit},
    catalogue::{Care, Catalogue, Item, NO_LIMIT},
    decimal::{self, COUNT_PLACES, PRICE_PLACES, money, ratio},
    message::{Fields, No},
    person::Insured,
    price::price,
};

impl Book {
    /// 1101.
    pub(super) fn person(&self, ask: Ask<'_>) -> Result<Value, No> {
        let person = self.named(Fields::of(&ask.message.input, &[]))?;
        let insurances: Vec<Value> = person
            .insurances
            .iter()
            .map(|insurance| {
                json!({
                    "balc": money(insurance.balance_fen),
                    "insutype": insurance.kind,
                    "psn_type": psn_type(person),
                    "psn_insu_stas": insurance.status,
                    "psn_insu_date": "2015-01-01",
                    "paus_insu_date": if insurance.status == "1" { Value::Null } else { json!("2024-07-01") },
                    "cvlserv_flag": if person.civil_servant { "1" } else { "0" },
                    "insuplc_admdvs": insurance.place,
                    "emp_name": "沙箱单位",
                })
            })
            .collect();
        let identities: Vec<Value> = person
            .identity
            .iter()
            .map(|kind| {
                json!({
                    "psn_idet_type": kind, "psn_type_lv": "", "memo": "",
                    "begntime": "2024-01-01 00:00:00", "endtime": Value::Null,
                })
            })
            .collect();
        Ok(json!({ "baseinfo": base(person, ask), "insuinfo": insurances, "idetinfo": identities }))
    }

    /// 2001.
    pub(super) fn entitlement(&self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &[]);
        let person = self.person_of(fields)?;
        let (kind, med_type) = (fields.text("insutype", 6)?, fields.text("med_type", 6)?);
        fields.text("begntime", 19)?;
        let active =
            person.insurances.iter().find(|insurance| insurance.kind == kind && insurance.status == "1");
        let plan = active.and_then(|it| Catalogue::get().plan(&it.place, &kind, care_of(&med_type)));
        let (flag, why) = match (active, plan) {
            (None, _) => ("0", "该险种未参保或已暂停"),
            (Some(_), None) => ("0", "该险种不支付此医疗类别"),
            (Some(_), Some(_)) => ("1", "可享受待遇"),
        };
        Ok(json!({ "trtinfo": [{
            "psn_no": person.number,
            "trt_chk_type": "01",
            "fund_pay_type": "310101",
            "trt_enjymnt_flag": flag,
            "begndate": "2026-01-01",
            "enddate": "2026-12-31",
            "trt_chk_rslt": why,
        }] }))
    }

    /// 2201.
    pub(super) fn register(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &["mdtrtinfo"]);
        for (name, longest) in [
            ("insutype", 6),
            ("begntime", 19),
            ("mdtrt_cert_type", 3),
            ("atddr_no", 30),
            ("dr_name", 50),
            ("dept_code", 30),
            ("dept_name", 100),
            ("caty", 6),
        ] {
            fields.text(name, longest)?;
        }
        let (visit, number) = self.open(ask, fields, Care::Outpatient)?;
        let person = fields.text("psn_no", 30)?;
        Ok(json!({ "data": { "psn_no": person, "mdtrt_id": visit, "ipt_otp_no": number } }))
    }

    /// 2401. Reversible.
    pub(super) fn admit(&mut self, ask: Ask<'_>) -> Result<(Value, Did), No> {
        let fields = Fields::of(&ask.message.input, &["mdtrtinfo"]);
        for (name, longest) in [
            ("insutype", 6),
            ("begntime", 19),
            ("mdtrt_cert_type", 3),
            ("med_type", 6),
            ("atddr_no", 30),
            ("adm_dept_codg", 30),
            ("adm_dept_name", 100),
        ] {
            fields.text(name, longest)?;
        }
        let (visit, _) = self.open(ask, fields, Care::Inpatient)?;
        if let Some(opened) = self.visits.get_mut(&visit) {
            opened.is_described = true;
            opened.med_type = fields.maybe("med_type");
        }
        Ok((json!({ "result": { "mdtrt_id": visit } }), Did::Admitted(visit)))
    }

    fn open(&mut self, ask: Ask<'_>, fields: Fields<'_>, care: Care) -> Result<(String, String), No> {
        let person = self.person_of(fields)?.number.clone();
        let number = fields.text("ipt_otp_no", 30)?;
        if Catalogue::get().institution(&ask.message.institution).is_none() {
            return Err(No::business("医药机构未签订协议"));
        }
        let is_this_stay = |visit: &Visit| {
            visit.care == Care::Inpatient
                && visit.institution == ask.message.institution
                && visit.number == number
                && !visit.is_cancelled
        };
        if care == Care::Inpatient && self.visits.values().any(is_this_stay) {
            return Err(No::business("住院号重复"));
        }
        let visit = format!("{}{:012}", &ask.message.institution[1..7], self.number());
        let opened = Visit {
            person,
            institution: ask.message.institution.clone(),
            number: number.clone(),
            care,
            med_type: "11".to_owned(),
            lines: BTreeMap::new(),
            is_described: false,
            is_cancelled: false,
            is_discharged: false,
            settled: None,
            had: HashSet::new(),
        };
        self.visits.insert(visit.clone(), opened);
        Ok((visit, number))
    }

    /// 2202.
    pub(super) fn cancel_registration(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        self.close(ask, Care::Outpatient)
    }

    /// 2404.
    pub(super) fn cancel_admission(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        self.close(ask, Care::Inpatient)
    }

    fn close(&mut self, ask: Ask<'_>, care: Care) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &[]);
        let visit = self.visit_of(ask, fields)?;
        if visit.care != care || visit.settled.is_some() || !visit.lines.is_empty() {
            return Err(No::business("存在费用明细或已结算，不能撤销登记"));
        }
        visit.is_cancelled = true;
        Ok(json!({}))
    }

    /// 2203.
    pub(super) fn describe(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &["mdtrtinfo"]);
        let med_type = fields.text("med_type", 6)?;
        let diseases = Fields::list(&ask.message.input, &["diseinfo"]);
        if diseases.is_empty() {
            return Err(No::business("diseinfo不能为空"));
        }
        for disease in diseases {
            for (name, longest) in
                [("diag_type", 3), ("diag_code", 20), ("diag_name", 100), ("diag_dept", 50)]
            {
                disease.text(name, longest)?;
            }
        }
        let visit = self.visit_of(ask, fields)?;
        visit.is_described = true;
        visit.med_type = med_type;
        Ok(json!({}))
    }

    /// 2204, 2301.
    pub(super) fn add_lines(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let lines = Fields::list(&ask.message.input, &["feedetail"]);
        let first = *lines.first().ok_or_else(|| No::business("feedetail不能为空"))?;
        let care_place = ask.message.care_place.clone();
        let visit = self.visit_of(ask, first)?;
        if !visit.is_described {
            return Err(No::business("请先上传就诊信息"));
        }
        if visit.settled.is_some() || visit.is_discharged {
            return Err(No::business("已结算或已出院，不能上传明细"));
        }
        let mut added = BTreeMap::new();
        let mut told = Vec::new();
        for fields in lines {
            let (serial, line, answer) = line_of(fields, &care_place)?;
            if visit.lines.contains_key(&serial) || added.insert(serial.clone(), line).is_some() {
                return Err(No::business(format!("费用明细流水号{serial}重复")));
            }
            told.push(answer);
        }
        visit.lines.extend(added);
        Ok(json!({ "result": told }))
    }

    /// 2205, 2302.
    pub(super) fn drop_lines(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &[]);
        // An inpatient's lines are dropped by their own numbers, an outpatient's by batch.
        let (batch, serial) = (fields.maybe("chrg_bchno"), fields.maybe("feedetl_sn"));
        let visit = self.visit_of(ask, fields)?;
        if visit.settled.is_some() {
            return Err(No::business("已结算，不能撤销明细"));
        }
        let goes = |number: &String, line: &Line| {
            batch == "0000" || serial == "0000" || line.batch == batch || *number == serial
        };
        let before = visit.lines.len();
        visit.lines.retain(|number, line| !goes(number, line));
        if visit.lines.len() == before {
            return Err(No::business("未查到可撤销的费用明细"));
        }
        Ok(json!({}))
    }

    /// 2402.
    pub(super) fn discharge(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &["dscginfo"]);
        let visit = self.visit_of(ask, fields)?;
        if visit.care != Care::Inpatient {
            return Err(No::business("非住院登记"));
        }
        visit.is_discharged = true;
        Ok(json!({}))
    }
}

/// Reads and prices a fee line; answers its number, the line and what 2204 says of it.
pub(super) fn line_of(fields: Fields<'_>, care_place: &str) -> Result<(String, Line, Value), No> {
    let serial = fields.text("feedetl_sn", 30)?;
    let code = fields.text("med_list_codg", 50)?;
    fields.text("medins_list_codg", 150)?;
    fields.text("fee_ocur_time", 19)?;
    let (amount, count, unit) = (
        fields.money("det_item_fee_sumamt")?,
        fields.decimal("cnt", COUNT_PLACES)?,
        fields.decimal("pric", PRICE_PLACES)?,
    );
    let cost = decimal::cost(count, unit);
    if amount != cost {
        return Err(No::business(format!("明细{serial}金额与数量乘单价不符")));
    }
    let item = Catalogue::get().item(care_place, &code);
    let priced = price(item, count, unit, amount);
    let batch = fields.maybe("chrg_bchno");
    let answer = json!({
        "feedetl_sn": serial,
        "det_item_fee_sumamt": money(amount),
        "cnt": ratio(count),
        "pric": fields.raw("pric"),
        "pric_uplmt_amt": limit_of(item),
        "selfpay_prop": ratio(item.map_or(10_000, Item::self_pay)),
        "fulamt_ownpay_amt": money(priced.own),
        "overlmt_amt": money(priced.over),
        "preselfpay_amt": money(priced.first),
        "inscp_scp_amt": money(priced.scope),
        "chrgitm_lv": item.map_or("03", |item| item.class.as_str()),
        "med_chrgitm_type": item.map_or("14", |item| item.charge_kind.as_str()),
        "bas_medn_flag": "0", "hi_nego_drug_flag": "0", "chld_medc_flag": "0",
        "list_sp_item_flag": "0", "lmt_used_flag": "0", "drt_reim_flag": "0", "memo": "",
    });
    Ok((serial, Line { batch, priced }, answer))
}

fn limit_of(item: Option<&Item>) -> Value {
    match item.map_or(NO_LIMIT, Item::price_limit) {
        NO_LIMIT => json!(999_999),
        limit => money(decimal::share(limit, 1, 10_000)),
    }
}

/// What benefits a medical type falls under.
pub(super) fn care_of(med_type: &str) -> Care {
    match med_type.get(..1) {
        Some("2") => Care::Inpatient,
        Some("4") => Care::Pharmacy,
        _ => Care::Outpatient,
    }
}

/// 11 in service, 12 retired, 14 resident.
pub(super) fn psn_type(person: &Insured) -> &'static str {
    match (person.retired, person.insurances.iter().any(|insurance| insurance.kind == "310")) {
        (true, _) => "12",
        (false, true) => "11",
        (false, false) => "14",
    }
}

/// Fields of a person that several answers carry.
pub(super) fn base(person: &Insured, ask: Ask<'_>) -> Value {
    let born = format!("{:04}-{:02}-{:02}", person.born / 10_000, person.born / 100 % 100, person.born % 100);
    let year: u32 = super::message::stamp(ask.now_ms, "%Y").parse().unwrap_or(2_000);
    json!({
        "psn_no": person.number,
        "psn_cert_type": "01",
        "certno": person.document,
        "psn_name": person.name,
        "gend": person.sex,
        "naty": person.ethnicity,
        "brdy": born,
        "age": year.saturating_sub(person.born / 10_000),
    })
}
