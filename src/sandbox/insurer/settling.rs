//! Trial and real settlements, their cancellation and their inquiry: 2101 to 2103,
//! 2206 to 2208, 2303 to 2305, 5203.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::{
    benefit::{Patient, Purse, Shares, Year, share_out},
    book::{Ask, Book, Did, Settlement, Visit},
    catalogue::{Care, Catalogue},
    decimal::{money, ratio},
    message::{Fields, No, stamp},
    person::{Insurance, Insured},
    price::Priced,
    visits::{base, care_of, line_of, psn_type},
};
use crate::model::Millis;

/// Care outside the three regions: filed, and not filed.
const FILED_ELSEWHERE: i64 = 9_000;
const NOT_FILED: i64 = 7_000;
const THREE_REGIONS: [&str; 3] = ["11", "12", "13"];

/// A bill before it is settled.
struct Case {
    visit: String,
    person: String,
    insurance: Insurance,
    care: Care,
    med_type: String,
    bill: Priced,
    uses_account: bool,
}

impl Book {
    /// 2206, 2303: nothing is booked, nothing has a number.
    pub(super) fn trial(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let case = self.case_of_visit(ask)?;
        let (settlement, _) = self.work_out(ask, &case)?;
        Ok(self.settlement_answer(&settlement, None, ask))
    }

    /// 2207, 2304.
    pub(super) fn settle(&mut self, ask: Ask<'_>) -> Result<(Value, Did), No> {
        let case = self.case_of_visit(ask)?;
        let fields = Fields::of(&ask.message.input, &[]);
        // 2207 repeats what 2204 said; a bill that has changed since is refused.
        for (name, expected) in [
            ("fulamt_ownpay_amt", case.bill.own),
            ("overlmt_selfpay", case.bill.over),
            ("preselfpay_amt", case.bill.first),
            ("inscp_scp_amt", case.bill.scope),
        ] {
            let is_told = !fields.raw(name).is_null() || ask.message.infno.starts_with("2207");
            if is_told && fields.money(name)? != expected {
                return Err(No::business(format!("{name}与明细汇总不符，请重新预结算")));
            }
        }
        self.settle_case(ask, &case)
    }

    /// 2101: opens the purchase, so that 2102 can name it. Reversible.
    pub(super) fn purchase_trial(&mut self, ask: Ask<'_>) -> Result<(Value, Did), No> {
        let (mut case, lines) = self.case_of_purchase(ask)?;
        case.visit = self.open_purchase(ask, &case);
        let (settlement, _) = self.work_out(ask, &case)?;
        let mut answer = self.settlement_answer(&settlement, None, ask);
        answer["detlcutinfo"] = lines.into();
        Ok((answer, Did::Admitted(case.visit)))
    }

    /// 2102: settles a purchase that 2101 opened, or opens it itself.
    pub(super) fn purchase(&mut self, ask: Ask<'_>) -> Result<(Value, Did), No> {
        let (mut case, lines) = self.case_of_purchase(ask)?;
        case.visit = match Fields::of(&ask.message.input, &["druginfo"]).maybe("mdtrt_id") {
            number if number.is_empty() => self.open_purchase(ask, &case),
            number => {
                let opened = self.visits.get(&number).filter(|visit| visit.person == case.person);
                match opened.ok_or_else(|| No::business("未查到购药登记信息"))?.settled {
                    Some(_) => return Err(No::business("该购药已结算")),
                    None => number,
                }
            }
        };
        let (mut answer, did) = self.settle_case(ask, &case)?;
        answer["detlcutinfo"] = lines.into();
        Ok((answer, did))
    }

    fn open_purchase(&mut self, ask: Ask<'_>, case: &Case) -> String {
        let number = format!("{}{:012}", &ask.message.institution[1..7], self.number());
        let visit = Visit {
            person: case.person.clone(),
            institution: ask.message.institution.clone(),
            number: Fields::of(&ask.message.input, &["druginfo"]).maybe("invono"),
            care: Care::Pharmacy,
            med_type: case.med_type.clone(),
            lines: BTreeMap::new(),
            is_described: true,
            is_cancelled: false,
            is_discharged: false,
            settled: None,
            had: HashSet::new(),
        };
        self.visits.insert(number.clone(), visit);
        number
    }

