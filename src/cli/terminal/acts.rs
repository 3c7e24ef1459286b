//! What a terminal does: one function an act, from the arguments to the report.

use anyhow::{Context, bail};

use super::{
    args::{Act, Authenticate, CardAct, Money, TerminalArgs},
    library, medical, money,
    print::{Fact, Report, status},
    session::{Role, Session},
};
use crate::{
    client::TransactionKey,
    model::{Clock, Purpose, SystemClock, SystemRng},
    proto::{
        auth::v1::{
            BeginChipRequest, ChipChallenge, FinishChipRequest, FinishChipResponse, HolderSession,
            PresentCodeRequest, PresentDocumentRequest,
        },
        card::v1::{
            CardState, GetCardStateRequest, IssueCodeRequest, LiftLossRequest, LossKind, ReportLossRequest,
        },
        common::v1::Decision,
        transit::v1::{Charge, TapKind, TapRequest},
    },
    sandbox::{
        card_files::{SampleCard, TapAt},
        town_file::Town,
    },
};

const TRANSIT: Role = Role { scenes: &["transit"] };
const COUNTER: Role = Role { scenes: &["authentication", "library", "card"] };
const LIBRARY: Role = Role { scenes: &["library"] };
const MEDICAL: Role = Role { scenes: &["medical"] };
const CARD: Role = Role { scenes: &["card"] };
const ECARD: Role = Role { scenes: &["ecard", "card"] };
const SELLER: Role = Role { scenes: &["transaction"] };
const ANY: Role = Role { scenes: &["transit", "library", "authentication", "card", "medical"] };

/// Makes a request with a fresh header, sends it and reports the answer. The
/// last argument turns the response into facts.
macro_rules! ask {
    ($session:expr, $method:ident, $header:expr, $request:ident { $($field:ident: $value:expr),* $(,)? }, $facts:expr) => {{
        let header = $header;
        let request_id = header.request_id.clone();
        let request = $request { header: Some(header), $($field: $value),* };
        let (mut response, repeated) = $session
            .send(request, |terminal, request| async move { terminal.$method(request).await })
            .await?;
        let answer = response.answer.take();
        let facts = $facts(&response);
        $session.report(request_id, answer, repeated, facts)
    }};
}
pub(super) use ask;

/// Does what the arguments say.
pub(super) async fn act(args: &TerminalArgs) -> anyhow::Result<Report> {
    let town = Town::load(&args.data).context("the sandbox writes town.toml when it starts")?;
    let open = |role: &'static Role| Session::open(args, &town, role);
    match &args.act {
        Act::Tap { card, station, line, exit, entry: _ } => {
            let kind = if *exit { TapKind::Exit } else { TapKind::Entry };
            tap(&open(&TRANSIT).await?, card, kind, station, line).await
        }
        Act::Authenticate(Authenticate::Chip { card }) => {
            let session = open(&COUNTER).await?;
            match chip(&session, card).await? {
                Chip::Stopped(report) => Ok(report),
                Chip::Finished(finished) => finished.report(&session),
            }
        }
        Act::Authenticate(Authenticate::Code { code, card }) => {
            let code = match (code, card) {
                (Some(code), _) => code.clone(),
                (None, Some(card)) => match issued(args, &town, card).await? {
                    Ok(code) => code,
                    Err(declined) => return Ok(declined),
                },
                (None, None) => bail!("name a --code or a --card"),
            };
            let session = open(&COUNTER).await?;
            ask!(
                session,
                present_code,
                session.header(Purpose::IdentityCheck),
                PresentCodeRequest { code: code },
                |response: &crate::proto::auth::v1::PresentCodeResponse| holder_facts(
                    response.session.as_ref()
                )
            )
        }
        Act::Authenticate(Authenticate::Document { card, number, name }) => {
            let session = open(&COUNTER).await?;
            document(&session, card.as_deref(), number.as_deref(), name.as_deref()).await
        }
        Act::Library(act) => library::act(&open(&LIBRARY).await?, act).await,
        Act::Medical(act) => medical::act(&open(&MEDICAL).await?, act).await,
        Act::Card(act) => card(args, &town, act).await,
        Act::Money(act) => money::act(&open(role_for(act)).await?, act).await,
        Act::Status { transaction, request } => {
            let session = open(&ANY).await?;
            found(&session, transaction.as_deref(), request.as_deref()).await
        }
    }
}

