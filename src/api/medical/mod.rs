//! Medical care: register, treat, settle, buy at a pharmacy, stay as an inpatient.
//! `ask` parses, `told` projects the journal's record of a step.

mod ask;
mod told;

use tonic::{Request, Response, Status};

use super::{
    answer::{answer, detail},
    door::{Door, HasHeader},
    parse::Fields,
};
use crate::{
    gateway::{MedicalAsk, Method, Refusal, method},
    model::{Fen, record::MedicalDetail},
    proto::medical::v1::{self as wire, medical_service_server::MedicalService},
    scenes::medical::{MedicalOrder, StepAsk},
    store::Committed,
};

pub struct Medical(pub Door);

impl Medical {
    async fn act<T: HasHeader, R>(
        &self,
        request: Request<T>,
        method: &'static Method,
        body: impl FnOnce(&mut Fields, T) -> Option<MedicalAsk>,
        project: impl FnOnce(&Committed, MedicalDetail) -> R,
    ) -> Result<Response<R>, Status> {
        self.0
            .mutate(
                request,
                method,
                body,
                |gateway, call, header, ask| async move { gateway.medical(&call, header, ask).await },
                |committed| -> Result<R, Refusal> { Ok(project(committed, detail(committed)?)) },
            )
            .await
    }
}

#[tonic::async_trait]
impl MedicalService for Medical {
    async fn read_person(
        &self,
        request: Request<wire::ReadPersonRequest>,
    ) -> Result<Response<wire::ReadPersonResponse>, Status> {
        self.act(request, &method::READ_PERSON, ask::read_person, |committed, detail| {
            wire::ReadPersonResponse {
                answer: Some(answer(committed)),
                psn_no: detail.psn_no,
                name: detail.name,
                sex: detail.sex,
                born: detail.born,
                insurances: told::insurances(detail.insurances),
                identities: told::identities(detail.identities),
                message: detail.message,
            }
        })
        .await
    }

