//! What an output means to the scene. Numbers come as numbers and as texts, fields
//! under several names, nulls where something is not known; what cannot be read, or
//! answers another message, is no answer.

use jiff::civil::{Date, DateTime};
use serde_json::Value;

use super::{NhsaOptions, envelope::Answered};
use crate::{
    identity::{instant_of_local, yyyymmdd},
    model::{Fen, Millis},
    scenes::medical::{
        Entitlement, FeeResult, FileTicket, Insurance, MedicalOrder, Opened, Person, PersonIdentity, Price,
        Ratio, Said, Sender, SettlementInfo, SettlementPart, Statement,
        orders::{CancelSettlement, FeeLine},
        parse_scaled,
    },
};

/// Places of an amount.
const MONEY: u32 = 2;
/// Stands for no price ceiling.
const NO_CEILING: &str = "999999";

impl Answered {
    /// 9102: the body is the file.
    pub(super) fn of_file(bytes: &[u8]) -> Self {
        let output = Value::from(bytes.to_vec());
        Answered { output, warning: String::new(), reference: String::new() }
    }
}

/// What was said to an order; `None` for what is no answer to it.
pub(super) fn said(
    order: &MedicalOrder,
    sender: &Sender,
    answered: &Answered,
    options: &NhsaOptions,
) -> Option<Said> {
    let output = &answered.output;
    match order {
        MedicalOrder::ReadPerson(_) => person(output, options).map(Said::Person),
        MedicalOrder::CheckEntitlement(check) => {
            let rows = rows(output, &["trtinfo", "result", "data"], options);
            let is_theirs = |row: &Row<'_>| row.is_absent_or("psn_no", &check.psn_no);
            rows.iter().all(is_theirs).then(|| Said::Entitlements(rows.iter().map(entitlement).collect()))
        }
        MedicalOrder::Register(_) | MedicalOrder::Admit(_) => {
            let (psn_no, ipt_otp_no) = match order {
                MedicalOrder::Register(register) => (&register.psn_no, &register.ipt_otp_no),
                MedicalOrder::Admit(admit) => (&admit.psn_no, &admit.ipt_otp_no),
                _ => return None,
            };
            let row = row(output, &["data", "result", "mdtrtinfo"], options);
            let mdtrt_id = row.text("mdtrt_id");
            // The answer to another patient's registration is none to this one.
            let is_ours = row.is_absent_or("psn_no", psn_no) && row.is_absent_or("ipt_otp_no", ipt_otp_no);
            (is_ours && !mdtrt_id.is_empty()).then_some(Said::Opened(Opened { mdtrt_id }))
        }
        MedicalOrder::AddFees(fees) | MedicalOrder::AddStayFees(fees) => {
            split(output, &["result", "feedetail", "data"], &fees.lines, options).map(Said::Fees)
        }
        MedicalOrder::PreSettlePurchase(purchase) | MedicalOrder::SettlePurchase(purchase) => {
            let mut info = of_this(settlement(output, options)?, sender, &purchase.mdtrt_id)?;
            info.lines = split(output, &["detlcutinfo", "result"], &purchase.lines, options)?;
            is_final_if(matches!(order, MedicalOrder::SettlePurchase(_)), info)
        }
        MedicalOrder::PreSettle(settle) | MedicalOrder::PreSettleStay(settle) => {
            let info = of_this(settlement(output, options)?, sender, &settle.visit.mdtrt_id)?;
            is_final_if(false, info)
        }
        MedicalOrder::Settle(settle) | MedicalOrder::SettleStay(settle) => {
            let info = of_this(settlement(output, options)?, sender, &settle.visit.mdtrt_id)?;
            is_final_if(true, info)
        }
        MedicalOrder::CancelPurchase(cancel)
        | MedicalOrder::CancelSettlement(cancel)
        | MedicalOrder::CancelStaySettlement(cancel) => cancelled(output, sender, cancel, options),
        MedicalOrder::ReconcileTotals(_) => {
            let row = row(output, &["stmtinfo", "data"], options);
            let result = row.text("stmt_rslt");
            let matches = options.matches.contains(&result);
            let description = row.text("stmt_rslt_dscr");
            (!result.is_empty()).then_some(Said::Statement(Statement { result, matches, description }))
        }
        MedicalOrder::ReconcileDetails(_) | MedicalOrder::UploadFile(_) => {
            let row = row(output, &["fileinfo", "data"], options);
            let ticket = FileTicket {
                file: row.text("file_qury_no"),
                name: row.text("filename"),
                available_until_ms: row.instant("dld_endtime"),
            };
            (!ticket.file.is_empty()).then_some(Said::File(ticket))
        }
        MedicalOrder::DownloadFile(_) => bytes(output).map(Said::Content),
        MedicalOrder::SignIn => {
            let row = row(output, &["signinoutb"], options);
            let at = row.instant("sign_time");
            (!row.text("sign_no").is_empty()).then_some(Said::SignedIn(at))
        }
        MedicalOrder::CancelRegistration(_)
        | MedicalOrder::RecordVisit(_)
        | MedicalOrder::CancelFees(_)
        | MedicalOrder::CancelStayFees(_)
        | MedicalOrder::Discharge(_)
        | MedicalOrder::SignOut => Some(Said::Done),
    }
}

