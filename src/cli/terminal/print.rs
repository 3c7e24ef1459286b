//! What a person, or a script, is told about an answer.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::{
    client::{CallError, CheckedReceipt, ReceiptRefused},
    model::Fen,
    proto::common::v1::{Answer, Decision, TransactionStatus},
};

/// One line of a report.
pub(super) struct Fact {
    key: &'static str,
    zh: &'static str,
    value: Value,
}

impl Fact {
    pub(super) fn new(key: &'static str, zh: &'static str, value: impl Into<Value>) -> Self {
        Fact { key, zh, value: value.into() }
    }

    /// Money, as integer fen for scripts and as yuan for people.
    pub(super) fn fen(key: &'static str, zh: &'static str, fen: i64) -> Self {
        Fact::new(key, zh, fen)
    }

    /// An instant in milliseconds.
    pub(super) fn instant(key: &'static str, zh: &'static str, ms: i64) -> Self {
        Fact::new(key, zh, ms)
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> &str {
        self.key
    }

    #[cfg(test)]
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    fn told(&self) -> String {
        match &self.value {
            Value::Number(number) if self.key.ends_with("_fen") => {
                format!("{} 元", Fen::new(number.as_i64().unwrap_or_default()))
            }
            Value::Number(number) if self.key.ends_with("_at_ms") => {
                local_time(number.as_i64().unwrap_or_default())
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The answer to one act and what was found out about it.
pub(super) struct Report {
    pub(super) request_id: String,
    pub(super) answer: Answer,
    pub(super) receipt: Result<CheckedReceipt, ReceiptRefused>,
    /// With `--repeat`: whether the second answer was the first one again.
    pub(super) repeated: Option<bool>,
    pub(super) facts: Vec<Fact>,
}

impl Report {
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.answer.decision() {
            Decision::Approved => 0,
            Decision::Declined => 1,
            Decision::Pending => 3,
            Decision::Unspecified => 2,
        })
    }

    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", self.to_json());
        } else {
            print!("{}", self.to_text());
        }
    }

    fn to_json(&self) -> Value {
        let answer = &self.answer;
        let mut object = Map::new();
        for (key, value) in [
            ("decision", json!(decision(answer.decision()).1)),
            ("status", json!(status(answer.status()).1)),
            ("reason", json!(answer.reason)),
            ("text_zh", json!(answer.text_zh)),
            ("text_en", json!(answer.text_en)),
            ("transaction_id", json!(answer.transaction_id)),
            ("request_id", json!(self.request_id)),
            ("committed_at_ms", json!(answer.committed_at_ms)),
            ("assurance", json!(answer.assurance)),
            ("holder_id", json!(answer.holder_id)),
            ("receipt_checked", json!(self.receipt.is_ok())),
        ] {
            object.insert(key.to_owned(), value);
        }
        if let Err(refused) = &self.receipt {
            object.insert("receipt_error".to_owned(), json!(refused.to_string()));
        }
        if let Some(same) = self.repeated {
            object.insert("repeat_is_same".to_owned(), json!(same));
        }
        object.extend(self.facts.iter().map(|fact| (fact.key.to_owned(), fact.value.clone())));
        Value::Object(object)
    }

    fn to_text(&self) -> String {
        let answer = &self.answer;
        let (zh, en) = decision(answer.decision());
        let mut text = line("结果", "outcome", &format!("{zh} {en}"));
        if !answer.reason.is_empty() {
            text += &line("原因", "reason", &format!("{} {}", answer.reason, answer.text_zh));
            text += &line("", "", &answer.text_en);
        }
        for fact in &self.facts {
            text += &line(
                fact.zh,
                &fact.key.replace('_', " ").replace(" at ms", "").replace(" fen", ""),
                &fact.told(),
            );
        }
        if answer.status() == TransactionStatus::Reversed {
            text += &line("状态", "status", "已冲正 REVERSED");
        }
        text += &line("交易", "transaction", &answer.transaction_id);
        text += &line("请求", "request", &self.request_id);
        text += &line("入账", "committed", &local_time(answer.committed_at_ms));
        text += &line("回执", "receipt", &told_receipt(&self.receipt));
        match self.repeated {
            Some(true) => text += &line("重发", "repeat", "✓ 同一应答 the same answer"),
            Some(false) => text += &line("重发", "repeat", "✗ 应答不同 ANOTHER answer"),
            None => {}
        }
        text
    }
}

fn told_receipt(receipt: &Result<CheckedReceipt, ReceiptRefused>) -> String {
    match receipt {
        Ok(proof) => format!(
            "✓ {} {}-{} 批次 batch {}, {}/{}",
            proof.region,
            proof.node,
            proof.epoch,
            proof.sequence,
            proof.index + 1,
            proof.count
        ),
        Err(refused) => format!("✗ {refused}"),
    }
}

/// Says why there is no answer; exit code 2.
pub(super) fn failed(error: &anyhow::Error, as_json: bool) -> ExitCode {
    let call = error.downcast_ref::<CallError>();
    if as_json {
        println!("{}", failed_json(error, call));
        return ExitCode::from(2);
    }
    match call {
        Some(call) => {
            eprint!("{}", line("结果", "outcome", &format!("拒绝 REFUSED ({:?})", call.code)));
            eprint!("{}", line("原因", "reason", format!("{} {}", call.reason, call.text_zh).trim_start()));
            eprint!("{}", line("", "", &call.text_en));
            for violation in &call.violations {
                let told = format!("{}: {}", violation.field, violation.description);
                eprint!("{}", line("字段", "field", &told));
            }
        }
        None => eprint!("{}", line("失败", "failed", &format!("{error:#}"))),
    }
    ExitCode::from(2)
}

fn failed_json(error: &anyhow::Error, call: Option<&CallError>) -> Value {
    match call {
        Some(call) => json!({
            "error": call.text_en,
            "code": format!("{:?}", call.code),
            "reason": call.reason,
            "text_zh": call.text_zh,
            "tries": call.tries,
            "retry_after_ms": call.retry_after.map(|wait| wait.as_millis() as u64),
            "violations": call.violations.iter()
                .map(|violation| json!({"field": violation.field, "description": violation.description}))
                .collect::<Vec<_>>(),
        }),
        None => json!({ "error": format!("{error:#}") }),
    }
}

fn decision(decision: Decision) -> (&'static str, &'static str) {
    match decision {
        Decision::Approved => ("通过", "APPROVED"),
        Decision::Declined => ("未通过", "DECLINED"),
        Decision::Pending => ("待确认", "PENDING"),
        Decision::Unspecified => ("未知", "UNSPECIFIED"),
    }
}

pub(super) fn status(status: TransactionStatus) -> (&'static str, &'static str) {
    match status {
        TransactionStatus::Completed => ("已完成", "COMPLETED"),
        TransactionStatus::Declined => ("未通过", "DECLINED"),
        TransactionStatus::Pending => ("待确认", "PENDING"),
        TransactionStatus::Reversed => ("已冲正", "REVERSED"),
        TransactionStatus::Received => ("已受理", "RECEIVED"),
        TransactionStatus::Authorised => ("已授权", "AUTHORISED"),
        TransactionStatus::Reserved => ("已冻结", "RESERVED"),
        TransactionStatus::Unspecified => ("未知", "UNSPECIFIED"),
    }
}

/// Milliseconds as a wall clock in Shanghai shows them.
pub(super) fn local_time(ms: i64) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(ms) else {
        return ms.to_string();
    };
    match instant.in_tz("Asia/Shanghai") {
        Ok(zoned) => zoned.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => instant.to_string(),
    }
}

