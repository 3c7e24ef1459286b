//! Every method of the contract with its scene, rank and who may call it. One
//! table: shedding, permission, metrics and documents share it.

use crate::model::{Rank, Scene};

/// What a participant is to the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Gates, counters, kiosks.
    Terminal,
    /// The backend of the e-card app: may ask for codes.
    Ecard,
    /// The region's own service desk.
    Operator,
}

/// A method of the contract.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// Full gRPC path.
    pub path: &'static str,
    /// Short name, for the journal and metrics.
    pub name: &'static str,
    pub scene: Scene,
    pub rank: Rank,
    /// Roles that may call it; empty means every role.
    pub roles: &'static [Role],
    pub streaming: bool,
}

macro_rules! methods {
    ($($ident:ident $path:literal $scene:ident $rank:ident [$($role:ident),*] $streaming:literal;)*) => {
        $(
            #[doc = concat!("`", $path, "`")]
            pub static $ident: Method = Method {
                path: $path,
                name: method_name($path),
                scene: Scene::$scene,
                rank: Rank::$rank,
                roles: &[$(Role::$role),*],
                streaming: $streaming,
            };
        )*

        /// Every method there is.
        pub static ALL: &[&Method] = &[$(&$ident),*];
    };
}

/// The part after the last slash.
const fn method_name(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut start = bytes.len();
    while start > 0 && bytes[start - 1] != b'/' {
        start -= 1;
    }
    let (_, name) = path.split_at(start);
    name
}

