//! Starts gateways as processes: the program itself, under `serve`, as production
//! runs it. The child's standard input is a pipe of ours: when this process dies
//! in whatever way, the pipe closes and the gateway drains and stops.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{Prepared, RegionPlan};

/// A gateway is ready in well under a second; a debug build on a busy machine
/// takes some.
const READY_MAX: Duration = Duration::from_secs(30);
const READY_EVERY: Duration = Duration::from_millis(20);
const PROBE_MAX: Duration = Duration::from_millis(500);

/// Draining ends within ten seconds by the product's own limit.
const STOP_MAX: Duration = Duration::from_secs(25);

/// Lines of a gateway's log that are shown when it dies.
const LOG_LINES: usize = 12;

/// The environment variable of the built-in configuration.
const PASSPHRASE_ENV: &str = "ONECARD_VAULT_PASSPHRASE";

/// How the program is started again as a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    pub program: PathBuf,
    /// Arguments before `serve` and `cards`.
    pub before: Vec<String>,
}

/// A gateway was not started, or not stopped in order.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("`{program}` cannot be started: {source}")]
    Start { program: PathBuf, source: io::Error },
    #[error("`{path}` cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the gateway of {region} ended ({status}) before it was ready; the end of its log:\n{log}")]
    Died { region: &'static str, status: ExitStatus, log: String },
    #[error("the gateway of {region} was not ready within {seconds} s ({state}); the end of its log:\n{log}")]
    NotReady { region: &'static str, seconds: u64, state: String, log: String },
    #[error("the cards of {region} were not imported ({status}); the end of the log:\n{log}")]
    Import { region: &'static str, status: ExitStatus, log: String },
    #[error("the gateway of {region} did not stop within {seconds} s and was killed")]
    Stuck { region: &'static str, seconds: u64 },
    #[error("the gateway of {region} stopped with {status}; the end of its log:\n{log}")]
    StoppedBadly { region: &'static str, status: ExitStatus, log: String },
    #[error("the process of {region} cannot be waited for: {source}")]
    Wait { region: &'static str, source: io::Error },
    #[error("the simulated library of {region} cannot listen at port {port}: {source}")]
    Library { region: &'static str, port: u16, source: io::Error },
    #[error("the simulated insurer of {region} cannot listen at port {port}: {source}")]
    Insurer { region: &'static str, port: u16, source: io::Error },
}

impl Launcher {
    /// This very program.
    ///
    /// # Errors
    /// When the system does not say where it is.
    pub fn current() -> io::Result<Self> {
        Ok(Launcher { program: std::env::current_exe()?, before: Vec::new() })
    }

    /// Imports the region's cards, once; the mark is written after it.
    ///
    /// # Errors
    /// When the command fails; with the end of its log.
    pub(super) async fn import(&self, prepared: &Prepared, region: &RegionPlan) -> Result<(), LaunchError> {
        let mark = prepared.imported_mark(region);
        if mark.exists() {
            return Ok(());
        }
        let log = prepared.folder_of(region).join("import.log");
        let mut command = self.command(prepared, &log)?;
        command.args(["cards", "import", "--config"]).arg(prepared.config_of(region));
        command.arg("--file").arg(prepared.cards_of(region)).stdin(Stdio::null());
        let mut child = self.spawn(&mut command)?;
        let status =
            child.wait().await.map_err(|source| LaunchError::Wait { region: region.name, source })?;
        if !status.success() {
            return Err(LaunchError::Import { region: region.name, status, log: tail(&log) });
        }
        fs::write(&mark, "").map_err(|source| LaunchError::Io { path: mark, source })
    }

    /// Starts the region's gateway and waits until it is ready.
    ///
    /// # Errors
    /// When it dies or is not ready in time; with the end of its log.
    pub(super) async fn serve(
        &self,
        prepared: &Prepared,
        region: RegionPlan,
    ) -> Result<Gateway, LaunchError> {
        let log = prepared.folder_of(&region).join("gateway.log");
        let mut command = self.command(prepared, &log)?;
        command.args(["serve", "--config"]).arg(prepared.config_of(&region));
        command.arg("--stop-with-stdin").stdin(Stdio::piped());
        let mut gateway = Gateway { region, child: self.spawn(&mut command)?, log };
        gateway.ready().await?;
        Ok(gateway)
    }

    fn command(&self, prepared: &Prepared, log: &Path) -> Result<Command, LaunchError> {
        let failed = |source| LaunchError::Io { path: log.to_owned(), source };
        let out = OpenOptions::new().create(true).append(true).open(log).map_err(failed)?;
        let err: File = out.try_clone().map_err(failed)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.before)
            .env(PASSPHRASE_ENV, prepared.passphrase.expose_secret())
            .stdout(out)
            .stderr(err)
            // A Ctrl-C is meant for the town, which then stops its gateways in order.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    fn spawn(&self, command: &mut Command) -> Result<Child, LaunchError> {
        command.spawn().map_err(|source| LaunchError::Start { program: self.program.clone(), source })
    }
}

/// A gateway's process.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) region: RegionPlan,
    child: Child,
    log: PathBuf,
}

impl Gateway {
    async fn ready(&mut self) -> Result<(), LaunchError> {
        let region = self.region.name;
        let deadline = Instant::now() + READY_MAX;
        let mut state = String::new();
        while Instant::now() < deadline {
            let ended = self.child.try_wait().map_err(|source| LaunchError::Wait { region, source })?;
            if let Some(status) = ended {
                return Err(LaunchError::Died { region, status, log: tail(&self.log) });
            }
            state = match timeout(PROBE_MAX, probe(self.region.ops)).await {
                Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => return Ok(()),
                Ok(Ok(answer)) => answer.lines().last().unwrap_or_default().to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            sleep(READY_EVERY).await;
        }
        let log = tail(&self.log);
        Err(LaunchError::NotReady { region, seconds: READY_MAX.as_secs(), state, log })
    }

    /// The operating system ends it at once: `kill -9`.
    pub(super) async fn kill(mut self) -> Result<(), LaunchError> {
        let region = self.region.name;
        self.child.kill().await.map_err(|source| LaunchError::Wait { region, source })
    }

    /// Closes its standard input and waits until it has drained and stopped.
    pub(super) async fn stop(mut self) -> Result<(), LaunchError> {
        let region = self.region.name;
        drop(self.child.stdin.take());
        match timeout(STOP_MAX, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(LaunchError::StoppedBadly { region, status, log: tail(&self.log) }),
            Ok(Err(source)) => Err(LaunchError::Wait { region, source }),
            Err(_) => {
                let _ = self.child.kill().await;
                Err(LaunchError::Stuck { region, seconds: STOP_MAX.as_secs() })
            }
        }
    }

    /// Whether the process is still there.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// The whole answer of `/readyz`, which is small.
async fn probe(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(RegionPlan::at(port)).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(4_096).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::town::TownPlan;

    /// A launcher whose program is a line of shell instead of a gateway.
    fn shell(line: &str) -> Launcher {
        Launcher { program: "/bin/sh".into(), before: vec!["-c".to_owned(), line.to_owned()] }
    }

    fn prepared(folder: &Path) -> Prepared {
        Prepared::make(folder, &TownPlan::free(1).expect("ports")).expect("made")
    }

    #[tokio::test]
    async fn a_gateway_that_dies_is_told_with_the_end_of_its_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = prepared(folder.path());
        let region = prepared.plan.regions[1];
        let died = shell("echo the disk is full >&2; exit 3").serve(&prepared, region).await;
        let told = died.expect_err("it died").to_string();
        for words in ["tianjin", "exit status: 3", "the disk is full"] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }

    #[tokio::test]
    async fn cards_are_imported_once_and_a_failure_leaves_no_mark() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = prepared(folder.path());
        let region = prepared.plan.regions[0];
        let failed = shell("echo line 3 is wrong; exit 1").import(&prepared, &region).await;
        assert!(failed.expect_err("it failed").to_string().contains("line 3 is wrong"));
        assert!(!prepared.imported_mark(&region).exists());
        shell("test -n \"$ONECARD_VAULT_PASSPHRASE\"").import(&prepared, &region).await.expect("imported");
        shell("exit 1").import(&prepared, &region).await.expect("not run a second time");
    }

    #[tokio::test]
    async fn a_gateway_stops_when_its_standard_input_closes() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = prepared(folder.path());
        let region = prepared.plan.regions[2];
        let launcher = shell("cat >/dev/null; echo drained");
        let log = folder.path().join("gateway.log");
        let mut command = launcher.command(&prepared, &log).expect("a command");
        let child = launcher.spawn(command.stdin(Stdio::piped())).expect("started");
        let mut gateway = Gateway { region, child, log: log.clone() };
        assert!(gateway.runs());
        gateway.stop().await.expect("stopped in order");
        assert_eq!(tail(&log), "drained");
    }
}
