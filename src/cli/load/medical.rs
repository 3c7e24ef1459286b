//! Institutions, the lines to their insurers, and whether both fit the register of
//! participants.

use std::collections::BTreeMap;

use super::read;
use crate::{
    adapters::nhsa::NhsaOptions,
    cli::options::{GatewayFile, InsurersFile},
    gateway::Registry,
    model::{ParticipantId, Scene},
    scenes::medical::{MedicalCodes, MedicalPolicy},
};

/// The file of the code tables that the medical scene reads.
const MEDICAL_CODES: &str = "medical.toml";

/// Institutions and insurers, with the joint code tables where the file has none.
pub fn read_policy(file: &GatewayFile) -> Result<MedicalPolicy, Vec<String>> {
    let Some(path) = &file.files.medical else { return Ok(MedicalPolicy::default()) };
    let mut policy = read::<MedicalPolicy>(path).map_err(|problem| vec![problem])?;
    if policy.codes.med_type.is_empty() {
        let codes = file.files.codes.join(MEDICAL_CODES);
        policy.codes = read::<MedicalCodes>(&codes).map_err(|problem| vec![problem])?;
    }
    policy.check().map_err(|bad| vec![format!("medical: {bad}")])?;
    Ok(policy)
}

/// The lines to platforms. Whether their secrets are in place is found out when the
/// lines are made.
pub fn read_lines(file: &GatewayFile) -> Result<BTreeMap<String, NhsaOptions>, Vec<String>> {
    let Some(path) = &file.files.insurers else { return Ok(BTreeMap::new()) };
    let lines = read::<InsurersFile>(path).map_err(|problem| vec![problem])?.resolve(&file.data_root).nhsa;
    let wrong: Vec<String> = lines
        .iter()
        .filter_map(|(code, options)| options.check(code).err())
        .map(|bad| format!("insurers: {bad} / 线路配置有误"))
        .collect();
    if wrong.is_empty() { Ok(lines) } else { Err(wrong) }
}

/// Every institution is a participant of the scene, and every line that is named is
/// there.
pub fn check_lines(
    problems: &mut Vec<String>,
    policy: &MedicalPolicy,
    lines: &BTreeMap<String, NhsaOptions>,
) {
    let named = policy.institution.iter().map(|institution| (&institution.participant, &institution.insurer));
    let elsewhere = policy.home.iter();
    for (who, line) in named.chain(elsewhere) {
        if !lines.contains_key(line) {
            problems.push(format!(
                "medical: `{who}` has no line; add [nhsa.{line}] to insurers.toml / insurers.toml 中缺少 [nhsa.{line}] 线路配置"
            ));
        }
    }
}

/// As [`check_lines`], for the register.
pub fn check_institutions(problems: &mut Vec<String>, policy: &MedicalPolicy, registry: &Registry) {
    for institution in &policy.institution {
        let id = institution.participant.parse::<ParticipantId>().ok();
        let known = id.and_then(|id| registry.participant(&id).cloned());
        let settles = known.is_some_and(|participant| participant.scenes.contains(&Scene::Medical));
        if !settles {
            problems.push(format!(
                "medical: institution `{}` is no participant of the scene `medical` in participants.toml / 该医药机构未登记为医疗场景的参与方",
                institution.participant
            ));
        }
    }
}
