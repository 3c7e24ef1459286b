//! Makes the data folder of a town: keys, certificates, trust list, configuration,
//! people with their cards. What is there is kept, so that a second start finds
//! its keys, journals and card counters again; only what follows from the ports
//! (configuration, trust list, `town.toml`) is written at every start.
//!
//! | path | what |
//! | --- | --- |
//! | `LOCK` | held while a town is made or runs here |
//! | `vault.passphrase` | opens the vaults; handed to the gateways in their environment |
//! | `seed` | what the people follow from; the first start decides |
//! | `<region>/vault.sealed` | the region's keys |
//! | `<region>/cards.jsonl` | the cards as the gateway imports them |
//! | `<region>/cards.imported` | the import is done |
//! | `pki/`, `trust.toml`, `config/`, `cards/`, `town.toml` | for gateways and terminals |

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use secrecy::SecretString;
use serde::Deserialize;
use toml::Value;
use zeroize::Zeroizing;

use super::{
    FolderLock, FolderLockError, RegionPlan, TownPlan,
    configuration::{asset, configuration, gateway_asset},
};
use crate::{
    crypto::{BadKey, KeyName, KeyVault, Sm2PublicKey, SoftVault, VaultError, VaultFileError},
    model::{Clock, Millis, Rng, SystemClock, SystemRng},
    sandbox::{
        card_files::{CardFileError, CardFiles, SampleCard},
        files,
        people::{self, SampleHolder},
        pki::{Pki, PkiError, PkiRegion, PkiTerminal},
        town_file::{Town, TownError, TownRegion, TownTerminal},
    },
    trust::{Member, TrustList, TrustListError},
};

const DAY_MS: Millis = 24 * 3_600 * 1_000;

/// The town's trust list is renewed at a start when it holds for less than this.
const TRUST_LEFT_MS: Millis = 30 * DAY_MS;
const TRUST_LIFE_MS: Millis = 365 * DAY_MS;

/// A data folder that a town can run in.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Absolute.
    pub data: PathBuf,
    pub plan: TownPlan,
    /// The seed the people were made from, whatever the plan says now.
    pub seed: u64,
    /// Opens the vaults.
    pub passphrase: SecretString,
    pub town: Town,
    /// Everybody, by region.
    pub holders: Vec<SampleHolder>,
    /// Nobody else makes or runs a town here as long as this is held.
    _lock: FolderLock,
}

