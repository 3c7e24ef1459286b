//! Lets a call in and its answer out: who calls, may they, how long have we; then
//! metrics, audit and the one mapping of refusals.

use std::{collections::HashMap, future::Future, sync::Arc, time::Instant};

use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    parse::{self, Fields},
    status::to_status,
};
use crate::{
    gateway::{Call, Caller, Gateway, Header, Method, Refusal, RefusalKind, method},
    limits,
    model::{Deadline, Outcome, PeerCertificate, Reason},
    proto::common::v1::RequestHeader,
    store::Committed,
    telemetry::{
        metrics::{self, MethodMetrics, RequestOutcome},
        trace::TraceContext,
    },
};

/// A request of the contract that carries a header.
pub trait HasHeader: Message {
    /// The method that is named after this request. A tap that comes alone, in a
    /// stream or in an upload is one and the same request, so a gate may repeat it
    /// by whichever way is open.
    const METHOD: &'static Method;

    fn header(&self) -> Option<&RequestHeader>;
}

macro_rules! have_header {
    ($($request:path => $method:ident),* $(,)?) => {$(
        impl HasHeader for $request {
            const METHOD: &'static Method = &method::$method;

            fn header(&self) -> Option<&RequestHeader> {
                self.header.as_ref()
            }
        }
    )*};
}

use crate::proto::{
    auth::v1 as auth, card::v1 as card, library::v1 as library, medical::v1 as medical,
    transaction::v1 as transaction, transit::v1 as transit,
};

have_header!(
    auth::BeginChipRequest => BEGIN_CHIP,
    auth::FinishChipRequest => FINISH_CHIP,
    auth::PresentCodeRequest => PRESENT_CODE,
    auth::PresentDocumentRequest => PRESENT_DOCUMENT,
    card::ReportLossRequest => REPORT_LOSS,
    card::LiftLossRequest => LIFT_LOSS,
    card::GetCardStateRequest => GET_CARD_STATE,
    card::IssueCodeRequest => ISSUE_CODE,
    transit::TapRequest => TAP,
    transit::UploadChunkRequest => UPLOAD_CHUNK,
    library::CheckoutRequest => CHECKOUT,
    library::CheckinRequest => CHECKIN,
    library::RenewRequest => RENEW,
    library::PlaceHoldRequest => PLACE_HOLD,
    library::CancelHoldRequest => CANCEL_HOLD,
    library::PayFeeRequest => PAY_FEE,
    library::GetPatronRequest => GET_PATRON,
    library::EndSessionRequest => END_SESSION,
    medical::ReadPersonRequest => READ_PERSON,
    medical::CheckEntitlementRequest => CHECK_ENTITLEMENT,
    medical::RegisterRequest => REGISTER,
    medical::RegisterEmergencyRequest => REGISTER_EMERGENCY,
    medical::CancelRegistrationRequest => CANCEL_REGISTRATION,
    medical::RecordVisitRequest => RECORD_VISIT,
    medical::AdmitRequest => ADMIT,
    medical::DischargeRequest => DISCHARGE,
    medical::AddFeesRequest => ADD_FEES,
    medical::CancelFeesRequest => CANCEL_FEES,
    medical::PreSettlePurchaseRequest => PRE_SETTLE_PURCHASE,
    medical::PreSettleRequest => PRE_SETTLE,
    medical::SettleRequest => SETTLE,
    medical::CancelSettlementRequest => CANCEL_SETTLEMENT,
    medical::GetVisitRequest => GET_VISIT,
    medical::ReconcileTotalsRequest => RECONCILE_TOTALS,
    medical::ReconcileDetailsRequest => RECONCILE_DETAILS,
    medical::UploadFileRequest => UPLOAD_FILE,
    medical::DownloadFileRequest => DOWNLOAD_FILE,
    medical::SignInRequest => SIGN_IN,
    medical::SignOutRequest => SIGN_OUT,
    transaction::ReserveRequest => RESERVE,
    transaction::CaptureRequest => CAPTURE,
    transaction::ReleaseRequest => RELEASE,
    transaction::RefundRequest => REFUND,
    transaction::ReverseRequest => REVERSE,
);