    async fn check_entitlement(
        &self,
        request: Request<wire::CheckEntitlementRequest>,
    ) -> Result<Response<wire::CheckEntitlementResponse>, Status> {
        self.act(request, &method::CHECK_ENTITLEMENT, ask::check_entitlement, |committed, detail| {
            wire::CheckEntitlementResponse {
                answer: Some(answer(committed)),
                entitlements: told::entitlements(detail.entitlements),
                message: detail.message,
                choices: told::insurances(detail.insurances),
            }
        })
        .await
    }

    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        self.act(
            request,
            &method::REGISTER,
            |fields, wire| ask::register(fields, wire.registration, false),
            |committed, detail| wire::RegisterResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                message: detail.message,
                choices: told::insurances(detail.insurances),
            },
        )
        .await
    }

    async fn register_emergency(
        &self,
        request: Request<wire::RegisterEmergencyRequest>,
    ) -> Result<Response<wire::RegisterEmergencyResponse>, Status> {
        self.act(
            request,
            &method::REGISTER_EMERGENCY,
            |fields, wire| ask::register(fields, wire.registration, true),
            |committed, detail| wire::RegisterEmergencyResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                message: detail.message,
                choices: told::insurances(detail.insurances),
            },
        )
        .await
    }

    async fn cancel_registration(
        &self,
        request: Request<wire::CancelRegistrationRequest>,
    ) -> Result<Response<wire::CancelRegistrationResponse>, Status> {
        self.act(
            request,
            &method::CANCEL_REGISTRATION,
            |fields, wire| ask::step(fields, &wire.visit_id, &[], || StepAsk::CancelRegistration),
            |committed, detail| wire::CancelRegistrationResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                message: detail.message,
            },
        )
        .await
    }

    async fn record_visit(
        &self,
        request: Request<wire::RecordVisitRequest>,
    ) -> Result<Response<wire::RecordVisitResponse>, Status> {
        self.act(request, &method::RECORD_VISIT, ask::record_visit, |committed, detail| {
            wire::RecordVisitResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                message: detail.message,
            }
        })
        .await
    }

    async fn admit(
        &self,
        request: Request<wire::AdmitRequest>,
    ) -> Result<Response<wire::AdmitResponse>, Status> {
        self.act(request, &method::ADMIT, ask::admit, |committed, detail| wire::AdmitResponse {
            answer: Some(answer(committed)),
            visit: detail.visit.map(told::visit),
            message: detail.message,
            choices: told::insurances(detail.insurances),
        })
        .await
    }

    async fn discharge(
        &self,
        request: Request<wire::DischargeRequest>,
    ) -> Result<Response<wire::DischargeResponse>, Status> {
        self.act(request, &method::DISCHARGE, ask::discharge, |committed, detail| wire::DischargeResponse {
            answer: Some(answer(committed)),
            visit: detail.visit.map(told::visit),
            message: detail.message,
        })
        .await
    }

    async fn add_fees(
        &self,
        request: Request<wire::AddFeesRequest>,
    ) -> Result<Response<wire::AddFeesResponse>, Status> {
        self.act(request, &method::ADD_FEES, ask::add_fees, |committed, detail| wire::AddFeesResponse {
            answer: Some(answer(committed)),
            visit: detail.visit.map(told::visit),
            lines: told::lines(detail.lines),
            message: detail.message,
        })
        .await
    }

    async fn cancel_fees(
        &self,
        request: Request<wire::CancelFeesRequest>,
    ) -> Result<Response<wire::CancelFeesResponse>, Status> {
        self.act(
            request,
            &method::CANCEL_FEES,
            |fields, wire| {
                let words = [("batch", wire.batch.as_str(), 30)];
                ask::step(fields, &wire.visit_id, &words, || StepAsk::CancelFees {
                    batch: wire.batch.clone(),
                })
            },
            |committed, detail| wire::CancelFeesResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                message: detail.message,
            },
        )
        .await
    }

    async fn pre_settle_purchase(
        &self,
        request: Request<wire::PreSettlePurchaseRequest>,
    ) -> Result<Response<wire::PreSettlePurchaseResponse>, Status> {
        self.act(request, &method::PRE_SETTLE_PURCHASE, ask::purchase, |committed, detail| {
            wire::PreSettlePurchaseResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                settlement: detail.bill.map(told::settlement),
                lines: told::lines(detail.lines),
                message: detail.message,
                choices: told::insurances(detail.insurances),
            }
        })
        .await
    }

    async fn pre_settle(
        &self,
        request: Request<wire::PreSettleRequest>,
    ) -> Result<Response<wire::PreSettleResponse>, Status> {
        self.act(
            request,
            &method::PRE_SETTLE,
            |fields, wire| {
                let words = [("batch", wire.batch.as_str(), 30), ("way", wire.way.as_str(), 6)];
                ask::step(fields, &wire.visit_id, &words, || StepAsk::PreSettle {
                    batch: wire.batch.clone(),
                    use_account: wire.use_account,
                    way: wire.way.clone(),
                    interim: wire.interim,
                })
            },
            |committed, detail| wire::PreSettleResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                settlement: detail.bill.map(told::settlement),
                message: detail.message,
            },
        )
        .await
    }

    async fn settle(
        &self,
        request: Request<wire::SettleRequest>,
    ) -> Result<Response<wire::SettleResponse>, Status> {
        self.act(
            request,
            &method::SETTLE,
            |fields, wire| {
                let words = [("invoice", wire.invoice.as_str(), 20)];
                ask::step(fields, &wire.visit_id, &words, || StepAsk::Settle {
                    total: Fen::new(wire.total_fen),
                    cash: Fen::new(wire.cash_fen),
                    invoice: wire.invoice.clone(),
                })
            },
            |committed, detail| wire::SettleResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                settlement: detail.bill.map(told::settlement),
                message: detail.message,
            },
        )
        .await
    }

    async fn cancel_settlement(
        &self,
        request: Request<wire::CancelSettlementRequest>,
    ) -> Result<Response<wire::CancelSettlementResponse>, Status> {
        self.act(
            request,
            &method::CANCEL_SETTLEMENT,
            |fields, wire| {
                let words = [("setl_id", wire.setl_id.as_str(), 30)];
                ask::step(fields, &wire.visit_id, &words, || StepAsk::CancelSettlement {
                    setl_id: wire.setl_id.clone(),
                })
            },
            |committed, detail| wire::CancelSettlementResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                settlement: detail.bill.map(told::settlement),
                message: detail.message,
            },
        )
        .await
    }

    async fn get_visit(
        &self,
        request: Request<wire::GetVisitRequest>,
    ) -> Result<Response<wire::GetVisitResponse>, Status> {
        self.act(
            request,
            &method::GET_VISIT,
            |fields, wire| ask::get_visit(fields, &wire),
            |committed, detail| wire::GetVisitResponse {
                answer: Some(answer(committed)),
                visit: detail.visit.map(told::visit),
                settlement: detail.bill.map(told::settlement),
            },
        )
        .await
    }

    async fn reconcile_totals(
        &self,
        request: Request<wire::ReconcileTotalsRequest>,
    ) -> Result<Response<wire::ReconcileTotalsResponse>, Status> {
        self.act(
            request,
            &method::RECONCILE_TOTALS,
            |fields, wire| ask::reconcile(fields, wire.key, wire.ours, None),
            |committed, detail| wire::ReconcileTotalsResponse {
                answer: Some(answer(committed)),
                result: detail.result,
                matches: detail.matches,
                description: detail.description,
                message: detail.message,
            },
        )
        .await
    }

    async fn reconcile_details(
        &self,
        request: Request<wire::ReconcileDetailsRequest>,
    ) -> Result<Response<wire::ReconcileDetailsResponse>, Status> {
        self.act(
            request,
            &method::RECONCILE_DETAILS,
            |fields, wire| ask::reconcile(fields, wire.key, wire.ours, Some(&wire.file)),
            |committed, detail| wire::ReconcileDetailsResponse {
                answer: Some(answer(committed)),
                file: detail.file,
                file_name: detail.file_name,
                available_until_ms: detail.available_until_ms,
                message: detail.message,
            },
        )
        .await
    }

    async fn upload_file(
        &self,
        request: Request<wire::UploadFileRequest>,
    ) -> Result<Response<wire::UploadFileResponse>, Status> {
        self.act(request, &method::UPLOAD_FILE, ask::upload, |committed, detail| wire::UploadFileResponse {
            answer: Some(answer(committed)),
            file: detail.file,
            file_name: detail.file_name,
            available_until_ms: detail.available_until_ms,
            message: detail.message,
        })
        .await
    }

    async fn download_file(
        &self,
        request: Request<wire::DownloadFileRequest>,
    ) -> Result<Response<wire::DownloadFileResponse>, Status> {
        self.act(
            request,
            &method::DOWNLOAD_FILE,
            |fields, wire| ask::download(fields, &wire),
            |committed, detail| wire::DownloadFileResponse {
                answer: Some(answer(committed)),
                content: detail.content,
                message: detail.message,
            },
        )
        .await
    }

    async fn sign_in(
        &self,
        request: Request<wire::SignInRequest>,
    ) -> Result<Response<wire::SignInResponse>, Status> {
        self.act(
            request,
            &method::SIGN_IN,
            |_, _| Some(MedicalAsk::Institution(MedicalOrder::SignIn)),
            |committed, detail| wire::SignInResponse {
                answer: Some(answer(committed)),
                signed_in_at_ms: detail.signed_in_at_ms,
                message: detail.message,
            },
        )
        .await
    }

    async fn sign_out(
        &self,
        request: Request<wire::SignOutRequest>,
    ) -> Result<Response<wire::SignOutResponse>, Status> {
        self.act(
            request,
            &method::SIGN_OUT,
            |_, _| Some(MedicalAsk::Institution(MedicalOrder::SignOut)),
            |committed, detail| wire::SignOutResponse {
                answer: Some(answer(committed)),
                message: detail.message,
            },
        )
        .await
    }
}
