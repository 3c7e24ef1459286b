//! What is declared of a file.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime};
use serde::Deserialize;

use crate::ledger::matching::State;

/// How the file's bytes are text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// With or without a byte order mark.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    Gbk,
}

/// What an amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AmountUnit {
    /// `12.34`
    Yuan,
    /// `1234`
    Fen,
}

/// The form of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    #[serde(default)]
    pub encoding: Encoding,
    #[serde(default = "comma")]
    pub delimiter: char,
    pub amount: AmountUnit,
    /// Of the date column, as strftime writes it.
    #[serde(default = "plain_date")]
    pub date: String,
    /// Of the time column, Asia/Shanghai, as strftime writes it.
    #[serde(default = "plain_time")]
    pub time: String,
    pub columns: Columns,
    /// Words of the status column. Without the column every line stands.
    #[serde(default)]
    pub status: BTreeMap<String, State>,
}

/// The names that the header gives to what we read. Other columns are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Our transaction id.
    #[serde(default)]
    pub transaction: Option<String>,
    /// The participant's reference: the request id that it gave the gateway, or,
    /// between its own and the bank's file, any name of at most 64 characters.
    #[serde(default)]
    pub reference: Option<String>,
    /// Positive when it is owed to the participant.
    pub amount: String,
    #[serde(default)]
    pub status: Option<String>,
    /// The business date; else that of the time, else that of the file.
    #[serde(default)]
    pub date: Option<String>,
    #[serde(default)]
    pub time: Option<String>,
    #[serde(default)]
    pub terminal: Option<String>,
    #[serde(default)]
    pub scene: Option<String>,
    /// Method, as the journal names it.
    #[serde(default)]
    pub kind: Option<String>,
    /// Account path, as the journal names it.
    #[serde(default)]
    pub account: Option<String>,
}

fn comma() -> char {
    ','
}

fn plain_date() -> String {
    "%Y-%m-%d".to_owned()
}

fn plain_time() -> String {
    "%Y-%m-%d %H:%M:%S".to_owned()
}

impl Format {
    /// What is wrong with the declaration, in Chinese and English.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.delimiter.is_ascii()
            || self.delimiter == '"'
            || self.delimiter.is_ascii_control() && self.delimiter != '\t'
        {
            problems.push(
                "delimiter: 应为一个 ASCII 字符，例如 , 或 | / give one ASCII character such as , or |"
                    .into(),
            );
        }
        let sample = Date::constant(2026, 11, 21).at(23, 59, 58, 0);
        if !says_date(&self.date, sample.date()) {
            problems.push(
                "date: 应含年月日，例如 %Y%m%d / must hold year, month and day, for example %Y%m%d".into(),
            );
        }
        if !says_time(&self.time, sample) {
            problems.push(
                "time: 应含年月日时分秒，例如 %Y-%m-%d %H:%M:%S / must hold the date and the time to the second, for example %Y-%m-%d %H:%M:%S"
                    .into(),
            );
        }
        let names = self.columns.named();
        for (at, (field, name)) in names.iter().enumerate() {
            if name.is_empty() || names[..at].iter().any(|(_, earlier)| earlier == name) {
                problems.push(format!(
                    "columns.{field}: 列名为空或重复 / the column's name is empty or used twice"
                ));
            }
        }
        let Columns { transaction, reference, terminal, .. } = &self.columns;
        if transaction.is_none() && reference.is_none() && terminal.is_none() {
            problems.push(
                "columns: 须有 transaction、reference 或 terminal 之一 / name one of transaction, reference, terminal: nothing else tells a movement"
                    .into(),
            );
        }
        if self.columns.status.is_some() && self.status.is_empty() {
            problems.push(
                "status: 状态列的取值未声明 / declare the words of the status column, for example \"成功\" = \"captured\""
                    .into(),
            );
        }
        problems
    }
}

impl Columns {
    /// Field and column of everything that is declared.
    pub(super) fn named(&self) -> Vec<(&'static str, &str)> {
        let optional = [
            ("transaction", &self.transaction),
            ("reference", &self.reference),
            ("status", &self.status),
            ("date", &self.date),
            ("time", &self.time),
            ("terminal", &self.terminal),
            ("scene", &self.scene),
            ("kind", &self.kind),
            ("account", &self.account),
        ];
        let mut named = vec![("amount", self.amount.as_str())];
        named.extend(optional.into_iter().filter_map(|(field, name)| Some((field, name.as_deref()?))));
        named
    }
}

fn says_date(form: &str, sample: Date) -> bool {
    let written = jiff::fmt::strtime::format(form, sample);
    written.is_ok_and(|text| Date::strptime(form, &text).is_ok_and(|read| read == sample))
}

fn says_time(form: &str, sample: DateTime) -> bool {
    let written = jiff::fmt::strtime::format(form, sample);
    written.is_ok_and(|text| DateTime::strptime(form, &text).is_ok_and(|read| read == sample))
}