/// Where every call of every service enters.
#[derive(Clone)]
pub struct Door {
    gateway: Arc<Gateway>,
    /// By path; resolved once, so that counting a call looks nothing up in the
    /// recorder.
    metrics: Arc<HashMap<&'static str, MethodMetrics>>,
}

impl Door {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let metrics = method::ALL.iter().map(|method| (method.path, MethodMetrics::new(&method.path[1..])));
        Door { gateway, metrics: Arc::new(metrics.collect()) }
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Admits a call: caller, permission, rate, room, deadline, trace.
    ///
    /// # Errors
    /// The refusal; nothing has been done.
    pub fn enter<T>(&self, request: &Request<T>, method: &'static Method) -> Result<Call, Refusal> {
        let Some(caller) = self.caller(request) else {
            return Err(unknown_certificate());
        };
        let call = self.call_of(request, caller, method);
        self.gateway.admit(call)
    }

    /// Admits a call that carries many requests. It gives its place back at once: a
    /// gate's stream is open all day and mostly idle, and what comes through it is
    /// let in one by one by [`Door::enter_through`].
    ///
    /// # Errors
    /// The refusal; nothing has been done.
    pub fn enter_carrier<T>(
        &self,
        request: &Request<T>,
        method: &'static Method,
    ) -> Result<Carrier, Refusal> {
        let mut call = self.enter(request, method)?;
        call.permit = None;
        let certificate = request.extensions().get::<Arc<PeerCertificate>>();
        let certificate = certificate.ok_or_else(unknown_certificate)?;
        Ok(Carrier { certificate: Arc::clone(certificate), opened: Arc::new(call) })
    }

    /// Admits one request that came through a carrier as if it were a call of its
    /// own: by the registry of this moment, under the rate, with a place. So a
    /// terminal that was taken out, or lost a scene, is refused at its next tap and
    /// not when its connection ends.
    ///
    /// # Errors
    /// The refusal; the carrier goes on.
    pub fn enter_through(&self, carrier: &Carrier) -> Result<Call, Refusal> {
        let opened = &carrier.opened;
        self.gateway.admit(Call {
            caller: self.gateway.caller(&carrier.certificate).ok_or_else(unknown_certificate)?,
            method: opened.method,
            // A stream has no end to wait for; an upload is answered as a whole.
            deadline: if opened.method.streaming { self.gateway.default_deadline() } else { opened.deadline },
            traceparent: opened.traceparent.clone(),
            trace_id: opened.trace_id,
            permit: None,
        })
    }

    /// The registered terminal whose certificate opened the connection.
    fn caller<T>(&self, request: &Request<T>) -> Option<Arc<Caller>> {
        let certificate = request.extensions().get::<Arc<PeerCertificate>>()?;
        self.gateway.caller(certificate)
    }

    fn call_of<T>(&self, request: &Request<T>, caller: Arc<Caller>, method: &'static Method) -> Call {
        let traceparent = request.metadata().get("traceparent").and_then(|value| value.to_str().ok());
        let trace = traceparent.and_then(|text| TraceContext::parse(text).ok());
        let deadline = request.extensions().get::<Deadline>();
        Call {
            caller,
            method,
            deadline: deadline.map_or_else(|| self.gateway.default_deadline(), |deadline| deadline.0),
            traceparent: trace.and(traceparent).unwrap_or_default().to_owned(),
            trace_id: trace.map(|trace| trace.trace_id),
            permit: None,
        }
    }