/// Who reserves may also take back; a gate takes back its rides.
fn role_for(act: &Money) -> &'static Role {
    match act {
        Money::Reserve { .. } | Money::Capture { .. } | Money::Release { .. } => &SELLER,
        Money::Refund { .. } | Money::Reverse { .. } => &TRANSIT,
    }
}

async fn tap(
    session: &Session<'_>,
    name: &str,
    kind: TapKind,
    station: &str,
    line: &str,
) -> anyhow::Result<Report> {
    let card = session.cards.load(name)?;
    let counter = session.cards.next_counter(name)?;
    let at = TapAt { kind, station, line, tapped_at_ms: SystemClock.now_ms() };
    let tap = card.tap(at, counter);
    ask!(
        session,
        tap,
        session.header(Purpose::TransitRide),
        TapRequest { tap: Some(tap) },
        |response: &crate::proto::transit::v1::TapResponse| response
            .charge
            .as_ref()
            .map(charge_facts)
            .unwrap_or_default()
    )
}

fn charge_facts(charge: &Charge) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("from_station", "起点", charge.from_station.as_str()),
        Fact::new("to_station", "终点", charge.to_station.as_str()),
        Fact::fen("fare_fen", "票价", charge.fare_fen),
    ];
    if charge.surcharge_fen != 0 {
        facts.push(Fact::fen("surcharge_fen", "加收", charge.surcharge_fen));
    }
    if charge.discount_fen != 0 {
        facts.push(Fact::fen("discount_fen", "优惠", charge.discount_fen));
    }
    facts.push(Fact::fen("amount_fen", "扣款", charge.amount_fen));
    facts.push(Fact::new("fare_table", "票价表", charge.fare_table.as_str()));
    facts
}

/// How the chip relay went.
pub(super) enum Chip {
    /// The first call was declined, or did not come to an end.
    Stopped(Report),
    Finished(FinishedChip),
}

/// The second call's answer.
pub(super) struct FinishedChip {
    request_id: String,
    pub(super) response: FinishChipResponse,
    repeated: Option<bool>,
}

impl FinishedChip {
    pub(super) fn report(self, session: &Session<'_>) -> anyhow::Result<Report> {
        let facts = holder_facts(self.response.session.as_ref());
        session.report(self.request_id, self.response.answer, self.repeated, facts)
    }

    pub(super) fn holder_session(&self) -> Option<&str> {
        self.response.session.as_ref().map(|session| session.session.as_str())
    }
}

/// Plays reader and card: challenge, relay, the card's check of what came back,
/// and only then what the reader could read.
pub(super) async fn chip(session: &Session<'_>, name: &str) -> anyhow::Result<Chip> {
    let card = session.cards.load(name)?;
    let said = card.chip.challenge(&SystemRng);
    let header = session.header(Purpose::IdentityCheck);
    let request_id = header.request_id.clone();
    let request = BeginChipRequest { header: Some(header), challenge: Some(challenge(&card, &said)) };
    let begun = session.terminal.begin_chip(request).await?;
    let answer = begun.answer.context("the gateway answered without an answer")?;
    if answer.decision() != Decision::Approved {
        return Ok(Chip::Stopped(session.report(request_id, Some(answer), None, Vec::new())?));
    }
    if !card.chip.check_external(&said.external_factor, &said.external_data, &begun.external_authenticator) {
        bail!("the card refuses the gateway's authenticator: it was not made with this card's keys");
    }
    let header = session.header(Purpose::IdentityCheck);
    let request_id = header.request_id.clone();
    let request = FinishChipRequest {
        header: Some(header),
        chip_session: begun.chip_session,
        social_security_number: card.holder.person.social_security_number.clone(),
        card_number: card.holder.card_number.clone(),
        name: card.holder.person.name.clone(),
    };
    let (response, repeated) =
        session.send(request, |terminal, request| async move { terminal.finish_chip(request).await }).await?;
    Ok(Chip::Finished(FinishedChip { request_id, response, repeated }))
}

