//! `onecard tasks …`: what must still happen in a region, and an operator's hand on
//! it. A running gateway is asked; the store of a stopped one is opened here.

mod line;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub use self::line::TaskLine;
use self::line::table;
use super::{
    load::{self, Loaded},
    open,
};
use crate::{
    gateway::{Gateway, HandRefused, TaskHand},
    model::{SystemClock, TaskKey, TransactionId},
    net::{Act, HandError, hand},
};

/// See and settle what must still happen
#[derive(Debug, Args)]
pub struct TasksArgs {
    #[command(subcommand)]
    act: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every open task, oldest first. 列出未结任务
    List(List),
    /// The open tasks of one transaction. 查看某交易的任务
    Show(Show),
    /// Run a task again now, with a fresh budget. 立即重试
    Retry(Hand),
    /// Close a task that people have settled. 人工关闭
    Close(Hand),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    region: Region,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    region: Region,
    transaction: TransactionId,
}

#[derive(Debug, Args)]
struct Hand {
    #[command(flatten)]
    region: Region,
    transaction: TransactionId,
    /// Kind of the task, for example library.inquire
    #[arg(long)]
    kind: String,
    /// Who acts; stands in the journal
    #[arg(long)]
    operator: String,
    /// Why, in a few words; stands in the journal and names no person
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
struct Region {
    /// The region's folder of the configuration, for example config/tianjin
    #[arg(long)]
    config: PathBuf,
}

/// An act as it is sent to a running gateway.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandAsk {
    act: HandAct,
    transaction: String,
    kind: String,
    operator: String,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HandAct {
    Retry,
    Close,
}

/// The path of these acts on the operators' socket.
pub const HAND: &str = "/tasks";

/// Answers that are read from a running gateway: 10,000 tasks of some 300 bytes.
const LIST_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Runs it.
///
/// # Errors
/// When the configuration is wrong, there is no such task, or the act is refused.
pub fn run(args: &TasksArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.act {
            Command::List(list) => {
                let lines = list.region.lines().await?;
                match list.json {
                    true => println!("{}", serde_json::to_string_pretty(&lines)?),
                    false => print!("{}", table(&lines)),
                }
            }
            Command::Show(show) => {
                let id = show.transaction.to_string();
                let lines = show.region.lines().await?;
                let own: Vec<_> = lines.iter().filter(|line| line.transaction == id).collect();
                anyhow::ensure!(!own.is_empty(), "{}", HandRefused::NoSuchTask);
                own.iter().for_each(|line| println!("{}", line.story()));
            }
            Command::Retry(hand) => println!("{}", hand.ask(HandAct::Retry).await?),
            Command::Close(hand) => println!("{}", hand.ask(HandAct::Close).await?),
        }
        Ok(())
    })
}

impl Region {
    async fn lines(&self) -> anyhow::Result<Vec<TaskLine>> {
        let loaded = load::load(&self.config)?;
        match TcpStream::connect(loaded.file.listen.operators).await {
            Ok(mut stream) => {
                stream
                    .write_all(b"GET /tasks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    .await?;
                let mut answer = String::new();
                stream.take(LIST_BYTES_MAX).read_to_string(&mut answer).await?;
                let (head, body) =
                    answer.split_once("\r\n\r\n").context("the gateway's answer is cut off")?;
                anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "the gateway says: {body}");
                Ok(serde_json::from_str(body)?)
            }
            Err(_) => over_stopped(loaded, async |gateway| Ok(lines(gateway).await?)).await,
        }
    }
}

impl Hand {
    async fn ask(&self, act: HandAct) -> anyhow::Result<String> {
        let loaded = load::load(&self.region.config)?;
        let ask = HandAsk {
            act,
            transaction: self.transaction.to_string(),
            kind: self.kind.clone(),
            operator: self.operator.clone(),
            reason: self.reason.clone(),
        };
        match hand::act(&loaded.file.store.dir, HAND, &serde_json::to_string(&ask)?).await {
            Ok(told) => Ok(told),
            Err(HandError::NotRunning) => {
                over_stopped(loaded, async |gateway| {
                    carry_out(gateway, &ask).await.map_err(anyhow::Error::msg)
                })
                .await
            }
            Err(error @ (HandError::Io(_) | HandError::Refused(_))) => Err(error.into()),
        }
    }
}

/// Opens the store of a stopped region for one question.
pub(super) async fn over_stopped<T>(
    loaded: Loaded,
    ask: impl AsyncFnOnce(&Gateway) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let opened = open::open(loaded, Arc::new(SystemClock)).await?;
    let answer = ask(&opened.gateway).await;
    // Whatever came of it: what was taken is to be indexed and signed.
    opened.store.close().await;
    answer
}

async fn lines(gateway: &Gateway) -> Result<Vec<TaskLine>, crate::gateway::Refusal> {
    let open = gateway.open_tasks().await?;
    Ok(open.iter().map(|task| TaskLine::of(task, gateway)).collect())
}

async fn carry_out(gateway: &Gateway, ask: &HandAsk) -> Result<String, String> {
    let said = |refused: HandRefused| refused.to_string();
    let hand = TaskHand::new(&ask.operator, &ask.reason).map_err(said)?;
    let transaction = ask.transaction.parse().map_err(|_| said(HandRefused::NoSuchTask))?;
    let key = TaskKey { transaction, kind: ask.kind.as_str().into() };
    match ask.act {
        HandAct::Retry => gateway.retry_task(&key, &hand).await.map_err(said)?,
        HandAct::Close => gateway.close_task(&key, &hand).await.map_err(said)?,
    }
    let done = match ask.act {
        HandAct::Retry => "已安排重试 / runs again now",
        HandAct::Close => "已关闭 / closed",
    };
    tracing::info!(operator = ask.operator, act = ?ask.act, kind = ask.kind, transaction = ask.transaction, "an operator acted on a task");
    Ok(format!("{}: {done}", ask.transaction))
}

/// The open tasks of a running gateway as JSON; `None` when they cannot be read.
pub async fn json(gateway: &Gateway) -> Option<String> {
    let lines = lines(gateway).await.ok()?;
    serde_json::to_string(&lines).ok()
}

/// What a running gateway does for an operator on its machine.
pub fn hand_of(gateway: Arc<Gateway>) -> Act {
    Box::new(move |body| -> BoxFuture<'static, _> {
        let gateway = Arc::clone(&gateway);
        Box::pin(async move {
            let ask: HandAsk = serde_json::from_str(&body).map_err(|error| error.to_string())?;
            carry_out(&gateway, &ask).await
        })
    })
}
