//! From the bytes of a file to records, or to all that is wrong with it.

use std::{borrow::Cow, fmt};

use csv::{ReaderBuilder, StringRecord};
use jiff::civil::Date;

use super::{
    Encoding, Format,
    field::{self, Right},
};
use crate::{
    config::Text,
    ledger::matching::{Record, State},
    limits,
    model::Fen,
};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// In the file, from 1.
    pub line: u64,
    /// The column as the header names it; empty for the whole line.
    pub field: String,
    pub wrong: Text,
    pub right: Text,
}

/// A file that gives no records: everything that is wrong with it, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct BadFile {
    pub lines: Vec<BadLine>,
    /// Further ones that are not told.
    pub untold: usize,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for BadLine { line, field, wrong, right } in &self.lines {
            let field = if field.is_empty() { String::new() } else { format!(" `{field}`") };
            writeln!(
                f,
                "第 {line} 行{field}：{}，{} / line {line}{field}: {}; {}",
                wrong.zh, right.zh, wrong.en, right.en
            )?;
        }
        if self.untold > 0 {
            writeln!(f, "另有 {0} 处 / and {0} more", self.untold)?;
        }
        Ok(())
    }
}

/// Reads a file of `date`.
///
/// # Errors
/// Every bad line; then there are no records.
pub fn parse(bytes: &[u8], format: &Format, date: Date) -> Result<Vec<Record>, BadFile> {
    let mut bad = BadFile::default();
    let text = match decode(bytes, format.encoding) {
        Ok(text) => text,
        Err(line) => {
            bad.encoding(line, format.encoding);
            return Err(bad);
        }
    };
    let delimiter = u8::try_from(format.delimiter).unwrap_or(b',');
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut rows = StringRecord::new();
    let mut header: Option<Header> = None;
    let mut records = Vec::new();
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    loop {
        match reader.read_record(&mut rows) {
            Ok(true) => {}
            Ok(false) => break,
            // The text is in memory and is UTF-8; nothing else can fail.
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                bad.say(line, "", ("无法解析", "cannot be read"), Text::new("应为 CSV", "give CSV"));
                break;
            }
        }
        let line = lines.of(rows.position().map_or(0, csv::Position::byte));
        match &header {
            None => match Header::read(&rows, format, line) {
                Ok(found) => header = Some(found),
                Err(missing) => return Err(missing),
            },
            Some(_) if records.len() == limits::SETTLEMENT_LINES_MAX => {
                let most = limits::SETTLEMENT_LINES_MAX;
                let right =
                    Text::new(format!("至多 {most} 行，请拆分"), format!("give at most {most} lines a file"));
                bad.say(line, "", ("行数过多", "too many lines"), right);
                break;
            }
            Some(header) => {
                let mut row = Row { cells: &rows, header, line, bad: &mut bad };
                records.extend(row.read(format, date));
            }
        }
    }
    if header.is_none() {
        let right = Text::new("第一行应为表头", "the first line must be the header");
        bad.say(1, "", ("文件为空", "the file is empty"), right);
    }
    if bad.lines.is_empty() { Ok(records) } else { Err(bad) }
}

/// The file as text, or the number of the first line that is none.
fn decode(bytes: &[u8], encoding: Encoding) -> Result<Cow<'_, str>, u64> {
    let line_at = |at: usize| bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    match encoding {
        Encoding::Utf8 => {
            let text = std::str::from_utf8(bytes).map_err(|error| line_at(error.valid_up_to()))?;
            Ok(Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)))
        }
        Encoding::Gbk => {
            let decode = |bytes| encoding_rs::GBK.decode_without_bom_handling_and_without_replacement(bytes);
            // A line feed is never the second byte of a character of GBK.
            let bad_line = || bytes.split(|byte| *byte == b'\n').position(|line| decode(line).is_none());
            decode(bytes).ok_or_else(|| bad_line().unwrap_or(0) as u64 + 1)
        }
    }
}

/// Numbers the lines of a text, from 1. The reader's own numbers are one short where
/// lines end with a carriage return: it begins the next record at the line feed.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that the reader began at `byte`; never an earlier one
    /// than before.
    fn of(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        while let Some(next) = self.text.get(self.at)
            && (self.at < byte || matches!(next, b'\r' | b'\n'))
        {
            self.line += u64::from(*next == b'\n');
            self.at += 1;
        }
        self.line
    }
}

