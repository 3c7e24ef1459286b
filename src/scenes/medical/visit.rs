//! A visit is one aggregate with legal steps. One table says which step may follow
//! which; the rules, the documentation and the tests read it.

use super::MedicalAct;
use crate::model::Reason;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The number in the journal and in onecard.medical.v1.
            pub const fn number(self) -> u32 {
                match self { $($name::$variant => $number,)* }
            }

            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some($name::$variant),)* _ => None }
            }

            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

numbered! {
    /// What kind of visit it is.
    VisitKind {
        Outpatient 1 "outpatient",
        Inpatient 2 "inpatient",
        Purchase 3 "purchase",
    }
}

numbered! {
    /// How far a visit has got.
    Stage {
        Registered 1 "registered",
        Visited 2 "visited",
        Admitted 3 "admitted",
        Charged 4 "charged",
        PreSettled 5 "pre-settled",
        Settled 6 "settled",
        Discharged 7 "discharged",
        Cancelled 8 "cancelled",
    }
}

/// A step of a visit that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    CancelRegistration,
    Record,
    AddFees,
    CancelFees,
    PreSettle,
    Settle,
    CancelSettlement,
    Discharge,
}

impl Verb {
    pub const ALL: &'static [Verb] = &[
        Verb::CancelRegistration,
        Verb::Record,
        Verb::AddFees,
        Verb::CancelFees,
        Verb::PreSettle,
        Verb::Settle,
        Verb::CancelSettlement,
        Verb::Discharge,
    ];
}

/// A row: a kind's step, where it may begin, and where it ends.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub kind: VisitKind,
    pub verb: Verb,
    pub from: &'static [Stage],
    pub to: Stage,
    pub act: MedicalAct,
}

const fn row(kind: VisitKind, verb: Verb, from: &'static [Stage], to: Stage, act: MedicalAct) -> Row {
    Row { kind, verb, from, to, act }
}

/// Every legal step. A visit begins `registered` (2201), a stay `admitted` (2401), a
/// purchase `pre-settled` (2101). Cancelled fees lead back to where there were none.
pub const STEPS: &[Row] = {
    use Stage::{Admitted, Cancelled, Charged, Discharged, PreSettled, Registered, Settled, Visited};
    use VisitKind::{Inpatient, Outpatient, Purchase};
    &[
        row(Outpatient, Verb::Record, &[Registered, Visited], Visited, MedicalAct::RecordVisit),
        row(
            Outpatient,
            Verb::CancelRegistration,
            &[Registered, Visited],
            Cancelled,
            MedicalAct::CancelRegistration,
        ),
        row(Outpatient, Verb::AddFees, &[Visited, Charged, PreSettled], Charged, MedicalAct::AddFees),
        row(Outpatient, Verb::CancelFees, &[Charged, PreSettled], Visited, MedicalAct::CancelFees),
        row(Outpatient, Verb::PreSettle, &[Charged, PreSettled], PreSettled, MedicalAct::PreSettle),
        row(Outpatient, Verb::Settle, &[PreSettled], Settled, MedicalAct::Settle),
        row(Outpatient, Verb::CancelSettlement, &[Settled], Charged, MedicalAct::CancelSettlement),
        row(Inpatient, Verb::AddFees, &[Admitted, Charged, PreSettled], Charged, MedicalAct::AddStayFees),
        row(Inpatient, Verb::CancelFees, &[Charged, PreSettled], Admitted, MedicalAct::CancelStayFees),
        row(Inpatient, Verb::PreSettle, &[Charged, PreSettled], PreSettled, MedicalAct::PreSettleStay),
        row(Inpatient, Verb::Settle, &[PreSettled], Settled, MedicalAct::SettleStay),
        row(Inpatient, Verb::CancelSettlement, &[Settled], Charged, MedicalAct::CancelStaySettlement),
        row(Inpatient, Verb::Discharge, &[Settled], Discharged, MedicalAct::Discharge),
        row(Purchase, Verb::Settle, &[PreSettled], Settled, MedicalAct::SettlePurchase),
        row(Purchase, Verb::CancelSettlement, &[Settled], Cancelled, MedicalAct::CancelPurchase),
    ]
};

