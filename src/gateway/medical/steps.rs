//! What changes something at the insurer.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        Gateway, Refusal,
        ask::Ask,
        library::{Holding, within},
    },
    Desk, who_of_visit,
};
use crate::{
    fault,
    model::{
        Outcome, Reason, Status, TransactionId, decoded,
        record::{MedicalDetail, MedicalVisit},
    },
    scenes::medical::{
        self, Effect, End, Heard, InsuranceWish, Intent, MedicalAct, MedicalAnswer, MedicalPort, OpenAsk,
        Planned, PortError, StepAsk, Who, fits,
    },
    store::{Committed, Step},
    telemetry::metrics,
};

/// A step that was planned.
struct Drive {
    who: Who,
    visit: TransactionId,
    /// The visit to be, where the step opens one.
    opens: Option<MedicalVisit>,
    /// What was asked of a visit that there is: looked at again when the intent is
    /// committed.
    step: Option<StepAsk>,
    insured_region: String,
    planned: Planned,
    holding: Option<Holding>,
}

impl Gateway {
    /// A step that opens a visit.
    pub(super) async fn open_visit(
        &self,
        desk: Desk<'_>,
        ask: OpenAsk,
        wish: InsuranceWish,
    ) -> Result<Committed, Refusal> {
        let at = self.at_desk(&desk).await?;
        let act = match &ask {
            OpenAsk::Register { .. } => MedicalAct::Register,
            OpenAsk::Admit(_) => MedicalAct::Admit,
            OpenAsk::Purchase(_) => MedicalAct::PreSettlePurchase,
        };
        let Some(person) = self.person_of(&at.who).await? else {
            let none = MedicalDetail::default();
            return self.declined(&desk.ask, at.who, act, Reason::PersonNotRead, none).await;
        };
        let now = self.now_ms();
        let codes = &desk.live.medical.codes;
        let (subject, today) = (at.who.subject, super::today(now));
        let opened = medical::open(&ask, &wish, &person, subject, &desk.institution, codes, now, today);
        let (mut visit, planned) = match opened {
            Ok(opened) => opened,
            Err(not) => {
                let detail = MedicalDetail {
                    insurances: not.choices.iter().map(medical::insurance).collect(),
                    ..MedicalDetail::default()
                };
                return self.declined(&desk.ask, at.who, act, not.reason, detail).await;
            }
        };
        visit.pairwise_holder = at.who.pairwise.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let drive = Drive {
            who: at.who,
            visit: desk.ask.transaction,
            insured_region: visit.insured_region.clone(),
            opens: Some(visit),
            step: None,
            planned,
            holding: Some(at.holding),
        };
        self.drive(desk, drive).await
    }

    /// A step of a visit that there is.
    pub(super) async fn visit_step(
        &self,
        mut desk: Desk<'_>,
        id: TransactionId,
        ask: StepAsk,
    ) -> Result<Committed, Refusal> {
        let visit = self.visit_of(&desk, id).await?;
        desk.ask = desk.ask.near(&medical::visit_key(id));
        let mut who = who_of_visit(&visit)?;
        let pays = matches!(ask, StepAsk::Settle { .. });
        let holding = if pays || desk.session.is_some() {
            let at = self.at_desk(&desk).await?;
            if at.who.subject != who.subject {
                return Err(Refusal::forbidden(Reason::PersonDiffers));
            }
            who = at.who;
            Some(at.holding)
        } else {
            None
        };
        let planned = match medical::plan(&visit, &ask, &desk.live.medical.codes) {
            Ok(planned) => planned,
            Err(reason) => {
                let standing = Some(medical::standing(id.as_bytes(), &visit));
                let detail = MedicalDetail { visit: standing, ..MedicalDetail::default() };
                let ask = desk.ask;
                return self
                    .commit(&ask, Vec::new(), move |_, _| {
                        Ok(medical::told_once(&who, &detail, Outcome::Declined(reason)))
                    })
                    .await;
            }
        };
        if planned.order.act().effect() == Effect::Read {
            return self.pre_settle(desk, who, (id, visit), ask, planned.order).await;
        }
        let insured_region = visit.insured_region.clone();
        self.drive(
            desk,
            Drive { who, visit: id, opens: None, step: Some(ask), insured_region, planned, holding },
        )
        .await
    }

