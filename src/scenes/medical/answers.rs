//! What an insurer answers: one typed answer a transaction. Adapters map what
//! deployed systems send (other names, texts for numbers, nulls) into these and
//! check nothing but that it can be read: whether sums hold is the scene's rule.

use super::{Price, Ratio};
use crate::model::{Fen, Millis};

/// 1101. Says nothing of itself when printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Person {
    pub psn_no: String,
    /// psn_cert_type, certno
    pub document_kind: String,
    pub document_number: String,
    pub name: String,
    /// gend
    pub sex: String,
    /// brdy, yyyymmdd; 0 where the insurer gave none.
    pub born: u32,
    /// insuinfo
    pub insurances: Vec<Insurance>,
    /// idetinfo
    pub identities: Vec<PersonIdentity>,
}

/// An element of insuinfo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Insurance {
    pub insutype: String,
    pub psn_type: String,
    /// psn_insu_stas
    pub status: String,
    /// psn_insu_date, paus_insu_date, yyyymmdd; 0 where the insurer gave none.
    pub since: u32,
    pub paused_since: u32,
    /// cvlserv_flag
    pub civil_servant: bool,
    /// insuplc_admdvs
    pub insured_region: String,
    /// emp_name
    pub employer: String,
    /// balc
    pub balance: Fen,
}

/// An element of idetinfo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonIdentity {
    pub kind: String,
    pub level: String,
    pub from_ms: Millis,
    pub until_ms: Millis,
}

/// An answer line of 2001.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entitlement {
    /// trt_chk_type
    pub check: String,
    pub fund_pay_type: String,
    /// trt_enjymnt_flag
    pub entitled: bool,
    /// yyyymmdd; 0 where the insurer gave none.
    pub from: u32,
    pub until: u32,
    /// trt_chk_rslt
    pub result: String,
}

/// 2201, 2401
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    pub mdtrt_id: String,
}

/// A line of the answer to 2204, 2301, 2101 and 2102.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeeResult {
    pub serial: String,
    pub sum: Fen,
    /// pric_uplmt_amt; `None` where there is no ceiling (999999).
    pub price_limit: Option<Price>,
    /// selfpay_prop
    pub self_pay: Ratio,
    /// fulamt_ownpay_amt, overlmt_amt, preselfpay_amt, inscp_scp_amt
    pub fully_own: Fen,
    pub over_limit: Fen,
    pub first_self_pay: Fen,
    pub in_scope: Fen,
    /// chrgitm_lv
    pub item_class: String,
    /// med_chrgitm_type
    pub item_type: String,
    pub memo: String,
}

/// setlinfo and setldetail as the insurer sent them. Where deployed systems leave a
/// field out or send null it is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettlementInfo {
    pub mdtrt_id: String,
    /// Empty in a pre-settlement.
    pub setl_id: String,
    /// setl_time; 0 in a pre-settlement.
    pub settled_at_ms: Millis,
    /// medfee_sumamt
    pub total: Fen,
    /// fulamt_ownpay_amt, overlmt_selfpay, preselfpay_amt, inscp_scp_amt
    pub fully_own: Fen,
    pub over_limit: Fen,
    pub first_self_pay: Fen,
    pub in_scope: Fen,
    /// act_pay_dedc
    pub deductible: Fen,
    /// pool_prop_selfpay
    pub pool_ratio: Ratio,
    /// fund_pay_sumamt
    pub funds: Fen,
    /// hifp_pay
    pub basic_pool: Fen,
    /// cvlserv_pay
    pub civil_servants: Fen,
    /// hifes_pay
    pub enterprise: Fen,
    /// hifmi_pay
    pub serious_illness: Fen,
    /// hifob_pay
    pub large_amount: Fen,
    /// maf_pay
    pub medical_aid: Fen,
    /// oth_pay
    pub other_funds: Fen,
    /// psn_part_amt, or psn_pay where that came instead.
    pub person: Option<Fen>,
    /// acct_pay
    pub account: Fen,
    /// acct_mulaid_pay
    pub family_account: Option<Fen>,
    /// psn_cash_pay, or cash_payamt where that came instead.
    pub cash: Fen,
    /// hosp_part_amt, or ownpay_hosp_part where that came instead.
    pub hospital: Option<Fen>,
    /// balc
    pub balance: Fen,
    /// medins_setl_id: the msgid of the settlement, where the insurer repeats it.
    pub sender_msgid: String,
    /// clr_optins, clr_way, clr_type
    pub clearing_office: String,
    pub clearing_way: String,
    pub clearing_type: String,
    pub parts: Vec<SettlementPart>,
    /// The lines as the insurer split them; for a purchase.
    pub lines: Vec<FeeResult>,
}

/// A line of setldetail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettlementPart {
    pub fund_pay_type: String,
    pub name: String,
    pub in_scope: Fen,
    /// crt_payb_lmt_amt
    pub limit: Fen,
    /// fund_payamt
    pub paid: Fen,
}

/// 3201
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// stmt_rslt, as sent.
    pub result: String,
    /// Whether that value says that both sides agree; which does is the adapter's
    /// configuration ("0", "000000").
    pub matches: bool,
    pub description: String,
}

/// 3202, 9101
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTicket {
    /// file_qury_no
    pub file: String,
    pub name: String,
    /// dld_endtime; 0 where the insurer gave none.
    pub available_until_ms: Millis,
}

/// What came of an order that was carried out.
#[derive(Clone, PartialEq, Eq)]
pub enum Said {
    /// 1101
    Person(Person),
    /// 2001
    Entitlements(Vec<Entitlement>),
    /// 2201, 2401
    Opened(Opened),
    /// 2204, 2301
    Fees(Vec<FeeResult>),
    /// 2101, 2102, 2103, 2206, 2207, 2208, 2303, 2304, 2305
    Settlement(Box<SettlementInfo>),
    /// 3201
    Statement(Statement),
    /// 3202, 9101
    File(FileTicket),
    /// 9102
    Content(Vec<u8>),
    /// 9001: when the institution was signed in.
    SignedIn(Millis),
    /// 2202, 2203, 2205, 2302, 2402, 9002: done, and nothing more to say.
    Done,
}

/// An answer with infcode 0.
#[derive(Clone, PartialEq, Eq)]
pub struct MedicalAnswer {
    pub said: Said,
    /// warn_msg; empty where the insurer gave none.
    pub message: String,
    /// inf_refmsgid, for people who look at both sides.
    pub reference: String,
}

impl From<Said> for MedicalAnswer {
    fn from(said: Said) -> Self {
        MedicalAnswer { said, message: String::new(), reference: String::new() }
    }
}

/// Names nobody.
impl std::fmt::Debug for MedicalAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MedicalAnswer").field("reference", &self.reference).finish_non_exhaustive()
    }
}