fn challenge(card: &SampleCard, said: &crate::crypto::ChipChallenge) -> ChipChallenge {
    ChipChallenge {
        region: format!("{:06}", card.holder.region),
        card_identifier: card.holder.card_identifier.clone(),
        reset_information: card.holder.reset_information.clone(),
        algorithm: "SM4".to_owned(),
        internal_factor: said.internal_factor.to_vec(),
        internal_data: said.internal_data.to_vec(),
        internal_cryptogram: said.internal_cryptogram.to_vec(),
        external_factor: said.external_factor.to_vec(),
        external_data: said.external_data.to_vec(),
    }
}

async fn document(
    session: &Session<'_>,
    card: Option<&str>,
    number: Option<&str>,
    name: Option<&str>,
) -> anyhow::Result<Report> {
    let (kind, number, name) = match (card, number, name) {
        (Some(card), _, _) => {
            let person = session.cards.load(card)?.holder.person;
            (person.document_kind, person.document_number, name.map_or(person.name, str::to_owned))
        }
        (None, Some(number), Some(name)) => ("01".to_owned(), number.to_owned(), name.to_owned()),
        (None, _, _) => bail!("name a --card, or --number and --name"),
    };
    ask!(
        session,
        present_document,
        session.header(Purpose::IdentityCheck),
        PresentDocumentRequest { document_kind: kind, document_number: number, name: name },
        |response: &crate::proto::auth::v1::PresentDocumentResponse| holder_facts(response.session.as_ref())
    )
}

fn holder_facts(holder: Option<&HolderSession>) -> Vec<Fact> {
    let Some(holder) = holder else {
        return Vec::new();
    };
    let mut facts = vec![
        Fact::new("session", "会话", holder.session.as_str()),
        Fact::instant("session_expires_at_ms", "有效至", holder.expires_at_ms),
        Fact::new("home_region", "发卡地", holder.home_region.as_str()),
    ];
    if !holder.attributes.is_empty() {
        let mut told: Vec<String> =
            holder.attributes.iter().map(|(code, value)| format!("{code}={value}")).collect();
        told.sort();
        facts.push(Fact::new("attributes", "属性", told.join(" ")));
    }
    facts
}

/// A code for the holder's phone, from the holder's home region; or the report of
/// why there is none.
async fn issued(args: &TerminalArgs, town: &Town, name: &str) -> anyhow::Result<Result<String, Report>> {
    let card = crate::sandbox::card_files::CardFiles::of(&args.data).load(name)?;
    let session = Session::at_home(args, town, &card, &ECARD).await?;
    let header = session.header(Purpose::CardService);
    let request_id = header.request_id.clone();
    let request =
        IssueCodeRequest { header: Some(header), card_identifier: card.holder.card_identifier.clone() };
    let response = session.terminal.issue_code(request).await?;
    if response.code.is_empty() {
        return Ok(Err(session.report(request_id, response.answer, None, Vec::new())?));
    }
    Ok(Ok(response.code))
}

