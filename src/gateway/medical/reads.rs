//! What leaves nothing at the insurer: ask, then journal who was told what.

use super::{
    super::{Gateway, Refusal, RefusalKind, Violation, library::within},
    Desk,
    steps::alarm_when_broken,
    who_of_visit,
};
use crate::{
    model::{
        AggregateKey, Assurance, Millis, Outcome, Reason, Subject, TransactionId, Write,
        record::{MedicalCertificate, MedicalDetail, MedicalPerson, MedicalVisit},
    },
    scenes::card::{AttributeCode, Granted},
    scenes::medical::{
        self, InsuranceWish, MedicalAct, MedicalAnswer, MedicalOrder, PortError, Refused, Said, StepAsk, Who,
        choose, fits,
        orders::{Certificate, CheckEntitlement, ReadPerson},
    },
    store::Committed,
};

/// mdtrt_cert_type of a social security card and of an identity number.
const CARD: &str = "03";
const IDENTITY_NUMBER: &str = "02";

impl Gateway {
    pub(super) async fn read_person(
        &self,
        desk: Desk<'_>,
        certificate: Certificate,
        begins_at_ms: Millis,
    ) -> Result<Committed, Refusal> {
        let at = self.at_desk(&desk).await?;
        let own = self.own_holder(&at.card).await?;
        // AAZ501 as it is written on cards and in files.
        let card_sn = hex::encode_upper(at.card.as_bytes());
        let certificate = match (certificate.kind.as_str(), &own) {
            ("", Some(own)) => Certificate { kind: CARD.into(), number: own.card_number.clone(), card_sn },
            ("", None) => {
                return Err(Refusal::invalid(vec![Violation::new(
                    "certificate",
                    "外地持卡人须提供卡号（mdtrt_cert_no）",
                    "must name the card's number (mdtrt_cert_no) for a holder of another region",
                )]));
            }
            (CARD, _) => Certificate { card_sn, ..certificate },
            // Of another region's holder we know the card alone: any other certificate
            // could be somebody else's.
            (_, None) => {
                return Err(Refusal::invalid(vec![Violation::new(
                    "certificate.type",
                    "外地持卡人只能使用社会保障卡（03）",
                    "must be 03, the card of the session, for a holder of another region",
                )]));
            }
            (_, _) => Certificate { card_sn: String::new(), ..certificate },
        };
        let act = MedicalAct::ReadPerson;
        let holders = own.as_ref().is_none_or(|own| match certificate.kind.as_str() {
            CARD => certificate.number == own.card_number,
            IDENTITY_NUMBER => certificate.number == own.social_security_number,
            _ => true,
        });
        if !holders {
            return self
                .declined(&desk.ask, at.who, act, Reason::PersonDiffers, MedicalDetail::default())
                .await;
        }
        let order = MedicalOrder::ReadPerson(ReadPerson {
            certificate: certificate.clone(),
            begins_at_ms: if begins_at_ms == 0 { self.now_ms() } else { begins_at_ms },
            ..ReadPerson::default()
        });
        let answer = match self.ask_insurer(&desk, order, "").await? {
            Ok(answer) => answer,
            Err(refused) => return self.insurer_refused(&desk, at.who, act, refused).await,
        };
        let Said::Person(person) = &answer.said else { return Err(Refusal::internal()) };
        // A card's or an identity number was compared above; of a token the insurer
        // alone knows whose it is, and must say so.
        let compared = matches!(certificate.kind.as_str(), CARD | IDENTITY_NUMBER);
        let differs = own.is_some_and(|own| match person.document_number.as_str() {
            "" => !compared,
            number => number != own.social_security_number,
        });
        if differs {
            return self
                .declined(&desk.ask, at.who, act, Reason::PersonDiffers, MedicalDetail::default())
                .await;
        }
        let mut detail = MedicalDetail { infno: act.infno(), ..MedicalDetail::default() };
        medical::put_answer(&mut detail, &answer);
        keep_granted(&mut detail, &desk.ask.granted);
        let kept = MedicalPerson {
            psn_no: person.psn_no.clone(),
            certificate: Some(MedicalCertificate {
                kind: certificate.kind,
                number: certificate.number,
                card_sn: certificate.card_sn,
            }),
            insurances: person.insurances.iter().map(medical::insurance).collect(),
            read_at_ms: self.now_ms(),
        };
        let (who, subject) = (at.who, at.who.subject);
        let touches = vec![AggregateKey::of::<MedicalPerson>(subject.as_bytes())];
        self.commit(&desk.ask, touches, move |_, _| {
            let mut decision = medical::told_once(&who, &detail, Outcome::Approved);
            decision.writes.push(Write::put(subject.as_bytes(), &kept));
            Ok(decision)
        })
        .await
    }

