//! What each scene asks of a request: purposes, assurance, what happens when a
//! card's home region is away. Read from `policy.toml`.

use std::collections::BTreeMap;

use crate::{
    limits,
    model::{Assurance, Purpose, Reason, Scene},
};

/// `policy.toml` as it is written.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// A temporary loss lapses after this many days; sources say 10 or 15.
    #[serde(default = "default_temporary_loss_days")]
    pub temporary_loss_days: u32,
    /// How long a holder session lives, seconds.
    #[serde(default = "default_session_seconds")]
    pub holder_session_seconds: u32,
    /// Between the two calls of a chip relay, seconds.
    #[serde(default = "default_chip_seconds")]
    pub chip_session_seconds: u32,
    /// Whether a scanned code of another region is settled there before it is
    /// believed.
    #[serde(default)]
    pub code_home: CodeHome,
    /// How far we answer for another region's codes while it is away or not asked.
    #[serde(default)]
    pub stand_in: StandInPolicy,
    /// Attributes that participants of other regions are told of our holders, by
    /// `province.participant`, for example `"120000.tj-library" = ["AAC003"]`.
    #[serde(default)]
    pub abroad: BTreeMap<String, Vec<String>>,
    pub scene: BTreeMap<Scene, ScenePolicy>,
}

const fn default_temporary_loss_days() -> u32 {
    15
}

const fn default_session_seconds() -> u32 {
    600
}

const fn default_chip_seconds() -> u32 {
    60
}

/// What a serving region does with another region's code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeHome {
    /// The home region must say yes.
    #[default]
    Must,
    /// The home region is asked; when it is away the trust list and the deny list
    /// suffice (stand-in).
    Ask,
    /// The home region is not asked.
    Never,
}

/// The limits of standing in for another region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StandInPolicy {
    /// Codes of one card on one business day; beyond it the holder is asked to come
    /// again when the home region can be reached.
    pub codes_per_card_and_day: u32,
    /// What may be reserved for one card on one business day under sessions of such
    /// codes, integer fen; 0 lets nothing be reserved.
    pub fen_per_card_and_day: i64,
}

impl Default for StandInPolicy {
    fn default() -> Self {
        // 200 yuan is a choice and no standard: each region sets its own.
        StandInPolicy { codes_per_card_and_day: 5, fen_per_card_and_day: 20_000 }
    }
}

/// One scene's policy.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScenePolicy {
    pub purposes: Vec<Purpose>,
    /// The least assurance of the holder that this scene accepts.
    #[serde(default = "default_minimum")]
    pub minimum_assurance: Assurance,
}

const fn default_minimum() -> Assurance {
    Assurance::Document
}

impl PolicyFile {
    /// Whether the scene accepts the purpose.
    ///
    /// # Errors
    /// `PurposeNotPermitted`.
    pub fn accepts(&self, scene: Scene, purpose: Purpose) -> Result<(), Reason> {
        match self.scene.get(&scene) {
            Some(policy) if policy.purposes.contains(&purpose) => Ok(()),
            Some(_) | None => Err(Reason::PurposeNotPermitted),
        }
    }

    pub fn minimum_assurance(&self, scene: Scene) -> Assurance {
        self.scene.get(&scene).map_or(Assurance::Chip, |policy| policy.minimum_assurance)
    }

    pub fn temporary_loss_ms(&self) -> i64 {
        i64::from(self.temporary_loss_days) * 24 * 3_600 * 1_000
    }

    pub fn holder_session_ms(&self) -> i64 {
        i64::from(self.holder_session_seconds) * 1_000
    }

    pub fn chip_session_ms(&self) -> i64 {
        i64::from(self.chip_session_seconds) * 1_000
    }

    /// Everything wrong with the policy, each with what would be right.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=90).contains(&self.temporary_loss_days) {
            problems.push("temporary_loss_days: give 1 to 90 / 临时挂失天数应为 1 至 90".into());
        }
        if !(1_000..=limits::HOLDER_SESSION_MS).contains(&self.holder_session_ms()) {
            problems.push("holder_session_seconds: give 1 to 600 / 会话时长应为 1 至 600 秒".into());
        }
        if !(1_000..=limits::CHIP_SESSION_MS).contains(&self.chip_session_ms()) {
            problems.push("chip_session_seconds: give 1 to 60 / 芯片会话应为 1 至 60 秒".into());
        }
        if !(1..=100).contains(&self.stand_in.codes_per_card_and_day) {
            problems.push(
                "stand_in.codes_per_card_and_day: give 1 to 100; code_home = \"must\" allows none / 应为 1 至 100；不代受理请设 code_home = \"must\"".into(),
            );
        }
        if self.stand_in.fen_per_card_and_day < 0 {
            problems.push(
                "stand_in.fen_per_card_and_day: give fen, 0 or more; 0 allows no reservation / 应为不小于 0 的金额（分）；0 表示不代受理预授权".into(),
            );
        }
        for participant in self.abroad.keys() {
            let province = participant.split_once('.').map(|(province, _)| province);
            if !province.is_some_and(|province| province.len() == 6 && province.parse::<u32>().is_ok()) {
                problems.push(format!(
                    "abroad.\"{participant}\": give province.participant, for example 120000.tj-library / 应为 省级代码.参与方"
                ));
            }
        }
        for (scene, policy) in &self.scene {
            if policy.purposes.is_empty() {
                problems.push(format!(
                    "scene.{}: no purpose would ever be accepted; list at least one / 未列出任何用途",
                    scene.name()
                ));
            }
        }
        problems
    }
}
