//! Reads one region's configuration, whole: every file, every rule, before
//! anything is opened or swapped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

pub use fixed::{Fixed, OtherProvince};

use super::{
    options::{GatewayFile, LibrariesFile, RetentionSection, StoreEngine, TlsSection},
    reconcile::options::{Reconciliation, ReconciliationFile},
};
use crate::{
    adapters::{nhsa::NhsaOptions, sip2::Sip2Options},
    config::{self, Overlay},
    gateway::{CapBook, LedgerFile, Live, PolicyFile, Registry, RegistryFile},
    identity::{CodeTables, Province},
    limits,
    net::TlsOptions,
    scenes::{library::LibraryPolicy, transit::FareBook},
    store::PostgresOptions,
    trust::TrustList,
};

/// The file of a region's folder that names the others.
const GATEWAY_FILE: &str = "gateway.toml";

/// A configuration that was checked whole.
#[derive(Debug)]
pub struct Loaded {
    pub file: GatewayFile,
    pub live: Live,
    pub sip2: BTreeMap<String, Sip2Options>,
    /// The lines to insurers, by their code.
    pub nhsa: BTreeMap<String, NhsaOptions>,
    /// Where the configuration names it.
    pub reconciliation: Option<Reconciliation>,
    /// What works and should be known: unverified fares, operators without table.
    pub notices: Vec<String>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("配置有误，未采用 / the configuration is wrong and was not taken:\n{}", .0.join("\n"))]
pub struct WrongConfiguration(pub Vec<String>);

/// Reads the configuration in `folder`.
///
/// # Errors
/// Every problem of every file, not the first.
pub fn load(folder: &Path) -> Result<Loaded, WrongConfiguration> {
    let one = |problem: String| WrongConfiguration(vec![problem]);
    let file = config::load::<GatewayFile>(&folder.join(GATEWAY_FILE), &Overlay::from_env())
        .map_err(|error| one(error.to_string()))?
        .options
        .resolve(folder);

    let mut problems = Vec::new();
    if Province::from_code(file.region.province).is_err() {
        problems.push(format!("region.province: {} is no province / 不是省级代码", file.region.province));
    }
    check_gateway(&mut problems, &file);
    let registry = take(&mut problems, read::<RegistryFile>(&file.files.participants))
        .and_then(|file| list(&mut problems, "participants", Registry::build(&file)));
    let policy = take(&mut problems, read::<PolicyFile>(&file.files.policy));
    let libraries = take(&mut problems, read::<LibrariesFile>(&file.files.libraries));
    let medical = take_all(&mut problems, medical::read_policy(&file));
    let nhsa = take_all(&mut problems, medical::read_lines(&file));
    let caps = take_all(&mut problems, read_caps(file.files.ledger.as_deref()));
    let trust = take(&mut problems, read_trust(&file.files.trust));
    let fares = take_all(&mut problems, read_fares(&file));
    let codes = take(&mut problems, read_codes(&file.files.codes));
    let reconciliation = file
        .files
        .reconciliation
        .as_ref()
        .and_then(|path| take_all(&mut problems, read_reconciliation(path)));
    let abroad = policy.as_ref().and_then(|policy| {
        problems.extend(policy.problems().into_iter().map(|problem| format!("policy: {problem}")));
        take_all(&mut problems, Live::read_abroad(&policy.abroad))
    });
    if let Some(libraries) = &libraries {
        check_libraries(&mut problems, libraries);
    }
    if let (Some(registry), Some(libraries)) = (&registry, &libraries) {
        check_counters(&mut problems, registry, libraries);
    }
    if let (Some(medical), Some(nhsa)) = (&medical, &nhsa) {
        medical::check_lines(&mut problems, medical, nhsa);
    }
    if let (Some(medical), Some(registry)) = (&medical, &registry) {
        medical::check_institutions(&mut problems, medical, registry);
    }
    if trust.as_ref().is_some_and(|trust| trust.member(file.region.province).is_none()) {
        problems.push("trust list: this region is not on it / 信任列表中没有本地区".into());
    }

    let rest = (codes, medical, nhsa, caps, abroad, problems.is_empty());
    match (registry, policy, libraries, trust, fares, rest) {
        (
            Some(registry),
            Some(policy),
            Some(libraries),
            Some(trust),
            Some(fares),
            (Some(codes), Some(medical), Some(nhsa), Some(caps), Some(abroad), true),
        ) => {
            let notices = notices(&fares, &registry, &caps, &file);
            let LibrariesFile { library, inquiry, sip2 } = libraries;
            let libraries = LibraryPolicy { libraries: library, inquiry };
            let live = Live { registry, policy, fares, libraries, medical, caps, trust, codes, abroad };
            Ok(Loaded { file, live, sip2, nhsa, reconciliation, notices })
        }
        _ => Err(WrongConfiguration(problems)),
    }
}

