//! One file a subcommand; joins everything: reads the whole configuration, opens
//! what it names, registers the scenes, and hands over.

mod cards;
mod check;
mod clock_watch;
mod database;
pub mod edge;
mod fold;
mod holder;
mod insurers;
mod journal;
mod lines;
pub mod load;
pub mod open;
pub mod options;
pub mod reconcile;
mod sandbox;
mod serve;
mod statement;
mod store;
mod tasks;
mod terminal;
mod tour;
mod watch;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

pub use serve::ServeArgs;
pub use terminal::{TerminalArgs, run as run_terminal};

/// 居民服务一卡通网关 / the gateway behind the social security card as one card for
/// everything.
#[derive(Debug, Parser)]
#[command(name = "onecard", version, about, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one region's gateway. 运行一个地区的网关
    Serve(ServeArgs),
    /// Read a configuration whole and say everything that is wrong. 检查配置
    Check(check::CheckArgs),
    /// Care for the register of cards while its gateway is stopped. 维护卡片登记
    Cards(cards::CardsArgs),
    /// Care for the database of the PostgreSQL engine. 维护数据库
    Database(database::DatabaseArgs),
    /// See and settle what must still happen. 查看并处理未结任务
    Tasks(tasks::TasksArgs),
    /// Erase a holder for good. 清除持卡人资料
    Holder(holder::HolderArgs),
    /// Verify, prove, export, follow a journal. 核对、举证、导出账本
    Journal(journal::JournalArgs),
    /// Compare the journal with a participant's and a bank's file. 三方对账
    Reconcile(reconcile::ReconcileArgs),
    /// Copy a store while its gateway runs, and put copies back. 备份与恢复
    Store(store::StoreArgs),
    /// Run three federated gateways with sample people here. 在本机运行三地沙箱
    Sandbox(sandbox::SandboxArgs),
    /// Play a day in such a town and check what is told. 演一天并核对
    Tour(tour::TourArgs),
    /// Act as a terminal: tap, borrow, authenticate, ask. 充当终端
    Terminal(TerminalArgs),
    /// Print what is owed to a participant of the sandbox for a business day. 沙盒参与方日结单
    Statement(statement::StatementArgs),
}

/// Runs the command line of this process; the whole program.
pub fn main() -> ExitCode {
    main_from(std::env::args_os())
}

/// Runs a command line; the first word is the program's name.
pub fn main_from(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(help) => {
            let failed = help.use_stderr();
            // A closed pipe behind `--help` is no failure worth telling.
            let _ = help.print();
            return if failed { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    match line.command {
        Command::Serve(args) => told(serve::run(args)),
        Command::Check(args) => told(check::run(&args)),
        Command::Cards(args) => told(cards::run(&args)),
        Command::Database(args) => told(database::run(&args)),
        Command::Tasks(args) => told(tasks::run(&args)),
        Command::Holder(args) => told(holder::run(&args)),
        Command::Journal(args) => journal::run(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Store(args) => told(store::run(&args)),
        Command::Sandbox(args) => sandbox::run(&args),
        Command::Tour(args) => tour::run(&args),
        Command::Terminal(args) => terminal::run(&args),
        Command::Statement(args) => statement::run(&args),
    }
}

/// A failure as people read it: what happened, then why, then why that.
fn told(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("onecard: {error:#}");
            ExitCode::FAILURE
        }
    }
}