    /// The whole way of a unary mutating request.
    pub async fn mutate<T, A, F, Done, R>(
        &self,
        request: Request<T>,
        method: &'static Method,
        body: impl FnOnce(&mut Fields, T) -> Option<A>,
        run: F,
        project: impl FnOnce(&Committed) -> Result<R, Refusal>,
    ) -> Result<Response<R>, Status>
    where
        T: HasHeader,
        F: FnOnce(Arc<Gateway>, Arc<Call>, Header, A) -> Done,
        Done: Future<Output = Result<Committed, Refusal>>,
    {
        let started = Instant::now();
        let call = match self.enter(&request, method) {
            Ok(call) => Arc::new(call),
            Err(refusal) => return Err(self.refuse_entry(&request, method, &refusal, started)),
        };
        let result = self.work(&call, request.into_inner(), body, run, project).await;
        self.leave(&call, started, result)
    }

    /// The part behind the door, shared by unary calls, streams and uploads.
    pub async fn work<T, A, F, Done, R>(
        &self,
        call: &Arc<Call>,
        message: T,
        body: impl FnOnce(&mut Fields, T) -> Option<A>,
        run: F,
        project: impl FnOnce(&Committed) -> Result<R, Refusal>,
    ) -> Result<(R, Outcome, bool), Refusal>
    where
        T: HasHeader,
        F: FnOnce(Arc<Gateway>, Arc<Call>, Header, A) -> Done,
        Done: Future<Output = Result<Committed, Refusal>>,
    {
        let (header, ask) = self.read(call, message, body)?;
        let fallback = (header.request, header.fingerprint);
        let committed = match run(Arc::clone(&self.gateway), Arc::clone(call), header, ask).await {
            Ok(committed) => committed,
            // What was answered once is answered again, even where the request
            // would be refused today: the code has expired since, the home region
            // is away.
            Err(refusal) => match self.gateway.answered_before(call, fallback.0, &fallback.1).await? {
                Some(committed) => committed,
                None => {
                    self.gateway.audit_refusal(call, &refusal);
                    return Err(refusal);
                }
            },
        };
        let outcome = super::answer::outcome_of(&committed.entry);
        Ok((project(&committed)?, outcome, committed.replayed))
    }

    fn read<T: HasHeader, A>(
        &self,
        call: &Call,
        message: T,
        body: impl FnOnce(&mut Fields, T) -> Option<A>,
    ) -> Result<(Header, A), Refusal> {
        let fingerprint = fingerprint(&message);
        let mut fields = Fields::default();
        let header = parse::header(&mut fields, message.header(), fingerprint);
        let ask = body(&mut fields, message);
        match (header, ask) {
            (Some(header), Some(ask)) if fields.is_clean() => Ok((header, ask)),
            _ => {
                let refusal = Refusal::invalid(fields.into_violations());
                self.gateway.audit_refusal(call, &refusal);
                Err(refusal)
            }
        }
    }

    /// The way out: metrics, and the one mapping of refusals.
    pub(super) fn leave<R>(
        &self,
        call: &Call,
        started: Instant,
        result: Result<(R, Outcome, bool), Refusal>,
    ) -> Result<Response<R>, Status> {
        match result {
            Ok((answer, outcome, replayed)) => {
                self.count(call, outcome_label(outcome), started);
                let mut response = Response::new(answer);
                if replayed {
                    response
                        .metadata_mut()
                        .insert("onecard-replayed", tonic::metadata::MetadataValue::from_static("1"));
                }
                Ok(response)
            }
            Err(refusal) => {
                self.count(call, refusal_label(refusal.kind), started);
                metrics::refused(refusal.reason);
                Err(to_status(&refusal))
            }
        }
    }

    /// Counts and records a call that was not let in.
    pub(super) fn refuse_entry<T>(
        &self,
        request: &Request<T>,
        method: &'static Method,
        refusal: &Refusal,
        started: Instant,
    ) -> Status {
        metrics::refused(refusal.reason);
        match self.caller(request) {
            Some(caller) => {
                let call = self.call_of(request, caller, method);
                self.count(&call, refusal_label(refusal.kind), started);
                self.gateway.audit_refusal(&call, refusal);
            }
            None => {
                if let Some(metrics) = self.metrics.get(method.path) {
                    metrics.done_by_nobody(refusal_label(refusal.kind), started.elapsed());
                }
            }
        }
        to_status(refusal)
    }