/// Which column is what.
struct Header {
    cells: usize,
    columns: Vec<(&'static str, String, usize)>,
}

impl Header {
    fn read(cells: &StringRecord, format: &Format, line: u64) -> Result<Self, BadFile> {
        let mut bad = BadFile::default();
        let mut columns = Vec::new();
        for (field, name) in format.columns.named() {
            let mut places = cells.iter().enumerate().filter(|(_, cell)| cell.trim() == name);
            match (places.next(), places.next()) {
                (Some((at, _)), None) => columns.push((field, name.to_owned(), at)),
                (None, _) => {
                    let right = Text::new("表头须有此列", "the header must name this column");
                    bad.say(line, name, ("缺少此列", "the column is missing"), right);
                }
                (Some(_), Some(_)) => {
                    let right = Text::new("表头中只能出现一次", "the header must name it once");
                    bad.say(line, name, ("此列重复", "the column stands twice"), right);
                }
            }
        }
        if bad.lines.is_empty() { Ok(Header { cells: cells.len(), columns }) } else { Err(bad) }
    }
}

/// One line under the header.
struct Row<'a> {
    cells: &'a StringRecord,
    header: &'a Header,
    line: u64,
    bad: &'a mut BadFile,
}

impl Row<'_> {
    fn read(&mut self, format: &Format, of_file: Date) -> Option<Record> {
        if self.cells.len() != self.header.cells {
            let wrong = (format!("有 {} 列", self.cells.len()), format!("has {} fields", self.cells.len()));
            let right = Text::new(
                format!("应与表头一样为 {} 列", self.header.cells),
                format!("must have {} as the header", self.header.cells),
            );
            self.bad.say(self.line, "", (&wrong.0, &wrong.1), right);
            return None;
        }
        let before = self.bad.count();
        let amount = self.field("amount", |text| field::amount(text, format.amount));
        if amount.is_none() && self.bad.count() == before {
            let name = format.columns.amount.clone();
            self.bad.say(self.line, &name, ("为空", "is empty"), Text::new("须填金额", "give the amount"));
        }
        let transaction = self.field("transaction", field::transaction);
        let reference = self.field("reference", field::reference);
        let status = self.field("status", |text| field::status(text, format));
        let date = self.field("date", |text| field::date(text, &format.date));
        let time = self.field("time", |text| field::time(text, &format.time));
        let terminal = self.field("terminal", field::terminal);
        let scene = self.field("scene", field::scene);
        let kind = self.field("kind", field::kind);
        let account = self.field("account", field::account);
        if self.bad.count() > before {
            return None;
        }
        if transaction.is_none() && reference.is_none() && terminal.is_none() {
            let right = Text::new(
                "须填交易号、流水号或终端号之一",
                "give the transaction, the reference or the terminal",
            );
            self.bad.say(self.line, "", ("无法辨认是哪一笔", "nothing tells which movement it is"), right);
            return None;
        }
        Some(Record {
            transaction,
            reference,
            date: date.or(time.map(|(date, _)| date)).unwrap_or(of_file),
            at: time.map(|(_, at)| at),
            terminal,
            amount: amount.unwrap_or(Fen::ZERO),
            state: status.unwrap_or(State::Captured),
            scene,
            kind,
            account,
            line: self.line,
        })
    }

    /// A field's value; `None` when the file has no such column, when it is empty, or
    /// when it is wrong, which is noted then.
    fn field<T>(&mut self, field: &str, read: impl FnOnce(&str) -> Result<T, Right>) -> Option<T> {
        let (_, name, at) = self.header.columns.iter().find(|(known, _, _)| *known == field)?;
        let text = self.cells.get(*at).unwrap_or("").trim();
        if text.is_empty() {
            return None;
        }
        let most = limits::SETTLEMENT_FIELD_BYTES_MAX;
        let value = if text.len() > most || text.chars().any(char::is_control) {
            Err(Text::new(
                format!("应为一行、至多 {most} 字节；检查引号是否成对"),
                format!("give one line of at most {most} bytes; see whether its quotes are closed"),
            ))
        } else {
            read(text)
        };
        value.map_err(|right| self.bad.say(self.line, name, ("有误", "is wrong"), right)).ok()
    }
}

impl BadFile {
    fn say(&mut self, line: u64, field: &str, (zh, en): (&str, &str), right: Right) {
        if self.lines.len() == limits::SETTLEMENT_PROBLEMS_MAX {
            self.untold += 1;
        } else {
            self.lines.push(BadLine { line, field: field.to_owned(), wrong: Text::new(zh, en), right });
        }
    }

    fn count(&self) -> usize {
        self.lines.len() + self.untold
    }

    fn encoding(&mut self, line: u64, encoding: Encoding) {
        let (wrong, right) = match encoding {
            Encoding::Utf8 => (
                ("不是 UTF-8 文本", "is not UTF-8"),
                Text::new(
                    "文件为 GBK 时请在格式中声明 encoding = \"gbk\"",
                    "declare encoding = \"gbk\" if it is that",
                ),
            ),
            Encoding::Gbk => (
                ("不是 GBK 文本", "is not GBK"),
                Text::new(
                    "文件为 UTF-8 时请在格式中声明 encoding = \"utf-8\"",
                    "declare encoding = \"utf-8\" if it is that",
                ),
            ),
        };
        self.say(line, "", wrong, right);
    }
}
