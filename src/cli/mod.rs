//! One file a subcommand; joins everything.

use std::process::ExitCode;

/// Runs the command line; the whole program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
