//! One file a subcommand; joins everything.

mod terminal;

use std::process::ExitCode;

pub use terminal::{TerminalArgs, run as run_terminal};

/// Runs the command line; the whole program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