    /// A request without a header: enter, ask, answer. What speaks of a person is
    /// journalled on the way.
    pub async fn read_only<T, R, Done>(
        &self,
        request: Request<T>,
        method: &'static Method,
        run: impl FnOnce(Arc<Gateway>, Arc<Call>, T) -> Done,
    ) -> Result<Response<R>, Status>
    where
        Done: Future<Output = Result<R, Refusal>>,
    {
        let started = Instant::now();
        let call = match self.enter(&request, method) {
            Ok(call) => Arc::new(call),
            Err(refusal) => return Err(self.refuse_entry(&request, method, &refusal, started)),
        };
        let result = run(Arc::clone(&self.gateway), Arc::clone(&call), request.into_inner()).await;
        if let Err(refusal) = &result {
            self.gateway.audit_refusal(&call, refusal);
        }
        self.leave(&call, started, result.map(|answer| (answer, Outcome::Approved, false)))
    }

    /// Counts a call in the metrics.
    pub fn count(&self, call: &Call, outcome: RequestOutcome, started: Instant) {
        if let Some(metrics) = self.metrics.get(call.method.path) {
            metrics.done(call.caller.participant.id.as_str(), outcome, started.elapsed());
        }
    }

    /// Counts one request that came through a carrier like a call of its own, with
    /// the reason when it was refused.
    pub fn count_through<R>(
        &self,
        carrier: &Carrier,
        result: &Result<(R, Outcome, bool), Refusal>,
        started: Instant,
    ) {
        let label = match result {
            Ok((_, outcome, _)) => outcome_label(*outcome),
            Err(refusal) => {
                metrics::refused(refusal.reason);
                refusal_label(refusal.kind)
            }
        };
        self.count(&carrier.opened, label, started);
    }
}

/// A stream or an upload that was let in, and the certificate it was opened with.
#[derive(Debug, Clone)]
pub struct Carrier {
    certificate: Arc<PeerCertificate>,
    /// The call as it was at the beginning; holds no place.
    pub opened: Arc<Call>,
}

fn unknown_certificate() -> Refusal {
    Refusal::new(RefusalKind::Unauthenticated, Reason::CertificateUnknown)
}

/// The label of an outcome on metrics.
pub(super) const fn outcome_label(outcome: Outcome) -> RequestOutcome {
    match outcome {
        Outcome::Approved => RequestOutcome::Approved,
        Outcome::Declined(_) => RequestOutcome::Declined,
        Outcome::Pending => RequestOutcome::Pending,
    }
}

/// The label of a refusal on metrics.
pub(super) const fn refusal_label(kind: RefusalKind) -> RequestOutcome {
    match kind {
        RefusalKind::Invalid | RefusalKind::NotFound | RefusalKind::Misused => RequestOutcome::Invalid,
        RefusalKind::Unauthenticated | RefusalKind::Forbidden => RequestOutcome::Denied,
        RefusalKind::Exhausted => RequestOutcome::Shed,
        RefusalKind::DeadlineExceeded => RequestOutcome::Deadline,
        RefusalKind::Unavailable | RefusalKind::Internal => RequestOutcome::Failed,
    }
}

/// SM3 over the request's kind, header and body: tells a repeat from a misuse. The
/// way it came by is no part of it.
pub fn fingerprint<T: HasHeader>(message: &T) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(message.encoded_len());
    if message.encode(&mut bytes).is_err() {
        debug_assert!(false, "a vector grows");
    }
    debug_assert!(bytes.len() <= limits::UPLOAD_BYTES_MAX);
    crate::crypto::sm3(&[T::METHOD.path.as_bytes(), &[0], &bytes])
}
