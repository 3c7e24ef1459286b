//! Steps at an insurer: intent in the journal, the call, the result in the journal.
//! A call without an answer stays pending and becomes a task.
//!
//! `steps` drives what changes something at the insurer, `reads` what does not.

mod msgids;
mod reads;
mod steps;

use std::{collections::HashMap, sync::Arc};

pub(super) use msgids::MsgIds;

use super::{Call, Gateway, Header, Live, Refusal, ask::Ask};
use crate::{
    ledger::window::window_of,
    model::{
        AggregateBody as _, Assurance, Millis, Outcome, Reason, TransactionId,
        record::{CardFile, HolderFile, MedicalDetail, MedicalPerson, MedicalVisit},
    },
    scenes::{
        card,
        medical::{
            self, Institution, InsuranceWish, MedicalAct, MedicalOrder, MedicalPort, OpenAsk, Sender,
            StepAsk, Who,
            orders::{Certificate, CheckEntitlement},
        },
    },
    store::Committed,
};

/// The lines to insurers, by the code that the configuration gives them.
pub type Insurers = HashMap<String, Arc<dyn MedicalPort>>;

/// A request of the medical scene.
#[derive(Clone)]
pub enum MedicalAsk {
    /// `certificate` is empty where the gateway says it from the session.
    ReadPerson {
        certificate: Certificate,
        begins_at_ms: Millis,
    },
    CheckEntitlement {
        wish: InsuranceWish,
        order: CheckEntitlement,
    },
    Open {
        ask: OpenAsk,
        wish: InsuranceWish,
    },
    Step {
        visit: TransactionId,
        ask: StepAsk,
    },
    GetVisit {
        visit: TransactionId,
    },
    /// The institution's own: reconciliation, files, sign-in.
    Institution(MedicalOrder),
}

/// Who stands where, for one request.
struct Desk<'a> {
    call: &'a Call,
    ask: Ask,
    institution: Institution,
    live: Arc<Live>,
    session: Option<crate::model::Token16>,
}

/// The holder at the desk, and what must still hold when the intent is committed.
struct AtDesk {
    who: Who,
    card: crate::identity::CardIdentifier,
    holding: super::library::Holding,
}

impl Gateway {
    /// Carries out a request of the medical scene.
    ///
    /// # Errors
    /// A participant that is no institution, a session that may not be used, a visit
    /// that is not the caller's. What a rule or the insurer declines is an answer.
    pub async fn medical(&self, call: &Call, header: Header, ask: MedicalAsk) -> Result<Committed, Refusal> {
        self.authorise(call, &header)?;
        let live = self.live();
        let institution = live
            .medical
            .institution_of(call.caller.participant.id.as_str())
            .cloned()
            .ok_or_else(|| Refusal::forbidden(Reason::InstitutionUnknown))?;
        let desk = Desk { call, ask: self.ask(call, &header), institution, live, session: header.session };
        match ask {
            MedicalAsk::ReadPerson { certificate, begins_at_ms } => {
                self.read_person(desk, certificate, begins_at_ms).await
            }
            MedicalAsk::CheckEntitlement { wish, order } => self.check_entitlement(desk, wish, order).await,
            MedicalAsk::Open { ask, wish } => self.open_visit(desk, ask, wish).await,
            MedicalAsk::Step { visit, ask } => self.visit_step(desk, visit, ask).await,
            MedicalAsk::GetVisit { visit } => self.get_visit(desk, visit).await,
            MedicalAsk::Institution(order) => self.institution_order(desk, order).await,
        }
    }

    /// The holder of the session, with a card that may be used now.
    async fn at_desk(&self, desk: &Desk<'_>) -> Result<AtDesk, Refusal> {
        let minimum = desk.live.policy.minimum_assurance(desk.ask.meta.scene);
        let (holder, assurance) = self.holder(&desk.ask, desk.session, minimum).await?;
        let token = desk.session.ok_or_else(|| Refusal::forbidden(Reason::SessionUnknown))?;
        let holding = self.holding(token, minimum).await?;
        Ok(AtDesk { who: who_of(&holder, assurance), card: holder.card, holding })
    }