methods! {
    TAP "/onecard.transit.v1.TransitService/Tap" Transit Critical [Terminal] false;
    TAP_STREAM "/onecard.transit.v1.TransitService/TapStream" Transit Critical [Terminal] true;
    UPLOAD_TAPS "/onecard.transit.v1.TransitService/UploadTaps" Transit Normal [Terminal] false;
    UPLOAD_CHUNK "/onecard.transit.v1.TransitService/UploadChunk" Transit Normal [Terminal] false;
    LIST_JOURNEYS "/onecard.transit.v1.TransitService/ListJourneys" Transit Background [Terminal, Operator] false;

    CHECKOUT "/onecard.library.v1.LibraryService/Checkout" Library Normal [Terminal] false;
    CHECKIN "/onecard.library.v1.LibraryService/Checkin" Library Normal [Terminal] false;
    RENEW "/onecard.library.v1.LibraryService/Renew" Library Normal [Terminal] false;
    PLACE_HOLD "/onecard.library.v1.LibraryService/PlaceHold" Library Normal [Terminal] false;
    CANCEL_HOLD "/onecard.library.v1.LibraryService/CancelHold" Library Normal [Terminal] false;
    PAY_FEE "/onecard.library.v1.LibraryService/PayFee" Library High [Terminal] false;
    GET_PATRON "/onecard.library.v1.LibraryService/GetPatron" Library Normal [Terminal] false;
    END_SESSION "/onecard.library.v1.LibraryService/EndSession" Library Normal [Terminal] false;

    READ_PERSON "/onecard.medical.v1.MedicalService/ReadPerson" Medical Critical [Terminal] false;
    CHECK_ENTITLEMENT "/onecard.medical.v1.MedicalService/CheckEntitlement" Medical Normal [Terminal] false;
    REGISTER "/onecard.medical.v1.MedicalService/Register" Medical High [Terminal] false;
    REGISTER_EMERGENCY "/onecard.medical.v1.MedicalService/RegisterEmergency" Medical Critical [Terminal] false;
    CANCEL_REGISTRATION "/onecard.medical.v1.MedicalService/CancelRegistration" Medical Normal [Terminal] false;
    RECORD_VISIT "/onecard.medical.v1.MedicalService/RecordVisit" Medical High [Terminal] false;
    ADMIT "/onecard.medical.v1.MedicalService/Admit" Medical Critical [Terminal] false;
    DISCHARGE "/onecard.medical.v1.MedicalService/Discharge" Medical Normal [Terminal] false;
    ADD_FEES "/onecard.medical.v1.MedicalService/AddFees" Medical High [Terminal] false;
    CANCEL_FEES "/onecard.medical.v1.MedicalService/CancelFees" Medical Normal [Terminal] false;
    PRE_SETTLE_PURCHASE "/onecard.medical.v1.MedicalService/PreSettlePurchase" Medical High [Terminal] false;
    PRE_SETTLE "/onecard.medical.v1.MedicalService/PreSettle" Medical High [Terminal] false;
    SETTLE "/onecard.medical.v1.MedicalService/Settle" Medical High [Terminal] false;
    CANCEL_SETTLEMENT "/onecard.medical.v1.MedicalService/CancelSettlement" Medical High [Terminal] false;
    GET_VISIT "/onecard.medical.v1.MedicalService/GetVisit" Medical Normal [Terminal] false;
    RECONCILE_TOTALS "/onecard.medical.v1.MedicalService/ReconcileTotals" Medical Background [Terminal] false;
    RECONCILE_DETAILS "/onecard.medical.v1.MedicalService/ReconcileDetails" Medical Background [Terminal] false;
    UPLOAD_FILE "/onecard.medical.v1.MedicalService/UploadFile" Medical Background [Terminal] false;
    DOWNLOAD_FILE "/onecard.medical.v1.MedicalService/DownloadFile" Medical Background [Terminal] false;
    SIGN_IN "/onecard.medical.v1.MedicalService/SignIn" Medical Normal [Terminal] false;
    SIGN_OUT "/onecard.medical.v1.MedicalService/SignOut" Medical Normal [Terminal] false;

    BEGIN_CHIP "/onecard.auth.v1.AuthenticationService/BeginChip" Authentication High [Terminal] false;
    FINISH_CHIP "/onecard.auth.v1.AuthenticationService/FinishChip" Authentication High [Terminal] false;
    PRESENT_CODE "/onecard.auth.v1.AuthenticationService/PresentCode" Authentication High [Terminal] false;
    PRESENT_DOCUMENT "/onecard.auth.v1.AuthenticationService/PresentDocument" Authentication High [Terminal] false;

    REPORT_LOSS "/onecard.card.v1.CardService/ReportLoss" Card Critical [Terminal, Ecard, Operator] false;
    LIFT_LOSS "/onecard.card.v1.CardService/LiftLoss" Card High [Ecard, Operator] false;
    GET_CARD_STATE "/onecard.card.v1.CardService/GetCardState" Card Normal [Terminal, Ecard, Operator] false;
    ISSUE_CODE "/onecard.card.v1.CardService/IssueCode" Card High [Ecard] false;

    GET_TRANSACTION "/onecard.transaction.v1.TransactionService/GetTransaction" Transaction High [] false;
    RESERVE "/onecard.transaction.v1.TransactionService/Reserve" Transaction High [Terminal] false;
    CAPTURE "/onecard.transaction.v1.TransactionService/Capture" Transaction High [Terminal] false;
    RELEASE "/onecard.transaction.v1.TransactionService/Release" Transaction Normal [Terminal] false;
    REFUND "/onecard.transaction.v1.TransactionService/Refund" Transaction High [Terminal] false;
    REVERSE "/onecard.transaction.v1.TransactionService/Reverse" Transaction High [Terminal, Operator] false;

    GET_STATEMENT "/onecard.ledger.v1.LedgerService/GetStatement" Transaction Background [] false;
}

/// What a peer region's messages count as; not part of the terminals' contract.
pub static PEER: Method = Method {
    path: "/onecard.federation.v1.PeerService/Exchange",
    name: "Exchange",
    scene: Scene::Federation,
    rank: Rank::Critical,
    roles: &[],
    streaming: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_last_part() {
        assert_eq!(TAP.name, "Tap");
        assert_eq!(GET_TRANSACTION.name, "GetTransaction");
    }

    #[test]
    fn who_sells_gives_back_and_the_desk_may_take_a_sale_back() {
        assert_eq!(REFUND.roles, [Role::Terminal]);
        assert_eq!(REVERSE.roles, [Role::Terminal, Role::Operator]);
    }

    #[test]
    fn whoever_finds_a_card_can_report_it_and_cannot_revive_it() {
        assert!(REPORT_LOSS.roles.contains(&Role::Terminal));
        assert_eq!(LIFT_LOSS.roles, [Role::Ecard, Role::Operator]);
    }
}