async fn card(args: &TerminalArgs, town: &Town, act: &CardAct) -> anyhow::Result<Report> {
    let role = match act {
        CardAct::Loss { .. } | CardAct::State { .. } => &CARD,
        // Only the holder's own app, or a service desk, revives a card.
        CardAct::Lift { .. } | CardAct::Code { .. } => &ECARD,
    };
    let session = Session::open(args, town, role).await?;
    let header = session.header(Purpose::CardService);
    let identifier = |name: &str| session.cards.load(name).map(|card| card.holder.card_identifier);
    match act {
        CardAct::Loss { card, formal } => {
            let kind = if *formal { LossKind::Formal } else { LossKind::Temporary };
            ask!(
                session,
                report_loss,
                header,
                ReportLossRequest { card_identifier: identifier(card)?, kind: kind.into() },
                |response: &crate::proto::card::v1::ReportLossResponse| {
                    let mut facts = state_facts(response.state(), response.expires_at_ms);
                    facts.push(Fact::new("deny_list_version", "黑名单版本", response.deny_list_version));
                    facts
                }
            )
        }
        CardAct::Lift { card } => {
            ask!(
                session,
                lift_loss,
                header,
                LiftLossRequest { card_identifier: identifier(card)? },
                |response: &crate::proto::card::v1::LiftLossResponse| {
                    let mut facts = state_facts(response.state(), 0);
                    facts.push(Fact::new("deny_list_version", "黑名单版本", response.deny_list_version));
                    facts
                }
            )
        }
        CardAct::State { card } => {
            ask!(
                session,
                card_state,
                header,
                GetCardStateRequest { card_identifier: identifier(card)? },
                |response: &crate::proto::card::v1::GetCardStateResponse| {
                    let mut facts = state_facts(response.state(), response.expires_at_ms);
                    facts.push(Fact::new("region", "发卡地", response.region.as_str()));
                    facts
                }
            )
        }
        CardAct::Code { card } => {
            ask!(
                session,
                issue_code,
                header,
                IssueCodeRequest { card_identifier: identifier(card)? },
                |response: &crate::proto::card::v1::IssueCodeResponse| vec![
                    Fact::new("code", "二维码", response.code.as_str()),
                    Fact::instant("code_expires_at_ms", "有效至", response.expires_at_ms),
                ]
            )
        }
    }
}

fn state_facts(state: CardState, expires_at_ms: i64) -> Vec<Fact> {
    let told = match state {
        CardState::Unspecified => return Vec::new(),
        CardState::Issued => "未启用 issued, not activated",
        CardState::Normal => "正常 normal",
        CardState::Lost => "正式挂失 lost",
        CardState::Locked => "应用锁定 locked",
        CardState::TemporarilyLost => "临时挂失 temporarily lost",
        CardState::Cancelled => "注销 cancelled",
    };
    let mut facts = vec![Fact::new("card_state", "卡状态", told)];
    if expires_at_ms != 0 {
        facts.push(Fact::instant("state_expires_at_ms", "失效于", expires_at_ms));
    }
    facts
}

async fn found(
    session: &Session<'_>,
    transaction: Option<&str>,
    request: Option<&str>,
) -> anyhow::Result<Report> {
    let key = match (transaction, request) {
        (Some(id), _) => TransactionKey::Transaction(id.to_owned()),
        (None, Some(id)) => TransactionKey::Request(id.to_owned()),
        (None, None) => bail!("name a --transaction or a --request"),
    };
    let response = session.terminal.transaction(key).await?;
    let steps: Vec<String> = response
        .steps
        .iter()
        .map(|step| {
            let (zh, en) = status(step.status());
            let at = super::print::local_time(step.committed_at_ms);
            format!("{at} {} {zh} {en} {}", step.method, step.reason).trim_end().to_owned()
        })
        .collect();
    let mut facts = vec![
        Fact::new("scene", "场景", response.scene.as_str()),
        Fact::new("method", "方法", response.method.as_str()),
        Fact::new("terminal", "终端", response.terminal.as_str()),
        Fact::new("steps", "步骤", steps.join("; ")),
    ];
    facts.extend(money::standing_facts(response.money.as_ref()));
    session.report(response.request_id, response.answer, None, facts)
}