/// The data folder cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(transparent)]
    Folder(#[from] FolderLockError),
    #[error("`{path}` cannot be used: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the journal of {region} is there and its keys are not; restore {region}/vault.sealed or start in another folder"
    )]
    KeysLost { region: &'static str },
    #[error("the keys of {region}: {source}")]
    Vault { region: &'static str, source: VaultFileError },
    #[error("a key cannot be used: {0}")]
    Key(#[from] VaultError),
    #[error("a key is no key: {0}")]
    Point(#[from] BadKey),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Cards(#[from] CardFileError),
    #[error(transparent)]
    Town(#[from] TownError),
    #[error("the trust list: {0}")]
    Trust(#[from] TrustListError),
    #[error("the built-in configuration `{path}` is not as expected: {detail}")]
    Config { path: String, detail: String },
    #[error("`{path}` is not a seed")]
    Seed { path: PathBuf },
}

/// What the town needs of `participants.toml`.
#[derive(Deserialize)]
struct Participants {
    participant: Vec<Participant>,
}

#[derive(Deserialize)]
struct Participant {
    id: String,
    role: String,
    scenes: Vec<String>,
    terminals: Vec<String>,
}

impl Prepared {
    /// Makes what is missing in `data` and writes what follows from the plan.
    ///
    /// # Errors
    /// When a town runs in the folder, when the folder cannot be written, or holds
    /// a journal without its keys.
    pub fn make(data: &Path, plan: &TownPlan) -> Result<Self, PrepareError> {
        Self::make_in(FolderLock::take(data)?, plan)
    }

    /// As [`Prepared::make`], in a folder that is already ours.
    ///
    /// # Errors
    /// As [`Prepared::make`].
    pub fn make_in(lock: FolderLock, plan: &TownPlan) -> Result<Self, PrepareError> {
        let data = lock.folder().to_owned();
        let seed = seed(&data, plan.seed)?;
        let passphrase = passphrase(&data)?;
        let vaults = vaults(&data, plan, &passphrase)?;
        let terminals = terminals(plan)?;
        certificates(&data, plan, &terminals)?;
        trust(&data, plan, &vaults)?;
        configuration(&data, plan)?;
        let holders = cards(&data, plan, seed, &vaults)?;
        let town = town(plan, &vaults, terminals)?;
        town.save(&data)?;
        Ok(Prepared { data, plan: plan.clone(), seed, passphrase, town, holders, _lock: lock })
    }

    /// The folder a region's gateway is configured by.
    pub fn config_of(&self, region: &RegionPlan) -> PathBuf {
        self.data.join("config").join(region.name)
    }

    /// The region's own folder: keys, journal, log.
    pub fn folder_of(&self, region: &RegionPlan) -> PathBuf {
        self.data.join(region.name)
    }

    /// The cards as the region's gateway imports them.
    pub fn cards_of(&self, region: &RegionPlan) -> PathBuf {
        self.folder_of(region).join("cards.jsonl")
    }

    /// There when the cards have been imported.
    pub fn imported_mark(&self, region: &RegionPlan) -> PathBuf {
        self.folder_of(region).join("cards.imported")
    }
}

/// The first start decides who lives here; cards in people's hands do not change.
fn seed(data: &Path, wanted: u64) -> Result<u64, PrepareError> {
    let path = data.join("seed");
    if path.exists() {
        let text = fs::read_to_string(&path).map_err(io_at(&path))?;
        return text.trim().parse().map_err(|_| PrepareError::Seed { path });
    }
    write(&path, format!("{wanted}\n").as_bytes(), 0o644)?;
    Ok(wanted)
}

fn passphrase(data: &Path) -> Result<SecretString, PrepareError> {
    let path = data.join("vault.passphrase");
    if !path.exists() {
        // 256 random bits: the vaults need no slow derivation under it.
        let mut random = Zeroizing::new([0; 32]);
        SystemRng.fill(&mut *random);
        write(&path, Zeroizing::new(hex::encode(&random[..])).as_bytes(), 0o600)?;
    }
    let text = Zeroizing::new(fs::read_to_string(&path).map_err(io_at(&path))?);
    Ok(SecretString::from(text.trim().to_owned()))
}

/// The three vaults, opened or made. They are made together, because they share
/// the joint transit root and no vault gives a key away.
fn vaults(data: &Path, plan: &TownPlan, passphrase: &SecretString) -> Result<Vec<SoftVault>, PrepareError> {
    let path_of = |region: &RegionPlan| data.join(region.name).join("vault.sealed");
    let missing = plan.regions.iter().find(|region| !path_of(region).exists());
    let mut joint_root = Zeroizing::new([0; 16]);
    if missing.is_some() {
        let has_journal = |region: &&RegionPlan| data.join(region.name).join("journal").exists();
        if let Some(region) = plan.regions.iter().find(has_journal) {
            return Err(PrepareError::KeysLost { region: region.name });
        }
        SystemRng.fill(&mut *joint_root);
    }
    // A vault of an older folder may take its time to open, so all at once.
    thread::scope(|scope| {
        let workers: Vec<_> = plan
            .regions
            .iter()
            .map(|region| {
                let (path, joint_root) = (path_of(region), &joint_root);
                let wrong = |source| PrepareError::Vault { region: region.name, source };
                scope.spawn(move || {
                    if missing.is_none() {
                        return SoftVault::open_file(&path, passphrase).map_err(wrong);
                    }
                    let folder = path.parent().unwrap_or(data);
                    fs::create_dir_all(folder).map_err(io_at(folder))?;
                    let vault =
                        SoftVault::generate(&SystemRng).with_key(KeyName::TransitRoot, &joint_root[..])?;
                    vault.seal_to_file_under_random(&path, passphrase).map_err(wrong)?;
                    Ok(vault)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("making keys never panics"))
            .collect::<Result<Vec<_>, PrepareError>>()
    })
}

/// The terminals of every region, as its register of participants lists them.
fn terminals(plan: &TownPlan) -> Result<Vec<Vec<TownTerminal>>, PrepareError> {
    plan.regions
        .iter()
        .map(|region| {
            let path = format!("{}/participants.toml", region.name);
            let listed: Participants = toml::from_str(&asset(&path)?)
                .map_err(|error| PrepareError::Config { path, detail: error.to_string() })?;
            Ok(listed.participant.into_iter().flat_map(terminals_of).collect())
        })
        .collect()
}

fn terminals_of(participant: Participant) -> Vec<TownTerminal> {
    let mut scenes = participant.scenes;
    if participant.role == "ecard" {
        // So that commands which need the e-card app find it before the counters.
        scenes.insert(0, "ecard".to_owned());
    }
    let terminal = |terminal: String| TownTerminal {
        name: format!("{}-{terminal}", participant.id),
        participant: participant.id.clone(),
        terminal,
        scenes: scenes.clone(),
    };
    participant.terminals.into_iter().map(terminal).collect()
}

fn certificates(data: &Path, plan: &TownPlan, terminals: &[Vec<TownTerminal>]) -> Result<(), PrepareError> {
    let regions: Vec<_> = plan
        .regions
        .iter()
        .map(|region| PkiRegion { name: region.name.to_owned(), code: region.home.province })
        .collect();
    let terminals: Vec<_> = terminals
        .iter()
        .flatten()
        .map(|terminal| PkiTerminal {
            name: terminal.name.clone(),
            participant: terminal.participant.clone(),
            terminal: terminal.terminal.clone(),
        })
        .collect();
    Pki::at(&data.join("pki"), &SystemClock, &SystemRng).complete(&regions, &terminals)?;
    Ok(())
}

/// A list that says the same as the one there keeps its version.
fn trust(data: &Path, plan: &TownPlan, vaults: &[SoftVault]) -> Result<(), PrepareError> {
    let path = data.join("trust.toml");
    let members = plan
        .regions
        .iter()
        .zip(vaults)
        .map(|(region, vault)| member(region, vault))
        .collect::<Result<Vec<_>, _>>()?;
    let old = match fs::read(&path) {
        Ok(bytes) => Some(TrustList::parse(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(PrepareError::Io { path, source }),
    };
    let now = SystemClock.now_ms();
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by_key(|member| member.region);
    let same =
        |old: &TrustList| old.members().collect::<Vec<_>>() == sorted && old.is_valid_at(now + TRUST_LEFT_MS);
    if old.as_ref().is_some_and(same) {
        return Ok(());
    }
    let version = old.map_or(1, |old| old.version() + 1);
    let list = TrustList::new(version, now - DAY_MS, now + TRUST_LIFE_MS, members)?;
    write(&path, list.to_toml().as_bytes(), 0o644)
}

fn member(region: &RegionPlan, vault: &SoftVault) -> Result<Member, PrepareError> {
    let key = |name| -> Result<Sm2PublicKey, PrepareError> {
        Ok(Sm2PublicKey::from_bytes(&vault.public_key(name)?)?)
    };
    let gateway = gateway_asset(region)?;
    let told = |name: &str| {
        let value = gateway.get("region").and_then(|region| region.get(name)).and_then(Value::as_str);
        value.map(str::to_owned).unwrap_or_else(|| region.name.to_owned())
    };
    Ok(Member {
        region: region.home.province,
        name_zh: told("name_zh"),
        name_en: told("name_en"),
        endpoint: format!("https://{}", RegionPlan::at(region.peers)),
        tls_name: format!("peer.{}.onecard", region.name),
        journal_key: key(KeyName::Journal)?,
        federation_key: key(KeyName::Federation)?,
        ecard_key: key(KeyName::Ecard)?,
        standard_min: 1,
        standard_max: 1,
    })
}

/// The people of every region with their cards, and the files gateways import.
fn cards(
    data: &Path,
    plan: &TownPlan,
    seed: u64,
    vaults: &[SoftVault],
) -> Result<Vec<SampleHolder>, PrepareError> {
    let files = CardFiles::of(data);
    let mut everybody = Vec::new();
    for (region, vault) in plan.regions.iter().zip(vaults) {
        let holders = people::people(region.home, seed, plan.people);
        for holder in &holders {
            files.add(&SampleCard::issue(holder.clone(), vault)?)?;
        }
        let path = data.join(region.name).join("cards.jsonl");
        if !path.exists() {
            write(&path, people::import_lines(&holders, SystemClock.now_ms()).as_bytes(), 0o600)?;
        }
        everybody.extend(holders);
    }
    Ok(everybody)
}

fn town(
    plan: &TownPlan,
    vaults: &[SoftVault],
    terminals: Vec<Vec<TownTerminal>>,
) -> Result<Town, PrepareError> {
    let mut regions = Vec::new();
    for ((region, vault), terminals) in plan.regions.iter().zip(vaults).zip(terminals) {
        regions.push(TownRegion {
            name: region.name.to_owned(),
            code: region.home.province,
            grpc: RegionPlan::at(region.grpc).to_string(),
            ops: RegionPlan::at(region.ops).to_string(),
            peers: RegionPlan::at(region.peers).to_string(),
            journal_key: hex::encode(vault.public_key(KeyName::Journal)?),
            terminals,
        });
    }
    Ok(Town { regions })
}

pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PrepareError> {
    files::replace(path, bytes, mode).map_err(io_at(path))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> PrepareError + '_ {
    |source| PrepareError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;
    use toml::Table;

    use super::*;
    use crate::crypto::{CardSuite, SandboxSuite};
    use crate::sandbox::card_files::TapAt;

    fn read(path: PathBuf) -> String {
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn a_second_start_keeps_keys_counters_and_people() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = TownPlan::free(7).expect("ports");
        let first = Prepared::make(folder.path(), &plan).expect("made");
        let cards = CardFiles::of(&first.data);
        assert_eq!(cards.next_counter("tj-001").expect("a counter"), 1);
        let vault = fs::read(first.data.join("hebei/vault.sealed")).expect("keys");
        let trust = read(first.data.join("trust.toml"));

        // While the first runs, a second touches nothing.
        let config = first.config_of(&plan.regions[0]).join("gateway.toml");
        let written = read(config.clone());
        assert!(written.starts_with("# 沙箱") && written.contains("rewrites this file"), "{written}");
        let refused = Prepared::make(folder.path(), &TownPlan::free(7).expect("ports")).expect_err("runs");
        assert!(matches!(refused, PrepareError::Folder(FolderLockError::Running { .. })), "{refused}");
        assert_eq!(read(config), written);
        assert_eq!(read(first.data.join("trust.toml")), trust);
        let key = |prepared: &Prepared| prepared.town.regions[2].journal_key.clone();
        let (first_key, holders, data) = (key(&first), first.holders.clone(), first.data.clone());
        drop(first);

        // Other ports and another seed: the people stay, the ports do not.
        let other = TownPlan { seed: 8, ..TownPlan::free(8).expect("ports") };
        let second = Prepared::make(folder.path(), &other).expect("made again");
        assert_eq!((second.seed, &second.holders), (7, &holders));
        assert_eq!(cards.next_counter("tj-001").expect("a counter"), 2);
        assert_eq!(fs::read(data.join("hebei/vault.sealed")).expect("keys"), vault);
        assert_eq!(first_key, key(&second));
        let list = TrustList::parse(read(data.join("trust.toml")).as_bytes()).expect("a list");
        assert_eq!(list.version(), TrustList::parse(trust.as_bytes()).expect("a list").version() + 1);
        let endpoint = format!("https://127.0.0.1:{}", other.regions[0].peers);
        assert_eq!(list.member(110_000).expect("Beijing").endpoint, endpoint);

        drop(second);
        Prepared::make(folder.path(), &other).expect("made once more");
        let again = TrustList::parse(read(data.join("trust.toml")).as_bytes()).expect("a list");
        assert_eq!(again, list, "what says the same keeps its version");
    }

    #[test]
    fn the_configuration_names_files_that_are_there_and_the_plans_ports() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = TownPlan { impatient: true, ..TownPlan::free(7).expect("ports") };
        let prepared = Prepared::make(folder.path(), &plan).expect("made");
        for region in &plan.regions {
            let gateway: Table = read(prepared.config_of(region).join("gateway.toml")).parse().expect("TOML");
            let root = prepared.config_of(region).join(gateway["data_root"].as_str().expect("a path"));
            assert_eq!(root.canonicalize().expect("there"), prepared.data);
            for side in ["terminals", "peers"] {
                for name in ["certificate", "key", "client_roots"] {
                    let path = root.join(gateway["tls"][side][name].as_str().expect("a path"));
                    assert!(path.exists(), "{}", path.display());
                }
                for list in gateway["tls"][side]["revocation_lists"].as_array().expect("lists") {
                    assert!(root.join(list.as_str().expect("a path")).exists());
                }
            }
            for name in
                ["participants", "policy", "libraries", "medical", "insurers", "codes", "fares", "stations"]
            {
                let path = prepared.config_of(region).join(gateway["files"][name].as_str().expect("a path"));
                assert!(path.exists(), "{}", path.display());
            }
            assert!(root.join(gateway["vault"]["file"].as_str().expect("a path")).exists());
            assert!(root.join(gateway["files"]["trust"].as_str().expect("a path")).exists());
            assert_eq!(gateway["listen"]["peers"].as_str(), Some(&*format!("127.0.0.1:{}", region.peers)));
            let libraries = read(prepared.config_of(region).join("libraries.toml"));
            assert!(libraries.contains(&format!("127.0.0.1:{}", region.library)), "{libraries}");
            assert!(libraries.contains("first_after_ms = 1000"), "{libraries}");
            let insurers = read(prepared.config_of(region).join("insurers.toml"));
            let url = format!("http://127.0.0.1:{}/hsa/api", region.insurer);
            assert!(insurers.contains(&url), "{insurers}");
            let medical = read(prepared.config_of(region).join("medical.toml"));
            assert!(medical.contains("first_after_ms = 1000") && medical.contains("reversals_max = 12"));
        }
    }

    #[test]
    fn every_terminal_of_the_register_has_a_certificate_and_the_app_its_scene() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = Prepared::make(folder.path(), &TownPlan::free(7).expect("ports")).expect("made");
        let town = Town::load(&prepared.data).expect("town.toml");
        assert_eq!(town, prepared.town);
        for terminal in town.regions.iter().flat_map(|region| &region.terminals) {
            let path = prepared.data.join(format!("pki/terminals/{}.pem", terminal.name));
            assert!(path.exists(), "{}", path.display());
        }
        let hebei = town.region("hebei").expect("Hebei");
        assert_eq!(hebei.terminal_for("ecard").expect("an app").name, "he-ecard-app-01");
        assert_eq!(hebei.terminal_for("transit").expect("a gate").name, "he-metro-gate-01");
        let passphrase = fs::metadata(prepared.data.join("vault.passphrase")).expect("there");
        assert_eq!(passphrase.permissions().mode() & 0o777, 0o600);
        assert!(!format!("{prepared:?}").contains(prepared.passphrase.expose_secret()));
    }

    #[test]
    fn a_card_of_one_region_taps_under_the_keys_of_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let prepared = Prepared::make(folder.path(), &TownPlan::free(7).expect("ports")).expect("made");
        let card = CardFiles::of(&prepared.data).load("he-001").expect("a card");
        let at = TapAt {
            kind: crate::proto::transit::v1::TapKind::Entry,
            station: "西直门",
            line: "",
            tapped_at_ms: 1_790_000_000_000,
        };
        let read = card.tap(at, 1).read.expect("a read");
        let record = crate::crypto::TapRecord {
            kind: 1,
            station: "西直门",
            line: "",
            tapped_at_ms: 1_790_000_000_000,
            counter: 1,
            card: card.chip.card,
            valid_until: card.holder.valid_until,
        };
        let vault = SoftVault::open_file(&prepared.data.join("beijing/vault.sealed"), &prepared.passphrase)
            .expect("Beijing's keys");
        assert_eq!(SandboxSuite.verify_tap(&vault, &record, &read.mac), Ok(()));
    }

    #[test]
    fn a_journal_without_its_keys_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = TownPlan::free(7).expect("ports");
        Prepared::make(folder.path(), &plan).expect("made");
        fs::create_dir_all(folder.path().join("hebei/journal")).expect("a journal");
        fs::remove_file(folder.path().join("beijing/vault.sealed")).expect("removed");
        let refused = Prepared::make(folder.path(), &plan).expect_err("keys are lost");
        assert!(matches!(refused, PrepareError::KeysLost { region: "hebei" }), "{refused}");
    }
}
