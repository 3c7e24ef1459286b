//! What a reconciliation tells: a table for people, a CSV for whoever clears the
//! exceptions. Decides nothing.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::civil::Date;

use crate::{
    identity::date_of_yyyymmdd,
    ledger::matching::{
        CaseId, Difference, Exception, ExceptionKind, Outcome, Owner, Record, Side, Sum, case::is_open,
    },
    model::{
        Fen, ParticipantId, TransactionId,
        record::{ReconciliationCase, ReconciliationState},
    },
    sandbox::town::table::width,
};

/// Digits of an id that the table shows; enough to name one of a day's exceptions.
pub const ID_SHOWN: usize = 12;

/// Everything that is told.
pub struct Report<'a> {
    pub region: (&'a str, &'a str),
    pub participant: &'a ParticipantId,
    pub date: Date,
    pub today: Date,
    pub outcome: &'a Outcome,
    /// The journal's cases of the participant.
    pub cases: &'a BTreeMap<CaseId, ReconciliationCase>,
    pub bank_is_looked_at: bool,
}

/// One exception on its way to paper.
struct Line {
    id: CaseId,
    kind: Option<ExceptionKind>,
    file: String,
    date: String,
    age_days: u32,
    owner: (&'static str, &'static str),
    ours: String,
    theirs: String,
    state: (&'static str, &'static str),
    open: bool,
    /// Our transaction, or what the file calls it.
    transaction: String,
    reference: String,
    terminal: String,
    line: String,
    explanation: String,
}