    pub(super) async fn check_entitlement(
        &self,
        desk: Desk<'_>,
        wish: InsuranceWish,
        order: CheckEntitlement,
    ) -> Result<Committed, Refusal> {
        let (at, act) = (self.at_desk(&desk).await?, MedicalAct::CheckEntitlement);
        let none = MedicalDetail::default();
        let Some(person) = self.person_of(&at.who).await? else {
            return self.declined(&desk.ask, at.who, act, Reason::PersonNotRead, none).await;
        };
        let codes = &desk.live.medical.codes;
        let Some(care) = codes.care(&order.med_type) else {
            return self.declined(&desk.ask, at.who, act, Reason::MedTypeUnknown, none).await;
        };
        let insurances: Vec<_> = person.insurances.iter().map(medical::insurance_of).collect();
        let wanted = medical::Wanted {
            care,
            care_region: &desk.institution.region,
            insutype: &wish.insutype,
            insured_region: &wish.insured_region,
            today: super::today(self.now_ms()),
        };
        let chosen = match choose(&insurances, wanted, codes) {
            Ok(chosen) => chosen.clone(),
            Err(not) => {
                let detail = MedicalDetail {
                    insurances: not.choices.iter().map(medical::insurance).collect(),
                    ..MedicalDetail::default()
                };
                return self.declined(&desk.ask, at.who, act, not.reason, detail).await;
            }
        };
        let begins_at_ms = if order.begins_at_ms == 0 { self.now_ms() } else { order.begins_at_ms };
        let order =
            CheckEntitlement { psn_no: person.psn_no, insutype: chosen.insutype, begins_at_ms, ..order };
        let order = MedicalOrder::CheckEntitlement(order);
        self.told(desk, at.who, order, &chosen.insured_region).await
    }

    pub(super) async fn get_visit(&self, desk: Desk<'_>, visit: TransactionId) -> Result<Committed, Refusal> {
        let found = self.visit_of(&desk, visit).await?;
        let who = who_of_visit(&found)?;
        let detail = MedicalDetail {
            visit: Some(medical::standing(visit.as_bytes(), &found)),
            bill: found.settlement.or(found.pre_settlement),
            ..MedicalDetail::default()
        };
        self.commit(&desk.ask, Vec::new(), move |_, _| {
            Ok(medical::told_once(&who, &detail, Outcome::Approved))
        })
        .await
    }

    /// What an institution asks for itself. It speaks of nobody we know, and its entry
    /// is sealed under a subject of its own.
    pub(super) async fn institution_order(
        &self,
        desk: Desk<'_>,
        order: MedicalOrder,
    ) -> Result<Committed, Refusal> {
        let subject = Subject::from_bytes(*desk.ask.transaction.as_bytes());
        let who = Who { subject, pairwise: None, assurance: None::<Assurance> };
        self.told(desk, who, order, "").await
    }

    /// 2206, 2303: computed there, remembered here.
    pub(super) async fn pre_settle(
        &self,
        desk: Desk<'_>,
        who: Who,
        (id, asked_of): (TransactionId, MedicalVisit),
        ask: StepAsk,
        order: MedicalOrder,
    ) -> Result<Committed, Refusal> {
        let act = order.act();
        let answer = match self.ask_insurer(&desk, order, &asked_of.insured_region).await? {
            Ok(answer) => answer,
            Err(refused) => return self.insurer_refused(&desk, who, act, refused).await,
        };
        let sums = desk.live.medical.sums;
        let mut detail = MedicalDetail { infno: act.infno(), ..MedicalDetail::default() };
        medical::put_answer(&mut detail, &answer);
        let committed = self
            .commit(&desk.ask, vec![medical::visit_key(id)], move |view, _| {
                let now = view.get::<MedicalVisit>(id.as_bytes())?.unwrap_or_default();
                let pre_settled = match &answer.said {
                    Said::Settlement(info) => medical::pre_settled(&now, &asked_of, &ask, info, sums),
                    _ => Ok(None),
                };
                Ok(match pre_settled {
                    Ok(Some((visit, bill))) => {
                        detail.bill = Some(bill);
                        detail.visit = Some(medical::standing(id.as_bytes(), &visit));
                        let mut decision = medical::told_once(&who, &detail, Outcome::Approved);
                        decision.writes.push(Write::put(id.as_bytes(), &visit));
                        decision
                    }
                    // Another step came between.
                    Ok(None) => {
                        medical::told_once(&who, &detail, Outcome::Declined(Reason::VisitStepPending))
                    }
                    Err(broken) => {
                        detail.broken = broken.name().to_owned();
                        medical::told_once(&who, &detail, Outcome::Declined(Reason::InsurerSumsWrong))
                    }
                })
            })
            .await?;
        alarm_when_broken(id, &committed);
        Ok(committed)
    }

