//! The town as it runs: three gateways, three simulated libraries, three simulated
//! medical insurers.

use std::path::Path;

use super::{LaunchError, Launcher, Prepared, RegionPlan, launch::Gateway};
use crate::{
    config::assets,
    sandbox::{
        ils::{IlsCharset, IlsHandle, IlsOptions, IlsServer},
        insurer::{self, Insurer, InsurerHandle, InsurerOptions},
        people::SampleHolder,
    },
};

/// Holds the processes; they end with it.
pub struct RunningTown {
    pub prepared: Prepared,
    launcher: Launcher,
    /// By the order of the plan; `None` for one that was killed.
    gateways: Vec<Option<Gateway>>,
    libraries: Vec<IlsHandle>,
    insurers: Vec<InsurerHandle>,
}

impl RunningTown {
    /// Opens libraries and insurers, imports the cards at the first start, and starts the
    /// gateways side by side. Returns when all are ready.
    ///
    /// # Errors
    /// When one of them does not come up; the others are stopped with it.
    pub async fn start(launcher: Launcher, prepared: Prepared) -> Result<Self, LaunchError> {
        let (mut libraries, mut insurers) = (Vec::new(), Vec::new());
        for region in &prepared.plan.regions {
            libraries.push(library(region).await?);
            insurers.push(insurer(&prepared, region).await?);
        }
        let [beijing, tianjin, hebei] = prepared.plan.regions;
        let come_up = async |region: RegionPlan| {
            launcher.import(&prepared, &region).await?;
            launcher.serve(&prepared, region).await
        };
        let (beijing, tianjin, hebei) = tokio::try_join!(come_up(beijing), come_up(tianjin), come_up(hebei))?;
        let gateways = vec![Some(beijing), Some(tianjin), Some(hebei)];
        Ok(RunningTown { prepared, launcher, gateways, libraries, insurers })
    }

    /// The simulated library of a region, to look into its books.
    ///
    /// # Panics
    /// When the town has no such region.
    pub fn library(&self, region: &str) -> &IlsHandle {
        &self.libraries[self.place(region)]
    }

    /// The simulated insurer of a region, to look into its books.
    ///
    /// # Panics
    /// When the town has no such region.
    pub fn insurer(&self, region: &str) -> &InsurerHandle {
        &self.insurers[self.place(region)]
    }

    /// Ends a region's gateway as `kill -9` does.
    ///
    /// # Errors
    /// When the system does not let us.
    ///
    /// # Panics
    /// When the town has no such region.
    pub async fn kill(&mut self, region: &str) -> Result<(), LaunchError> {
        let place = self.place(region);
        match self.gateways[place].take() {
            Some(gateway) => gateway.kill().await,
            None => Ok(()),
        }
    }

    /// Starts a region's gateway again after [`RunningTown::kill`].
    ///
    /// # Errors
    /// When it does not come up.
    ///
    /// # Panics
    /// When the town has no such region.
    pub async fn restart(&mut self, region: &str) -> Result<(), LaunchError> {
        let place = self.place(region);
        let plan = self.prepared.plan.regions[place];
        self.gateways[place] = Some(self.launcher.serve(&self.prepared, plan).await?);
        Ok(())
    }

    /// The first gateway that ended without being told, by its region.
    pub fn fallen(&mut self) -> Option<&'static str> {
        self.gateways
            .iter_mut()
            .flatten()
            .find_map(|gateway| (!gateway.runs()).then_some(gateway.region.name))
    }

    /// Stops every gateway in order and hands the data folder back.
    ///
    /// # Errors
    /// When one does not stop in time or stops with an error; all are stopped.
    pub async fn stop(mut self) -> Result<Prepared, LaunchError> {
        let mut stopping = tokio::task::JoinSet::new();
        for gateway in self.gateways.drain(..).flatten() {
            stopping.spawn(gateway.stop());
        }
        let mut first = Ok(());
        while let Some(stopped) = stopping.join_next().await {
            let stopped = stopped.expect("stopping a process never panics");
            first = first.and(stopped);
        }
        first.map(|()| self.prepared)
    }

    fn place(&self, region: &str) -> usize {
        let place = self.prepared.plan.regions.iter().position(|plan| plan.name == region);
        place.unwrap_or_else(|| panic!("the town has no region {region}"))
    }
}

/// The library of a region as its configuration describes it: institution and
/// charset must be those the gateway expects.
async fn library(region: &RegionPlan) -> Result<IlsHandle, LaunchError> {
    let path = format!("{}/libraries.toml", region.name);
    let told: toml::Table = assets::read_text(&path).and_then(|text| text.parse().ok()).unwrap_or_default();
    let line = told.get("sip2").and_then(toml::Value::as_table).and_then(|lines| lines.values().next());
    let setting = |name: &str| line.and_then(|line| line.get(name)).and_then(toml::Value::as_str);
    let charset = match setting("encoding") {
        Some(name) if name.starts_with("gb") => IlsCharset::Gbk,
        Some(_) | None => IlsCharset::Utf8,
    };
    let institution = setting("institution").unwrap_or("SANDBOX").to_owned();
    let options = IlsOptions { institution, charset, ..IlsOptions::default() };
    let listening = IlsServer::bind(RegionPlan::at(region.library), options).await;
    let (_, handle) = listening.map_err(|source| LaunchError::Library {
        region: region.name,
        port: region.library,
        source,
    })?;
    Ok(handle)
}

/// The insurer of a region with the region's numbered people insured. The special ones
/// have none: what somebody has follows from their number.
async fn insurer(prepared: &Prepared, region: &RegionPlan) -> Result<InsurerHandle, LaunchError> {
    let province = region.home.province;
    let here = |holder: &&SampleHolder| holder.region / 10_000 == province / 10_000;
    let persons = prepared.holders.iter().filter(here).filter(|holder| holder.is_numbered());
    let persons = persons.map(insurer::sample).collect();
    let options = InsurerOptions { province, persons, ..InsurerOptions::default() };
    let listening = Insurer::bind(RegionPlan::at(region.insurer), options).await;
    let (_, handle) = listening.map_err(|source| LaunchError::Insurer {
        region: region.name,
        port: region.insurer,
        source,
    })?;
    Ok(handle)
}

impl Prepared {
    /// The journal of a region, for `onecard journal verify`.
    ///
    /// # Panics
    /// When the town has no such region.
    pub fn journal_of(&self, region: &str) -> std::path::PathBuf {
        assert!(self.plan.regions.iter().any(|plan| plan.name == region), "the town has no region {region}");
        Path::join(&self.data, region).join("journal")
    }
}
