//! The servers of a run, and the cards that ride through them. With a database the
//! echoes' place is taken by the baseline on PostgreSQL.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
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
    half::HalfLoad,
    plain::Plain,
};
use crate::{
    fixture::{Beijing, Folder, Gateway},
    line::Identity,
    postgres::{Database, Engine},
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
    beside: Beside,
    identities: Vec<Identity>,
    shape: Shape,
    magazines: Vec<Magazine>,
    taps_per_second: BTreeMap<Contender, f64>,
}

/// Who the gateway is measured against.
enum Beside {
    Echoes { tonic: EchoProcess, echo: EchoProcess },
    Plain(Box<Plain>),
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
        let database = (options.engine == Engine::Postgres).then(|| Database::start(1));
        let beijing = Beijing::prepare(Folder::new(options.data.as_deref())?, &home, database)?;
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
        let target =
            Target { at: beijing.terminals(), pid: gateway.pid(), supply: Supply::Once, database: None };
        fill(&mut magazines, FIRST_GUESS_PER_SECOND, FIRST_STRETCH + WARM_UP, Way::Alone);
        let (first, magazines) =
            drive(&target, &identities, shape, magazines, WARM_UP, FIRST_STRETCH).await?;
        if let Some(error) = first.first_error {
            anyhow::bail!("the gateway's first taps fail: {error}\n{}", beijing.log_tail());
        }
        let beside = match beijing.database() {
            Some(database) => Beside::Plain(Box::new(Plain::like(database).await?)),
            None => echoes(&beijing, &first)?,
        };
        let taps_per_second = BTreeMap::from([(Contender::Unary, first.per_second())]);
        Ok(Contenders { beijing, gateway, beside, identities, shape, magazines, taps_per_second })
    }

    /// Where the journal is written.
    pub fn disk(&self) -> PathBuf {
        self.beijing.database().map_or(self.beijing.data().to_owned(), Database::folder)
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
        let database = self.beijing.database().map(Database::pid).transpose()?;
        let again = |echo: &EchoProcess| {
            let (at, pid) = (echo.at, echo.child.id());
            Target { at, pid, supply: Supply::Again, database: None }
        };
        let (shape, target) = match (contender, &self.beside) {
            (Contender::Plain16, Beside::Plain(plain)) => return plain.measure(16, warm, length).await,
            (Contender::Plain64, Beside::Plain(plain)) => return plain.measure(64, warm, length).await,
            (Contender::Tonic, Beside::Echoes { tonic, .. }) => (self.shape, again(tonic)),
            (Contender::Echo, Beside::Echoes { echo, .. }) => (self.shape, again(echo)),
            (Contender::EchoStream, Beside::Echoes { echo, .. }) => (self.shape.streams(), again(echo)),
            (Contender::Unary, _) => (self.shape, self.gateway(database)),
            (Contender::Stream, _) => (self.shape.streams(), self.gateway(database)),
            _ => anyhow::bail!("{} is not measured on this engine", contender.name()),
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

    /// Taps at the gateway so often for so long, open loop.
    ///
    /// # Errors
    /// When it is gone or leaves taps unanswered.
    pub async fn half_load(&mut self, per_second: f64, length: Duration) -> anyhow::Result<HalfLoad> {
        let mut magazines = std::mem::take(&mut self.magazines);
        fill(&mut magazines, per_second * SPARE, length, self.shape.way);
        let (at, identity) = (self.beijing.terminals(), &self.identities[0]);
        let measured = HalfLoad::measure(at, identity, self.shape, magazines, per_second, length).await;
        let (half, magazines) = measured.context("measuring at half speed")?;
        self.magazines = magazines;
        Ok(half)
    }

    fn gateway(&self, database: Option<u32>) -> Target {
        let (at, pid) = (self.beijing.terminals(), self.gateway.pid());
        Target { at, pid, supply: Supply::Once, database }
    }

    /// Stops every server in order; what does not hold of what they have written.
    ///
    /// # Errors
    /// When the gateway stops with a failure.
    pub fn stop(self) -> anyhow::Result<Vec<String>> {
        self.gateway.stop()?;
        let sum = self.beijing.database().map_or(Ok(0.0), Database::ledger_sum_fen)?;
        let broken = (sum != 0.0).then(|| format!("the postings sum to {sum} fen"));
        Ok(broken.into_iter().collect())
    }
}

fn echoes(beijing: &Beijing, first: &Measured) -> anyhow::Result<Beside> {
    let answer = beijing.data().join("answer.bin");
    fs::write(&answer, &first.sample)?;
    println!(
        "an answer has {} bytes in the mean; the echoes give one of {}",
        first.answer_bytes,
        first.sample.len()
    );
    let tonic = EchoProcess::start("tonic", &beijing.pki(), &answer)?;
    let echo = EchoProcess::start("ours", &beijing.pki(), &answer)?;
    Ok(Beside::Echoes { tonic, echo })
}

/// Makes so many taps a second ready for this long, shared among the callers.
fn fill(magazines: &mut [Magazine], per_second: f64, length: Duration, way: Way) {
    let each = (per_second * length.as_secs_f64()) as usize / magazines.len() + 1;
    magazines.iter_mut().for_each(|magazine| magazine.fill(each, way));
}

/// So many certificates of the one gate: a gateway takes few connections of each,
/// as a gate has few, and a stream has one of its own.
pub(super) fn identities(pki: &Path, count: usize) -> anyhow::Result<Vec<Identity>> {
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
