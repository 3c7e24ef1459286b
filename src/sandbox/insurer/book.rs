//! The books: who is insured, visits with their lines, settlements, what a year has
//! seen, and which message did what, so that it can be reversed.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use super::{
    InsurerOptions,
    benefit::{Shares, Year},
    catalogue::Care,
    message::{Fields, Message, No},
    person::{Insurance, Insured},
    price::Priced,
    statement::Uploaded,
};
use crate::model::Millis;

/// A visit, a stay or a purchase.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) person: String,
    pub(super) institution: String,
    /// `ipt_otp_no`, or `invono` of a purchase.
    pub(super) number: String,
    pub(super) care: Care,
    pub(super) med_type: String,
    /// By `feedetl_sn`.
    pub(super) lines: BTreeMap<String, Line>,
    /// 2203 has come, or 2401.
    pub(super) is_described: bool,
    pub(super) is_cancelled: bool,
    pub(super) is_discharged: bool,
    /// `setl_id` in effect.
    pub(super) settled: Option<String>,
    /// Faults that its number asked for and had.
    pub(super) had: HashSet<String>,
}

/// A fee line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// `chrg_bchno`.
    pub(super) batch: String,
    pub(super) priced: Priced,
}

/// A settlement or the cancellation of one.
#[derive(Debug, Clone)]
pub(super) struct Settlement {
    pub(super) visit: String,
    pub(super) person: String,
    pub(super) insurance: Insurance,
    pub(super) institution: String,
    pub(super) care: Care,
    pub(super) med_type: String,
    pub(super) shares: Shares,
    /// What it added to the year.
    pub(super) year: Year,
    pub(super) at_ms: Millis,
    pub(super) msgid: String,
    /// The settlement that this one cancels.
    pub(super) cancels: Option<String>,
    pub(super) cancelled_by: Option<String>,
}

/// What a message did.
#[derive(Debug, Clone)]
pub(super) enum Did {
    /// Nothing that 2601 would undo.
    Other,
    Settled(String),
    Cancelled(String),
    /// A stay or a purchase was opened.
    Admitted(String),
}

/// What an institution is owed by the books; fen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub total: i64,
    pub fund: i64,
    pub account: i64,
    pub cash: i64,
    /// Settlements and cancellations.
    pub count: u64,
}

/// Key of a year: person, insurance, kind of care, year.
type YearKey = (String, String, Care, String);

/// The books.
pub(super) struct Book {
    pub(super) family_inside: bool,
    pub(super) match_value: String,
    needs_sign_in: bool,
    pub(super) persons: BTreeMap<String, Insured>,
    by_document: HashMap<String, String>,
    by_card: HashMap<String, (String, String)>,
    by_token: HashMap<String, String>,
    pub(super) visits: HashMap<String, Visit>,
    pub(super) settlements: BTreeMap<String, Settlement>,
    pub(super) messages: HashMap<String, Did>,
    /// Reversed before they came.
    pub(super) refused: HashSet<String>,
    pub(super) years: HashMap<YearKey, Year>,
    signed_in: HashMap<String, String>,
    pub(super) files: HashMap<String, Uploaded>,
    numbers: u64,
}

/// A message with the time it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) message: &'a Message,
    pub(super) now_ms: Millis,
}

impl Book {
    pub(super) fn new(options: &InsurerOptions) -> Self {
        let mut book = Book {
            family_inside: options.family_inside,
            match_value: options.match_value.clone(),
            needs_sign_in: options.needs_sign_in,
            persons: BTreeMap::new(),
            by_document: HashMap::new(),
            by_card: HashMap::new(),
            by_token: HashMap::new(),
            visits: HashMap::new(),
            settlements: BTreeMap::new(),
            messages: HashMap::new(),
            refused: HashSet::new(),
            years: HashMap::new(),
            signed_in: HashMap::new(),
            files: HashMap::new(),
            numbers: 0,
        };
        for person in &options.persons {
            book.insure(person.clone());
        }
        book
    }

    pub(super) fn insure(&mut self, person: Insured) {
        let number = &person.number;
        self.by_document.insert(person.document.clone(), number.clone());
        for (card, identifier) in &person.cards {
            self.by_card.insert(card.clone(), (identifier.clone(), number.clone()));
        }
        for token in &person.tokens {
            self.by_token.insert(token.clone(), number.clone());
        }
        self.persons.insert(number.clone(), person);
    }

    /// Carries a message out.
    pub(super) fn answer(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let message = ask.message;
        if message.infno != "9001" && self.needs_sign_in {
            let signed_in = self.signed_in.get(&message.institution);
            if signed_in != Some(&message.sign_no) {
                return Err(No::business("未签到或签到已失效"));
            }
        }
        if self.refused.contains(&message.msgid) {
            return Err(No::business("该报文已被冲正"));
        }
        if self.messages.contains_key(&message.msgid) {
            return Err(No::business("报文重复"));
        }
        let (answer, did) = self.carry_out(ask)?;
        self.messages.insert(message.msgid.clone(), did);
        Ok(answer)
    }