    /// Intent, call, result.
    async fn drive(&self, desk: Desk<'_>, drive: Drive) -> Result<Committed, Refusal> {
        let port: Arc<dyn MedicalPort> = self
            .insurer(&desk.live, &desk.institution, &drive.insured_region)
            .ok_or_else(|| Refusal::not_found(Reason::InsurerUnknown))?;
        let sender = self.sender(&desk.ask, &desk.institution, &drive.insured_region)?;
        let Drive { who, visit, opens, step, planned, holding, .. } = drive;
        let Planned { order, batch, setl_id, lines, med_type } = planned;
        let intent = Intent {
            act: order.act(),
            msgid: sender.msgid.clone(),
            visit,
            opens,
            batch,
            setl_id,
            lines,
            med_type,
        };
        let act = intent.act;
        let committed = self.commit_step(&desk, who, intent, step, holding).await?;
        if committed.replayed || committed.entry.status != Status::Pending.number() {
            return Ok(committed);
        }
        // The call ends before the first turn of its task is due.
        let first_turn = Duration::from_millis(desk.live.medical.unknown.first_after_ms.unsigned_abs());
        fault::point(fault::Point::IntentCommitted);
        let answer = port.call(sender, order, within(desk.call).min(first_turn.mul_f64(0.9))).await;
        fault::point(fault::Point::BackendCalled);
        let next = Ask { step: Step::Next, ..desk.ask };
        let done = self.commit_insurers_word(&next, who, (visit, act), Heard::ByCall, answer).await?;
        fault::point(fault::Point::ResultCommitted);
        Ok(done.unwrap_or(committed))
    }

    async fn commit_step(
        &self,
        desk: &Desk<'_>,
        who: Who,
        intent: Intent,
        step: Option<StepAsk>,
        holding: Option<Holding>,
    ) -> Result<Committed, Refusal> {
        let transaction = desk.ask.transaction;
        let mut touches = vec![medical::visit_key(intent.visit), medical::case_key(transaction)];
        touches.extend(holding.iter().flat_map(Holding::touches));
        let (participant, terminal) = (desk.ask.participant().clone(), desk.ask.terminal().clone());
        let live = Arc::clone(&desk.live);
        self.commit(&desk.ask, touches, move |view, now| {
            let policy = &live.medical;
            let mut standing = match &holding {
                Some(holding) => holding.stands(view, &participant, &terminal, now)?,
                None => Ok(()),
            };
            if let (Ok(()), Some(step)) = (standing, &step) {
                // Another step may have come between.
                let visit = view.get::<MedicalVisit>(intent.visit.as_bytes())?.unwrap_or_default();
                standing = medical::plan(&visit, step, &policy.codes).map(drop);
            }
            match standing {
                Ok(()) => medical::intent(view, &who, transaction, &intent, now, &policy.unknown),
                Err(reason) => {
                    let detail = MedicalDetail { infno: intent.act.infno(), ..MedicalDetail::default() };
                    Ok(medical::told_once(&who, &detail, Outcome::Declined(reason)))
                }
            }
        })
        .await
    }

    /// Journals what came of a call. `None`: nobody knows, and the intent and its task
    /// stay as they are.
    pub(in crate::gateway) async fn commit_insurers_word(
        &self,
        next: &Ask,
        who: Who,
        (visit, act): (TransactionId, MedicalAct),
        heard: Heard,
        answer: Result<MedicalAnswer, PortError>,
    ) -> Result<Option<Committed>, Refusal> {
        let transaction = next.transaction;
        let touches = vec![medical::visit_key(visit), medical::case_key(transaction)];
        let committed = match answer {
            Ok(answer) if fits(act, &answer.said) => {
                let live = self.live();
                let committed = self
                    .commit(next, touches, move |view, now| {
                        medical::result(view, &who, transaction, &answer, heard, &live.medical, now)
                    })
                    .await?;
                alarm_when_broken(transaction, &committed);
                committed
            }
            Ok(_) => {
                tracing::warn!(%transaction, "an insurer's answer does not fit its transaction; the outcome is unknown");
                return Ok(None);
            }
            Err(PortError::Refused(refused)) => {
                self.commit(next, touches, move |view, now| {
                    medical::refused(view, &who, transaction, &refused, now)
                })
                .await?
            }
            Err(PortError::NotSent(not_sent)) => {
                tracing::warn!(%transaction, %not_sent, "nothing reached the insurer");
                self.commit(next, touches, move |view, now| {
                    medical::ended(view, &who, transaction, End::NotSent, now)
                })
                .await?
            }
            Err(failed @ (PortError::SystemFailed(_) | PortError::Unknown(_))) => {
                tracing::warn!(%transaction, %failed, "an insurer did not say; the step is settled by its task");
                return Ok(None);
            }
        };
        Ok(Some(committed))
    }
}

/// Amounts that do not add up are never silent.
pub(super) fn alarm_when_broken(transaction: TransactionId, committed: &Committed) {
    let broken = decoded::<MedicalDetail>(&committed.detail).map(|detail| detail.broken).unwrap_or_default();
    if !broken.is_empty() && !committed.replayed {
        tracing::error!(%transaction, identity = broken, "an insurer's amounts do not add up and are not taken");
        metrics::medical_sums_broken(&broken);
    }
}
