//! `onecard reconcile`: our journal, a participant's file and a bank's file of one
//! business date side by side. Reads the journal off line; what differs is kept as
//! entries, for which the region's gateway must be stopped. A run that finds nothing
//! new writes nothing.

pub mod options;
mod report;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use jiff::{ToSpan as _, civil::Date};

use super::{
    load::{self, Loaded},
    open,
    options::StoreEngine,
};
use crate::{
    adapters::settlement_file::{self, Format},
    crypto::sm3,
    gateway::CaseWork,
    identity::business_date,
    ledger::matching::{
        CaseId, Input, JournalSide, Outcome, Read, Record, Wanted,
        case::{NewCase, Resolution, is_open},
        reconcile,
    },
    limits,
    model::{Clock as _, ParticipantId, SystemClock, TransactionId, record},
    store::read_entries,
};
use options::Reconciliation;
use report::Report;

/// Compare the journal with a participant's file and a bank's file.
///
/// Exit status 0 when no exception is open, 3 when some are, 1 when it could not be
/// done; then nothing was written.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// The region's folder of the configuration, for example config/beijing
    #[arg(long)]
    config: PathBuf,
    /// Whose transactions, for example bj-metro
    #[arg(long)]
    participant: ParticipantId,
    /// The business date in Asia/Shanghai, for example 2026-11-21
    #[arg(long)]
    date: Date,
    /// What the participant sent
    #[arg(long)]
    participant_file: PathBuf,
    /// What the bank sent; without it the bank is not looked at
    #[arg(long)]
    bank_file: Option<PathBuf>,
    /// Where the exceptions are written as CSV
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only look: keep nothing, so that the region may be running
    #[arg(long, conflicts_with = "resolve")]
    dry_run: bool,
    /// Resolve an exception: its id, or the digits that the table shows
    #[arg(long, requires_all = ["as_what", "reason", "operator"])]
    resolve: Option<String>,
    /// How it is resolved
    #[arg(long = "as", requires = "resolve")]
    as_what: Option<As>,
    /// Why, for whoever reads the journal; no names or numbers of holders
    #[arg(long, requires = "resolve")]
    reason: Option<String>,
    /// Who resolves it
    #[arg(long, requires = "resolve")]
    operator: Option<String>,
    /// The transaction that put it right, with `--as corrected`
    #[arg(long, requires = "resolve", required_if_eq("as_what", "corrected"))]
    transaction: Option<TransactionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum As {
    /// Both sides are right
    Explained,
    /// A later transaction put it right
    Corrected,
    /// The difference is borne
    WrittenOff,
}

