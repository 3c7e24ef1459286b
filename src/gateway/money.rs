//! The money of a transaction: reserve, then capture or release; refund; reverse.
//! The rules are in `ledger::payment`; here stand who may ask and what must be
//! looked at when the answer is committed.

use std::sync::Arc;

use super::{
    Call, Gateway, Header, Refusal, TransactionKey, Violation, ask::Ask, method::Role, who::home_of,
};
use crate::{
    ledger::{
        Account, ParticipantBook,
        caps::CapOn,
        payment::{self, About, Known, Later, ReserveAsk},
    },
    limits,
    model::{
        AggregateKey, Fen, Purpose, Reason, RequestId, Scene, TransactionId,
        record::{Entry, Payment},
    },
    scenes::card::Granted,
    store::{Committed, DueTask, Step, UnitMeta},
};

/// A request about money as a terminal sends it.
#[derive(Debug, Clone)]
pub enum MoneyAsk {
    /// Reserves in the purse of the session's holder.
    Reserve { amount: Fen, life_ms: i64 },
    /// About a transaction that there is.
    Later { of: TransactionKey, later: Later },
}

impl Gateway {
    /// Carries out a request about money. What a rule declines is an answer.
    ///
    /// # Errors
    /// A transaction that is not the caller's, a session that may not be used, a
    /// purpose that the scene does not accept.
    pub async fn money(&self, call: &Call, header: Header, ask: MoneyAsk) -> Result<Committed, Refusal> {
        match ask {
            MoneyAsk::Reserve { amount, life_ms } => self.reserve(call, &header, amount, life_ms).await,
            MoneyAsk::Later { of, later } => self.later(call, &header, of, later).await,
        }
    }

    async fn reserve(
        &self,
        call: &Call,
        header: &Header,
        amount: Fen,
        life_ms: i64,
    ) -> Result<Committed, Refusal> {
        // Everybody may ask what became of a transaction; to reserve, a participant
        // needs a line in the registry.
        if !call.caller.participant.scenes.contains(&Scene::Transaction) {
            return Err(Refusal::forbidden(Reason::SceneNotPermitted));
        }
        self.authorise(call, header)?;
        let ask = self.ask(call, header);
        let minimum = self.live().policy.minimum_assurance(Scene::Transaction);
        let (who, assurance) = self.holder(&ask, header.session, minimum).await?;
        let token = header.session.ok_or_else(|| Refusal::forbidden(Reason::SessionUnknown))?;
        let holding = self.holding(token, minimum).await?;

        let (participant, terminal) = (ask.participant().clone(), ask.terminal().clone());
        let province = home_of(&who.card);
        let reserve = ReserveAsk {
            transaction: ask.transaction,
            payer: Account::Purse { province },
            payee: Account::Participant { participant: participant.clone(), book: ParticipantBook::Fees },
            participant: participant.as_str().to_owned(),
            scene: ask.meta.scene.name(),
            amount,
            life_ms,
        };
        let about = About { subject: Some(who.subject), pairwise: Some(who.pairwise) };
        let capped = [CapOn::Participant(participant.clone()), CapOn::Region(province)];
        let room = self.hold(&capped, amount).await?;
        let mut touches = vec![AggregateKey::of::<Payment>(ask.transaction.as_bytes())];
        touches.extend(holding.touches());
        touches.extend(holding.stand_in_touch());
        let stood_in_most = Fen::new(self.live().policy.stand_in.fen_per_card_and_day);
        self.commit(&ask, touches, move |view, now| {
            let counted = match holding.stands(view, &participant, &terminal, now)? {
                Ok(()) => holding.counted(view, amount, stood_in_most, now)?,
                Err(reason) => Err(reason),
            };
            let mut decision = match (counted, room) {
                (Err(reason), _) => payment::declined(reason, about),
                (Ok(counted), Some(room)) if room.lets(amount, now) => {
                    room.spend(amount, now);
                    let mut decision = payment::decide_reserve(&reserve, about, now);
                    decision.writes.extend(counted);
                    decision
                }
                (Ok(_), Some(_) | None) => payment::declined(Reason::CapExceeded, about),
            };
            decision.assurance = Some(assurance);
            Ok(decision)
        })
        .await
    }

