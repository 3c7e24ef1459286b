//! One terminal, connected: who it is, how it sends, how its answers are checked.

use std::{fs, future::Future, path::Path};

use anyhow::{Context, bail};

use super::{
    args::TerminalArgs,
    print::{Fact, Report},
};
use crate::{
    client::{
        Answered, CallError, CheckedReceipt, JournalKey, ReceiptRefused, Terminal, TerminalOptions,
        check_answer,
    },
    model::{Purpose, TransactionId},
    proto::common::v1::{Answer, RequestHeader},
    sandbox::{
        card_files::{CardFiles, SampleCard},
        town_file::{Town, TownRegion},
    },
};

/// A connected terminal of the sandbox.
pub(super) struct Session<'a> {
    args: &'a TerminalArgs,
    town: &'a Town,
    region: &'a TownRegion,
    scenes: &'a [String],
    pub(super) terminal: Terminal,
    pub(super) cards: CardFiles,
}

/// Which terminal is wanted when nobody says `--as`: the first that may use one
/// of the scenes, tried in order.
pub(super) struct Role {
    pub(super) scenes: &'static [&'static str],
}

impl<'a> Session<'a> {
    /// The terminal the arguments name, or the region's first for the role.
    pub(super) async fn open(args: &'a TerminalArgs, town: &'a Town, role: &Role) -> anyhow::Result<Self> {
        let region = match (&args.region, town.regions.first()) {
            (Some(wanted), _) => town.region(wanted)?,
            (None, Some(first)) => first,
            (None, None) => bail!("town.toml names no region"),
        };
        let name = match &args.terminal {
            Some(name) => name.clone(),
            None => default_terminal(region, role)?,
        };
        Session::connect(args, town, region, &name).await
    }

    /// A terminal of the card's home region, whatever `--region` says.
    pub(super) async fn at_home(
        args: &'a TerminalArgs,
        town: &'a Town,
        card: &SampleCard,
        role: &Role,
    ) -> anyhow::Result<Self> {
        let province = card.holder.region / 10_000 * 10_000;
        let region = town.region(&province.to_string())?;
        let name = default_terminal(region, role)?;
        Session::connect(args, town, region, &name).await
    }

    async fn connect(
        args: &'a TerminalArgs,
        town: &'a Town,
        region: &'a TownRegion,
        name: &str,
    ) -> anyhow::Result<Self> {
        let pki = args.data.join("pki");
        let file = |path: &Path| fs::read(path).with_context(|| format!("cannot read `{}`", path.display()));
        let options = TerminalOptions::new(
            &region.grpc,
            format!("{}.onecard", region.name),
            file(&pki.join("ca.pem"))?,
            file(&pki.join(format!("terminals/{name}.pem")))?,
            file(&pki.join(format!("terminals/{name}.key")))?,
        );
        let terminal = Terminal::connect(&options).await?;
        let known = region.terminals.iter().find(|terminal| terminal.name == name);
        let scenes = known.map_or(&[][..], |terminal| &terminal.scenes);
        Ok(Session { args, town, region, scenes, terminal, cards: CardFiles::of(&args.data) })
    }

    /// The province whose gateway is called.
    pub(super) fn province(&self) -> u32 {
        self.region.code
    }

    /// Whether this terminal may use a scene.
    pub(super) fn may(&self, scene: &str) -> bool {
        self.scenes.iter().any(|may| may == scene)
    }

    /// A fresh header for this terminal and its operator.
    pub(super) fn header(&self, purpose: Purpose) -> RequestHeader {
        RequestHeader {
            operator_id: self.args.operator.clone().unwrap_or_default(),
            ..self.terminal.header(purpose)
        }
    }

    /// Sends a request, with `--repeat` a second time, unchanged.
    pub(super) async fn send<Request, Response, Send, Sent>(
        &self,
        request: Request,
        send: Send,
    ) -> Result<(Response, Option<bool>), CallError>
    where
        Request: Clone,
        Response: Answered,
        Send: Fn(Terminal, Request) -> Sent,
        Sent: Future<Output = Result<Response, CallError>>,
    {
        let first = send(self.terminal.clone(), request.clone()).await?;
        if !self.args.repeat {
            return Ok((first, None));
        }
        let second = send(self.terminal.clone(), request).await?;
        let same = first.answer() == second.answer();
        Ok((first, Some(same)))
    }

    /// Joins an answer with what its receipt proves.
    pub(super) fn report(
        &self,
        request_id: String,
        answer: Option<Answer>,
        repeated: Option<bool>,
        facts: Vec<Fact>,
    ) -> anyhow::Result<Report> {
        let answer = answer.context("the gateway answered without an answer")?;
        let receipt = self.check(&answer)?;
        Ok(Report { request_id, answer, receipt, repeated, facts })
    }

    /// The key is that of the region whose journal holds the transaction.
    fn check(&self, answer: &Answer) -> anyhow::Result<Result<CheckedReceipt, ReceiptRefused>> {
        let province = answer.transaction_id.parse::<TransactionId>().ok().map(|id| id.province());
        let region = province
            .and_then(|code| self.town.regions.iter().find(|region| region.code == code))
            .unwrap_or(self.region);
        let key = JournalKey::from_hex(&region.journal_key)
            .with_context(|| format!("town.toml, region {}", region.name))?;
        Ok(check_answer(answer, &key))
    }
}

fn default_terminal(region: &TownRegion, role: &Role) -> anyhow::Result<String> {
    let found = role.scenes.iter().find_map(|scene| region.terminal_for(scene).ok());
    match found {
        Some(terminal) => Ok(terminal.name.clone()),
        None => bail!(
            "region {} has no terminal for {}; name one with --as",
            region.name,
            role.scenes.join(" or ")
        ),
    }
}
