//! The servers of a run, and the cards that ride through them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use onecard::{
    model::{SystemClock, SystemRng},
    sandbox::{
        people::HOMES,
        pki::{Pki, PkiTerminal},
    },
};

use super::{
    Contender, FIRST_STRETCH, Headline, Measured, Shape, WARM_UP, drive,
    drive::{Supply, Target},
    echo::LISTENS,
};
use crate::{
    fixture::{Beijing, Folder, Gateway},
    line::Identity,
    riders::{Magazine, Way, holders, riders},
};

/// Cards of Beijing, and as many of other regions, half of them each.
const HOME_CARDS: u32 = 500;
const FOREIGN_CARDS_EACH: u32 = 250;

/// Taps a second that are made ready for a contender's first stretch; later ones go
/// by the stretch before.
const FIRST_GUESS_PER_SECOND: f64 = 30_000.0;

/// Whose gate the load is, as the register of participants has it.
const PARTICIPANT: &str = "bj-metro";
const TERMINAL: &str = "gate-01";

/// Taps made ready beyond what the last stretch used.
const SPARE: f64 = 1.3;

/// Taps of each caller that the echoes see over and over.
const ECHOED: usize = 500;

/// All servers of a run and all cards.
pub struct Contenders {
    beijing: Beijing,
    gateway: Gateway,
    tonic: EchoProcess,
    echo: EchoProcess,
    identities: Vec<Identity>,
    shape: Shape,
    magazines: Vec<Magazine>,
    taps_per_second: BTreeMap<Contender, f64>,
}

impl Contenders {
    /// Makes keys and cards, starts the gateway, takes an answer of the usual size
    /// from it, and starts the echoes with that.
    ///
    /// # Errors
    /// When something cannot be made or started, or the first taps fail.
    pub async fn start(options: &Headline, shape: Shape) -> anyhow::Result<Self> {
        let home = holders(&HOMES[0], HOME_CARDS);
        let foreign = HOMES[1..].iter().map(|home| holders(home, FOREIGN_CARDS_EACH));
        let foreign = foreign.collect::<Vec<_>>().concat();
        let beijing = Beijing::prepare(Folder::new(options.data.as_deref())?, &home)?;
        // Home and foreign cards take turns, so that every caller has both.
        let vault = beijing.vault()?;
        let mixed = home.into_iter().zip(foreign).flat_map(|(home, foreign)| [home, foreign]).collect();
        let mut hands: Vec<_> = (0..shape.callers()).map(|_| Vec::new()).collect();
        for (pair, rider) in riders(mixed, &vault)?.into_iter().enumerate() {
            hands[(pair / 2) % shape.callers()].push(rider);
        }
        let mut magazines: Vec<_> = hands.into_iter().map(Magazine::of).collect();

        let gateway = beijing.start_ready().await?;
        let identities = identities(&beijing.pki(), shape.streams().certificates())?;
        let target = Target { at: beijing.terminals(), pid: gateway.pid(), supply: Supply::Once };
        fill(&mut magazines, FIRST_GUESS_PER_SECOND, FIRST_STRETCH + WARM_UP, Way::Alone);
        let (first, magazines) =
            drive(&target, &identities, shape, magazines, WARM_UP, FIRST_STRETCH).await?;
        if let Some(error) = first.first_error {
            anyhow::bail!("the gateway's first taps fail: {error}\n{}", beijing.log_tail());
        }
        let answer = beijing.data().join("answer.bin");
        fs::write(&answer, &first.sample)?;
        println!(
            "an answer has {} bytes in the mean; the echoes give one of {}",
            first.answer_bytes,
            first.sample.len()
        );
        let taps_per_second = BTreeMap::from([(Contender::Unary, first.per_second())]);
        let tonic = EchoProcess::start("tonic", &beijing.pki(), &answer)?;
        let echo = EchoProcess::start("ours", &beijing.pki(), &answer)?;
        Ok(Contenders { beijing, gateway, tonic, echo, identities, shape, magazines, taps_per_second })
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        self.beijing.data()
    }

    /// Measures one contender for a stretch.
    ///
    /// # Errors
    /// When its process is gone.
    pub async fn measure(
        &mut self,
        contender: Contender,
        warm: Duration,
        length: Duration,
    ) -> anyhow::Result<Measured> {
        let echo = |echo: &EchoProcess| Target { at: echo.at, pid: echo.child.id(), supply: Supply::Again };
        let target = match contender {
            Contender::Tonic => echo(&self.tonic),
            Contender::Echo | Contender::EchoStream => echo(&self.echo),
            Contender::Unary | Contender::Stream => {
                Target { at: self.beijing.terminals(), pid: self.gateway.pid(), supply: Supply::Once }
            }
        };
        let shape = match contender {
            Contender::Tonic | Contender::Echo | Contender::Unary => self.shape,
            Contender::EchoStream | Contender::Stream => self.shape.streams(),
        };
        let mut magazines = std::mem::take(&mut self.magazines);
        let guess = self.taps_per_second.get(&contender).map_or(FIRST_GUESS_PER_SECOND, |last| last * SPARE);
        match target.supply {
            Supply::Once => fill(&mut magazines, guess, warm + length, shape.way),
            Supply::Again => magazines.iter_mut().for_each(|magazine| magazine.fill(ECHOED, shape.way)),
        }
        let driven = drive(&target, &self.identities, shape, magazines, warm, length).await;
        let (measured, magazines) = driven.with_context(|| format!("measuring {}", contender.name()))?;
        self.magazines = magazines;
        self.taps_per_second.insert(contender, measured.per_second());
        Ok(measured)
    }

    /// Stops every server in order.
    ///
    /// # Errors
    /// When the gateway stops with a failure.
    pub fn stop(self) -> anyhow::Result<()> {
        self.gateway.stop()
    }
}

/// Makes so many taps a second ready for this long, shared among the callers.
fn fill(magazines: &mut [Magazine], per_second: f64, length: Duration, way: Way) {
    let each = (per_second * length.as_secs_f64()) as usize / magazines.len() + 1;
    magazines.iter_mut().for_each(|magazine| magazine.fill(each, way));
}

/// So many certificates of the one gate: a gateway takes few connections of each,
/// as a gate has few, and a stream has one of its own.
fn identities(pki: &Path, count: usize) -> anyhow::Result<Vec<Identity>> {
    let (participant, terminal) = (PARTICIPANT.to_owned(), TERMINAL.to_owned());
    let further = |number| PkiTerminal {
        name: format!("load-{number}"),
        participant: participant.clone(),
        terminal: terminal.clone(),
    };
    let further: Vec<_> = (1..count).map(further).collect();
    Pki::at(pki, &SystemClock, &SystemRng).complete(&[], &further)?;
    let mut identities = vec![Identity::of_gate(pki)?];
    for terminal in &further {
        identities.push(Identity::named(pki, &terminal.name)?);
    }
    Ok(identities)
}

/// An echo as a process of its own. It goes when its standard input closes, and
/// is killed when it does not.
struct EchoProcess {
    child: Child,
    at: SocketAddr,
}

impl EchoProcess {
    fn start(kind: &str, pki: &Path, answer: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["echo", kind, "--pki"]).arg(pki).arg("--answer").arg(answer);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let mut process = EchoProcess { child, at: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let told = line.trim().strip_prefix(LISTENS).map(str::trim);
        process.at = told.with_context(|| format!("the echo `{kind}` does not listen"))?.parse()?;
        Ok(process)
    }
}

impl Drop for EchoProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
