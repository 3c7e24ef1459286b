//! `onecard statement`: a business day of a participant of the sandbox's town, asked of
//! its gateway through one of its own terminals, as a table for people or JSON for scripts.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::{
    client::{Terminal, TerminalOptions},
    identity::business_date,
    model::{Clock as _, Fen, SystemClock},
    proto::ledger::v1::{GetStatementRequest, GetStatementResponse, StatementLine},
    sandbox::town_file::Town,
};

/// Print what is owed to a participant of the sandbox for a business day.
#[derive(Debug, Args)]
pub struct StatementArgs {
    /// The participant, for example bj-metro
    #[arg(long)]
    participant: String,
    /// Business date in Asia/Shanghai, yyyy-mm-dd [default: today]
    #[arg(long)]
    date: Option<String>,
    /// The sandbox's data folder
    #[arg(long, default_value = ".onecard")]
    data: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks and prints; exit code 2 when there is no answer.
pub fn run(args: &StatementArgs) -> ExitCode {
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(ask(args)));
    match asked {
        Ok(statement) if args.json => println!("{}", as_json(&statement)),
        Ok(statement) => print!("{}", as_text(&statement)),
        Err(error) => {
            eprintln!("onecard: {error:#}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

async fn ask(args: &StatementArgs) -> anyhow::Result<GetStatementResponse> {
    let town = Town::load(&args.data).context("the sandbox writes town.toml when it starts")?;
    let of_it = |region: &&crate::sandbox::town_file::TownRegion| {
        region.terminals.iter().any(|terminal| terminal.participant == args.participant)
    };
    let region = town
        .regions
        .iter()
        .find(of_it)
        .with_context(|| format!("no terminal of the town belongs to `{}`", args.participant))?;
    let terminal = region
        .terminals
        .iter()
        .find(|terminal| terminal.participant == args.participant)
        .context("a participant without a terminal")?;
    let pki = args.data.join("pki");
    let file = |path: String| {
        let path = pki.join(path);
        fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let options = TerminalOptions::new(
        &region.grpc,
        format!("{}.onecard", region.name),
        file("ca.pem".to_owned())?,
        file(format!("terminals/{}.pem", terminal.name))?,
        file(format!("terminals/{}.key", terminal.name))?,
    );
    let date = args.date.clone().unwrap_or_else(|| business_date(SystemClock.now_ms()).to_string());
    Ok(Terminal::connect(&options).await?.statement(GetStatementRequest { date }).await?)
}

fn as_json(statement: &GetStatementResponse) -> serde_json::Value {
    let line = |line: &StatementLine| {
        json!({
            "account": line.account,
            "opening_fen": line.opening_fen,
            "earned_fen": line.earned_fen,
            "given_back_fen": line.given_back_fen,
            "count": line.count,
            "closing_fen": line.closing_fen,
        })
    };
    json!({
        "participant": statement.participant,
        "date": statement.date,
        "final": statement.r#final,
        "lines": statement.lines.iter().map(line).collect::<Vec<_>>(),
        "total": statement.total.as_ref().map(line),
    })
}

const HEADS: [(&str, &str); 6] = [
    ("账户", "account"),
    ("期初", "opening"),
    ("收入", "earned"),
    ("退回", "given back"),
    ("笔数", "count"),
    ("期末", "closing"),
];

fn as_text(statement: &GetStatementResponse) -> String {
    let (zh, en) = if statement.r#final { ("已结", "final") } else { ("当日未结", "not final") };
    let mut text = format!(
        "{} {} · {zh} · statement of {}, {en}; 元 yuan\n\n",
        statement.participant, statement.date, statement.date
    );
    let row = |name: &str, line: &StatementLine| {
        let yuan = |fen| Fen::new(fen).to_string();
        [
            name.to_owned(),
            yuan(line.opening_fen),
            yuan(line.earned_fen),
            yuan(line.given_back_fen),
            line.count.to_string(),
            yuan(line.closing_fen),
        ]
    };
    let mut rows = vec![HEADS.map(|(zh, _)| zh.to_owned()), HEADS.map(|(_, en)| en.to_owned())];
    rows.extend(statement.lines.iter().map(|line| row(&line.account, line)));
    rows.extend(statement.total.iter().map(|line| row("合计 total", line)));
    let widths: [usize; 6] =
        std::array::from_fn(|at| rows.iter().map(|row| cells(&row[at])).max().unwrap_or_default());
    for row in &rows {
        for (at, (value, width)) in row.iter().zip(widths).enumerate() {
            let pad = " ".repeat(width - cells(value));
            // The account stands left, figures stand right.
            let cell = if at == 0 { format!("{value}{pad}") } else { format!("  {pad}{value}") };
            text.push_str(&cell);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// A Chinese character is two cells wide.
fn cells(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_under_each_other() {
        let line = |account: &str, fen| StatementLine {
            account: account.to_owned(),
            opening_fen: fen,
            earned_fen: 7,
            given_back_fen: 0,
            count: 12,
            closing_fen: fen + 7,
        };
        let statement = GetStatementResponse {
            participant: "bj-metro".to_owned(),
            date: "2026-11-22".to_owned(),
            lines: vec![line("participant/bj-metro/fares", 1_234_500), line("participant/bj-metro/fees", 5)],
            total: Some(line("", 1_234_505)),
            r#final: true,
        };
        let text = as_text(&statement);
        let table: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(table.len(), 5, "{text}");
        assert!(table.iter().all(|row| cells(row) == cells(table[0])), "{text}");
        assert!(text.contains("12345.07"), "{text}");
        assert_eq!(as_json(&statement)["total"]["closing_fen"], 1_234_512);
    }
}
