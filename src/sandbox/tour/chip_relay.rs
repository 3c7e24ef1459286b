//! Chapter 3: a Beijing chip at a counter in Hebei, through the relay; a fake one.

use anyhow::Context as _;

use super::{
    day::{Day, begin_chip, finish_chip, verdict, word_of},
    story::{Story, Title},
};
use crate::proto::common::v1::Assurance;

pub(super) const TITLE: Title = Title {
    zh: "北京的芯片在河北柜台双向认证",
    en: "A Beijing chip is authenticated at a counter in Hebei",
};

const CARD: &str = "bj-001";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let counter = day.terminal("hebei", "he-hall-counter-01").await?;
    let card = day.card(CARD)?;
    story.tell(
        format!("{CARD} 插入河北服务大厅读卡器；密钥只在北京，认证数据经互联中继。"),
        format!(
            "{CARD} is read in Hebei; its keys are in Beijing alone, so challenge and answer are relayed."
        ),
    );
    let request = begin_chip(&counter, &card);
    let challenge = request.challenge.clone().context("a challenge was made")?;
    let begun = counter.begin_chip(request).await?;
    let answer = day.answer(&begun)?;
    story.equal(
        "内部认证：卡片为真 internal authentication: the chip is genuine",
        "APPROVED",
        word_of(&answer),
    );
    let factor = challenge.external_factor.as_slice().try_into()?;
    let data = challenge.external_data.as_slice().try_into()?;
    story.holds(
        "外部认证：卡片承认网关 external authentication: the chip accepts the gateway",
        card.chip.check_external(factor, data, &begun.external_authenticator),
        hex::encode(&begun.external_authenticator),
    );
    let other = day.card("bj-002")?;
    story.holds(
        "另一张卡不承认这组数据 another card does not accept the same data",
        !other.chip.check_external(factor, data, &begun.external_authenticator),
        "accepted",
    );

    let finished = counter.finish_chip(finish_chip(&counter, &card, &begun.chip_session)).await?;
    let answer = day.answer(&finished)?;
    story.equal(
        "与北京登记信息一致 what the card says agrees with the register in Beijing",
        "APPROVED",
        word_of(&answer),
    );
    story.equal("认证级别为芯片 the assurance is that of a chip", Assurance::Chip, answer.assurance());
    let told = finished.session.context("an authenticated chip without a session")?.attributes;
    let names: Vec<&str> = told.keys().map(String::as_str).collect();
    story.equal("按策略只告知姓名 the policy line grants the name and nothing else", vec!["AAC003"], names);
    story.equal("姓名无误 and it is right", Some(&card.holder.person.name), told.get("AAC003"));

    let reused = counter.finish_chip(finish_chip(&counter, &card, &begun.chip_session)).await;
    story.equal("中继会话只能用一次 a relay session serves once", "SESSION_USED", verdict(&reused));

    let mut fake = card.clone();
    fake.chip = other.chip.clone();
    fake.chip.card = card.chip.card;
    let refused = counter.begin_chip(begin_chip(&counter, &fake)).await;
    story.equal("仿冒芯片被拒 a fake chip is refused", "CHIP_NOT_GENUINE", verdict(&refused));
    Ok(())
}