    fn carry_out(&mut self, ask: Ask<'_>) -> Result<(Value, Did), No> {
        let other = |answer: Result<Value, No>| answer.map(|answer| (answer, Did::Other));
        // A vendor's letter at the end names a national variant of the same transaction.
        let infno = ask.message.infno.trim_end_matches(|letter: char| letter.is_ascii_uppercase());
        match infno {
            "1101" => other(self.person(ask)),
            "2001" => other(self.entitlement(ask)),
            "2101" => self.purchase_trial(ask),
            "2102" => self.purchase(ask),
            "2103" => self.cancel_settlement(ask),
            "2201" => other(self.register(ask)),
            "2202" => other(self.cancel_registration(ask)),
            "2203" => other(self.describe(ask)),
            "2204" | "2301" => other(self.add_lines(ask)),
            "2205" | "2302" => other(self.drop_lines(ask)),
            "2206" | "2303" => other(self.trial(ask)),
            "2207" | "2304" => self.settle(ask),
            "2208" | "2305" => self.cancel_settlement(ask),
            "2401" => self.admit(ask),
            "2402" => other(self.discharge(ask)),
            "2404" => other(self.cancel_admission(ask)),
            "2601" => other(self.reverse(ask)),
            "3201" => other(self.total_statement(ask)),
            "3202" => other(self.detail_statement(ask)),
            "5203" => other(self.settlement(ask)),
            "9001" => other(self.sign_in(ask)),
            "9002" => other(self.sign_out(ask)),
            "9101" => other(self.upload(ask)),
            unknown => Err(No::business(format!("交易{unknown}未开通"))),
        }
    }

    fn sign_in(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &["signIn", "signin"]);
        let operator = fields.text("opter_no", 20)?;
        let number = format!("{operator}{:08}", self.number());
        self.signed_in.insert(ask.message.institution.clone(), number.clone());
        let time = super::message::stamp(ask.now_ms, "%Y-%m-%d %H:%M:%S");
        Ok(json!({ "signinoutb": { "sign_no": number, "sign_time": time } }))
    }

    fn sign_out(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        self.signed_in.remove(&ask.message.institution);
        let time = super::message::stamp(ask.now_ms, "%Y-%m-%d %H:%M:%S");
        Ok(json!({ "signoutoutb": { "sign_time": time } }))
    }

    /// Forgets who has signed in, as a restart or midnight does.
    pub(super) fn sign_all_out(&mut self) {
        self.signed_in.clear();
    }

    /// The next number of whatever needs one.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Who a credential names.
    pub(super) fn named(&self, fields: Fields<'_>) -> Result<&Insured, No> {
        let (kind, number) = (fields.text("mdtrt_cert_type", 3)?, fields.text("mdtrt_cert_no", 50)?);
        let person = match kind.as_str() {
            "01" => self.by_token.get(&number),
            "02" => self.by_document.get(&number),
            "03" => {
                let identifier = fields.text("card_sn", 32)?;
                let card = self.by_card.get(&number).filter(|(known, _)| *known == identifier);
                card.map(|(_, person)| person)
            }
            _ => return Err(No::business("mdtrt_cert_type应为01、02或03")),
        };
        person.and_then(|number| self.persons.get(number)).ok_or_else(|| No::business("未查到参保人员信息"))
    }

    /// The person that `psn_no` names.
    pub(super) fn person_of(&self, fields: Fields<'_>) -> Result<&Insured, No> {
        let number = fields.text("psn_no", 30)?;
        self.persons.get(&number).ok_or_else(|| No::business("未查到参保人员信息"))
    }

    /// The visit of `mdtrt_id`, which must be this institution's and this person's.
    pub(super) fn visit_of(&mut self, ask: Ask<'_>, fields: Fields<'_>) -> Result<&mut Visit, No> {
        let (visit, person) = (fields.text("mdtrt_id", 30)?, fields.text("psn_no", 30)?);
        self.visits
            .get_mut(&visit)
            .filter(|visit| visit.institution == ask.message.institution && visit.person == person)
            .filter(|visit| !visit.is_cancelled)
            .ok_or_else(|| No::business("未查到就诊登记信息"))
    }

    /// What the books say of an institution, or of all.
    pub(super) fn totals(&self, institution: Option<&str>) -> Totals {
        let of = |settlement: &&Settlement| institution.is_none_or(|code| settlement.institution == code);
        self.settlements.values().filter(of).fold(Totals::default(), |sum, settlement| {
            let shares = &settlement.shares;
            Totals {
                total: sum.total + shares.bill.amount,
                fund: sum.fund + shares.fund(),
                account: sum.account + shares.account + shares.family,
                cash: sum.cash + shares.cash,
                count: sum.count + 1,
            }
        })
    }

    /// The fault that a visit's number asks for, once.
    pub(super) fn fault_asked(&mut self, message: &Message) -> Option<super::Fault> {
        let fields = Fields::of(&message.input, &["mdtrtinfo", "druginfo"]);
        let by_itself = [fields.maybe("ipt_otp_no"), fields.maybe("invono")];
        let here = by_itself.iter().find_map(|number| super::Fault::asked_by(number, &message.infno));
        match self.visits.get_mut(&fields.maybe("mdtrt_id")) {
            Some(visit) => {
                let asked = here.or_else(|| super::Fault::asked_by(&visit.number, &message.infno))?;
                visit.had.insert(message.infno.clone()).then_some(asked)
            }
            // A purchase, a registration: the number is as new as the message.
            None => here,
        }
    }
}
