//! What is configured: how far two sides may be apart and still mean the same
//! movement, and who clears what.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ExceptionKind, Record};
use crate::{limits, model::Scene};

/// The key of the tolerance of every scene that has none of its own.
const DEFAULT: &str = "default";

/// How far two records of one movement may be apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Between the times of the terminal, minutes; asked for only where no key
    /// matches.
    pub time_minutes: u32,
    /// Between the amounts, fen.
    #[serde(default)]
    pub amount_fen: u32,
    /// Between the business dates, days: a movement at midnight falls on one day
    /// here and on the next there.
    #[serde(default)]
    pub date_shift_days: u32,
}

/// Who clears an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    Participant,
    Bank,
    Operator,
}

impl Owner {
    pub const fn name(self) -> &'static str {
        match self {
            Owner::Participant => "participant",
            Owner::Bank => "bank",
            Owner::Operator => "operator",
        }
    }

    pub const fn zh(self) -> &'static str {
        match self {
            Owner::Participant => "参与方",
            Owner::Bank => "银行",
            Owner::Operator => "运营方",
        }
    }
}

/// Tolerances by scene and owners by kind of exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    tolerance: BTreeMap<String, Tolerance>,
    default: Tolerance,
    owner: BTreeMap<ExceptionKind, Owner>,
}

impl Rules {
    /// Checks what was configured.
    ///
    /// # Errors
    /// Everything that is wrong, with what would be right.
    pub fn build(
        tolerance: BTreeMap<String, Tolerance>,
        owner: BTreeMap<ExceptionKind, Owner>,
    ) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        for (scene, tolerance) in &tolerance {
            if scene != DEFAULT && Scene::from_name(scene).is_none() {
                problems.push(format!(
                    "tolerance.{scene}: 没有此场景，应为 default 或场景名 / no such scene; write `default` or a scene, for example `transit`"
                ));
            }
            let (minutes, days) = (limits::RECONCILE_TIME_MINUTES_MAX, limits::RECONCILE_DATE_SHIFT_DAYS_MAX);
            let fen = limits::RECONCILE_AMOUNT_FEN_MAX;
            if tolerance.amount_fen > fen {
                problems.push(format!("tolerance.{scene}.amount_fen: 应为 0 至 {fen} / give 0 to {fen}"));
            }
            if tolerance.time_minutes > minutes {
                problems.push(format!(
                    "tolerance.{scene}.time_minutes: 应为 0 至 {minutes} / give 0 to {minutes}"
                ));
            }
            if tolerance.date_shift_days > days {
                problems
                    .push(format!("tolerance.{scene}.date_shift_days: 应为 0 至 {days} / give 0 to {days}"));
            }
        }
        for kind in ExceptionKind::ALL.iter().filter(|kind| !owner.contains_key(kind)) {
            problems.push(format!(
                "owner.{}: 未指定处理方，应为 participant、bank 或 operator / nobody clears it; write participant, bank or operator",
                kind.name()
            ));
        }
        let Some(default) = tolerance.get(DEFAULT).copied() else {
            problems.push(
                "tolerance.default: 缺少；未单列的场景用它 / is missing; scenes without their own use it"
                    .into(),
            );
            return Err(problems);
        };
        if problems.is_empty() { Ok(Rules { tolerance, default, owner }) } else { Err(problems) }
    }

    /// The tolerance that holds for a record.
    pub fn tolerance(&self, record: &Record) -> Tolerance {
        let own = record.scene.and_then(|scene| self.tolerance.get(scene.name()));
        own.copied().unwrap_or(self.default)
    }

    /// The widest shift of any scene, days.
    pub fn date_shift_days_max(&self) -> u32 {
        self.widest(|tolerance| tolerance.date_shift_days)
    }

    pub(super) fn time_minutes_max(&self) -> u32 {
        self.widest(|tolerance| tolerance.time_minutes)
    }

    pub(super) fn amount_fen_max(&self) -> i64 {
        i64::from(self.widest(|tolerance| tolerance.amount_fen))
    }

    fn widest(&self, of: impl Fn(&Tolerance) -> u32) -> u32 {
        self.tolerance.values().map(of).max().unwrap_or(0)
    }

    /// Who clears such an exception.
    pub fn owner(&self, kind: ExceptionKind) -> Owner {
        self.owner.get(&kind).copied().unwrap_or(Owner::Operator)
    }
}
