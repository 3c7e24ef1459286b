//! `onecard terminal …`: a gate, a counter and a card in one's hand, for people
//! who try the sandbox and for scripts. It is a client like any other: it knows
//! the public contract, `town.toml`, certificates and sample cards, and no
//! journal, store or rule.
//!
//! Exit codes: 0 approved, 1 declined, 2 refused or failed, 3 pending.

mod acts;
mod args;
mod library;
mod medical;
mod money;
mod print;
mod session;

use std::process::ExitCode;

pub use args::TerminalArgs;

/// Runs one act of a terminal.
pub fn run(args: &TerminalArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print::failed(&error.into(), args.json),
    };
    match runtime.block_on(acts::act(args)) {
        Ok(report) => {
            report.print(args.json);
            report.exit_code()
        }
        Err(error) => print::failed(&error, args.json),
    }
}