/// setlinfo and setldetail, whoever asked.
pub(super) fn settlement(output: &Value, options: &NhsaOptions) -> Option<SettlementInfo> {
    let row = row(output, &["setlinfo", "data"], options);
    let info = SettlementInfo {
        mdtrt_id: row.text("mdtrt_id"),
        setl_id: row.text("setl_id"),
        settled_at_ms: row.instant("setl_time"),
        total: row.money("medfee_sumamt")?,
        fully_own: row.money("fulamt_ownpay_amt")?,
        over_limit: row.money("overlmt_selfpay")?,
        first_self_pay: row.money("preselfpay_amt")?,
        in_scope: row.money("inscp_scp_amt")?,
        deductible: row.money_or_zero("act_pay_dedc")?,
        pool_ratio: Ratio::from_units(row.scaled_or_zero("pool_prop_selfpay", Ratio::DIGITS)?),
        funds: row.money("fund_pay_sumamt")?,
        basic_pool: row.money_or_zero("hifp_pay")?,
        civil_servants: row.money_or_zero("cvlserv_pay")?,
        enterprise: row.money_or_zero("hifes_pay")?,
        serious_illness: row.money_or_zero("hifmi_pay")?,
        large_amount: row.money_or_zero("hifob_pay")?,
        medical_aid: row.money_or_zero("maf_pay")?,
        other_funds: row.money_or_zero("oth_pay")?,
        person: row.maybe_money("psn_part_amt")?,
        account: row.money_or_zero("acct_pay")?,
        family_account: row.maybe_money("acct_mulaid_pay")?,
        cash: row.money_or_zero("psn_cash_pay")?,
        hospital: row.maybe_money("hosp_part_amt")?,
        balance: row.money_or_zero("balc")?,
        sender_msgid: row.text("medins_setl_id"),
        clearing_office: row.text("clr_optins"),
        clearing_way: row.text("clr_way"),
        clearing_type: row.text("clr_type"),
        parts: rows(output, &["setldetail"], options).iter().map(part).collect::<Option<_>>()?,
        lines: Vec::new(),
    };
    Some(info)
}

/// The settlement, if it answers this message and is about this visit.
fn of_this(info: SettlementInfo, sender: &Sender, mdtrt_id: &str) -> Option<SettlementInfo> {
    let is_ours = info.sender_msgid.is_empty() || info.sender_msgid == sender.msgid.as_str();
    let is_of_visit = mdtrt_id.is_empty() || info.mdtrt_id.is_empty() || info.mdtrt_id == mdtrt_id;
    (is_ours && is_of_visit).then_some(info)
}

