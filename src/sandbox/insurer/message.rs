//! Envelopes: what a message must carry, how its signature is checked, what an
//! answer looks like.

use std::{borrow::Cow, collections::BTreeMap};

use aws_lc_rs::digest;
use serde_json::{Value, json, value::RawValue};

use super::decimal;
use crate::{
    crypto::{Sm2PublicKey, sm3},
    identity::local_time,
    model::Millis,
};

/// Why a message is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum No {
    /// infcode −2: for the person at the counter.
    Business(String),
    /// infcode −1.
    System(String),
}

impl No {
    pub(super) fn business(text: impl Into<String>) -> Self {
        No::Business(text.into())
    }
}

/// How messages are signed.
#[derive(Debug, Clone)]
pub enum MessageKey {
    /// `signtype` SM2: the institutions' key.
    Sm2(Sm2PublicKey),
    /// `signtype` SM3: a bare digest, which shows damage and not an author.
    Sm3,
}

/// Longest `input`.
const INPUT_MAX: usize = 40_000;
/// A header's time may be this far from ours.
const HEADER_SKEW_MS: i64 = 300_000;

/// Fields of the envelope that must be there, with their longest length.
const REQUIRED: [(&str, usize); 13] = [
    ("infno", 6),
    ("msgid", 30),
    ("mdtrtarea_admvs", 6),
    ("recer_sys_code", 10),
    ("signtype", 10),
    ("infver", 6),
    ("opter_type", 3),
    ("opter", 30),
    ("opter_name", 50),
    ("inf_time", 19),
    ("fixmedins_code", 12),
    ("fixmedins_name", 20),
    ("sign_no", 30),
];

/// A message that was understood.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) infno: String,
    pub(super) msgid: String,
    /// `mdtrtarea_admvs`: the place of care.
    pub(super) care_place: String,
    /// `fixmedins_code`.
    pub(super) institution: String,
    pub(super) sign_no: String,
    pub(super) input: Value,
}

/// Reads a message and checks its signature.
pub(super) fn read(body: &[u8], key: Option<&MessageKey>) -> Result<Message, No> {
    let whole: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(body).map_err(|_| No::System("报文不是JSON对象".into()))?;
    let text = |name: &str| {
        let raw = whole.get(name).map(|raw| raw.get()).unwrap_or("null");
        match serde_json::from_str(raw) {
            Ok(Value::String(text)) => text,
            Ok(Value::Number(number)) => number.to_string(),
            Ok(_) | Err(_) => String::new(),
        }
    };
    for (name, longest) in REQUIRED {
        let length = text(name).chars().count();
        // Signing in is what brings a sign_no.
        let may_be_empty = name == "sign_no" && text("infno") == "9001";
        if (length == 0 && !may_be_empty) || length > longest {
            return Err(No::business(format!("{name}不能为空且不超过{longest}位")));
        }
    }
    let input = whole.get("input").map(|raw| raw.get()).unwrap_or("{}");
    if input.len() > INPUT_MAX {
        return Err(No::business(format!("input不超过{INPUT_MAX}字节")));
    }
    let (institution, msgid) = (text("fixmedins_code"), text("msgid"));
    let digits = msgid.strip_prefix(institution.as_str()).unwrap_or_default();
    if digits.len() != 18 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(No::business("msgid应为机构编号(12)+时间(14)+顺序号(4)"));
    }
    if let Some(key) = key {
        let signed = format!("{msgid}|{}|{}|{input}", text("infno"), text("inf_time"));
        if !is_signed(&text("signtype"), &text("cainfo"), signed.as_bytes(), key) {
            return Err(No::business("验签失败"));
        }
    }
    Ok(Message {
        infno: text("infno"),
        msgid,
        care_place: text("mdtrtarea_admvs"),
        institution,
        sign_no: text("sign_no"),
        input: serde_json::from_str(input).map_err(|_| No::System("input不是JSON".into()))?,
    })
}

