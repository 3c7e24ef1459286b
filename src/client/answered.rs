//! The answer that every response to a mutating request carries.

use crate::proto::{
    auth::v1::{BeginChipResponse, FinishChipResponse, PresentCodeResponse, PresentDocumentResponse},
    card::v1::{GetCardStateResponse, IssueCodeResponse, LiftLossResponse, ReportLossResponse},
    common::v1::Answer,
    library::v1::{
        CancelHoldResponse, CheckinResponse, CheckoutResponse, EndSessionResponse, GetPatronResponse,
        PayFeeResponse, PlaceHoldResponse, RenewResponse,
    },
    medical::v1::{
        AddFeesResponse, CancelSettlementResponse, GetVisitResponse, PreSettleResponse, ReadPersonResponse,
        RecordVisitResponse, RegisterResponse, SettleResponse,
    },
    transaction::v1::{
        CaptureResponse, GetTransactionResponse, RefundResponse, ReleaseResponse, ReserveResponse,
        ReverseResponse,
    },
    transit::v1::TapResponse,
};

/// A response that carries the common answer.
pub trait Answered {
    /// The answer; `None` only where a gateway left it out.
    fn answer(&self) -> Option<&Answer>;
}

macro_rules! answered {
    ($($response:ty),* $(,)?) => {$(
        impl Answered for $response {
            fn answer(&self) -> Option<&Answer> {
                self.answer.as_ref()
            }
        }
    )*};
}

answered!(
    AddFeesResponse,
    BeginChipResponse,
    CancelHoldResponse,
    CancelSettlementResponse,
    CaptureResponse,
    CheckinResponse,
    CheckoutResponse,
    EndSessionResponse,
    FinishChipResponse,
    GetCardStateResponse,
    GetPatronResponse,
    GetTransactionResponse,
    GetVisitResponse,
    IssueCodeResponse,
    LiftLossResponse,
    PayFeeResponse,
    PlaceHoldResponse,
    PreSettleResponse,
    PresentCodeResponse,
    PresentDocumentResponse,
    ReadPersonResponse,
    RecordVisitResponse,
    RefundResponse,
    RegisterResponse,
    ReleaseResponse,
    RenewResponse,
    ReportLossResponse,
    ReserveResponse,
    ReverseResponse,
    SettleResponse,
    TapResponse,
);
