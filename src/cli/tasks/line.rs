//! A task as operators see it: one line of JSON or of a table. No personal data: the
//! store has none in a task.

use serde::{Deserialize, Serialize};

use crate::{
    gateway::{Gateway, RunBy, task_rule},
    store::DueTask,
};

/// One open task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLine {
    pub transaction: String,
    pub kind: String,
    /// `waiting`, `stuck`; `unknown` for a kind that this version does not run.
    pub state: String,
    /// `gateway`, `people`; `nobody` for a kind that this version does not know.
    pub run_by: String,
    pub lane: String,
    pub asked_at_ms: i64,
    pub age_ms: i64,
    pub due_at_ms: i64,
    /// Negative when it is overdue.
    pub due_in_ms: i64,
    pub tries: u32,
    /// Tries in all before it is stuck; 0 where nobody counts.
    pub tries_max: u32,
    /// Reason code of the last try that brought nothing.
    pub last_error: String,
}

impl TaskLine {
    pub fn of(task: &DueTask, gateway: &Gateway) -> Self {
        let now = gateway.now_ms();
        let rule = task.kind.known().map(|kind| task_rule(kind, &gateway.live()));
        let run_by = rule.map_or("nobody", |rule| match rule.run_by {
            RunBy::Gateway => "gateway",
            RunBy::People => "people",
        });
        TaskLine {
            transaction: task.transaction.to_string(),
            kind: task.kind.as_str().to_owned(),
            state: rule.map_or("unknown", |_| task.state.name()).to_owned(),
            run_by: run_by.to_owned(),
            lane: task.lane.clone(),
            asked_at_ms: task.asked_at_ms,
            age_ms: now - task.asked_at_ms,
            due_at_ms: task.due_at_ms,
            due_in_ms: task.due_at_ms - now,
            tries: task.tries,
            tries_max: rule.map_or(0, |rule| rule.tries_max),
            last_error: task.last_error.clone(),
        }
    }

    /// Every field on a line of its own.
    pub fn story(&self) -> String {
        let field = |zh_en: &str, value: &str| format!("{}{value}\n", padded(zh_en, 24));
        [
            field("交易 transaction", &self.transaction),
            field("类别 kind", &self.kind),
            field("状态 state", &self.state),
            field("执行者 run by", &self.run_by),
            field("通道 lane", &self.lane),
            field("时长 age", &span(self.age_ms)),
            field("下次 due in", &span(self.due_in_ms)),
            field("次数 tries", &format!("{} / {}", self.tries, self.tries_max)),
            field("末次原因 last error", or_dash(&self.last_error)),
        ]
        .concat()
    }
}

/// The tasks as a table, oldest first.
pub fn table(lines: &[TaskLine]) -> String {
    let head = [
        "状态 state",
        "类别 kind",
        "交易 transaction",
        "通道 lane",
        "时长 age",
        "次数 tries",
        "末次原因 last error",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(lines.iter().map(|line| {
        [
            line.state.clone(),
            line.kind.clone(),
            line.transaction.clone(),
            line.lane.clone(),
            span(line.age_ms),
            line.tries.to_string(),
            or_dash(&line.last_error).to_owned(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| columns(&row[column])).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let text = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| padded(cell, width + 2));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    let counted = format!("未结任务 {} open tasks\n", lines.len());
    rows.iter().map(text).collect::<String>() + &counted
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A wait as people say it.
fn span(ms: i64) -> String {
    let (sign, ms) = if ms < 0 { ("-", ms.saturating_neg()) } else { ("", ms) };
    let text = match ms / 1_000 {
        0 => format!("{ms} ms"),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    };
    format!("{sign}{text}")
}

/// Chinese characters take two columns.
fn columns(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up() {
        let line = TaskLine {
            transaction: "110000-000-01a0c4506c00-abababababab".into(),
            kind: "library.inquire".into(),
            state: "waiting".into(),
            run_by: "gateway".into(),
            lane: "library/capital-library".into(),
            asked_at_ms: 0,
            age_ms: 125_000,
            due_at_ms: 0,
            due_in_ms: -400,
            tries: 3,
            tries_max: 22,
            last_error: String::new(),
        };
        let text = table(&[line.clone(), TaskLine { state: "stuck".into(), ..line.clone() }]);
        let rows: Vec<_> = text.lines().collect();
        assert_eq!(rows.len(), 4);
        let start = |row: &str, of: &str| columns(row.split(of).next().expect("a part"));
        assert_eq!(start(rows[0], "类别"), start(rows[1], "library.inquire"));
        assert_eq!(start(rows[0], "次数"), start(rows[2], "3  "));
        assert!(rows[1].contains("2 min") && rows[3].starts_with("未结任务 2"));
        let story = line.story();
        for words in ["-400 ms", "3 / 22", "last error     -"] {
            assert!(story.contains(words), "{words}: {story}");
        }
    }
}