fn is_signed(kind: &str, signature: &str, signed: &[u8], key: &MessageKey) -> bool {
    match key {
        MessageKey::Sm2(key) => {
            let mut bytes = [0; 64];
            kind == "SM2"
                && hex::decode_to_slice(signature, &mut bytes).is_ok()
                && key.verify(signed, &bytes).is_ok()
        }
        MessageKey::Sm3 => kind == "SM3" && hex::encode(sm3(&[signed])).eq_ignore_ascii_case(signature),
    }
}

/// Whether the header's signature is right: see the table of the room.
pub(super) fn header_is_signed(
    header: impl Fn(&str) -> String,
    (account, token): (&str, &str),
    now_ms: Millis,
) -> bool {
    let (at, nonce) = (header("x-tif-timestamp"), header("x-tif-nonce"));
    let signed = format!("{at}{token}{nonce}{at}");
    let expected = hex::encode(digest::digest(&digest::SHA256, signed.as_bytes()));
    // Seconds or milliseconds: both are in use.
    let at_ms = at.parse::<i64>().map(|at| if at < 100_000_000_000 { at * 1_000 } else { at });
    header("x-tif-paasid") == account
        && !nonce.is_empty()
        && at_ms.is_ok_and(|at_ms| (at_ms - now_ms).abs() <= HEADER_SKEW_MS)
        && header("x-tif-signature").eq_ignore_ascii_case(&expected)
}

/// Writes an answer.
pub(super) fn write(
    answer: Result<Value, No>,
    serial: u64,
    province: u32,
    now_ms: Millis,
    code_as_text: bool,
) -> Value {
    let (code, why, output) = match answer {
        Ok(output) => (0, String::new(), output),
        Err(No::System(why)) => (-1, why, Value::Null),
        Err(No::Business(why)) => (-2, why, Value::Null),
    };
    let code = if code_as_text { json!(code.to_string()) } else { json!(code) };
    let time = stamp(now_ms, "%Y%m%d%H%M%S%3f");
    json!({
        "infcode": code,
        "inf_refmsgid": format!("{province:06}{}{:010}", &time[..14], serial),
        "refmsg_time": time,
        "respond_time": time,
        "enctype": "",
        "signtype": "",
        "cainfo": "",
        "err_msg": why.chars().take(200).collect::<String>(),
        "warn_msg": "",
        "output": output,
    })
}

/// An instant as the sector writes it, Asia/Shanghai.
pub(super) fn stamp(at_ms: Millis, form: &str) -> String {
    local_time(at_ms).strftime(form).to_string()
}

/// Fields of an object of `input`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    /// The object under the first of these names, or `data`.
    pub(super) fn of(input: &'a Value, names: &[&str]) -> Self {
        let node = names.iter().chain(&["data"]).find_map(|name| input.get(name));
        Fields(node.unwrap_or(input))
    }

    /// The objects of a list.
    pub(super) fn list(input: &'a Value, names: &[&str]) -> Vec<Fields<'a>> {
        let node = names.iter().find_map(|name| input.get(name)).and_then(Value::as_array);
        node.into_iter().flatten().map(Fields).collect()
    }

    /// A text that may be missing.
    pub(super) fn maybe(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// A text that must be there.
    pub(super) fn text(&self, name: &str, longest: usize) -> Result<String, No> {
        let text = self.maybe(name);
        if text.is_empty() || text.chars().count() > longest {
            return Err(No::business(format!("{name}不能为空且不超过{longest}位")));
        }
        Ok(text)
    }

    /// A decimal that must be there, in units of its last place.
    pub(super) fn decimal(&self, name: &str, places: u32) -> Result<i64, No> {
        let value = self.0.get(name).unwrap_or(&Value::Null);
        decimal::read(value, places)
            .ok_or_else(|| No::business(format!("{name}应为至多{places}位小数的数值")))
    }

    /// Fen.
    pub(super) fn money(&self, name: &str) -> Result<i64, No> {
        self.decimal(name, decimal::MONEY_PLACES)
    }

    pub(super) fn raw(&self, name: &str) -> &'a Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }
}