    /// What we know of a holder of our own; `None` for another region's.
    async fn own_holder(
        &self,
        card: &crate::identity::CardIdentifier,
    ) -> Result<Option<HolderFile>, Refusal> {
        if !self.is_ours(card) {
            return Ok(None);
        }
        match self.peek::<CardFile>(card.as_bytes()).await? {
            Some(file) => self.peek(&file.holder).await,
            None => Ok(None),
        }
    }

    /// What the insurer last said of a person, not too long ago.
    async fn person_of(&self, who: &Who) -> Result<Option<MedicalPerson>, Refusal> {
        let person: Option<MedicalPerson> = self.peek(who.subject.as_bytes()).await?;
        let oldest = self.now_ms() - crate::limits::MEDICAL_PERSON_AGE_MS;
        Ok(person.filter(|person| person.read_at_ms >= oldest))
    }

    /// The line that answers for a person insured there.
    pub(super) fn insurer(
        &self,
        live: &Live,
        institution: &Institution,
        insured_region: &str,
    ) -> Option<Arc<dyn MedicalPort>> {
        let code = live.medical.line_of(institution, insured_region);
        self.insurers.load().get(code).cloned()
    }

    /// The envelope of one message.
    pub(super) fn sender(
        &self,
        ask: &Ask,
        institution: &Institution,
        insured_region: &str,
    ) -> Result<Sender, Refusal> {
        let now = self.now_ms();
        let msgid = self.msgids.next(&institution.code, now).map_err(|_| Refusal::internal())?;
        Ok(Sender {
            msgid,
            transaction: ask.transaction,
            institution: Arc::from(institution.code.as_str()),
            institution_name: Arc::from(institution.name.as_str()),
            care_region: Arc::from(institution.region.as_str()),
            insured_region: insured_region.to_owned(),
            operator: Arc::clone(&ask.meta.operator),
            sent_at_ms: now,
            trace_id: ask.meta.trace_id,
        })
    }

    /// A rule says no before the insurer is asked.
    async fn declined(
        &self,
        ask: &Ask,
        who: Who,
        act: MedicalAct,
        reason: Reason,
        detail: MedicalDetail,
    ) -> Result<Committed, Refusal> {
        let detail = MedicalDetail { infno: act.infno(), ..detail };
        self.commit(ask, Vec::new(), move |_, _| {
            Ok(medical::told_once(&who, &detail, Outcome::Declined(reason)))
        })
        .await
    }

    /// A visit of the caller's; another's is as unknown as one that never was.
    async fn visit_of(&self, desk: &Desk<'_>, visit: TransactionId) -> Result<MedicalVisit, Refusal> {
        let found: Option<MedicalVisit> = self.peek(visit.as_bytes()).await?;
        found
            .filter(|found| found.participant == desk.ask.participant().as_str())
            .ok_or_else(|| Refusal::not_found(Reason::VisitUnknown))
    }
}

fn who_of(holder: &card::Who, assurance: Assurance) -> Who {
    Who { subject: holder.subject, pairwise: Some(holder.pairwise), assurance: Some(assurance) }
}

/// Whom a visit is about.
fn who_of_visit(visit: &MedicalVisit) -> Result<Who, Refusal> {
    Ok(Who {
        subject: crate::model::Subject::from_slice(&visit.subject).map_err(|_| {
            tracing::error!(kind = ?MedicalVisit::KIND, "a stored visit names nobody");
            Refusal::internal()
        })?,
        pairwise: crate::model::PairwiseHolder::from_slice(&visit.pairwise_holder).ok(),
        assurance: None,
    })
}

/// Today's business date, yyyymmdd.
fn today(now: Millis) -> u32 {
    window_of(now)
}