    async fn later(
        &self,
        call: &Call,
        header: &Header,
        of: TransactionKey,
        later: Later,
    ) -> Result<Committed, Refusal> {
        if matches!(later, Later::Reverse { .. }) {
            reversed_by_somebody(call.caller.participant.role, header)?;
        }
        let (transaction, steps) = self.correctable(call, header, of, later).await?;
        has_room(&steps, later)?;
        let first = &steps.first().ok_or_else(Refusal::internal)?.entry;
        let mut known = payment::known(steps.iter().map(|step| &*step.entry));
        if known.is_withdrawn {
            self.accepts_somewhere(call, header.purpose)?;
        } else {
            // The purpose is that of what was paid for.
            let scene = Scene::from_name(&first.scene).ok_or_else(Refusal::internal)?;
            if scene == Scene::Medical {
                // The insurer would not hear of it.
                return Err(Refusal::forbidden(Reason::CancelAtInsurer));
            }
            self.live.load().policy.accepts(scene, header.purpose).map_err(Refusal::forbidden)?;
        }
        self.clock_is_sane(header)?;
        if first.participant != call.caller.participant.id.as_str() {
            // The holder's name is the seller's alone: two participants must not be
            // able to join their records by it.
            known.about.pairwise = None;
        }
        let mut ask = self.ask(call, header);
        ask.transaction = transaction;
        ask.step = Step::Later { request: header.request, fingerprint: header.fingerprint };
        let touches = vec![AggregateKey::of::<Payment>(transaction.as_bytes())];
        self.commit(&ask, touches, move |view, now| {
            payment::decide_later(view, transaction, later, &known, now)
        })
        .await
    }

    /// The transaction a later request is about. Another participant's is as unknown
    /// as one that never was, but for the service desk's reversals.
    async fn correctable(
        &self,
        call: &Call,
        header: &Header,
        of: TransactionKey,
        later: Later,
    ) -> Result<(TransactionId, Vec<Committed>), Refusal> {
        let participant = &call.caller.participant;
        let unknown = || Refusal::not_found(Reason::TransactionUnknown);
        let transaction = match of {
            // The tap of an upload has no entry of its own to correct.
            TransactionKey::Tap { .. } => return Err(unknown()),
            TransactionKey::Transaction(id) => id,
            TransactionKey::Request(request) => {
                let found = match self.store.find(&participant.id, request).await? {
                    Some(found) => found,
                    None if matches!(later, Later::Reverse { .. }) => {
                        self.withdraw(call, header, request).await?
                    }
                    None => return Err(unknown()),
                };
                transaction_of(&found.entry)?
            }
        };
        let steps = self.store.steps(transaction).await?;
        let first = steps.first().ok_or_else(unknown)?;
        if first.entry.method == super::method::UPLOAD_CHUNK.name {
            return Err(corrected_by_tap());
        }
        let own = first.entry.participant == participant.id.as_str();
        let desk = participant.role == Role::Operator && matches!(later, Later::Reverse { .. });
        if own || desk { Ok((transaction, steps)) } else { Err(unknown()) }
    }

    /// Takes back a request that has not come: its id is used up, so that it is never
    /// done when it comes. Where it came in this very moment, what came of it.
    pub(super) async fn withdraw(
        &self,
        call: &Call,
        header: &Header,
        request: RequestId,
    ) -> Result<Committed, Refusal> {
        if request == header.request {
            return Err(Refusal::invalid(vec![Violation::new(
                "request_id",
                "须为被冲正请求的编号，不能是本请求自己的编号",
                "must name the request that is taken back, and is the reversal's own id",
            )]));
        }
        self.accepts_somewhere(call, header.purpose)?;
        self.clock_is_sane(header)?;
        let ask = Ask { step: Step::withdrawing(request), ..self.ask(call, header) };
        self.commit(&ask, Vec::new(), |_, _| Ok(payment::withdrawn())).await
    }