/// Whether keys and certificates are where the configuration says, so that what is
/// opened first does not stop at the first of them. A reload does not ask: the
/// vault is open by then and its file may be put away.
///
/// # Errors
/// Every file that is not there, and what to do about it.
pub fn check_material(file: &GatewayFile) -> Result<(), WrongConfiguration> {
    let sections = [&file.tls.terminals, &file.tls.peers];
    let mut paths = BTreeSet::from([&file.vault.file]);
    for section in sections {
        paths.extend([&section.certificate, &section.key, &section.client_roots]);
        paths.extend(&section.revocation_lists);
    }
    paths.extend(file.store.postgres.iter().filter_map(|postgres| postgres.tls_roots.as_ref()));
    let problems: Vec<String> = paths
        .into_iter()
        .filter(|path| !path.exists())
        .map(|path| {
            missing(path, "把本地区的密钥和证书放在此处", "place the region's own keys and certificates here")
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(WrongConfiguration(problems)) }
}

/// A file that the sandbox makes and production brings along.
fn missing(path: &Path, zh: &str, en: &str) -> String {
    format!(
        "{}: 没有此文件；试用请先运行一次 `onecard sandbox`，正式运行请{zh} / is not there; to try things out run `onecard sandbox` once, in production {en}",
        path.display()
    )
}

/// A listener's TLS files.
pub fn tls(section: &TlsSection) -> TlsOptions {
    TlsOptions {
        certificate: section.certificate.clone(),
        key: section.key.clone(),
        client_roots: section.client_roots.clone(),
        revocation_lists: section.revocation_lists.clone(),
        enforce_revocation_expiry: false,
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    config::load::<T>(path, &Overlay::none()).map(|loaded| loaded.options).map_err(|error| error.to_string())
}

/// Without the file nothing is capped.
fn read_caps(path: Option<&Path>) -> Result<CapBook, Vec<String>> {
    let Some(path) = path else { return Ok(CapBook::default()) };
    let file = read::<LedgerFile>(path).map_err(|problem| vec![problem])?;
    let named = |problem: &String| format!("{}: {problem}", path.display());
    CapBook::build(&file).map_err(|problems| problems.iter().map(named).collect())
}

fn read_trust(path: &Path) -> Result<TrustList, String> {
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            missing(path, "把成员共同签署的信任列表放在此处", "place the list that the members signed here")
        }
        _ => format!("{}: {error}", path.display()),
    })?;
    TrustList::parse(&bytes).map_err(|error| format!("{}: {error}", path.display()))
}

fn read_fares(file: &GatewayFile) -> Result<FareBook, Vec<String>> {
    let folder = &file.files.fares;
    let listed = fs::read_dir(folder).map_err(|error| vec![format!("{}: {error}", folder.display())])?;
    let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| vec![format!("{}: {error}", path.display())])?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        texts.push((name, text));
    }
    let stations = |name: &str| fs::read_to_string(file.files.stations.join(format!("{name}.csv"))).ok();
    FareBook::parse(&texts, &stations, &file.operator)
        .map_err(|problems| problems.iter().map(|problem| format!("fares: {problem}")).collect())
}

fn read_reconciliation(path: &Path) -> Result<Reconciliation, Vec<String>> {
    let file = read::<ReconciliationFile>(path).map_err(|problem| vec![problem])?;
    let named = |problem: String| format!("reconciliation: {problem}");
    file.check().map_err(|problems| problems.into_iter().map(named).collect())
}

fn read_codes(folder: &Path) -> Result<CodeTables, String> {
    let text = |path: &str| {
        let path = Path::new(path);
        fs::read_to_string(folder.join(path.file_name().map_or(path, Path::new)))
    };
    CodeTables::read(text).map_err(|bad| format!("codes: {bad}"))
}

fn check_libraries(problems: &mut Vec<String>, file: &LibrariesFile) {
    let policy = LibraryPolicy { libraries: file.library.clone(), inquiry: file.inquiry.clone() };
    if let Err(bad) = policy.check() {
        problems.push(format!("libraries: {bad}"));
    }
    for library in &file.library {
        if !file.sip2.contains_key(&library.code) {
            problems.push(format!(
                "libraries: `{0}` has no line; add [sip2.{0}] / 缺少 [sip2.{0}] 连接配置",
                library.code
            ));
        }
    }
}

/// What opening would only find out later.
fn check_gateway(problems: &mut Vec<String>, file: &GatewayFile) {
    if file.vault.passphrase_env.is_some() == file.vault.passphrase_fd.is_some() {
        problems.push(
            "vault: give passphrase_env or passphrase_fd, one of them / 须配置 passphrase_env 或 passphrase_fd 之一"
                .into(),
        );
    }
    if !(1..=4_095).contains(&file.store.segment_mib) {
        problems.push("store.segment_mib: give 1 to 4095 / 应为 1 至 4095".into());
    }
    let store = &file.store;
    for (holds, field, range) in [
        ((1..=1 << 20).contains(&store.index_cache_mib), "index_cache_mib", "1 to 1048576"),
        ((1..=1 << 20).contains(&store.recent_mib), "recent_mib", "1 to 1048576"),
        ((1..=limits::INDEX_LAG_ENTRIES_MAX).contains(&store.index_lag_max), "index_lag_max", "1 to 262144"),
        (
            (1..=limits::CHECKPOINT_ENTRIES_MAX).contains(&store.checkpoint_entries),
            "checkpoint_entries",
            "1 to 1000000",
        ),
        ((2..=10_000).contains(&store.archive_keep_segments), "archive_keep_segments", "2 to 10000"),
        ((1..=1_440).contains(&store.checkpoint_minutes), "checkpoint_minutes", "1 to 1440"),
    ] {
        if !holds {
            problems.push(format!("store.{field}: give {range} / 应为 {}", range.replace("to", "至")));
        }
    }
    if !(1..=64).contains(&file.region.node.len()) {
        problems.push("region.node: give 1 to 64 characters / 应为 1 至 64 个字符".into());
    }
    check_store(problems, file);
    if let Some(retention) = &file.store.retention {
        check_retention(problems, retention, file.store.engine);
    }
}

