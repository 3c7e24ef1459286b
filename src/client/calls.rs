//! The typed calls, one line each. What each does stands in the `.proto` files.

use super::{CallError, Terminal};
use crate::limits;
use crate::proto::{
    auth::v1::{
        BeginChipRequest, BeginChipResponse, FinishChipRequest, FinishChipResponse, PresentCodeRequest,
        PresentCodeResponse, PresentDocumentRequest, PresentDocumentResponse,
        authentication_service_client::AuthenticationServiceClient,
    },
    card::v1::{
        GetCardStateRequest, GetCardStateResponse, IssueCodeRequest, IssueCodeResponse, LiftLossRequest,
        LiftLossResponse, ReportLossRequest, ReportLossResponse, card_service_client::CardServiceClient,
    },
    ledger::v1::{GetStatementRequest, GetStatementResponse, ledger_service_client::LedgerServiceClient},
    library::v1::{
        CancelHoldRequest, CancelHoldResponse, CheckinRequest, CheckinResponse, CheckoutRequest,
        CheckoutResponse, EndSessionRequest, EndSessionResponse, GetPatronRequest, GetPatronResponse,
        PayFeeRequest, PayFeeResponse, PlaceHoldRequest, PlaceHoldResponse, RenewRequest, RenewResponse,
        library_service_client::LibraryServiceClient,
    },
    medical::v1::{
        AddFeesRequest, AddFeesResponse, CancelSettlementRequest, CancelSettlementResponse, GetVisitRequest,
        GetVisitResponse, PreSettleRequest, PreSettleResponse, ReadPersonRequest, ReadPersonResponse,
        RecordVisitRequest, RecordVisitResponse, RegisterRequest, RegisterResponse, SettleRequest,
        SettleResponse, medical_service_client::MedicalServiceClient,
    },
    transaction::v1::{
        CaptureRequest, CaptureResponse, GetTransactionRequest, GetTransactionResponse, RefundRequest,
        RefundResponse, ReleaseRequest, ReleaseResponse, ReserveRequest, ReserveResponse, ReverseRequest,
        ReverseResponse, get_transaction_request::By, transaction_service_client::TransactionServiceClient,
    },
    transit::v1::{
        ListJourneysRequest, ListJourneysResponse, TapRequest, TapResponse, UploadChunkRequest,
        UploadChunkResponse, UploadTapsRequest, UploadTapsResponse,
        transit_service_client::TransitServiceClient,
    },
};

/// Which of the two ids a transaction is asked by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionKey {
    /// As the answer named it.
    Transaction(String),
    /// As the request's header named it: for a terminal that got no answer.
    Request(String),
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: $client:ident.$method:ident($request:ty) -> $response:ty;)*) => {
        impl Terminal {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// When the call is refused, or stays unanswered after all tries.
            pub async fn $name(&self, request: $request) -> Result<$response, CallError> {
                self.call(request, |channel, request| async move {
                    $client::new(channel)
                        .max_decoding_message_size(limits::UPLOAD_BYTES_MAX)
                        .$method(request)
                        .await
                })
                .await
            }
        )*}
    };
}

