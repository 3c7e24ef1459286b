//! The load generator, the fault drivers and the published benchmark of onecard.
//!
//! Every command starts its own gateway in a folder of its own, prints a table for
//! people and one last line `name: key=value …` for scripts, and fails when a
//! promise of the product, or a `--require`, does not hold. All load goes to this
//! machine. Not here: tests of single rooms (beside their code) and black-box
//! tests of the contract (`tests/`).

mod callers;
mod dice;
mod fixture;
mod growth;
mod guard;
mod headline;
mod kill;
mod line;
mod metrics;
mod open_loop;
mod outcome;
mod postgres;
mod process;
mod report;
mod require;
mod riders;
mod run;
mod scenario;
mod stage;
mod sync;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The hidden word before a command line of the product: so that this program
/// alone can start gateways, as children of itself.
const PRODUCT: &str = "onecard";

/// Load and faults against onecard, and what it does about them.
#[derive(Debug, Parser)]
#[command(name = "load-tests", version, about)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Headline(headline::Headline),
    Kill(kill::Kill),
    Growth(growth::Growth),
    Sync(sync::Sync),
    Run(run::Run),
    Guard(guard::Guard),
    #[command(hide = true)]
    Echo(headline::Echo),
    #[command(hide = true)]
    Fill(growth::Fill),
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.next_if(|word| word == PRODUCT).is_some() {
        return onecard::cli::main_from([OsString::from(PRODUCT)].into_iter().chain(words));
    }
    let done = match CommandLine::parse().command {
        Command::Headline(headline) => headline.run(),
        Command::Kill(kill) => kill.run(),
        Command::Growth(growth) => growth.run(),
        Command::Sync(sync) => sync.run(),
        Command::Run(run) => run.run(),
        Command::Guard(guard) => guard.run(),
        Command::Echo(echo) => echo.run().map(|()| ExitCode::SUCCESS),
        Command::Fill(fill) => fill.run().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("load-tests: {error:#}");
        ExitCode::FAILURE
    })
}