impl Report<'_> {
    /// How many exceptions somebody still has to clear.
    pub fn open(&self) -> usize {
        self.lines().iter().filter(|line| line.open).count()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let (zh, en) = self.region;
        let _ = writeln!(text, "对账 reconciliation  {zh} {en}  {}  {}\n", self.participant, self.date);
        text.push_str(&table(&self.sums()));
        if !self.outcome.carried.is_empty() {
            let count = self.outcome.carried.len();
            let _ = writeln!(
                text,
                "\n跨日 {count} 笔，账本记在其他营业日 / {count} stand under another date in the journal"
            );
        }
        let lines = self.lines();
        if !lines.is_empty() {
            let _ = writeln!(text, "\n差错 exceptions");
            text.push_str(&table(&rows(&lines)));
        }
        let open: Vec<&Line> = lines.iter().filter(|line| line.open).collect();
        if !open.is_empty() {
            let _ = writeln!(text, "\n下一步 next steps");
            let mut steps: Vec<Vec<String>> = Vec::new();
            for kind in ExceptionKind::ALL {
                if open.iter().any(|line| line.kind == Some(kind)) {
                    let (zh, en) = kind.next_step();
                    steps.push(vec![format!("{} {}", kind.zh(), kind.code()), format!("{zh} / {en}")]);
                }
            }
            text.push_str(&table(&steps));
            let _ = writeln!(
                text,
                "  处理完用 / when cleared: --resolve ID --as explained|corrected|written-off --reason … --operator …"
            );
        }
        let _ = match open.len() {
            0 => writeln!(text, "\n结果 result  无待处理差错 / no exception is open"),
            count => writeln!(text, "\n结果 result  {count} 笔差错待处理 / {count} exceptions are open"),
        };
        text
    }

    /// For whoever clears the exceptions: one a line, in UTF-8 with a byte order mark,
    /// so that a spreadsheet shows Chinese.
    ///
    /// # Errors
    /// Never while there is memory.
    pub fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer("\u{feff}".as_bytes().to_vec());
        writer.write_record([
            "id",
            "exception",
            "差错",
            "state",
            "file",
            "business_date",
            "age_days",
            "owner",
            "transaction",
            "reference",
            "terminal",
            "line",
            "ours",
            "theirs",
            "explanation",
            "下一步",
            "next_step",
        ])?;
        for line in self.lines() {
            let (step_zh, step_en) = match line.kind {
                Some(kind) if line.open => kind.next_step(),
                Some(_) | None => ("", ""),
            };
            writer.write_record([
                line.id.to_string().as_str(),
                line.kind.map_or("", ExceptionKind::code),
                line.kind.map_or("", ExceptionKind::zh),
                line.state.1,
                &line.file,
                &line.date,
                &line.age_days.to_string(),
                line.owner.1,
                &line.transaction,
                &inert(&line.reference),
                &line.terminal,
                &line.line,
                &line.ours,
                &line.theirs,
                &inert(&line.explanation),
                step_zh,
                step_en,
            ])?;
        }
        writer.into_inner().map_err(|error| error.into_error().into())
    }

    fn sums(&self) -> Vec<Vec<String>> {
        let mut table = vec![cells(["", "账本 journal", "", "参与方 participant", ""])];
        if self.bank_is_looked_at {
            table[0].extend(cells(["银行 bank", ""]));
        }
        type Part = fn(&crate::ledger::matching::Tally) -> Sum;
        let parts: [(&str, Part); 4] = [
            ("读入 read", |tally| tally.read),
            ("相符 matched", |tally| tally.matched),
            ("差错 excepted", |tally| tally.excepted),
            ("作废 void", |tally| tally.void),
        ];
        for (name, part) in parts {
            let mut row = vec![name.to_owned()];
            for side in Side::ALL {
                if side != Side::Bank || self.bank_is_looked_at {
                    let sum = self.outcome.tallies.get(&side).map(part).unwrap_or_default();
                    row.extend([sum.count.to_string(), format!("{} 元", sum.due)]);
                }
            }
            table.push(row);
        }
        table
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> =
            self.outcome.exceptions.iter().map(|exception| self.line(exception)).collect();
        lines.extend(self.gone());
        lines
    }

    fn line(&self, exception: &Exception) -> Line {
        let case = self.cases.get(&exception.id);
        let some = exception.theirs().or(exception.ours());
        let (ours, theirs) = both(exception);
        let transaction = exception.trio.records().find_map(|record| record.transaction);
        let reference = exception.trio.records().filter_map(|record| record.reference.as_deref()).last();
        Line {
            id: exception.id,
            kind: Some(exception.difference.kind()),
            file: file_of(exception),
            date: exception.date.to_string(),
            age_days: exception.age_days,
            owner: (exception.owner.zh(), exception.owner.name()),
            ours,
            theirs,
            state: case.map_or(("新", "new"), state_of),
            open: case.is_none_or(is_open),
            transaction: transaction.map(|id| id.to_string()).unwrap_or_default(),
            reference: reference.unwrap_or_default().to_owned(),
            terminal: some.and_then(|record| record.terminal.as_deref()).unwrap_or_default().to_owned(),
            line: exception.theirs().map(|record| record.line.to_string()).unwrap_or_default(),
            explanation: case.map(explanation_of).unwrap_or_default(),
        }
    }

    /// Open cases of the date that today's files no longer give rise to: a file was
    /// sent again. An operator says that they are explained.
    fn gone(&self) -> Vec<Line> {
        let found = |id: &CaseId| self.outcome.exceptions.iter().any(|exception| exception.id == *id);
        let looked_at = |case: &ReconciliationCase| match Side::from_name(&case.file) {
            Some(Side::Bank) => self.bank_is_looked_at,
            Some(Side::Participant | Side::Journal) | None => true,
        };
        let gone = self.cases.iter().filter(|(id, case)| {
            let of_date = date_of_yyyymmdd(case.business_date) == Some(self.date);
            is_open(case) && of_date && looked_at(case) && !found(id)
        });
        let fen = |fen: Option<i64>| fen.map(|fen| format!("{} 元", Fen::new(fen))).unwrap_or_default();
        gone.map(|(id, case)| Line {
            id: *id,
            kind: ExceptionKind::from_code(&case.kind),
            file: case.file.clone(),
            date: self.date.to_string(),
            age_days: u32::try_from((self.today - self.date).get_days()).unwrap_or(0),
            owner: (Owner::Operator.zh(), Owner::Operator.name()),
            ours: fen(case.ours_fen),
            theirs: fen(case.theirs_fen),
            state: ("不再出现", "no longer found"),
            open: true,
            transaction: case
                .transaction_id
                .as_slice()
                .try_into()
                .map(|id| TransactionId::from_bytes(id).to_string())
                .unwrap_or_default(),
            reference: String::new(),
            terminal: String::new(),
            line: String::new(),
            explanation: String::new(),
        })
        .collect()
    }
}

