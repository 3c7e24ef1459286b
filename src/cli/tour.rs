//! `onecard tour`: a day in the town, told and checked.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::sandbox::{tour, town::Launcher};

/// Play a day in a town of three regions and check everything that is told
#[derive(Debug, Args)]
pub struct TourArgs {
    /// Keep the town's folder and say where it is
    #[arg(long)]
    keep: bool,
    /// Where the town is made [default: a new folder in the temporary one]
    #[arg(long)]
    data: Option<PathBuf>,
}

/// Runs it; status 1 when a check failed.
pub fn run(args: &TourArgs) -> ExitCode {
    let played = Launcher::current().map_err(anyhow::Error::from).and_then(|launcher| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(tour::play(launcher, args.data.as_deref(), args.keep))
    });
    match played {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("onecard tour: {error:#}");
            ExitCode::FAILURE
        }
    }
}