/// Two columns of labels and a value. A Chinese character is two cells wide.
fn line(zh: &str, en: &str, value: &str) -> String {
    let cells = |text: &str| text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>();
    let pad = |text: &str, width: usize| " ".repeat(width.saturating_sub(cells(text)));
    format!("{zh}{} {en}{} {value}\n", pad(zh, 8), pad(en, 18))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(decision: Decision) -> Report {
        let answer = Answer {
            decision: decision.into(),
            reason: "CARD_LOST".to_owned(),
            text_zh: "卡片已挂失".to_owned(),
            text_en: "the card is reported lost".to_owned(),
            ..Answer::default()
        };
        let receipt = Err(ReceiptRefused::Missing);
        let facts = vec![Fact::fen("amount_fen", "金额", 305)];
        Report { request_id: "r".to_owned(), answer, receipt, repeated: Some(false), facts }
    }

    #[test]
    fn values_stand_under_each_other() {
        let text = report(Decision::Declined).to_text();
        for line in text.lines() {
            let cells: Vec<usize> = line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).collect();
            assert!(cells.iter().sum::<usize>() >= 28, "{line}");
        }
        assert!(text.contains("3.05 元"), "{text}");
        assert!(text.contains("✗ the answer has no receipt"), "{text}");
        assert!(text.contains("ANOTHER answer"), "{text}");
    }

    #[test]
    fn scripts_get_integers_and_whether_the_receipt_holds() {
        let object = report(Decision::Declined).to_json();
        assert_eq!(object["amount_fen"], 305);
        assert_eq!(object["receipt_checked"], false);
        assert_eq!(object["decision"], "DECLINED");
        assert_eq!(object["repeat_is_same"], false);
    }

    #[test]
    fn the_exit_code_says_how_it_ended() {
        for (decision, code) in [
            (Decision::Approved, 0),
            (Decision::Declined, 1),
            (Decision::Unspecified, 2),
            (Decision::Pending, 3),
        ] {
            assert_eq!(report(decision).exit_code(), ExitCode::from(code));
        }
    }
}
