//! Which of a person's insurances a visit is charged to. Never the first: by kind,
//! region of care and medical type.

use super::{Insurance, MedicalCodes, policy::Care};
use crate::model::Reason;

/// What is known of the visit, and what the terminal asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub care: Care,
    /// mdtrtarea_admvs
    pub care_region: &'a str,
    /// Empty where the terminal leaves it to us.
    pub insutype: &'a str,
    pub insured_region: &'a str,
    /// yyyymmdd
    pub today: u32,
}

/// Why none was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotChosen {
    pub reason: Reason,
    /// Those that the terminal may choose from.
    pub choices: Vec<Insurance>,
}

/// Chooses.
///
/// 1. One that is paused, ended or not in force is skipped.
/// 2. What the terminal names is taken at its word; else only kinds that pay for this
///    care in the first place are looked at, and of these the lowest rank.
/// 3. Of several regions that of care is taken.
/// 4. What is left must be one.
///
/// # Errors
/// `InsuranceMissing`, `InsuranceAmbiguous` with the choices.
pub fn choose<'a>(
    insurances: &'a [Insurance],
    wanted: Wanted<'_>,
    codes: &MedicalCodes,
) -> Result<&'a Insurance, NotChosen> {
    let rank = |insurance: &Insurance| {
        let kind = codes.insurance(&insurance.insutype)?;
        let named = !wanted.insutype.is_empty();
        (named || kind.care.contains(&wanted.care)).then_some(kind.rank)
    };
    let asked = |insurance: &&Insurance| {
        (wanted.insutype.is_empty() || insurance.insutype == wanted.insutype)
            && (wanted.insured_region.is_empty() || insurance.insured_region == wanted.insured_region)
    };
    let fit: Vec<(u32, &Insurance)> = insurances
        .iter()
        .filter(|insurance| in_force(insurance, wanted.today, codes))
        .filter(asked)
        .filter_map(|insurance| Some((rank(insurance)?, insurance)))
        .collect();
    let lowest = fit.iter().map(|(rank, _)| *rank).min();
    let best: Vec<&Insurance> =
        fit.into_iter().filter(|(rank, _)| Some(*rank) == lowest).map(|(_, insurance)| insurance).collect();
    let here: Vec<&Insurance> =
        best.iter().copied().filter(|insurance| same_province(insurance, wanted.care_region)).collect();
    match (best.as_slice(), here.as_slice()) {
        ([], _) => Err(NotChosen { reason: Reason::InsuranceMissing, choices: Vec::new() }),
        ([one], _) | (_, [one]) => Ok(one),
        (several, _) => Err(NotChosen {
            reason: Reason::InsuranceAmbiguous,
            choices: several.iter().map(|insurance| (*insurance).clone()).collect(),
        }),
    }
}

fn in_force(insurance: &Insurance, today: u32, codes: &MedicalCodes) -> bool {
    let paused = insurance.paused_since != 0
        && insurance.paused_since <= today
        && insurance.since <= insurance.paused_since;
    codes.in_force.contains(&insurance.status) && !paused
}

fn same_province(insurance: &Insurance, region: &str) -> bool {
    matches!((insurance.insured_region.get(..2), region.get(..2)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes() -> MedicalCodes {
        toml::from_str(include_str!("../../../config/codes/medical.toml")).expect("code tables")
    }

    fn insurance(insutype: &str, status: &str, region: &str) -> Insurance {
        Insurance {
            insutype: insutype.into(),
            status: status.into(),
            insured_region: region.into(),
            since: 20_150_101,
            ..Insurance::default()
        }
    }

    /// The shape of a real answer from Hebei: six insurances of one person at once.
    fn hebei(resident: &str) -> Vec<Insurance> {
        vec![
            insurance("39999", "4", "130399"),
            insurance("390", resident, "130302"),
            insurance("320", "1", "130399"),
            insurance("330", "1", "130399"),
            insurance("510", "1", "130399"),
            insurance("310", "1", "130399"),
        ]
    }

    #[track_caller]
    fn check(
        insurances: &[Insurance],
        med_type: &str,
        asked: (&str, &str),
        care_region: &str,
        expect: Result<(&str, &str), (Reason, usize)>,
    ) {
        let codes = codes();
        let wanted = Wanted {
            care: codes.care(med_type).expect("a listed med_type"),
            care_region,
            insutype: asked.0,
            insured_region: asked.1,
            today: 20_261_122,
        };
        let told = choose(insurances, wanted, &codes);
        let told = told
            .as_ref()
            .map(|one| (one.insutype.as_str(), one.insured_region.as_str()))
            .map_err(|not| (not.reason, not.choices.len()));
        assert_eq!(told, expect);
    }

    #[test]
    fn the_insurance_is_chosen_and_never_the_first() {
        let any = ("", "");
        let employee = Ok(("310", "130399"));
        check(&hebei("1"), "11", any, "110105", employee);
        check(&hebei("4"), "21", any, "110105", employee);
        check(&hebei("4"), "41", any, "130302", employee);
        // Maternity has an insurance of its own.
        check(&hebei("1"), "52", any, "110105", Ok(("510", "130399")));
        // A local code goes by its beginning.
        check(&hebei("1"), "140104", any, "110105", employee);
        // The terminal may name another.
        check(&hebei("1"), "11", ("390", ""), "110105", Ok(("390", "130302")));
        check(&hebei("1"), "11", ("", "130302"), "110105", Ok(("390", "130302")));
        check(&hebei("4"), "11", ("390", ""), "110105", Err((Reason::InsuranceMissing, 0)));
        // What only pays behind another is never chosen by itself.
        check(&hebei("1")[2..4], "11", any, "110105", Err((Reason::InsuranceMissing, 0)));
        check(&[], "11", any, "110105", Err((Reason::InsuranceMissing, 0)));
    }

    #[test]
    fn two_of_a_kind_go_by_region_and_else_to_the_terminal() {
        let two = [insurance("310", "1", "130100"), insurance("310", "1", "110105")];
        check(&two, "11", ("", ""), "110108", Ok(("310", "110105")));
        check(&two, "11", ("", ""), "120101", Err((Reason::InsuranceAmbiguous, 2)));
        check(&two, "11", ("", "130100"), "120101", Ok(("310", "130100")));
        let both_here = [insurance("310", "1", "130100"), insurance("310", "1", "130399")];
        check(&both_here, "11", ("310", ""), "130302", Err((Reason::InsuranceAmbiguous, 2)));
    }

    #[test]
    fn a_paused_insurance_is_skipped_and_a_resumed_one_is_not() {
        let paused =
            |since, paused_since| Insurance { since, paused_since, ..insurance("310", "1", "110105") };
        let none = Err((Reason::InsuranceMissing, 0));
        check(&[paused(20_150_101, 20_240_101)], "11", ("", ""), "110105", none);
        check(&[paused(20_250_101, 20_240_101)], "11", ("", ""), "110105", Ok(("310", "110105")));
        check(&[paused(20_150_101, 20_270_101)], "11", ("", ""), "110105", Ok(("310", "110105")));
    }
}
