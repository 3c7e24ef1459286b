//! Chapter 2: a Hebei e-card code borrows a book in Tianjin.

use anyhow::Context as _;

use super::{
    day::{Day, verdict, word_of},
    story::{Story, Title},
};
use crate::{
    model::Purpose,
    proto::{
        auth::v1::PresentCodeRequest,
        common::v1::{Assurance, RequestHeader},
        library::v1::{CheckinRequest, CheckoutRequest, GetPatronRequest},
    },
};

pub(super) const TITLE: Title =
    Title { zh: "河北电子社保卡在天津借书", en: "A Hebei e-card code borrows a book in Tianjin" };

const CARD: &str = "he-001";
const ITEM: &str = "B0001";
const BOOK: &str = "红楼梦";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    story.tell(
        format!("{CARD} 的手机出示河北签发的二维码，在天津图书馆借《{BOOK}》。"),
        format!("The phone of {CARD} shows a code signed in Hebei; the Tianjin library lends {BOOK}."),
    );
    let code = day.phone_code("hebei", "he-ecard-app-01", CARD).await?;
    let desk = day.terminal("tianjin", "tj-library-desk-01").await?;
    let scanned = PresentCodeRequest { header: Some(desk.header(Purpose::LibraryLoan)), code: code.clone() };
    let presented = desk.present_code(scanned).await?;
    let answer = day.answer(&presented)?;
    story.equal("扫码认证通过 the code is accepted", "APPROVED", word_of(&answer));
    story.equal("认证级别为电子社保卡 the assurance is that of a code", Assurance::Code, answer.assurance());
    let session = presented.session.context("an accepted code without a session")?;
    story.equal(
        "发卡地为河北 the home region is in Hebei",
        "13",
        session.home_region.get(..2).unwrap_or_default(),
    );
    story.holds(
        "图书馆得不到姓名与号码 the library is told no name and no number",
        session.attributes.is_empty(),
        &session.attributes,
    );

    let as_holder =
        |purpose| RequestHeader { holder_session: session.session.clone(), ..desk.header(purpose) };
    let borrow = CheckoutRequest {
        header: Some(as_holder(Purpose::LibraryLoan)),
        library: String::new(),
        item: ITEM.to_owned(),
    };
    let borrowed = desk.checkout(borrow).await?;
    let lent = day.answer(&borrowed)?;
    story.equal("借出 the book is lent", "APPROVED", word_of(&lent));
    let loan = borrowed.loan.context("a checkout without a loan")?;
    story.equal("书名正确 the title is right", BOOK, loan.title.as_str());
    story.holds(
        "应还日期在今天之后 it is due after today",
        loan.due_at_ms > lent.committed_at_ms,
        loan.due_at_ms,
    );
    story.equal(
        "馆内系统记的是化名读者 the library's books name the pairwise holder only",
        Some(lent.holder_id.clone()),
        day.town.library("tianjin").holder_of(ITEM),
    );

    let account = GetPatronRequest { header: Some(as_holder(Purpose::LibraryLoan)), library: String::new() };
    let account = desk.patron(account).await?;
    day.answer(&account)?;
    let loans: Vec<&str> = account.loans.iter().map(|loan| loan.item.as_str()).collect();
    story.equal("读者账户有这本书 the reader's account has the book", vec![ITEM], loans);

    let back = CheckinRequest {
        header: Some(desk.header(Purpose::LibraryLoan)),
        library: String::new(),
        item: ITEM.to_owned(),
    };
    let back = desk.checkin(back).await?;
    let answer = day.answer(&back)?;
    story.equal("还书 the book comes back", "APPROVED", word_of(&answer));
    story.equal("馆内已无借者 nobody has it now", None, day.town.library("tianjin").holder_of(ITEM));

    let again = PresentCodeRequest { header: Some(desk.header(Purpose::LibraryLoan)), code: code.clone() };
    let again = desk.present_code(again).await;
    story.equal("同一码再扫被拒 the same code is refused at its second scan", "CODE_USED", verdict(&again));
    let elsewhere = day.terminal("beijing", "bj-capital-desk-01").await?;
    let again = PresentCodeRequest { header: Some(elsewhere.header(Purpose::LibraryLoan)), code };
    let again = elsewhere.present_code(again).await;
    story.equal("在北京再扫也被拒 and in Beijing too", "CODE_USED", verdict(&again));
    Ok(())
}
