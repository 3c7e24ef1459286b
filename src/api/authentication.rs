//! Who stands at the terminal: chip relay, e-card code, document.

use tonic::{Request, Response, Status};

use super::{
    answer::{answer, detail},
    door::Door,
    parse::{self, Fields},
};
use crate::{
    crypto::ChipChallenge,
    gateway::{ChipAsk, DocumentAsk, Refusal, Violation, method},
    identity::{
        CardIdentifier, CardNumber, DocumentKind, DocumentNumber, HolderName, RegionCode,
        SocialSecurityNumber,
    },
    model::{Token16, record},
    proto::auth::v1::{self as wire, authentication_service_server::AuthenticationService},
    scenes::card::HolderData,
    store::Committed,
};

pub struct Authentication(pub Door);

#[tonic::async_trait]
impl AuthenticationService for Authentication {
    async fn begin_chip(
        &self,
        request: Request<wire::BeginChipRequest>,
    ) -> Result<Response<wire::BeginChipResponse>, Status> {
        self.0
            .mutate(
                request,
                &method::BEGIN_CHIP,
                |fields, ask| chip_ask(fields, ask.challenge),
                |gateway, call, header, ask| async move { gateway.begin_chip(&call, header, ask).await },
                |committed| {
                    let said: record::CardDetail = detail(committed)?;
                    Ok(wire::BeginChipResponse {
                        answer: Some(answer(committed)),
                        chip_session: hex::encode(&said.chip_session),
                        expires_at_ms: said.session_expires_at_ms,
                        internal_authenticator: said.internal_authenticator,
                        external_authenticator: said.external_authenticator,
                    })
                },
            )
            .await
    }

    async fn finish_chip(
        &self,
        request: Request<wire::FinishChipRequest>,
    ) -> Result<Response<wire::FinishChipResponse>, Status> {
        self.0
            .mutate(
                request,
                &method::FINISH_CHIP,
                finish_ask,
                |gateway, call, header, (session, data)| async move {
                    gateway.finish_chip(&call, header, session, data).await
                },
                |committed| {
                    Ok(wire::FinishChipResponse {
                        answer: Some(answer(committed)),
                        session: session(committed)?,
                    })
                },
            )
            .await
    }

    async fn present_code(
        &self,
        request: Request<wire::PresentCodeRequest>,
    ) -> Result<Response<wire::PresentCodeResponse>, Status> {
        self.0
            .mutate(
                request,
                &method::PRESENT_CODE,
                code_ask,
                |gateway, call, header, code| async move { gateway.present_code(&call, header, &code).await },
                |committed| {
                    let said: record::CardDetail = detail(committed)?;
                    Ok(wire::PresentCodeResponse {
                        answer: Some(answer(committed)),
                        session: session(committed)?,
                        stood_in: said.stood_in,
                    })
                },
            )
            .await
    }

    async fn present_document(
        &self,
        request: Request<wire::PresentDocumentRequest>,
    ) -> Result<Response<wire::PresentDocumentResponse>, Status> {
        self.0
            .mutate(
                request,
                &method::PRESENT_DOCUMENT,
                document_ask,
                |gateway, call, header, ask| async move { gateway.present_document(&call, header, ask).await },
                |committed| {
                    Ok(wire::PresentDocumentResponse {
                        answer: Some(answer(committed)),
                        session: session(committed)?,
                    })
                },
            )
            .await
    }
}

pub(super) fn code_ask(fields: &mut Fields, ask: wire::PresentCodeRequest) -> Option<String> {
    fields.take(parse::text("code", &ask.code, 1, 1_024))
}

pub(super) fn chip_ask(fields: &mut Fields, challenge: Option<wire::ChipChallenge>) -> Option<ChipAsk> {
    let Some(wire) = challenge else {
        fields.wrong(
            "challenge",
            "缺少读卡器的认证数据",
            "is missing; the first call carries the reader's challenge",
        );
        return None;
    };
    let (card, challenge) = challenge_of(fields, &wire)?;
    Some(ChipAsk { card, challenge })
}