/// Runs it.
pub fn run(args: &ReconcileArgs) -> ExitCode {
    match args.run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(3),
        Err(error) => {
            eprintln!("onecard reconcile: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What both files say.
struct Files {
    participant: Vec<Record>,
    bank: Option<Vec<Record>>,
}

/// The journal and what came of the comparison.
struct Compared {
    read: Read,
    outcome: Outcome,
    /// The transaction that `--transaction` names is in the journal.
    transaction_found: bool,
}

impl ReconcileArgs {
    /// Answers with how many exceptions are open.
    fn run(&self) -> anyhow::Result<usize> {
        let loaded = load::load(&self.config)?;
        let rules = loaded.reconciliation.clone().context(
            "gateway.toml: 请在 [files] 中配置 reconciliation = \"reconciliation.toml\" / name it under [files]",
        )?;
        ensure!(
            loaded.live.registry.participant(&self.participant).is_some(),
            "`{}` 未登记 / is not registered in participants.toml",
            self.participant
        );
        let today = business_date(SystemClock.now_ms());
        ensure!(self.date <= today, "{} 尚未到来 / is yet to come", self.date);
        let region = (loaded.file.region.name_zh.clone(), loaded.file.region.name_en.clone());
        ensure!(
            loaded.file.store.engine == StoreEngine::Embedded,
            "对账读取账本目录，本地区的账本在数据库中 / reconciling reads a journal's folder, and this region's journal is in a database"
        );
        let journal = loaded.file.store.dir.join("journal");
        let files = self.read_files(&rules)?;

        let mut compared = self.compare(&journal, &files, &rules, today)?;
        let work = self.work(&compared, &rules)?;
        if !work.is_empty() && !self.dry_run {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(keep(loaded, work))?;
            // What is told is what the journal has now.
            compared = self.compare(&journal, &files, &rules, today)?;
        }
        let report = Report {
            region: (&region.0, &region.1),
            participant: &self.participant,
            date: self.date,
            today,
            outcome: &compared.outcome,
            cases: &compared.read.cases,
            bank_is_looked_at: files.bank.is_some(),
        };
        print!("{}", report.text());
        if let Some(out) = &self.out {
            fs::write(out, report.csv()?).with_context(|| format!("cannot write {}", out.display()))?;
            println!("文件 file    {}", out.display());
        }
        Ok(report.open())
    }

    fn read_files(&self, rules: &Reconciliation) -> anyhow::Result<Files> {
        let missing = "no format / 未配置格式";
        let format = rules.participant_file(&self.participant).context(missing)?;
        let participant = self.read_file(&self.participant_file, format)?;
        let bank = match &self.bank_file {
            None => None,
            Some(path) => {
                let format = rules.bank_file(&self.participant).context(missing)?;
                Some(self.read_file(path, format)?)
            }
        };
        Ok(Files { participant, bank })
    }

    fn read_file(&self, path: &Path, format: &Format) -> anyhow::Result<Vec<Record>> {
        let unreadable = || format!("cannot read {}", path.display());
        let (bytes, most) =
            (fs::metadata(path).with_context(unreadable)?.len(), limits::SETTLEMENT_FILE_BYTES_MAX);
        ensure!(bytes <= most, "{}: {bytes} bytes, {most} at most / 文件过大", path.display());
        let bytes = fs::read(path).with_context(unreadable)?;
        settlement_file::parse(&bytes, format, self.date).map_err(|bad| {
            anyhow::anyhow!(
                "{}: 文件有误，未采用 / the file is wrong and was not taken\n{bad}",
                path.display()
            )
        })
    }

    fn compare(
        &self,
        journal: &Path,
        files: &Files,
        rules: &Reconciliation,
        today: Date,
    ) -> anyhow::Result<Compared> {
        ensure!(journal.is_dir(), "{}: 没有账本 / there is no journal", journal.display());
        let mut side = JournalSide::new(self.participant.clone(), self.date, self.wanted(files, rules)?);
        let mut transaction_found = false;
        read_entries(journal, &mut |entry: record::Entry| {
            transaction_found |=
                self.transaction.is_some_and(|wanted| entry.transaction_id == wanted.as_bytes());
            side.take(&entry).map_err(|error| error.to_string())
        })
        .context("the journal cannot be read / 账本无法读取")?;
        let read = side.finish();
        let input = Input {
            participant: self.participant.clone(),
            date: self.date,
            today,
            journal: read.records.clone(),
            participant_file: files.participant.clone(),
            bank_file: files.bank.clone(),
            known: read.known(),
            hash: sm3,
        };
        let outcome = reconcile(input, &rules.rules)?;
        Ok(Compared { read, outcome, transaction_found })
    }

    /// What of other dates the files may mean.
    fn wanted(&self, files: &Files, rules: &Reconciliation) -> anyhow::Result<Wanted> {
        let lines = || files.participant.iter().chain(files.bank.iter().flatten());
        let keys = lines().flat_map(Record::keys).collect();
        let mut dates = BTreeSet::new();
        if lines().any(|line| line.transaction.is_none()) {
            let shift = i64::from(rules.rules.date_shift_days_max());
            for days in -shift..=shift {
                dates.insert(self.date.checked_add(days.days())?);
            }
        }
        Ok(Wanted { keys, dates })
    }

    /// What the journal does not have yet.
    fn work(&self, compared: &Compared, rules: &Reconciliation) -> anyhow::Result<Vec<CaseWork>> {
        let Compared { read, outcome, .. } = compared;
        let mut work: Vec<CaseWork> = outcome
            .exceptions
            .iter()
            .filter(|exception| !read.cases.contains_key(&exception.id))
            .map(|exception| CaseWork::Open(NewCase::of(&self.participant, exception)))
            .collect();
        for carried in &outcome.carried {
            if read.cases.get(&carried.missing).is_none_or(is_open) {
                let case = NewCase::carried(&self.participant, carried, &rules.rules);
                work.push(CaseWork::Settle { case, filed_under: self.date });
            }
        }
        work.extend(self.resolution(compared)?);
        let (found, most) = (work.len(), limits::RECONCILE_CASES_MAX);
        ensure!(
            found <= most || self.dry_run,
            "{found} 笔差错过多，账本未记；请核对文件与日期，或用 --dry-run 查看 / {found} exceptions are too many to keep ({most}); see whether it is the right file and date, or look with --dry-run"
        );
        Ok(work)
    }

    fn resolution(&self, compared: &Compared) -> anyhow::Result<Option<CaseWork>> {
        let (Some(prefix), Some(as_what), Some(reason), Some(operator)) =
            (&self.resolve, self.as_what, &self.reason, &self.operator)
        else {
            return Ok(None);
        };
        let printable = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        let (most, characters) = (limits::RESOLUTION_REASON_BYTES_MAX, limits::OPERATOR_CHARACTERS_MAX);
        ensure!(
            printable(reason) && reason.len() <= most,
            "--reason: 应为 1 至 {most} 字节的文字 / give words of 1 to {most} bytes"
        );
        ensure!(
            printable(operator) && operator.chars().count() <= characters,
            "--operator: 应为 1 至 {characters} 个字符 / give 1 to {characters} characters"
        );
        let id = find(prefix, compared)?;
        let closed = compared.read.cases.get(&id).is_some_and(|case| !is_open(case));
        ensure!(!closed, "{prefix}: 该差错已处理 / the exception is resolved already");
        let reason = reason.clone();
        let resolution = match (as_what, self.transaction) {
            (As::Explained, None) => Resolution::Explained { reason },
            (As::WrittenOff, None) => Resolution::WrittenOff { reason },
            (As::Corrected, Some(transaction)) => {
                ensure!(
                    compared.transaction_found,
                    "--transaction: 账本中没有 {transaction} / the journal has no {transaction}"
                );
                Resolution::Corrected { transaction, reason }
            }
            (As::Corrected, None) | (As::Explained | As::WrittenOff, Some(_)) => {
                bail!("--transaction: 仅与 --as corrected 同用 / goes with --as corrected, and only with it")
            }
        };
        Ok(Some(CaseWork::Resolve { id, resolution, operator: operator.clone() }))
    }
}

/// The only exception whose id begins so.
fn find(prefix: &str, compared: &Compared) -> anyhow::Result<CaseId> {
    let known = compared.read.cases.keys().copied();
    let found = compared.outcome.exceptions.iter().map(|exception| exception.id);
    let ids: BTreeSet<CaseId> = known.chain(found).collect();
    let mut alike = ids.into_iter().filter(|id| id.to_string().starts_with(prefix));
    match (alike.next(), alike.next()) {
        (Some(id), None) if prefix.len() >= report::ID_SHOWN.min(8) => Ok(id),
        (Some(_), _) => {
            bail!("--resolve: 编号不唯一，请写完整 / `{prefix}` is not enough of an id; write all of it")
        }
        (None, _) => bail!("--resolve: 没有此差错 / there is no exception `{prefix}`"),
    }
}

/// Journals it. One process holds a store: the region's gateway must be stopped.
async fn keep(loaded: Loaded, work: Vec<CaseWork>) -> anyhow::Result<()> {
    let opened = open::open(loaded, Arc::new(SystemClock)).await.context(
        "差错须记入账本，请先停止该地区网关，或用 --dry-run 只看不记 / what was found is kept in the journal: stop the region's gateway first, or only look with --dry-run",
    )?;
    let mut kept = Ok(());
    for work in work {
        kept = opened.gateway.keep_case(work).await;
        if kept.is_err() {
            break;
        }
    }
    // Whatever came of it: what was taken is to be indexed and signed.
    opened.store.close().await;
    kept.map_err(|refusal| anyhow::anyhow!("{} / {}", refusal.reason.zh(), refusal.reason.en()))
}
