//! Chapter 6: an identity document at a staffed counter.

use anyhow::Context as _;

use super::{
    day::{Day, verdict, word_of},
    story::{Story, Title},
};
use crate::{
    client::Terminal,
    model::Purpose,
    proto::{
        auth::v1::PresentDocumentRequest,
        common::v1::{Assurance, RequestHeader},
    },
    sandbox::people::SamplePerson,
};

pub(super) const TITLE: Title =
    Title { zh: "人工柜台核验证件", en: "A document at a staffed counter" };

const CARD: &str = "tj-004";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let counter = day.terminal("tianjin", "tj-hall-counter-01").await?;
    let person = day.card(CARD)?.holder.person;
    story.tell(
        format!("{CARD} 的持卡人忘带卡，出示身份证，由 clerk-7 核验。"),
        format!("The holder of {CARD} left the card at home; clerk-7 looks at the document."),
    );
    let shown = counter.present_document(document(&counter, &person, &person.name)).await?;
    let answer = day.answer(&shown)?;
    story.equal("号码与姓名相符 number and name belong together", "APPROVED", word_of(&answer));
    story.equal(
        "认证级别为证件 the assurance is that of a document",
        Assurance::Document,
        answer.assurance(),
    );
    let session = shown.session.context("an accepted document without a session")?;
    story.equal(
        "按策略告知姓名 the policy line grants the name",
        Some(&person.name),
        session.attributes.get("AAC003"),
    );

    let wrong = counter.present_document(document(&counter, &person, "赵他人")).await;
    story.equal("姓名不符被拒 another name is declined", "DOCUMENT_MISMATCH", verdict(&wrong));
    let elsewhere = day.terminal("beijing", "bj-hall-counter-01").await?;
    let unknown = elsewhere.present_document(document(&elsewhere, &person, &person.name)).await;
    story.equal("只在发卡地受理 done in the home region only", "DOCUMENT_UNKNOWN", verdict(&unknown));
    Ok(())
}

fn document(counter: &Terminal, person: &SamplePerson, name: &str) -> PresentDocumentRequest {
    let header = counter.header(Purpose::GovernmentService);
    PresentDocumentRequest {
        header: Some(RequestHeader { operator_id: "clerk-7".to_owned(), ..header }),
        document_kind: person.document_kind.clone(),
        document_number: person.document_number.clone(),
        name: name.to_owned(),
    }
}