    fn settle_case(&mut self, ask: Ask<'_>, case: &Case) -> Result<(Value, Did), No> {
        let (settlement, year) = self.work_out(ask, case)?;
        let number = format!("{}{:015}", &ask.message.institution[1..7], self.number());
        self.years.insert(self.year_key(&settlement), year);
        self.move_accounts(&settlement.person, &settlement.insurance.kind, &settlement.shares);
        if let Some(visit) = self.visits.get_mut(&case.visit) {
            visit.settled = Some(number.clone());
        }
        let answer = self.settlement_answer(&settlement, Some(&number), ask);
        self.settlements.insert(number.clone(), settlement);
        Ok((answer, Did::Settled(number)))
    }

    /// 2103, 2208, 2305: a settlement with negated amounts under a number of its own.
    pub(super) fn cancel_settlement(&mut self, ask: Ask<'_>) -> Result<(Value, Did), No> {
        let fields = Fields::of(&ask.message.input, &[]);
        let (number, person) = (fields.text("setl_id", 30)?, fields.text("psn_no", 30)?);
        let settled = self
            .settlements
            .get(&number)
            .filter(|settled| settled.person == person && settled.institution == ask.message.institution)
            .filter(|settled| settled.cancels.is_none())
            .ok_or_else(|| No::business("未查到结算信息"))?;
        if settled.cancelled_by.is_some() {
            return Err(No::business("该结算已撤销"));
        }
        let cancel = Settlement {
            shares: settled.shares.negated(),
            year: Year::default(),
            at_ms: ask.now_ms,
            msgid: ask.message.msgid.clone(),
            cancels: Some(number.clone()),
            ..settled.clone()
        };
        let own = format!("{}{:015}", &ask.message.institution[1..7], self.number());
        self.take_back(&number, Some(&own));
        let answer = self.settlement_answer(&cancel, Some(&own), ask);
        self.settlements.insert(own.clone(), cancel);
        Ok((answer, Did::Cancelled(own)))
    }

    /// A settlement loses its effect on year, accounts and visit.
    pub(super) fn take_back(&mut self, number: &str, cancelled_by: Option<&str>) {
        let Some(settled) = self.settlements.get_mut(number) else { return };
        settled.cancelled_by = cancelled_by.map(str::to_owned);
        let settled = settled.clone();
        let key = self.year_key(&settled);
        if let Some(year) = self.years.get_mut(&key) {
            *year = minus(*year, settled.year);
        }
        self.move_accounts(&settled.person, &settled.insurance.kind, &settled.shares.negated());
        if let Some(visit) = self.visits.get_mut(&settled.visit) {
            visit.settled = None;
        }
    }

    /// A settlement whose cancellation was reversed has its effect again.
    pub(super) fn give_again(&mut self, number: &str) {
        let Some(settled) = self.settlements.get_mut(number) else { return };
        settled.cancelled_by = None;
        let settled = settled.clone();
        let year = self.years.entry(self.year_key(&settled)).or_default();
        *year = plus(*year, settled.year);
        self.move_accounts(&settled.person, &settled.insurance.kind, &settled.shares);
        if let Some(visit) = self.visits.get_mut(&settled.visit) {
            visit.settled = Some(number.to_owned());
        }
    }