    /// Asks, and journals what was told.
    async fn told(
        &self,
        desk: Desk<'_>,
        who: Who,
        order: MedicalOrder,
        insured_region: &str,
    ) -> Result<Committed, Refusal> {
        let act = order.act();
        let answer = match self.ask_insurer(&desk, order, insured_region).await? {
            Ok(answer) => answer,
            Err(refused) => return self.insurer_refused(&desk, who, act, refused).await,
        };
        let mut detail = MedicalDetail { infno: act.infno(), ..MedicalDetail::default() };
        medical::put_answer(&mut detail, &answer);
        self.commit(&desk.ask, Vec::new(), move |_, _| {
            Ok(medical::told_once(&who, &detail, Outcome::Approved))
        })
        .await
    }

    /// An order that may be repeated. What is not answered, or not as it should be, is
    /// for the caller to try again.
    async fn ask_insurer(
        &self,
        desk: &Desk<'_>,
        order: MedicalOrder,
        insured_region: &str,
    ) -> Result<Result<MedicalAnswer, Refused>, Refusal> {
        let port = self
            .insurer(&desk.live, &desk.institution, insured_region)
            .ok_or_else(|| Refusal::not_found(Reason::InsurerUnknown))?;
        let sender = self.sender(&desk.ask, &desk.institution, insured_region)?;
        let act = order.act();
        match port.call(sender, order, within(desk.call)).await {
            Ok(answer) if fits(act, &answer.said) => Ok(Ok(answer)),
            Err(PortError::Refused(refused)) => Ok(Err(refused)),
            Ok(_) | Err(PortError::NotSent(_) | PortError::SystemFailed(_) | PortError::Unknown(_)) => {
                let wait = std::time::Duration::from_secs(1);
                Err(Refusal::later(RefusalKind::Unavailable, Reason::BackendUnavailable, wait))
            }
        }
    }

    async fn insurer_refused(
        &self,
        desk: &Desk<'_>,
        who: Who,
        act: MedicalAct,
        refused: Refused,
    ) -> Result<Committed, Refusal> {
        let detail = MedicalDetail { message: refused.message, ..MedicalDetail::default() };
        self.declined(&desk.ask, who, act, Reason::InsurerRefused, detail).await
    }
}

/// Takes out of an answer to 1101 what no policy line grants the institution. The
/// insurer's number of a person names them as their social security number does, and
/// goes by its line.
fn keep_granted(detail: &mut MedicalDetail, granted: &Granted) {
    if !granted.names(AttributeCode::SocialSecurityNumber) {
        detail.psn_no.clear();
    }
    if !granted.names(AttributeCode::Name) {
        detail.name.clear();
    }
    if !granted.names(AttributeCode::Sex) {
        detail.sex.clear();
    }
    if !granted.names(AttributeCode::Born) {
        detail.born = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_policy_line_grants_is_told() {
        use AttributeCode::{Born, Name, Sex, SocialSecurityNumber};
        for granted in
            [vec![], vec![SocialSecurityNumber], vec![Name], vec![Sex], vec![Born], vec![Name, Sex]]
        {
            let mut detail = MedicalDetail {
                psn_no: "P1".into(),
                name: "样例甲".into(),
                sex: "1".into(),
                born: 19_900_101,
                ..MedicalDetail::default()
            };
            keep_granted(&mut detail, &Granted::new(granted.clone()));
            assert_eq!(!detail.psn_no.is_empty(), granted.contains(&SocialSecurityNumber));
            assert_eq!(!detail.name.is_empty(), granted.contains(&Name));
            assert_eq!(!detail.sex.is_empty(), granted.contains(&Sex));
            assert_eq!(detail.born != 0, granted.contains(&Born));
        }
    }
}
