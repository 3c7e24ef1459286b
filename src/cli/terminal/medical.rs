//! An outpatient visit at a hospital's counter, from the card to the bill. The holder is
//! authenticated by the chip first.

use anyhow::Context as _;

use super::{
    acts::{Chip, chip},
    args::Medical,
    print::{Fact, Report},
    session::Session,
};
use crate::{
    model::{Clock as _, Fen, Purpose, SystemClock},
    proto::{
        common::v1::{Decision, RequestHeader},
        medical::v1::{Insurance, Settlement},
    },
    sandbox::clinic::{self, Bought},
};

/// Sends a step. One that is not approved ends the visit with its report.
macro_rules! step {
    ($session:expr, $name:literal, $method:ident, $request:expr, $told:expr) => {{
        let request = $request;
        let request_id = request.header.as_ref().map(|header| header.request_id.clone()).unwrap_or_default();
        let (response, repeated) = $session
            .send(request, |terminal, request| async move { terminal.$method(request).await })
            .await?;
        let answer = response.answer.clone().context("the gateway answered without an answer")?;
        if answer.decision() != Decision::Approved {
            let mut facts = vec![Fact::new("step", "步骤", $name)];
            facts.extend(shown(&response.message));
            facts.extend($told(&response));
            return $session.report(request_id, Some(answer), repeated, facts);
        }
        (response, request_id, repeated)
    }};
}

/// Does one act at a hospital.
pub(super) async fn act(session: &Session<'_>, act: &Medical) -> anyhow::Result<Report> {
    let Medical::Visit { card, number, insutype, no_account, cancel } = act;
    let holder_session = match chip(session, card).await? {
        Chip::Stopped(report) => return Ok(report),
        Chip::Finished(finished) => match finished.holder_session() {
            Some(id) => id.to_owned(),
            None => return finished.report(session),
        },
    };
    let header =
        || RequestHeader { holder_session: holder_session.clone(), ..session.header(Purpose::MedicalCare) };
    let now = SystemClock.now_ms();
    let number = number.clone().unwrap_or_else(|| format!("MZ{now}"));
    let basket = clinic::basket(session.province());

    step!(session, "1101 ReadPerson", read_person, clinic::read_person(header()), |_| None::<Fact>);
    let opening = clinic::register(header(), &number, insutype);
    let (opened, ..) = step!(
        session,
        "2201 Register",
        register,
        opening,
        |response: &crate::proto::medical::v1::RegisterResponse| choices(&response.choices)
    );
    let visit = opened.visit.context("the gateway opened no visit")?;
    let id = visit.visit_id.as_str();
    let about = vec![
        Fact::new("visit", "就诊", id),
        Fact::new("mdtrt_id", "就诊ID", visit.mdtrt_id.as_str()),
        Fact::new("insutype", "险种", visit.insutype.as_str()),
    ];
    let told = || Some(Fact::new("visit", "就诊", id));
    step!(session, "2203 RecordVisit", record_visit, clinic::record_visit(header(), id, now), |_| told());
    step!(session, "2204 AddFees", add_fees, clinic::add_fees(header(), id, &basket, now), |_| told());
    let before = clinic::pre_settle(header(), id, !no_account);
    let (shown_bill, ..) = step!(session, "2206 PreSettle", pre_settle, before, |_| told());
    let shown_bill = shown_bill.settlement.context("the gateway showed no bill")?;
    let paying = clinic::settle(header(), id, &shown_bill);
    let (settled, request_id, repeated) = step!(session, "2207 Settle", settle, paying, |_| told());
    let bill = settled.settlement.context("the gateway answered no settlement")?;
    if !cancel {
        let facts = about.into_iter().chain(bill_facts(&basket, &bill)).chain(shown(&settled.message));
        return session.report(request_id, settled.answer, repeated, facts.collect());
    }
    let back = clinic::cancel_settlement(header(), id, &bill.setl_id);
    let (taken_back, request_id, repeated) =
        step!(session, "2208 CancelSettlement", cancel_settlement, back, |_| told());
    let bill = taken_back.settlement.context("the gateway answered no settlement")?;
    let facts = about.into_iter().chain(bill_facts(&[], &bill)).chain(shown(&taken_back.message));
    session.report(request_id, taken_back.answer, repeated, facts.collect())
}

fn shown(message: &str) -> Option<Fact> {
    (!message.is_empty()).then(|| Fact::new("message", "医保提示", message))
}

/// Insurances of which the terminal must name one.
fn choices(choices: &[Insurance]) -> Option<Fact> {
    let one = |choice: &Insurance| format!("{} {}", choice.insutype, choice.insured_region);
    let told: Vec<String> = choices.iter().map(one).collect();
    (!told.is_empty()).then(|| Fact::new("choices", "可选险种", told.join("; ")))
}

/// What was bought and who pays what. Shares of nothing are left out.
fn bill_facts(basket: &[Bought], bill: &Settlement) -> Vec<Fact> {
    let mut facts = Vec::new();
    let item = |bought: &Bought| format!("{} {} × {}", bought.name, Fen::new(bought.price_fen), bought.count);
    let items: Vec<String> = basket.iter().map(item).collect();
    if !items.is_empty() {
        facts.push(Fact::new("items", "项目", items.join("; ")));
    }
    facts.push(Fact::new("setl_id", "结算ID", bill.setl_id.as_str()));
    facts.push(Fact::fen("total_fen", "总费用", bill.total_fen));
    let shares = clinic::shares(bill);
    for share in shares.iter().filter(|share| share.fen != 0) {
        facts.push(Fact::fen(share.key, share.zh, share.fen));
    }
    let sum: i64 = shares.iter().map(|share| share.fen).sum();
    facts.push(Fact::new("adds_up", "合计", sum == bill.total_fen));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_says_who_pays_and_whether_it_adds_up() {
        let bill = Settlement {
            total_fen: 700,
            basic_pool_fen: 400,
            account_fen: 250,
            cash_fen: 50,
            ..Settlement::default()
        };
        let adds_up = |bill: &Settlement| {
            let facts = bill_facts(&[], bill);
            let keys: Vec<_> = facts.iter().map(Fact::key).collect();
            assert_eq!(
                keys,
                ["setl_id", "total_fen", "basic_pool_fen", "account_fen", "cash_fen", "adds_up"]
            );
            facts.last().is_some_and(|fact| *fact.value() == true)
        };
        assert!(adds_up(&bill));
        assert!(!adds_up(&Settlement { cash_fen: 51, ..bill }));
    }
}