    /// 5203: by `setl_id`, or the last of a visit.
    pub(super) fn settlement(&self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &[]);
        let person = fields.text("psn_no", 30)?;
        let (number, visit) = (fields.maybe("setl_id"), fields.maybe("mdtrt_id"));
        let asked = |(known, settled): &(&String, &Settlement)| {
            settled.person == person
                && settled.institution == ask.message.institution
                && (**known == number || (number.is_empty() && settled.visit == visit))
        };
        let found = self.settlements.iter().filter(asked).max_by_key(|(_, settled)| settled.at_ms);
        let (number, settled) = found.ok_or_else(|| No::business("未查到结算信息"))?;
        Ok(self.settlement_answer(settled, Some(number), ask))
    }

    fn case_of_visit(&mut self, ask: Ask<'_>) -> Result<Case, No> {
        let fields = Fields::of(&ask.message.input, &[]);
        let (total, batch) = (fields.money("medfee_sumamt")?, fields.maybe("chrg_bchno"));
        fields.text("psn_setlway", 6)?;
        fields.text("mdtrt_cert_type", 3)?;
        let med_type = fields.text("med_type", 6)?;
        let person = self.person_of(fields)?;
        let insurance = active(person, &fields.text("insutype", 6)?)?.clone();
        let person = person.number.clone();
        let number = fields.text("mdtrt_id", 30)?;
        let visit = self.visit_of(ask, fields)?;
        if visit.settled.is_some() {
            return Err(No::business("该就诊已结算"));
        }
        let is_outpatient = visit.care == Care::Outpatient;
        let counts = |line: &&super::book::Line| !is_outpatient || batch.is_empty() || line.batch == batch;
        let bill =
            visit.lines.values().filter(counts).fold(Priced::default(), |sum, line| sum.plus(line.priced));
        if bill.amount != total {
            return Err(No::business("medfee_sumamt与明细汇总不符"));
        }
        let uses_account = fields.maybe("acct_used_flag") == "1";
        Ok(Case { visit: number, person, insurance, care: visit.care, med_type, bill, uses_account })
    }

    /// The case, and what 2204 would say of its lines.
    fn case_of_purchase(&self, ask: Ask<'_>) -> Result<(Case, Vec<Value>), No> {
        let fields = Fields::of(&ask.message.input, &["druginfo"]);
        let person = match fields.maybe("psn_no") {
            number if number.is_empty() => self.named(fields)?,
            _ => self.person_of(fields)?,
        };
        let insurance = active(person, &fields.text("insutype", 6)?)?.clone();
        if Catalogue::get().institution(&ask.message.institution).is_none() {
            return Err(No::business("医药机构未签订协议"));
        }
        let mut serials = HashSet::new();
        let mut bill = Priced::default();
        let mut told = Vec::new();
        for line in Fields::list(&ask.message.input, &["drugdetail", "feedetail"]) {
            let (serial, line, answer) = line_of(line, &ask.message.care_place)?;
            told.push(answer);
            if !serials.insert(serial) {
                return Err(No::business("费用明细流水号重复"));
            }
            bill = bill.plus(line.priced);
        }
        if serials.is_empty() || bill.amount != fields.money("medfee_sumamt")? {
            return Err(No::business("medfee_sumamt与明细汇总不符"));
        }
        let case = Case {
            visit: String::new(),
            person: person.number.clone(),
            insurance,
            care: Care::Pharmacy,
            med_type: fields.text("med_type", 6)?,
            bill,
            uses_account: fields.maybe("acct_used_flag") == "1",
        };
        Ok((case, told))
    }

    /// What a case comes to, and the year afterwards.
    fn work_out(&self, ask: Ask<'_>, case: &Case) -> Result<(Settlement, Year), No> {
        let person = self.persons.get(&case.person).ok_or_else(|| No::business("未查到参保人员信息"))?;
        let care = if case.care == Care::Inpatient { Care::Inpatient } else { care_of(&case.med_type) };
        let plan = Catalogue::get()
            .plan(&case.insurance.place, &case.insurance.kind, care)
            .ok_or_else(|| No::business("该险种不支付此医疗类别"))?;
        let level = Catalogue::get().institution(&ask.message.institution).map_or(1, |place| place.level);
        let patient = Patient {
            is_employee: case.insurance.kind == "310",
            retired: person.retired,
            civil_servant: person.civil_servant,
            gets_aid: person.identity.is_some(),
            place_factor: place_factor(&ask.message.care_place, &case.insurance.place, person.filed),
        };
        let purse =
            if case.uses_account { self.purse(person, &case.insurance.kind) } else { Purse::default() };
        let mut settlement = Settlement {
            visit: case.visit.clone(),
            person: case.person.clone(),
            insurance: case.insurance.clone(),
            institution: ask.message.institution.clone(),
            care,
            med_type: case.med_type.clone(),
            shares: Shares::default(),
            year: Year::default(),
            at_ms: ask.now_ms,
            msgid: ask.message.msgid.clone(),
            cancels: None,
            cancelled_by: None,
        };
        let before = self.years.get(&self.year_key(&settlement)).copied().unwrap_or_default();
        let (shares, after) = share_out(case.bill, plan, level, patient, before, purse);
        settlement.shares = shares;
        settlement.year = minus(after, before);
        Ok((settlement, after))
    }

    fn purse(&self, person: &Insured, kind: &str) -> Purse {
        let balance = |person: &Insured| {
            person.insurances.iter().find(|it| it.kind == kind).map_or(0, |it| it.balance_fen)
        };
        let family = person.family.as_ref().and_then(|number| self.persons.get(number));
        Purse { own: balance(person), family: family.map_or(0, balance) }
    }

    fn move_accounts(&mut self, person: &str, kind: &str, shares: &Shares) {
        let family = self.persons.get(person).and_then(|person| person.family.clone());
        self.take_from(person, kind, shares.account);
        if let Some(family) = family {
            self.take_from(&family, kind, shares.family);
        }
    }

    fn take_from(&mut self, person: &str, kind: &str, fen: i64) {
        let insurances = self.persons.get_mut(person).map(|person| &mut person.insurances);
        for insurance in insurances.into_iter().flatten().filter(|insurance| insurance.kind == kind) {
            insurance.balance_fen -= fen;
        }
    }

    fn year_key(&self, settled: &Settlement) -> (String, String, Care, String) {
        let year = stamp(settled.at_ms, "%Y");
        (settled.person.clone(), settled.insurance.kind.clone(), settled.care, year)
    }

    /// `setlinfo` and `setldetail`.
    fn settlement_answer(&self, settled: &Settlement, number: Option<&str>, ask: Ask<'_>) -> Value {
        let shares = &settled.shares;
        let bill = &shares.bill;
        let account = if self.family_inside { shares.account + shares.family } else { shares.account };
        let mut info = json!({
            "mdtrt_id": settled.visit,
            "setl_id": number,
            "insutype": settled.insurance.kind,
            "setl_time": number.map(|_| stamp(settled.at_ms, "%Y-%m-%d %H:%M:%S")),
            "mdtrt_cert_type": "03",
            "med_type": settled.med_type,
            "medfee_sumamt": money(bill.amount),
            "fulamt_ownpay_amt": money(bill.own),
            "overlmt_selfpay": money(bill.over),
            "preselfpay_amt": money(bill.first),
            "inscp_scp_amt": money(bill.scope),
            "act_pay_dedc": money(shares.deductible),
            "hifp_pay": money(shares.hifp),
            "pool_prop_selfpay": ratio(shares.ratio),
            "cvlserv_pay": money(shares.cvlserv),
            "hifes_pay": money(0),
            "hifmi_pay": money(shares.hifmi),
            "hifob_pay": money(shares.hifob),
            "maf_pay": money(shares.maf),
            "oth_pay": money(0),
            "fund_pay_sumamt": money(shares.fund()),
            "acct_pay": money(account),
            "acct_mulaid_pay": money(shares.family),
            "hosp_part_amt": money(bill.hospital),
            "medins_setl_id": settled.msgid,
            "clr_optins": settled.insurance.place,
            "clr_way": "1",
            "clr_type": clr_type(settled.care),
            "refd_setl_flag": if settled.cancels.is_some() { "1" } else { "0" },
        });
        // 2103 has other names for what a person bears.
        let (person_part, cash_part) = match (settled.cancels.is_some(), settled.care) {
            (true, Care::Pharmacy) => ("psn_pay", "cash_payamt"),
            _ => ("psn_part_amt", "psn_cash_pay"),
        };
        // Where the family's account stands beside, the person's part does not have it.
        let beside = shares.account + shares.family - account;
        info[person_part] = money(shares.person() - beside);
        info[cash_part] = money(shares.cash);
        if let Some(person) = self.persons.get(&settled.person) {
            let purse = self.purse(person, &settled.insurance.kind);
            // A trial shows the balance as it would be.
            let left = if number.is_some() { purse.own } else { purse.own - shares.account };
            info["balc"] = money(left);
            info["psn_type"] = psn_type(person).into();
            info["cvlserv_flag"] = if person.civil_servant { "1" } else { "0" }.into();
            if let (Some(info), Value::Object(base)) = (info.as_object_mut(), base(person, ask)) {
                info.extend(base);
            }
        }
        json!({ "setlinfo": info, "setldetail": details(shares) })
    }
}

