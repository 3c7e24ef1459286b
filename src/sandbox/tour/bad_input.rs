//! Chapter 8: what is wrong is refused, and everything wrong in it is named in two
//! languages.

use super::{
    day::{Day, verdict},
    story::{Story, Title},
};
use crate::{
    model::{Clock, Purpose, SystemClock},
    proto::{
        common::v1::RequestHeader,
        library::v1::CheckoutRequest,
        transit::v1::{Tap, TapKind, TapRequest, TransitRead},
    },
};

pub(super) const TITLE: Title = Title { zh: "错误的请求", en: "Bad input" };

const CARD: &str = "bj-006";
const STATION: &str = "西直门";

pub(super) async fn tell(day: &mut Day, story: &mut Story) -> anyhow::Result<()> {
    let gate = day.terminal("beijing", "bj-metro-gate-01").await?;
    story.tell("一笔处处有误的刷卡。", "A tap that is wrong all over.");
    let everything_wrong = TapRequest {
        header: Some(RequestHeader { request_id: "1".to_owned(), ..RequestHeader::default() }),
        tap: Some(Tap {
            read: Some(TransitRead {
                card_identifier: vec![1, 2, 3],
                counter: 0,
                mac: vec![0; 3],
                valid_until: 0,
            }),
            ..Tap::default()
        }),
    };
    let refused = gate.tap(everything_wrong).await;
    story.equal("请求字段有误 a field is not valid", "FIELD_INVALID", verdict(&refused));
    let violations = refused.err().map(|error| error.violations).unwrap_or_default();
    let named: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    for field in [
        "header.request_id",
        "header.purpose",
        "header.terminal_time_ms",
        "tap.kind",
        "tap.station",
        "tap.read.card_identifier",
        "tap.read.mac",
    ] {
        story.holds(format!("指出 names {field}"), named.contains(&field), &named);
    }
    let in_both =
        |text: &str| text.chars().any(|c| c >= '\u{4e00}') && text.chars().any(|c| c.is_ascii_lowercase());
    let bilingual = violations.iter().all(|violation| in_both(&violation.description));
    story.holds("每一处都用中英文说明 each is explained in both languages", bilingual, &violations);

    let mut forged = day.tap(&gate, CARD, TapKind::Entry, STATION)?;
    if let Some(read) = forged.tap.as_mut().and_then(|tap| tap.read.as_mut()) {
        read.mac[0] ^= 1;
    }
    story.equal("验证码错误 a wrong MAC", "MAC_WRONG", verdict(&gate.tap(forged).await));

    let tap = day.tap(&gate, CARD, TapKind::Entry, STATION)?;
    story.equal(
        "同一张卡正常刷卡 the same card taps as it should",
        "APPROVED",
        verdict(&gate.tap(tap.clone()).await),
    );
    let replayed = TapRequest { header: Some(gate.header(Purpose::TransitRide)), ..tap };
    story.equal(
        "重放被拒 the tap replayed under a new id",
        "COUNTER_REPLAYED",
        verdict(&gate.tap(replayed).await),
    );

    let mut aimless = day.tap(&gate, CARD, TapKind::Exit, STATION)?;
    aimless.header = Some(gate.header(Purpose::LibraryLoan));
    story.equal(
        "用途不符 a purpose of another scene",
        "PURPOSE_NOT_PERMITTED",
        verdict(&gate.tap(aimless).await),
    );

    let outside = CheckoutRequest {
        header: Some(gate.header(Purpose::LibraryLoan)),
        library: "bj-capital".to_owned(),
        item: "B0004".to_owned(),
    };
    story.equal(
        "闸机不能借书 a gate cannot lend books",
        "SCENE_NOT_PERMITTED",
        verdict(&gate.checkout(outside).await),
    );

    let desk = day.terminal("beijing", "bj-capital-desk-01").await?;
    let stale = RequestHeader { holder_session: "00".repeat(16), ..desk.header(Purpose::LibraryLoan) };
    let stale = CheckoutRequest { header: Some(stale), library: String::new(), item: "B0004".to_owned() };
    story.equal("不存在的会话 a session nobody has", "SESSION_UNKNOWN", verdict(&desk.checkout(stale).await));

    for (card, reason, told) in [
        ("bj-expired", "CARD_EXPIRED", "过期卡 an expired card"),
        ("bj-new", "CARD_NOT_ACTIVATED", "未启用的卡 a card not activated"),
        ("bj-lost", "CARD_TEMPORARILY_LOST", "早已挂失的卡 a card lost before"),
    ] {
        let tap = day.tap_at(&gate, card, TapKind::Entry, STATION, SystemClock.now_ms())?;
        story.equal(told, reason, verdict(&gate.tap(tap).await));
    }
    Ok(())
}
