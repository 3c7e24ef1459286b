//! The answer that every response to a mutating request carries.

use crate::proto::{
    auth::v1::{BeginChipResponse, FinishChipResponse, PresentCodeResponse, PresentDocumentResponse},
    card::v1::{GetCardStateResponse, IssueCodeResponse, LiftLossResponse, ReportLossResponse},
    common::v1::Answer,
    library::v1::{
        CancelHoldResponse, CheckinResponse, CheckoutResponse, EndSessionResponse, GetPatronResponse,
        PayFeeResponse, PlaceHoldResponse, RenewResponse,
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
    BeginChipResponse,
    CancelHoldResponse,
    CaptureResponse,
    CheckinResponse,
    CheckoutResponse,
    EndSessionResponse,
    FinishChipResponse,
    GetCardStateResponse,
    GetPatronResponse,
    GetTransactionResponse,
    IssueCodeResponse,
    LiftLossResponse,
    PayFeeResponse,
    PlaceHoldResponse,
    PresentCodeResponse,
    PresentDocumentResponse,
    RefundResponse,
    ReleaseResponse,
    RenewResponse,
    ReportLossResponse,
    ReserveResponse,
    ReverseResponse,
    TapResponse,
);