fn rows(lines: &[Line]) -> Vec<Vec<String>> {
    let mut table = vec![cells([
        "编号 id",
        "差错 exception",
        "文件 file",
        "行 line",
        "营业日 date",
        "天 days",
        "处理方 owner",
        "账本 ours",
        "对方 theirs",
        "状态 state",
        "交易 transaction",
    ])];
    for line in lines {
        let named = if line.transaction.is_empty() { &line.reference } else { &line.transaction };
        table.push(vec![
            line.id.to_string()[..ID_SHOWN].to_owned(),
            line.kind.map_or_else(String::new, |kind| format!("{} {}", kind.zh(), kind.code())),
            line.file.clone(),
            line.line.clone(),
            line.date.clone(),
            line.age_days.to_string(),
            format!("{} {}", line.owner.0, line.owner.1),
            line.ours.clone(),
            line.theirs.clone(),
            format!("{} {}", line.state.0, line.state.1),
            if named.is_empty() { line.terminal.clone() } else { named.clone() },
        ]);
    }
    table
}

/// Which file, and both where both have what the journal has not.
fn file_of(exception: &Exception) -> String {
    let both = exception.trio.participant.is_some() && exception.trio.bank.is_some();
    match exception.difference {
        Difference::MissingInJournal if both => format!("{}+{}", Side::Participant.name(), Side::Bank.name()),
        Difference::MissingInJournal
        | Difference::MissingAtParticipant
        | Difference::MissingAtBank
        | Difference::AmountDiffers { .. }
        | Difference::DateDiffers { .. }
        | Difference::DoubleInFile
        | Difference::StatusDiffers { .. } => exception.file.name().to_owned(),
    }
}

/// What each side says of what they differ in.
fn both(exception: &Exception) -> (String, String) {
    let amount =
        |record: Option<&Record>| record.map(|record| format!("{} 元", record.amount)).unwrap_or_default();
    match exception.difference {
        Difference::DateDiffers { ours, theirs } => (ours.to_string(), theirs.to_string()),
        Difference::StatusDiffers { ours, theirs } => {
            (format!("{} {}", ours.zh(), ours.name()), format!("{} {}", theirs.zh(), theirs.name()))
        }
        Difference::MissingAtParticipant
        | Difference::MissingInJournal
        | Difference::MissingAtBank
        | Difference::AmountDiffers { .. }
        | Difference::DoubleInFile => (amount(exception.ours()), amount(exception.theirs())),
    }
}

fn state_of(case: &ReconciliationCase) -> (&'static str, &'static str) {
    match case.state() {
        ReconciliationState::Open | ReconciliationState::Unspecified => ("待处理", "open"),
        ReconciliationState::Explained => ("已说明", "explained"),
        ReconciliationState::Corrected => ("已更正", "corrected"),
        ReconciliationState::WrittenOff => ("已核销", "written off"),
    }
}

fn explanation_of(case: &ReconciliationCase) -> String {
    let filed = date_of_yyyymmdd(case.filed_under).map(|date| format!("见 {date} 文件 / filed under {date}"));
    let corrected = case.correcting_transaction_id.as_slice().try_into().ok();
    let corrected = corrected.map(|id| TransactionId::from_bytes(id).to_string());
    let parts = [Some(case.explanation.clone()).filter(|words| !words.is_empty()), filed, corrected];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// A text from outside that a spreadsheet will not take for a formula.
fn inert(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() }
}

fn cells<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Lines up columns by what a terminal shows.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| wide(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, wide) in row.iter().zip(&widths) {
            let blanks = wide - width(cell);
            // Amounts stand under each other by their decimal point.
            if cell.ends_with(" 元") {
                let _ = write!(line, " {}{cell} ", " ".repeat(blanks));
            } else {
                let _ = write!(line, " {cell}{} ", " ".repeat(blanks));
            }
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_amounts_by_their_point() {
        let rows = [cells(["参与方 x", "金额"]), cells(["y", "12.30 元"]), cells(["z", "3.00 元"])];
        let text = table(&rows);
        assert_eq!(text, "  参与方 x  金额\n  y         12.30 元\n  z          3.00 元\n");
    }

    #[test]
    fn a_reference_is_no_formula() {
        assert_eq!(inert("=1+1"), "'=1+1");
        assert_eq!(inert("slip-1"), "slip-1");
    }
}