fn details(shares: &Shares) -> Vec<Value> {
    [
        ("310101", "基本医疗保险统筹基金", shares.hifp),
        ("310201", "个人账户基金", shares.account + shares.family),
        ("320101", "公务员医疗补助基金", shares.cvlserv),
        ("330101", "大额医疗费用补助基金", shares.hifob),
        ("390201", "城乡居民大病保险基金", shares.hifmi),
        ("610101", "医疗救助基金", shares.maf),
        ("999996", "医院负担", shares.bill.hospital),
    ]
    .into_iter()
    .filter(|(_, _, fen)| *fen != 0)
    .map(|(kind, name, fen)| {
        json!({
            "fund_pay_type": kind,
            "inscp_scp_amt": money(shares.bill.scope),
            "crt_payb_lmt_amt": money(0),
            "fund_payamt": money(fen),
            "fund_pay_type_name": name,
            "setl_proc_info": "",
        })
    })
    .collect()
}

/// 11 outpatient, 21 inpatient, 41 pharmacy.
pub(super) fn clr_type(care: Care) -> &'static str {
    match care {
        Care::Outpatient => "11",
        Care::Inpatient => "21",
        Care::Pharmacy => "41",
    }
}

fn active<'a>(person: &'a Insured, kind: &str) -> Result<&'a Insurance, No> {
    let active = |insurance: &&Insurance| insurance.kind == kind && insurance.status == "1";
    person.insurances.iter().find(active).ok_or_else(|| No::business("该险种未参保或已暂停"))
}

/// Ten thousandths: within the three regions care counts as filed.
fn place_factor(care_place: &str, insured_place: &str, filed: bool) -> i64 {
    let province = |place: &str| place.get(..2).unwrap_or_default().to_owned();
    let (care, insured) = (province(care_place), province(insured_place));
    let is_near = care == insured || THREE_REGIONS.contains(&care.as_str());
    match (is_near, filed) {
        (true, _) => 10_000,
        (false, true) => FILED_ELSEWHERE,
        (false, false) => NOT_FILED,
    }
}

fn plus(a: Year, b: Year) -> Year {
    Year {
        deducted: a.deducted + b.deducted,
        counted: a.counted + b.counted,
        pool: a.pool + b.pool,
        burden: a.burden + b.burden,
        stays: a.stays + b.stays,
    }
}

fn minus(a: Year, b: Year) -> Year {
    Year {
        deducted: a.deducted - b.deducted,
        counted: a.counted - b.counted,
        pool: a.pool - b.pool,
        burden: a.burden - b.burden,
        stays: a.stays - b.stays,
    }
}

/// The day of a settlement, `yyyy-mm-dd`.
pub(super) fn day_of(at_ms: Millis) -> String {
    stamp(at_ms, "%Y-%m-%d")
}