calls! {
    /// One tap, one answer.
    tap: TransitServiceClient.tap(TapRequest) -> TapResponse;
    /// Taps taken offline; see [`super::OfflineQueue`] for the durable way.
    upload_taps: TransitServiceClient.upload_taps(UploadTapsRequest) -> UploadTapsResponse;
    /// Numbered taps taken offline, one entry of the journal.
    upload_chunk: TransitServiceClient.upload_chunk(UploadChunkRequest) -> UploadChunkResponse;
    /// A card's journeys at this operator.
    list_journeys: TransitServiceClient.list_journeys(ListJourneysRequest) -> ListJourneysResponse;

    /// First call of the chip relay.
    begin_chip: AuthenticationServiceClient.begin_chip(BeginChipRequest) -> BeginChipResponse;
    /// Second call of the chip relay.
    finish_chip: AuthenticationServiceClient.finish_chip(FinishChipRequest) -> FinishChipResponse;
    /// An e-card code, scanned once.
    present_code: AuthenticationServiceClient.present_code(PresentCodeRequest) -> PresentCodeResponse;
    /// An identity document at a staffed counter.
    present_document:
        AuthenticationServiceClient.present_document(PresentDocumentRequest) -> PresentDocumentResponse;

    /// Reports a card lost.
    report_loss: CardServiceClient.report_loss(ReportLossRequest) -> ReportLossResponse;
    /// Lifts a temporary loss.
    lift_loss: CardServiceClient.lift_loss(LiftLossRequest) -> LiftLossResponse;
    /// Reads a card's state.
    card_state: CardServiceClient.get_card_state(GetCardStateRequest) -> GetCardStateResponse;
    /// Obtains an e-card code for the holder's phone.
    issue_code: CardServiceClient.issue_code(IssueCodeRequest) -> IssueCodeResponse;

    /// Borrows an item.
    checkout: LibraryServiceClient.checkout(CheckoutRequest) -> CheckoutResponse;
    /// Returns an item.
    checkin: LibraryServiceClient.checkin(CheckinRequest) -> CheckinResponse;
    /// Renews a loan.
    renew: LibraryServiceClient.renew(RenewRequest) -> RenewResponse;
    /// Reserves an item.
    place_hold: LibraryServiceClient.place_hold(PlaceHoldRequest) -> PlaceHoldResponse;
    /// Gives a reservation up.
    cancel_hold: LibraryServiceClient.cancel_hold(CancelHoldRequest) -> CancelHoldResponse;
    /// Pays what is owed to a library.
    pay_fee: LibraryServiceClient.pay_fee(PayFeeRequest) -> PayFeeResponse;
    /// Reads the reader's account.
    patron: LibraryServiceClient.get_patron(GetPatronRequest) -> GetPatronResponse;
    /// Ends the reader's session.
    end_session: LibraryServiceClient.end_session(EndSessionRequest) -> EndSessionResponse;

    /// Reads who is insured where.
    read_person: MedicalServiceClient.read_person(ReadPersonRequest) -> ReadPersonResponse;
    /// Opens an outpatient visit.
    register: MedicalServiceClient.register(RegisterRequest) -> RegisterResponse;
    /// Says what a visit was for.
    record_visit: MedicalServiceClient.record_visit(RecordVisitRequest) -> RecordVisitResponse;
    /// Adds a batch of fees.
    add_fees: MedicalServiceClient.add_fees(AddFeesRequest) -> AddFeesResponse;
    /// Asks what settling would cost.
    pre_settle: MedicalServiceClient.pre_settle(PreSettleRequest) -> PreSettleResponse;
    /// Settles a visit.
    settle: MedicalServiceClient.settle(SettleRequest) -> SettleResponse;
    /// Takes a settlement back.
    cancel_settlement:
        MedicalServiceClient.cancel_settlement(CancelSettlementRequest) -> CancelSettlementResponse;
    /// How a visit stands.
    get_visit: MedicalServiceClient.get_visit(GetVisitRequest) -> GetVisitResponse;

    /// What became of a transaction, as the contract asks it.
    get_transaction: TransactionServiceClient.get_transaction(GetTransactionRequest) -> GetTransactionResponse;
    /// Reserves an amount in the holder's purse.
    reserve: TransactionServiceClient.reserve(ReserveRequest) -> ReserveResponse;
    /// Takes what was reserved, or less.
    capture: TransactionServiceClient.capture(CaptureRequest) -> CaptureResponse;
    /// Lets a reservation go.
    release: TransactionServiceClient.release(ReleaseRequest) -> ReleaseResponse;
    /// Gives back a part of what was taken.
    refund: TransactionServiceClient.refund(RefundRequest) -> RefundResponse;
    /// Takes a transaction back.
    reverse: TransactionServiceClient.reverse(ReverseRequest) -> ReverseResponse;

    /// The participant's own statement of a business day.
    statement: LedgerServiceClient.get_statement(GetStatementRequest) -> GetStatementResponse;
}

impl Terminal {
    /// What became of a transaction of this participant.
    ///
    /// # Errors
    /// `TRANSACTION_UNKNOWN` when there is none; else as every call.
    pub async fn transaction(&self, key: TransactionKey) -> Result<GetTransactionResponse, CallError> {
        let by = match key {
            TransactionKey::Transaction(id) => By::TransactionId(id),
            TransactionKey::Request(id) => By::RequestId(id),
        };
        self.get_transaction(GetTransactionRequest { by: Some(by), ..Default::default() }).await
    }
}
