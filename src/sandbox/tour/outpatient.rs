//! Chapter 12: an outpatient visit, from registration to the bill and back. Every fen of
//! it is in the insurer's own books.

use anyhow::Context as _;

use super::{
    day::{Day, verdict, word_of, yuan},
    story::{Story, Title},
};
use crate::{
    client::Terminal,
    model::{Clock as _, Purpose, SystemClock},
    proto::{
        common::v1::RequestHeader,
        medical::v1::{Settlement, VisitStage},
    },
    sandbox::{clinic, insurer::Totals},
};

pub(super) const TITLE: Title = Title { zh: "门诊结算", en: "An outpatient visit is settled" };

const REGION: &str = "beijing";
const HOLDER: &str = "bj-001";
const HOSPITAL: &str = "H11010100001";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let counter = day.terminal(REGION, "bj-hospital-counter-01").await?;
    story.tell(
        "持卡人挂号、就诊、缴费；谁付多少，由医保计算，网关核对。",
        "A holder registers, sees a doctor and pays; the insurer says who pays what, the gateway checks it.",
    );
    let session = day.chip_session(&counter, HOLDER).await?;
    let header = || RequestHeader { holder_session: session.clone(), ..counter.header(Purpose::MedicalCare) };
    let now = SystemClock.now_ms();

    let early = counter.register(clinic::register(header(), "MZ-1", "")).await;
    story.equal("未读人员信息不能挂号 the person is read first", "PERSON_NOT_READ", verdict(&early));
    let read = counter.read_person(clinic::read_person(header())).await?;
    story.equal("读取人员信息 the person is read", "APPROVED", word_of(&day.answer(&read)?));
    let registered = counter.register(clinic::register(header(), "MZ-1", "")).await?;
    story.equal("挂号 registered", "APPROVED", word_of(&day.answer(&registered)?));
    let visit = registered.visit.context("a visit")?.visit_id;
    let recorded = counter.record_visit(clinic::record_visit(header(), &visit, now)).await?;
    story.equal("就诊 seen by a doctor", "APPROVED", word_of(&day.answer(&recorded)?));
    let basket = clinic::basket(110_000);
    let charged = counter.add_fees(clinic::add_fees(header(), &visit, &basket, now)).await?;
    story.equal("上传费用明细 fees are added", "APPROVED", word_of(&day.answer(&charged)?));
    let bought: i64 = basket.iter().map(clinic::Bought::fen).sum();

    let shown = counter.pre_settle(clinic::pre_settle(header(), &visit, true)).await?;
    day.answer(&shown)?;
    let shown = shown.settlement.context("who pays what")?;
    let wrong = Settlement { cash_fen: shown.cash_fen - 1, ..shown.clone() };
    let wrong = counter.settle(clinic::settle(header(), &visit, &wrong)).await;
    story.equal("少收一分不行 not a fen less than was shown", "SETTLEMENT_DIFFERS", verdict(&wrong));

    let settled = counter.settle(clinic::settle(header(), &visit, &shown)).await?;
    story.equal("结算 settled", "APPROVED", word_of(&day.answer(&settled)?));
    let bill = settled.settlement.context("who pays what")?;
    let shares = clinic::shares(&bill);
    let told: Vec<String> = shares
        .iter()
        .filter(|share| share.fen != 0)
        .map(|share| format!("{} {}", share.zh, yuan(share.fen)))
        .collect();
    story.tell(format!("总费用 {} = {}", yuan(bought), told.join(" + ")), "The bill, line by line.");
    story.equal("总费用即所购之和 the total is what was bought", bought, bill.total_fen);
    story.equal(
        "各方所付之和即总费用 the shares are the total",
        bought,
        shares.iter().map(|one| one.fen).sum::<i64>(),
    );
    let expected = Totals {
        total: bought,
        fund: bill.funds_fen,
        account: bill.account_fen + bill.family_account_fen,
        cash: bill.cash_fen,
        count: 1,
    };
    let totals = |day: &Day| day.town.insurer(REGION).totals(Some(HOSPITAL));
    story.equal("与医保账目一致 the insurer's own books say the same", expected, totals(day));

    taken_back(day, story, &counter, clinic::cancel_settlement(header(), &visit, &bill.setl_id)).await?;
    let nothing = Totals { count: 2, ..Totals::default() };
    story.equal("医保账目归零 the insurer's books are even", nothing, totals(day));
    Ok(())
}

async fn taken_back(
    day: &mut Day,
    story: &mut Story,
    counter: &Terminal,
    request: crate::proto::medical::v1::CancelSettlementRequest,
) -> anyhow::Result<()> {
    let cancelled = counter.cancel_settlement(request).await?;
    story.equal("撤销结算 taken back", "APPROVED", word_of(&day.answer(&cancelled)?));
    let stage = cancelled.visit.as_ref().map(|visit| visit.stage());
    story.equal("可重新结算 the visit may be settled anew", Some(VisitStage::Charged), stage);
    Ok(())
}