/// A settlement has a number, a trial has none.
fn is_final_if(is_final: bool, info: SettlementInfo) -> Option<Said> {
    (is_final != info.setl_id.is_empty()).then(|| Said::Settlement(Box::new(info)))
}

fn cancelled(
    output: &Value,
    sender: &Sender,
    cancel: &CancelSettlement,
    options: &NhsaOptions,
) -> Option<Said> {
    let info = of_this(settlement(output, options)?, sender, &cancel.visit.mdtrt_id)?;
    Some(Said::Settlement(Box::new(info)))
}

fn person(output: &Value, options: &NhsaOptions) -> Option<Person> {
    let base = row(output, &["baseinfo"], options);
    let person = Person {
        psn_no: base.text("psn_no"),
        document_kind: base.text("psn_cert_type"),
        document_number: base.text("certno"),
        name: base.text("psn_name"),
        sex: base.text("gend"),
        born: base.day("brdy"),
        insurances: rows(output, &["insuinfo"], options).iter().map(insurance).collect::<Option<_>>()?,
        identities: rows(output, &["idetinfo"], options).iter().map(identity).collect(),
    };
    (!person.psn_no.is_empty()).then_some(person)
}

fn insurance(row: &Row<'_>) -> Option<Insurance> {
    Some(Insurance {
        insutype: row.text("insutype"),
        psn_type: row.text("psn_type"),
        status: row.text("psn_insu_stas"),
        since: row.day("psn_insu_date"),
        paused_since: row.day("paus_insu_date"),
        civil_servant: row.flag("cvlserv_flag"),
        insured_region: row.text("insuplc_admdvs"),
        employer: row.text("emp_name"),
        balance: row.money_or_zero("balc")?,
    })
}

fn identity(row: &Row<'_>) -> PersonIdentity {
    PersonIdentity {
        kind: row.text("psn_idet_type"),
        level: row.text("psn_type_lv"),
        from_ms: row.instant("begntime"),
        until_ms: row.instant("endtime"),
    }
}

fn entitlement(row: &Row<'_>) -> Entitlement {
    Entitlement {
        check: row.text("trt_chk_type"),
        fund_pay_type: row.text("fund_pay_type"),
        entitled: row.flag("trt_enjymnt_flag"),
        from: row.day("begndate"),
        until: row.day("enddate"),
        result: row.text("trt_chk_rslt"),
    }
}

fn part(row: &Row<'_>) -> Option<SettlementPart> {
    Some(SettlementPart {
        fund_pay_type: row.text("fund_pay_type"),
        name: row.text("fund_pay_type_name"),
        in_scope: row.money_or_zero("inscp_scp_amt")?,
        limit: row.money_or_zero("crt_payb_lmt_amt")?,
        paid: row.money("fund_payamt")?,
    })
}

/// How lines were split, in the order they were sent; each must be there once.
fn split(output: &Value, names: &[&str], sent: &[FeeLine], options: &NhsaOptions) -> Option<Vec<FeeResult>> {
    let mut results = rows(output, names, options).iter().map(result).collect::<Option<Vec<_>>>()?;
    if results.len() != sent.len() {
        return None;
    }
    let take = |line: &FeeLine| {
        let at = results.iter().position(|result| result.serial == line.serial)?;
        Some(results.swap_remove(at))
    };
    sent.iter().map(take).collect()
}

fn result(row: &Row<'_>) -> Option<FeeResult> {
    let limit = row.text("pric_uplmt_amt");
    let price_limit = match limit.split('.').next().unwrap_or_default() {
        "" | NO_CEILING => None,
        _ => Some(Price::from_units(row.scaled_or_zero("pric_uplmt_amt", Price::DIGITS)?)),
    };
    Some(FeeResult {
        serial: row.text("feedetl_sn"),
        sum: row.money("det_item_fee_sumamt")?,
        price_limit,
        self_pay: Ratio::from_units(row.scaled_or_zero("selfpay_prop", Ratio::DIGITS)?),
        fully_own: row.money_or_zero("fulamt_ownpay_amt")?,
        over_limit: row.money_or_zero("overlmt_amt")?,
        first_self_pay: row.money_or_zero("preselfpay_amt")?,
        in_scope: row.money_or_zero("inscp_scp_amt")?,
        item_class: row.text("chrgitm_lv"),
        item_type: row.text("med_chrgitm_type"),
        memo: row.text("memo"),
    })
}

