//! The message around an input, the header's signature, and the answer around an
//! output. Pure, but for the nonce that comes in.

use aws_lc_rs::digest;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{MessageSignature, NhsaOptions, refused, system_failed};
use crate::{
    crypto::{KeyName, KeyVault, VaultError, sm3},
    identity::local_time,
    model::Millis,
    scenes::medical::{MedicalAct, PortError, Sender, Unknown},
};

/// An answer with infcode 0.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) output: Value,
    /// warn_msg
    pub(super) warning: String,
    /// inf_refmsgid
    pub(super) reference: String,
}

/// The body of a message.
pub(super) fn write(
    sender: &Sender,
    act: MedicalAct,
    sign_no: &str,
    input: &Value,
    options: &NhsaOptions,
    vault: &dyn KeyVault,
) -> Result<Vec<u8>, VaultError> {
    let input = input.to_string();
    let infno = options.infno(act);
    let time = local(sender.sent_at_ms, "%Y-%m-%d %H:%M:%S");
    let signed = format!("{}|{infno}|{time}|{input}", sender.msgid);
    let (kind, cainfo) = match options.signature {
        MessageSignature::None => ("SM3", String::new()),
        MessageSignature::Sm3 => ("SM3", hex::encode(sm3(&[signed.as_bytes()]))),
        MessageSignature::Sm2 => ("SM2", hex::encode(vault.sign(KeyName::Medical, signed.as_bytes())?)),
    };
    let operator = if sender.operator.is_empty() { options.operator.as_str() } else { &*sender.operator };
    let fields: [(&str, &str); 19] = [
        ("infno", &infno),
        ("msgid", sender.msgid.as_str()),
        ("mdtrtarea_admvs", &sender.care_region),
        ("insuplc_admdvs", &sender.insured_region),
        ("recer_sys_code", &options.receiver),
        ("dev_no", &options.device),
        ("dev_safe_info", ""),
        ("cainfo", &cainfo),
        ("signtype", kind),
        ("infver", &options.version),
        ("opter_type", &options.operator_type),
        ("opter", operator),
        ("opter_name", operator),
        ("inf_time", &time),
        ("fixmedins_code", &sender.institution),
        ("fixmedins_name", &sender.institution_name),
        ("sign_no", sign_no),
        ("enctype", ""),
        ("fixmedins_soft_fcty", "onecard"),
    ];
    let mut body = Vec::with_capacity(input.len() + 1_024);
    body.push(b'{');
    for (name, value) in fields {
        body.extend_from_slice(format!("\"{name}\":{},", Value::from(value)).as_bytes());
    }
    // The input goes out as the very bytes that were signed.
    body.extend_from_slice(b"\"input\":");
    body.extend_from_slice(input.as_bytes());
    body.push(b'}');
    Ok(body)
}

/// Names and values of the header's signature: SHA-256(timestamp ‖ token ‖ nonce ‖
/// timestamp).
pub(super) fn header(
    options: &NhsaOptions,
    token: &str,
    nonce: &str,
    now_ms: Millis,
) -> Vec<(&'static str, String)> {
    if options.account.is_empty() {
        return Vec::new();
    }
    let at = if options.header_seconds { now_ms / 1_000 } else { now_ms };
    let signed = digest::digest(&digest::SHA256, format!("{at}{token}{nonce}{at}").as_bytes());
    vec![
        ("x-tif-paasid", options.account.clone()),
        ("x-tif-timestamp", at.to_string()),
        ("x-tif-nonce", nonce.to_owned()),
        ("x-tif-signature", hex::encode(signed)),
    ]
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    infcode: Option<&'a RawValue>,
    #[serde(default)]
    inf_refmsgid: Option<Value>,
    #[serde(default)]
    err_msg: Option<String>,
    #[serde(default)]
    warn_msg: Option<String>,
    #[serde(default)]
    output: Option<Value>,
}

/// Reads an answer.
///
/// # Errors
/// `Refused` for −2 and the codes that the options name as refusals, `SystemFailed` for
/// −1, `Unknown` for every other code and for what is no answer: a code that nobody
/// knows does not say that nothing was done.
pub(super) fn read(body: &[u8], options: &NhsaOptions) -> Result<Answered, PortError> {
    let unknown = |why: &str| PortError::from(Unknown { why: why.to_owned() });
    let envelope: Envelope<'_> =
        serde_json::from_slice(body).map_err(|_| unknown("the answer is no JSON object"))?;
    let raw = envelope.infcode.map(RawValue::get).unwrap_or_default();
    // A number in some answers and a text in others.
    let code = raw.trim_matches('"').trim();
    let message = envelope.err_msg.unwrap_or_default();
    match code {
        "0" => Ok(Answered {
            output: envelope.output.unwrap_or(Value::Object(Map::new())),
            warning: envelope.warn_msg.unwrap_or_default(),
            reference: match envelope.inf_refmsgid {
                Some(Value::String(text)) => text,
                Some(Value::Number(number)) => number.to_string(),
                _ => String::new(),
            },
        }),
        "-1" => Err(system_failed(&message)),
        "" | "null" => Err(unknown("the answer has no infcode")),
        "-2" => Err(refused("-2", &message)),
        code if options.refusals.iter().any(|refusal| refusal == code) => Err(refused(code, &message)),
        _ => Err(unknown("the answer's infcode says neither yes nor no")),
    }
}

/// An instant as the interface writes it, in China's time.
pub(super) fn local(at_ms: Millis, form: &str) -> String {
    local_time(at_ms).strftime(form).to_string()
}