fn check_retention(problems: &mut Vec<String>, retention: &RetentionSection, engine: StoreEngine) {
    if let Err(wrong) = retention.terms() {
        problems.extend(wrong.into_iter().map(|wrong| format!("store.retention.days: {wrong}")));
    }
    if !(1..=366).contains(&retention.every_days) {
        problems.push("store.retention.every_days: give 1 to 366 / 应为 1 至 366".into());
    }
    if retention.days.is_empty() && retention.default_days.is_none() {
        problems.push(
            "store.retention: names no term, so nothing would ever be dropped; give days or default_days, or leave the section out / 未指定任何期限，请填 days 或 default_days，或删除本节"
                .into(),
        );
    }
    if engine == StoreEngine::Postgres {
        problems.push(
            "store.retention: the PostgreSQL engine drops nothing by term; leave the section out / PostgreSQL 引擎不按期限清除，请删除本节"
                .into(),
        );
    }
}

/// What each engine needs. Whether the database answers is not asked here.
fn check_store(problems: &mut Vec<String>, file: &GatewayFile) {
    match (file.store.engine, &file.store.postgres) {
        (StoreEngine::Embedded, _) if file.store.dir == file.data_root => {
            problems.push("store.dir: name the folder of the journal / 须指定账本所在目录".into());
        }
        (StoreEngine::Embedded, _) => {}
        (StoreEngine::Postgres, None) => problems.push(
            "store.postgres: the engine needs this section with url_env / 使用 PostgreSQL 须配置本节及 url_env".into(),
        ),
        (StoreEngine::Postgres, Some(postgres)) => {
            let options = PostgresOptions {
                shards: postgres.shards,
                lanes: postgres.lanes,
                ..PostgresOptions::at(String::new().into(), file.region.province, &*file.region.node)
            };
            let told = options.problems().into_iter().map(|(field, says)| match field {
                "node" => format!("region.{field}: {says} / 应为 1 至 48 个字符且不含句点"),
                "region" => format!("region.province: {says} / 应为 6 位代码"),
                "lanes" => format!("store.postgres.{field}: {says} / 应为 1 至 16"),
                _ => format!("store.postgres.{field}: {says} / 应为 1 至 64"),
            });
            problems.extend(told);
            if postgres.url_env.is_empty() {
                problems.push(
                    "store.postgres.url_env: name the environment variable with the database's address / 须指定保存数据库地址的环境变量"
                        .into(),
                );
            }
        }
    }
}

/// A participant's counters must stand in a library that is configured.
fn check_counters(problems: &mut Vec<String>, registry: &Registry, file: &LibrariesFile) {
    for participant in registry.participants() {
        if let Some(code) = &participant.library
            && !file.library.iter().any(|library| library.code == *code)
        {
            problems.push(format!(
                "participants: `{}` stands in library `{code}`, which libraries.toml does not have / 未配置该图书馆",
                participant.id
            ));
        }
    }
}

/// What an operator should know and need not mend today.
fn notices(fares: &FareBook, registry: &Registry, caps: &CapBook, file: &GatewayFile) -> Vec<String> {
    let mut notices: Vec<String> = fares.check().iter().map(ToString::to_string).collect();
    for line in &file.operator {
        let known = line.participant.parse().is_ok_and(|id| registry.participant(&id).is_some());
        if !known {
            notices.push(format!("operator `{}` is no participant / 未登记的运营方", line.participant));
        }
    }
    for capped in caps.participants() {
        if registry.participant(capped).is_none() {
            notices
                .push(format!("ledger: the cap on `{capped}` is on no participant / 限额对应的参与方未登记"));
        }
    }
    notices
}

fn take<T>(problems: &mut Vec<String>, read: Result<T, String>) -> Option<T> {
    read.map_err(|problem| problems.push(problem)).ok()
}

fn take_all<T>(problems: &mut Vec<String>, read: Result<T, Vec<String>>) -> Option<T> {
    read.map_err(|mut found| problems.append(&mut found)).ok()
}

fn list<T, E: std::fmt::Display>(
    problems: &mut Vec<String>,
    what: &str,
    built: Result<T, Vec<E>>,
) -> Option<T> {
    built.map_err(|found| problems.extend(found.iter().map(|problem| format!("{what}: {problem}")))).ok()
}

mod fixed;
mod medical;
#[cfg(test)]
mod tests;
