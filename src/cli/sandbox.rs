//! `onecard sandbox`: Beijing, Tianjin and Hebei on this machine, until Ctrl-C.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::sandbox::town::{FolderLock, Launcher, Prepared, RunningTown, TownPlan, table};

/// How often the town looks whether its gateways are still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Run three federated gateways with sample people on this machine
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Where keys, certificates, cards and journals are kept
    #[arg(long, default_value = ".onecard")]
    data: PathBuf,
    /// What the sample people follow from; the first start in a folder decides
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take ports that nobody has instead of 7110 and following
    #[arg(long)]
    free_ports: bool,
}

/// Runs it until it is told to stop.
pub fn run(args: &SandboxArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(sandbox(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("onecard sandbox: {error:#}");
    ExitCode::FAILURE
}

async fn sandbox(args: &SandboxArgs) -> anyhow::Result<()> {
    // Listened to from the start: a Ctrl-C while it comes up stops it too.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let plan = if args.free_ports { TownPlan::free(args.seed)? } else { TownPlan::standard(args.seed) };
    // Before the ports: a town that runs here has them, and that is the reason to tell.
    let lock = FolderLock::take(&args.data)?;
    plan.check_ports()?;
    let launcher = Launcher::current().context("where this program is")?;
    let program = launcher.program.clone();

    println!("准备密钥、证书和样卡 preparing keys, certificates, cards in {}", args.data.display());
    let prepared = tokio::task::spawn_blocking(move || Prepared::make_in(lock, &plan)).await??;
    if prepared.seed != args.seed {
        println!("目录内的样卡来自种子 {0} the people of this folder follow from seed {0}", prepared.seed);
    }
    println!("启动三地网关 starting Beijing, Tianjin, Hebei");
    let mut town = tokio::select! {
        started = RunningTown::start(launcher, prepared) => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    print!("{}", table::render(&town.prepared, &program, &args.data));
    println!("\n运行中，按 Ctrl-C 停止 running; Ctrl-C stops it");

    let mut look = tokio::time::interval(LOOK_EVERY);
    let fallen = loop {
        tokio::select! {
            _ = interrupt.recv() => break None,
            _ = terminate.recv() => break None,
            _ = look.tick() => if let Some(region) = town.fallen() { break Some(region) },
        }
    };
    println!("\n正在停止 stopping");
    let stopped = town.stop().await;
    if let Some(region) = fallen {
        anyhow::bail!(
            "the gateway of {region} ended; see {}",
            args.data.join(region).join("gateway.log").display()
        );
    }
    stopped?;
    println!("已停止 stopped");
    Ok(())
}