    /// What a request was about that never came is not known: a purpose will do that
    /// one of the caller's scenes accepts.
    fn accepts_somewhere(&self, call: &Call, purpose: Purpose) -> Result<(), Refusal> {
        let live = self.live.load();
        let accepts = |scene: &Scene| live.policy.accepts(*scene, purpose).is_ok();
        match call.caller.participant.scenes.iter().any(accepts) {
            true => Ok(()),
            false => Err(Refusal::forbidden(Reason::PurposeNotPermitted)),
        }
    }

    /// Lets a reservation go whose time is over; the task's own step.
    pub(super) async fn expire_reservation(&self, task: &DueTask) -> Result<(), Refusal> {
        let transaction = task.transaction;
        let steps = self.store.steps(transaction).await?;
        let first = &steps.first().ok_or_else(Refusal::internal)?.entry;
        let Known { about, .. } = payment::known(steps.iter().map(|step| &*step.entry));
        let ask = Ask {
            meta: UnitMeta {
                participant: first.participant.parse().map_err(|_| Refusal::internal())?,
                terminal: first.terminal.parse().map_err(|_| Refusal::internal())?,
                operator: Arc::from(first.operator_id.as_str()),
                purpose: i32::try_from(first.purpose)
                    .ok()
                    .and_then(Purpose::from_number)
                    .ok_or_else(Refusal::internal)?,
                scene: Scene::Transaction,
                method: "Expire",
                terminal_time_ms: first.terminal_time_ms,
                trace_id: first.trace_id.as_slice().try_into().ok(),
            },
            step: Step::Next,
            transaction,
            member: 0,
            granted: Granted::default(),
        };
        let touches = vec![AggregateKey::of::<Payment>(transaction.as_bytes())];
        self.commit(&ask, touches, move |view, now| payment::decide_expiry(view, transaction, about, now))
            .await
            .map(drop)
    }
}

impl Gateway {
    /// Room under the caps for a charge whose amount the fare table will say.
    /// `None` where nothing is capped, which costs nothing.
    pub(super) async fn charge_room(
        &self,
        ask: &Ask,
        province: u32,
    ) -> Result<Option<super::caps::Hold>, Refusal> {
        if self.live.load().caps.is_empty() {
            return Ok(None);
        }
        let capped = [CapOn::Participant(ask.participant().clone()), CapOn::Region(province)];
        self.hold_up_to(&capped, Fen::new(limits::CHARGE_HELD_FEN)).await
    }
}

/// The service desk reverses nothing unnamed: the clerk who decided answers for it.
fn reversed_by_somebody(role: Role, header: &Header) -> Result<(), Refusal> {
    match role {
        Role::Operator if header.operator.trim().is_empty() => Err(Refusal::invalid(vec![Violation::new(
            "header.operator_id",
            "服务台冲正须注明经办人",
            "must name the clerk who decided: a service desk reverses nothing unnamed",
        )])),
        Role::Terminal | Role::Ecard | Role::Operator => Ok(()),
    }
}

/// Whether the transaction takes one more step for such a request. A few that come at
/// once may pass together; how many is bounded by the calls let in.
fn has_room(steps: &[Committed], later: Later) -> Result<(), Refusal> {
    let most = match later {
        Later::Reverse { .. } => limits::STEPS_MAX,
        Later::Capture { .. } | Later::Release | Later::Refund { .. } => {
            limits::STEPS_MAX - limits::STEPS_FOR_REVERSALS
        }
    };
    if steps.len() < most {
        return Ok(());
    }
    Err(Refusal::invalid(vec![Violation::new(
        "transaction_id",
        "该交易的后续请求已达上限（冲正 64 步，其余 56 步），请联系服务台",
        "has as many steps as a transaction may have (64 for a reversal, 56 for the rest); ask the service desk",
    )]))
}

/// An upload is the money of many holders; what is taken back is one ride's.
fn corrected_by_tap() -> Refusal {
    Refusal::invalid(vec![Violation::new(
        "transaction_id",
        "该编号为整批上传，不能整批退款或冲正",
        "names an upload of many taps, which cannot be taken back as a whole",
    )])
}

fn transaction_of(entry: &Entry) -> Result<TransactionId, Refusal> {
    let bytes = entry.transaction_id.as_slice().try_into().map_err(|_| Refusal::internal())?;
    Ok(TransactionId::from_bytes(bytes))
}
