//! What is asked of an insurer: one typed request a transaction. Texts are what a
//! terminal or the policy gave; the edge has checked their lengths.

use super::{Count, MedicalAct, Price};
use crate::model::{Fen, Millis};

/// mdtrt_cert_type, mdtrt_cert_no, card_sn.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    /// 01 e-voucher token, 02 identity number, 03 social security card number.
    pub kind: String,
    pub number: String,
    /// Required with kind 03, empty otherwise.
    pub card_sn: String,
}

/// 1101
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ReadPerson {
    pub certificate: Certificate,
    pub begins_at_ms: Millis,
    /// psn_cert_type, certno, psn_name: what the gateway knows of the holder and the
    /// policy lets it tell; empty otherwise.
    pub document_kind: String,
    pub document_number: String,
    pub name: String,
}

/// 2001
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CheckEntitlement {
    pub psn_no: String,
    pub insutype: String,
    pub med_type: String,
    pub begins_at_ms: Millis,
    pub disease_code: String,
    pub disease_name: String,
}

/// 2201
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Register {
    pub psn_no: String,
    pub insutype: String,
    pub begins_at_ms: Millis,
    pub certificate: Certificate,
    pub ipt_otp_no: String,
    pub doctor_code: String,
    pub doctor_name: String,
    pub department_code: String,
    pub department_name: String,
    pub department_category: String,
}

/// Names a visit at the insurer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct VisitRef {
    pub psn_no: String,
    pub mdtrt_id: String,
    pub ipt_otp_no: String,
}

/// An element of diseinfo.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Diagnosis {
    pub kind: String,
    pub order: u32,
    pub code: String,
    pub name: String,
    pub department: String,
    pub doctor_code: String,
    pub doctor_name: String,
    pub at_ms: Millis,
    /// vali_flag
    pub valid: bool,
}

/// 2203
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RecordVisit {
    pub visit: VisitRef,
    pub med_type: String,
    pub begins_at_ms: Millis,
    pub condition: String,
    pub disease_code: String,
    pub disease_name: String,
    pub diagnoses: Vec<Diagnosis>,
}

/// A line of feedetail.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FeeLine {
    /// feedetl_sn
    pub serial: String,
    pub charged_at_ms: Millis,
    /// med_list_codg
    pub catalogue_code: String,
    /// medins_list_codg
    pub institution_code: String,
    /// det_item_fee_sumamt
    pub sum: Fen,
    pub count: Count,
    pub price: Price,
    pub prescription: String,
    pub outside_prescription: bool,
    pub department_code: String,
    pub department_name: String,
    pub doctor_code: String,
    pub doctor_name: String,
    /// hosp_appr_flag
    pub approval: u32,
    pub dose: String,
    pub frequency: String,
    pub way: String,
    /// prd_days, in hundredths.
    pub days_e2: i64,
}

/// 2204, 2301
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AddFees {
    pub visit: VisitRef,
    /// chrg_bchno
    pub batch: String,
    pub disease_code: String,
    pub lines: Vec<FeeLine>,
}

/// 2205, 2302
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CancelFees {
    pub visit: VisitRef,
    /// chrg_bchno; "0000" for all that are not settled.
    pub batch: String,
}

/// 2206, 2207, 2303, 2304
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settle {
    pub visit: VisitRef,
    pub certificate: Certificate,
    pub insutype: String,
    pub med_type: String,
    /// medfee_sumamt
    pub total: Fen,
    /// psn_setlway
    pub way: String,
    /// chrg_bchno; empty for a stay.
    pub batch: String,
    /// acct_used_flag
    pub use_account: bool,
    /// mid_setl_flag, for a stay.
    pub interim: bool,
    /// invono; empty in a pre-settlement.
    pub invoice: String,
    /// From the last pre-settlement, for 2207: fulamt_ownpay_amt, overlmt_selfpay,
    /// preselfpay_amt, inscp_scp_amt; zero in a pre-settlement.
    pub fully_own: Fen,
    pub over_limit: Fen,
    pub first_self_pay: Fen,
    pub in_scope: Fen,
}

/// 2103, 2208, 2305
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CancelSettlement {
    pub visit: VisitRef,
    pub setl_id: String,
}

/// 2101, 2102
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Purchase {
    pub psn_no: String,
    pub certificate: Certificate,
    pub insutype: String,
    pub med_type: String,
    pub begins_at_ms: Millis,
    pub batch: String,
    pub disease_code: String,
    pub disease_name: String,
    pub lines: Vec<FeeLine>,
    /// medfee_sumamt
    pub total: Fen,
    pub use_account: bool,
    /// mdtrt_id of the pre-settlement; empty in 2101.
    pub mdtrt_id: String,
    /// invono; empty in 2101.
    pub invoice: String,
}