/// The challenge of a reader; also what a peer relays.
pub(super) fn challenge_of(
    fields: &mut Fields,
    wire: &wire::ChipChallenge,
) -> Option<(CardIdentifier, ChipChallenge)> {
    let region = fields.take(wire.region.parse::<RegionCode>().map_err(|_| {
        Violation::new("challenge.region", "须为 6 位地区代码 AAB301", "must be the six digits of AAB301")
    }));
    let card = fields.take(parse::card_text("challenge.card_identifier", &wire.card_identifier));
    if let (Some(region), Some(card)) = (&region, &card)
        && region.province() != card.region().province()
    {
        fields.wrong(
            "challenge.region",
            "与卡识别码中的发卡地区不符",
            "must be in the province that the card identifier names",
        );
    }
    let algorithm_fits = wire.algorithm == "SM4";
    if !algorithm_fits {
        fields.wrong("challenge.algorithm", "沙箱卡套件只支持 SM4", "must be SM4 for this card suite");
    }
    let reset = hex::decode(&wire.reset_information).ok().filter(|bytes| bytes.len() <= 32);
    if reset.is_none() {
        fields.wrong(
            "challenge.reset_information",
            "须为十六进制，至多 32 字节",
            "must be hexadecimal, at most 32 bytes",
        );
    }
    let internal_factor = fields.take(parse::exactly("challenge.internal_factor", &wire.internal_factor));
    let internal_data = fields.take(parse::exactly("challenge.internal_data", &wire.internal_data));
    let internal_cryptogram =
        fields.take(parse::exactly("challenge.internal_cryptogram", &wire.internal_cryptogram));
    let external_factor = fields.take(parse::exactly("challenge.external_factor", &wire.external_factor));
    let external_data = fields.take(parse::exactly("challenge.external_data", &wire.external_data));
    let challenge = ChipChallenge {
        internal_factor: internal_factor?,
        internal_data: internal_data?,
        internal_cryptogram: internal_cryptogram?,
        external_factor: external_factor?,
        external_data: external_data?,
    };
    Some((card?, challenge))
}

pub(super) fn finish_ask(fields: &mut Fields, ask: wire::FinishChipRequest) -> Option<(Token16, HolderData)> {
    let session = fields.take(parse::token("chip_session", &ask.chip_session));
    let number = fields.take(ask.social_security_number.parse::<SocialSecurityNumber>().map_err(|_| {
        Violation::new(
            "social_security_number",
            "须为社会保障号码 AAC002：18 位并通过校验，或外籍人员格式",
            "must be AAC002: 18 digits that pass GB 11643, or the foreign form",
        )
    }));
    let card_number = fields.take(CardNumber::parse(&ask.card_number).map_err(|_| {
        Violation::new(
            "card_number",
            "须为 9 位社会保障卡卡号 AAZ500",
            "must be the nine characters of AAZ500",
        )
    }));
    let name = fields.take(name_of(&ask.name));
    let data = HolderData {
        social_security_number: number?.reveal().to_owned(),
        card_number: card_number?.0.reveal().to_owned(),
        name: name?,
    };
    Some((session?, data))
}

fn name_of(text: &str) -> Result<HolderName, Violation> {
    text.parse().map_err(|_| {
        Violation::new(
            "name",
            "须为 1 至 50 个字符的姓名 AAC003",
            "must be a name (AAC003) of 1 to 50 characters",
        )
    })
}

pub(super) fn document_ask(fields: &mut Fields, ask: wire::PresentDocumentRequest) -> Option<DocumentAsk> {
    let clerk = ask.header.as_ref().is_some_and(|header| !header.operator_id.is_empty());
    if !clerk {
        fields.wrong(
            "header.operator_id",
            "证件核验须由柜员办理并登记柜员号",
            "must name the clerk; documents are checked at staffed counters only",
        );
    }
    let kind = fields.take(ask.document_kind.parse::<DocumentKind>().map_err(|_| {
        Violation::new(
            "document_kind",
            "须为证件类型代码 AAC058，如 01",
            "must be a certificate kind of AAC058, for example 01",
        )
    }));
    let name = fields.take(name_of(&ask.name));
    let kind = kind?;
    let number = fields.take(DocumentNumber::parse(kind, &ask.document_number).map_err(|_| {
        Violation::new(
            "document_number",
            "须为该类证件的有效号码（居民身份证为 18 位并通过校验）",
            "must be a number of that kind of document (18 digits that pass GB 11643 for an identity card)",
        )
    }));
    Some(DocumentAsk { kind, number: number?, name: name? })
}

/// The session of an approved authentication; a decline has none.
fn session(committed: &Committed) -> Result<Option<wire::HolderSession>, Refusal> {
    let said: record::CardDetail = detail(committed)?;
    if said.holder_session.is_empty() {
        return Ok(None);
    }
    let home = RegionCode::from_code(said.region).map(|region| region.to_string()).unwrap_or_default();
    Ok(Some(wire::HolderSession {
        session: hex::encode(&said.holder_session),
        expires_at_ms: said.session_expires_at_ms,
        assurance: i32::try_from(committed.entry.assurance).unwrap_or(0),
        home_region: home,
        attributes: said.attributes,
    }))
}