fn bytes(output: &Value) -> Option<Vec<u8>> {
    let byte = |value: &Value| value.as_i64().and_then(|number| u8::try_from(number & 0xff).ok());
    output.as_array()?.iter().map(byte).collect()
}

/// An object of the output.
struct Row<'a> {
    fields: &'a Value,
    options: &'a NhsaOptions,
}

/// The object under the first of these names that is there, or the output itself.
fn row<'a>(output: &'a Value, names: &[&str], options: &'a NhsaOptions) -> Row<'a> {
    let found = names.iter().find_map(|name| output.get(name)).unwrap_or(output);
    // Some platforms wrap a single object into a list.
    let fields = found.as_array().and_then(|rows| rows.first()).unwrap_or(found);
    Row { fields, options }
}

fn rows<'a>(output: &'a Value, names: &[&str], options: &'a NhsaOptions) -> Vec<Row<'a>> {
    let found = names.iter().find_map(|name| output.get(name));
    match found {
        Some(Value::Array(rows)) => rows.iter().map(|fields| Row { fields, options }).collect(),
        Some(fields @ Value::Object(_)) => vec![Row { fields, options }],
        Some(_) | None => Vec::new(),
    }
}

impl<'a> Row<'a> {
    /// A field under its own name or one of those that deployed systems use.
    fn value(&self, name: &str) -> &'a Value {
        let own = self.fields.get(name).filter(|value| !value.is_null());
        let others = || {
            let names = self.options.aliases.get(name).into_iter().flatten();
            names.filter_map(|other| self.fields.get(other)).find(|value| !value.is_null())
        };
        own.or_else(others).unwrap_or(&Value::Null)
    }

    fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        }
    }

    fn flag(&self, name: &str) -> bool {
        self.text(name) == "1"
    }

    fn is_absent_or(&self, name: &str, expected: &str) -> bool {
        let text = self.text(name);
        text.is_empty() || text == expected
    }

    /// An amount that must be there.
    fn money(&self, name: &str) -> Option<Fen> {
        self.maybe_money(name)?
    }

    /// An amount; `Some(None)` where there is none.
    #[allow(clippy::option_option)]
    fn maybe_money(&self, name: &str) -> Option<Option<Fen>> {
        let text = self.text(name);
        if text.is_empty() { Some(None) } else { Some(Some(Fen::new(parse_scaled(&text, MONEY).ok()?))) }
    }

    fn money_or_zero(&self, name: &str) -> Option<Fen> {
        Some(self.maybe_money(name)?.unwrap_or(Fen::ZERO))
    }

    fn scaled_or_zero(&self, name: &str, digits: u32) -> Option<i64> {
        let text = self.text(name);
        if text.is_empty() { Some(0) } else { parse_scaled(&text, digits).ok() }
    }

    /// yyyymmdd of `yyyy-MM-dd` with or without a time; 0 where there is none.
    fn day(&self, name: &str) -> u32 {
        let text = self.text(name);
        let day: Option<Date> = text.get(..10).and_then(|day| day.parse().ok());
        day.map_or(0, yyyymmdd)
    }

    /// `yyyy-MM-dd HH:mm:ss` in China's time; 0 where there is none.
    fn instant(&self, name: &str) -> Millis {
        let text = self.text(name);
        let time: Option<DateTime> = text.replacen(' ', "T", 1).parse().ok();
        let day = || text.parse::<Date>().ok().map(|day| day.at(0, 0, 0, 0));
        time.or_else(day).map_or(0, instant_of_local)
    }
}