/// 2401
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Admit {
    pub psn_no: String,
    pub insutype: String,
    pub med_type: String,
    pub begins_at_ms: Millis,
    pub certificate: Certificate,
    pub ipt_otp_no: String,
    pub medical_record_number: String,
    pub doctor_code: String,
    pub doctor_name: String,
    pub diagnosis_text: String,
    pub department_code: String,
    pub department_name: String,
    pub bed: String,
    pub contact_name: String,
    pub contact_phone: String,
    pub emergency: bool,
    pub diagnoses: Vec<Diagnosis>,
}

/// 2402
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Discharge {
    pub visit: VisitRef,
    pub insutype: String,
    pub ends_at_ms: Millis,
    /// dscg_way
    pub way: String,
    pub department_code: String,
    pub department_name: String,
    pub diagnoses: Vec<Diagnosis>,
}

/// 3201, 3202
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconcile {
    pub insutype: String,
    /// clr_type
    pub clearing_type: String,
    /// setl_optins
    pub office: String,
    /// yyyymmdd
    pub from: u32,
    pub until: u32,
    pub total: Fen,
    pub funds: Fen,
    pub account: Fen,
    pub cash: Fen,
    pub settlements: u32,
    /// file_qury_no; empty for 3201.
    pub file: String,
}

/// 9101, 9102; `content` is empty for the latter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// file_qury_no; empty for 9101.
    pub file: String,
    pub name: String,
    pub content: Vec<u8>,
}

/// One order to an insurer.
#[derive(Clone, PartialEq, Eq)]
pub enum MedicalOrder {
    ReadPerson(ReadPerson),
    CheckEntitlement(CheckEntitlement),
    PreSettlePurchase(Purchase),
    SettlePurchase(Purchase),
    CancelPurchase(CancelSettlement),
    Register(Register),
    CancelRegistration(VisitRef),
    RecordVisit(RecordVisit),
    AddFees(AddFees),
    CancelFees(CancelFees),
    PreSettle(Settle),
    Settle(Settle),
    CancelSettlement(CancelSettlement),
    AddStayFees(AddFees),
    CancelStayFees(CancelFees),
    PreSettleStay(Settle),
    SettleStay(Settle),
    CancelStaySettlement(CancelSettlement),
    Admit(Admit),
    Discharge(Discharge),
    ReconcileTotals(Reconcile),
    ReconcileDetails(Reconcile),
    UploadFile(File),
    DownloadFile(File),
    SignIn,
    SignOut,
}

impl MedicalOrder {
    /// Which transaction it is.
    pub const fn act(&self) -> MedicalAct {
        match self {
            MedicalOrder::ReadPerson(_) => MedicalAct::ReadPerson,
            MedicalOrder::CheckEntitlement(_) => MedicalAct::CheckEntitlement,
            MedicalOrder::PreSettlePurchase(_) => MedicalAct::PreSettlePurchase,
            MedicalOrder::SettlePurchase(_) => MedicalAct::SettlePurchase,
            MedicalOrder::CancelPurchase(_) => MedicalAct::CancelPurchase,
            MedicalOrder::Register(_) => MedicalAct::Register,
            MedicalOrder::CancelRegistration(_) => MedicalAct::CancelRegistration,
            MedicalOrder::RecordVisit(_) => MedicalAct::RecordVisit,
            MedicalOrder::AddFees(_) => MedicalAct::AddFees,
            MedicalOrder::CancelFees(_) => MedicalAct::CancelFees,
            MedicalOrder::PreSettle(_) => MedicalAct::PreSettle,
            MedicalOrder::Settle(_) => MedicalAct::Settle,
            MedicalOrder::CancelSettlement(_) => MedicalAct::CancelSettlement,
            MedicalOrder::AddStayFees(_) => MedicalAct::AddStayFees,
            MedicalOrder::CancelStayFees(_) => MedicalAct::CancelStayFees,
            MedicalOrder::PreSettleStay(_) => MedicalAct::PreSettleStay,
            MedicalOrder::SettleStay(_) => MedicalAct::SettleStay,
            MedicalOrder::CancelStaySettlement(_) => MedicalAct::CancelStaySettlement,
            MedicalOrder::Admit(_) => MedicalAct::Admit,
            MedicalOrder::Discharge(_) => MedicalAct::Discharge,
            MedicalOrder::ReconcileTotals(_) => MedicalAct::ReconcileTotals,
            MedicalOrder::ReconcileDetails(_) => MedicalAct::ReconcileDetails,
            MedicalOrder::UploadFile(_) => MedicalAct::UploadFile,
            MedicalOrder::DownloadFile(_) => MedicalAct::DownloadFile,
            MedicalOrder::SignIn => MedicalAct::SignIn,
            MedicalOrder::SignOut => MedicalAct::SignOut,
        }
    }
}

/// Names the transaction alone: what ails somebody is their own affair.
impl std::fmt::Debug for MedicalOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MedicalOrder({:?})", self.act())
    }
}
