//! What is configured for the medical scene: institutions, code tables, and what
//! deployed systems do differently.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MedicalAct;
use crate::model::{Backoff, Jitter, Millis};

/// `medical.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MedicalPolicy {
    pub institution: Vec<Institution>,
    pub codes: MedicalCodes,
    pub sums: SumRules,
    pub unknown: UnknownPolicy,
    /// Lines to insurers by the first two digits of insuplc_admdvs. A region without a
    /// line of its own is served by the institution's own insurer.
    pub home: BTreeMap<String, String>,
}

/// A hospital or a pharmacy that settles with the insurer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Institution {
    /// The participant of the registry that it is.
    pub participant: String,
    /// fixmedins_code, 12 characters.
    pub code: String,
    pub name: String,
    /// mdtrtarea_admvs, 6 digits.
    pub region: String,
    /// The line to its insurer's platform.
    pub insurer: String,
}

/// What kind of care a med_type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Care {
    Outpatient,
    Emergency,
    Inpatient,
    Pharmacy,
    Maternity,
    LongTerm,
}

/// An insurance kind: what care it pays for in the first place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InsuranceKind {
    /// Which care it is chosen for; empty for one that only pays behind another.
    pub care: Vec<Care>,
    /// Of two that fit the lower goes first; equal ones are for the terminal to
    /// choose.
    pub rank: u32,
}

/// The dictionaries. Codes that are not listed go by their longest listed beginning:
/// locals add digits.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MedicalCodes {
    pub med_type: BTreeMap<String, Care>,
    pub insutype: BTreeMap<String, InsuranceKind>,
    /// psn_insu_stas that say that an insurance is in force.
    pub in_force: Vec<String>,
    /// What a med_type counts as that no beginning fits; left out it is refused.
    pub other_med_type: Option<Care>,
}

/// Where acct_mulaid_pay stands; the sources do not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FamilyAccount {
    /// acct_pay contains it.
    #[default]
    Inside,
    /// acct_pay does not.
    Beside,
}

/// What deployed systems mean by the amounts they send.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SumRules {
    pub family_account: FamilyAccount,
}

/// What is done about a step whose outcome is unknown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnknownPolicy {
    /// From the call to the first turn.
    pub first_after_ms: i64,
    pub at_most_ms: i64,
    /// Inquiries before it is taken back.
    pub inquiries_max: u32,
    /// Reversals before people are called.
    pub reversals_max: u32,
    /// infno that 2601 takes back; left out, those of the sources.
    pub reversible: Option<Vec<u32>>,
}

impl Default for UnknownPolicy {
    fn default() -> Self {
        UnknownPolicy {
            first_after_ms: 5_000,
            at_most_ms: 60_000,
            inquiries_max: 1,
            reversals_max: 12,
            reversible: None,
        }
    }
}

impl UnknownPolicy {
    pub fn reverses(&self, act: MedicalAct) -> bool {
        match &self.reversible {
            Some(listed) => listed.contains(&act.infno()),
            None => MedicalAct::REVERSIBLE.contains(&act),
        }
    }

    pub fn wait_ms(&self, tries: u32) -> Millis {
        self.backoff().wait_ms(tries, Jitter::NONE)
    }

    pub fn backoff(&self) -> Backoff {
        Backoff { first_ms: self.first_after_ms, most_ms: self.at_most_ms }
    }

    pub fn turns_max(&self) -> u32 {
        self.inquiries_max.saturating_add(self.reversals_max)
    }

    /// The longest a step stays pending, calls not counted.
    pub fn bound_ms(&self) -> Millis {
        (0..self.turns_max()).fold(0_i64, |sum, tries| sum.saturating_add(self.wait_ms(tries)))
    }
}

impl MedicalCodes {
    /// What care a med_type is.
    pub fn care(&self, med_type: &str) -> Option<Care> {
        longest(&self.med_type, med_type).copied().or(self.other_med_type)
    }

    pub fn insurance(&self, insutype: &str) -> Option<&InsuranceKind> {
        longest(&self.insutype, insutype)
    }
}

/// The value under the longest key that `code` begins with.
fn longest<'a, T>(table: &'a BTreeMap<String, T>, code: &str) -> Option<&'a T> {
    let mut ends = (1..=code.len()).rev().filter(|end| code.is_char_boundary(*end));
    ends.find_map(|end| table.get(&code[..end]))
}

/// The policy contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMedicalPolicy {
    #[error(
        "institution {0}: the code is 12 letters and digits, the region 6 digits / 机构编码须为 12 位，地区须为 6 位数字"
    )]
    Institution(String),
    #[error("institution {0} is configured twice / 机构重复配置")]
    Twice(String),
    #[error("unknown: 0 < first_after_ms <= at_most_ms, and at least one reversal / 等待时间或冲正次数有误")]
    Waits,
    #[error("unknown.reversible: {0} is no infno of this scene / 不是本场景的交易编号")]
    Infno(u32),
}

impl MedicalPolicy {
    /// Checks the policy as a whole.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), BadMedicalPolicy> {
        for (at, line) in self.institution.iter().enumerate() {
            let code = line.code.len() == 12 && line.code.bytes().all(|b| b.is_ascii_alphanumeric());
            let region = line.region.len() == 6 && line.region.bytes().all(|b| b.is_ascii_digit());
            if !code || !region {
                return Err(BadMedicalPolicy::Institution(line.participant.clone()));
            }
            if self.institution[..at].iter().any(|other| other.participant == line.participant) {
                return Err(BadMedicalPolicy::Twice(line.participant.clone()));
            }
        }
        let unknown = &self.unknown;
        if unknown.first_after_ms <= 0
            || unknown.first_after_ms > unknown.at_most_ms
            || unknown.reversals_max == 0
        {
            return Err(BadMedicalPolicy::Waits);
        }
        let bad = unknown.reversible.iter().flatten().find(|infno| MedicalAct::from_infno(**infno).is_none());
        bad.map_or(Ok(()), |infno| Err(BadMedicalPolicy::Infno(*infno)))
    }

    pub fn institution_of(&self, participant: &str) -> Option<&Institution> {
        self.institution.iter().find(|line| line.participant == participant)
    }

    /// The line that answers for a person insured there.
    pub fn line_of<'a>(&'a self, institution: &'a Institution, insured_region: &str) -> &'a str {
        let province = insured_region.get(..2);
        province.and_then(|province| self.home.get(province)).map_or(&institution.insurer, String::as_str)
    }
}