/// The row of a step that a visit may take now.
///
/// # Errors
/// The step that is missing, or why there is none.
pub fn may(kind: VisitKind, stage: Stage, verb: Verb) -> Result<&'static Row, Reason> {
    let of_kind = STEPS.iter().find(|row| row.kind == kind && row.verb == verb);
    match of_kind {
        None => Err(Reason::StepNotOfVisit),
        Some(row) if row.from.contains(&stage) => Ok(row),
        Some(_) => Err(missing(stage, verb)),
    }
}

/// What must come before a step that may not be taken in this stage.
fn missing(stage: Stage, verb: Verb) -> Reason {
    match (stage, verb) {
        (Stage::Cancelled, _) => Reason::VisitCancelled,
        (Stage::Discharged, _) => Reason::VisitDischarged,
        (_, Verb::CancelSettlement | Verb::Discharge) => Reason::NotSettled,
        (Stage::Settled, _) => Reason::VisitSettled,
        (Stage::Registered, _) => Reason::VisitNotRecorded,
        (_, Verb::CancelRegistration | Verb::Record) => Reason::FeesStand,
        (Stage::Charged, _) => Reason::NotPreSettled,
        (Stage::Visited | Stage::Admitted | Stage::PreSettled, _) => Reason::FeesMissing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_row() {
        let docs = include_str!("../../../docs/medical.md");
        for row in STEPS {
            let from: Vec<_> = row.from.iter().map(|stage| stage.name()).collect();
            let line = format!(
                "| {} | {} {:?} | {} | {} |",
                row.kind.name(),
                row.act.infno(),
                row.verb,
                from.join(", "),
                row.to.name()
            );
            assert!(docs.contains(&line), "docs/medical.md lacks the row\n{line}");
        }
        assert_eq!(docs.lines().filter(|line| line.starts_with("| outpatient |")).count(), 7);
    }

    #[test]
    fn a_step_out_of_order_names_the_one_that_is_missing() {
        use Stage::*;
        let check = |kind, stage, verb, expect: Result<Stage, Reason>| {
            assert_eq!(may(kind, stage, verb).map(|row| row.to), expect, "{kind:?} {stage:?} {verb:?}");
        };
        let out = VisitKind::Outpatient;
        check(out, Registered, Verb::AddFees, Err(Reason::VisitNotRecorded));
        check(out, Registered, Verb::Settle, Err(Reason::VisitNotRecorded));
        check(out, Visited, Verb::PreSettle, Err(Reason::FeesMissing));
        check(out, Visited, Verb::Settle, Err(Reason::FeesMissing));
        check(out, Charged, Verb::Settle, Err(Reason::NotPreSettled));
        check(out, PreSettled, Verb::Settle, Ok(Settled));
        check(out, PreSettled, Verb::CancelSettlement, Err(Reason::NotSettled));
        check(out, Charged, Verb::CancelRegistration, Err(Reason::FeesStand));
        check(out, Settled, Verb::AddFees, Err(Reason::VisitSettled));
        check(out, Settled, Verb::Settle, Err(Reason::VisitSettled));
        check(out, Cancelled, Verb::Record, Err(Reason::VisitCancelled));
        check(out, Settled, Verb::Discharge, Err(Reason::StepNotOfVisit));
        let stay = VisitKind::Inpatient;
        check(stay, Admitted, Verb::AddFees, Ok(Charged));
        check(stay, PreSettled, Verb::Discharge, Err(Reason::NotSettled));
        check(stay, Settled, Verb::Discharge, Ok(Discharged));
        check(stay, Discharged, Verb::CancelSettlement, Err(Reason::VisitDischarged));
        let purchase = VisitKind::Purchase;
        check(purchase, PreSettled, Verb::AddFees, Err(Reason::StepNotOfVisit));
        check(purchase, Settled, Verb::CancelSettlement, Ok(Cancelled));
    }

    #[test]
    fn every_step_is_allowed_or_explained() {
        for kind in VisitKind::ALL {
            for stage in Stage::ALL {
                for verb in Verb::ALL {
                    if let Err(reason) = may(*kind, *stage, *verb) {
                        assert!(!reason.zh().is_empty() && !reason.en().is_empty());
                    }
                }
            }
        }
        for stage in Stage::ALL {
            assert_eq!(Stage::from_number(stage.number()), Some(*stage));
        }
    }
}
