//! How a bill is shared between funds, account, person and hospital. Pure: bill,
//! plan and the year so far come in, the shares and the new year go out.
//!
//! Every share is rounded half up once; the person bears what rounding leaves.

use super::{
    catalogue::{Care, Plan},
    decimal::share,
    price::Priced,
};

const WHOLE: i64 = 10_000;
/// Serious illness pays 60 % of the first piece above its threshold, 70 % of the rest.
const SERIOUS_FIRST: i64 = 6_000;
const SERIOUS_REST: i64 = 7_000;

/// What a person's year with an insurance has seen so far, fen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Year {
    /// Deductible paid, for care that counts it over the year.
    pub(super) deducted: i64,
    /// Within scope above the deductible.
    pub(super) counted: i64,
    /// Paid by the pool.
    pub(super) pool: i64,
    /// Within scope and borne by the person, before serious illness pays.
    pub(super) burden: i64,
    /// Stays in hospital.
    pub(super) stays: i64,
}

/// Who the bill is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patient {
    pub(super) is_employee: bool,
    pub(super) retired: bool,
    pub(super) civil_servant: bool,
    pub(super) gets_aid: bool,
    /// What care at this place is worth, ten thousandths: less where it was not filed.
    pub(super) place_factor: i64,
}

/// Accounts that may pay, fen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Purse {
    pub(super) own: i64,
    pub(super) family: i64,
}

/// The shares of a settlement, fen; negated in a cancellation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) bill: Priced,
    /// `act_pay_dedc`.
    pub(super) deductible: i64,
    pub(super) hifp: i64,
    pub(super) cvlserv: i64,
    pub(super) hifmi: i64,
    pub(super) hifob: i64,
    pub(super) maf: i64,
    /// From the own account.
    pub(super) account: i64,
    /// From the family's.
    pub(super) family: i64,
    pub(super) cash: i64,
    /// `pool_prop_selfpay`, ten thousandths.
    pub(super) ratio: i64,
}

impl Shares {
    pub(super) fn fund(&self) -> i64 {
        self.hifp + self.cvlserv + self.hifmi + self.hifob + self.maf
    }

    /// What the person bears, accounts included.
    pub(super) fn person(&self) -> i64 {
        self.account + self.family + self.cash
    }

    pub(super) fn negated(&self) -> Shares {
        let bill = Priced {
            amount: -self.bill.amount,
            own: -self.bill.own,
            over: -self.bill.over,
            first: -self.bill.first,
            scope: -self.bill.scope,
            hospital: -self.bill.hospital,
        };
        Shares {
            bill,
            deductible: -self.deductible,
            hifp: -self.hifp,
            cvlserv: -self.cvlserv,
            hifmi: -self.hifmi,
            hifob: -self.hifob,
            maf: -self.maf,
            account: -self.account,
            family: -self.family,
            cash: -self.cash,
            ratio: self.ratio,
        }
    }
}

/// Shares a bill out.
pub(super) fn share_out(
    bill: Priced,
    plan: &Plan,
    level: u8,
    patient: Patient,
    year: Year,
    purse: Purse,
) -> (Shares, Year) {
    let deductible = deductible_left(plan, patient, year).min(bill.scope);
    let rest = bill.scope - deductible;
    let wanted = pool(rest, plan, level, patient, year);
    let hifp = plan.cap_fen.map_or(wanted, |cap| wanted.min((cap - year.pool).max(0)));

    let burden = deductible + rest - hifp;
    let serious = serious_illness(burden, plan, year).min(burden);
    let (hifob, hifmi) = if patient.is_employee { (serious, 0) } else { (0, serious) };
    let remains = burden - serious;
    let cvlserv = if patient.civil_servant { share(remains, plan.civil_servant, WHOLE) } else { 0 };
    let remains = remains - cvlserv;
    let maf = if patient.gets_aid { share(remains, plan.medical_aid, WHOLE) } else { 0 };

    let person = bill.amount - (hifp + serious + cvlserv + maf) - bill.hospital;
    let account = purse.own.clamp(0, person);
    let family = purse.family.clamp(0, person - account);
    let shares = Shares {
        bill,
        deductible,
        hifp,
        cvlserv,
        hifmi,
        hifob,
        maf,
        account,
        family,
        cash: person - account - family,
        ratio: ratio(plan, level, patient, year.counted),
    };
    let year = Year {
        deducted: year.deducted + deductible,
        counted: year.counted + rest,
        pool: year.pool + hifp,
        burden: year.burden + burden,
        stays: year.stays + i64::from(plan.care == Care::Inpatient),
    };
    (shares, year)
}

fn deductible_left(plan: &Plan, patient: Patient, year: Year) -> i64 {
    let first = if patient.retired { plan.deductible_retired_fen } else { plan.deductible_fen };
    match plan.care {
        Care::Inpatient if year.stays > 0 => plan.deductible_later_fen.unwrap_or(first),
        Care::Inpatient => first,
        Care::Outpatient | Care::Pharmacy => (first - year.deducted).max(0),
    }
}

/// What the pool would pay of `rest` if it had no cap.
fn pool(rest: i64, plan: &Plan, level: u8, patient: Patient, year: Year) -> i64 {
    let below = plan.tier_fen.map_or(rest, |tier| (tier - year.counted).clamp(0, rest));
    let of = |piece: i64, counted: i64| share(piece, ratio(plan, level, patient, counted), WHOLE);
    of(below, 0) + of(rest - below, plan.tier_fen.unwrap_or(0))
}

/// Ten thousandths.
fn ratio(plan: &Plan, level: u8, patient: Patient, counted: i64) -> i64 {
    let is_above = plan.tier_fen.is_some_and(|tier| counted >= tier);
    let ratios = plan.ratios_above.filter(|_| is_above).unwrap_or(plan.ratios);
    let by_level = match level {
        2 => ratios[1],
        3 => ratios[2],
        _ => ratios[0],
    };
    let retired = if patient.retired { plan.retired_adds } else { 0 };
    share((by_level + retired).min(WHOLE), patient.place_factor, WHOLE)
}

fn serious_illness(burden: i64, plan: &Plan, year: Year) -> i64 {
    let Some(from) = plan.serious_from_fen else { return 0 };
    let above = |total: i64| (total - from).max(0);
    let paid = |above: i64| {
        let first = above.min(plan.serious_first_fen);
        share(first, SERIOUS_FIRST, WHOLE) + share(above - first, SERIOUS_REST, WHOLE)
    };
    paid(above(year.burden + burden)) - paid(above(year.burden))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Catalogue;
    use super::*;
    use proptest::prelude::*;

    const EMPLOYEE: Patient = Patient {
        is_employee: true,
        retired: false,
        civil_servant: false,
        gets_aid: false,
        place_factor: WHOLE,
    };

    fn in_scope(fen: i64) -> Priced {
        Priced { amount: fen, scope: fen, ..Priced::default() }
    }

    fn tianjin_outpatient() -> &'static Plan {
        Catalogue::get().plan("129900", "310", Care::Outpatient).unwrap()
    }

    #[test]
    fn the_deductible_comes_first_and_then_the_ratio_of_the_level() {
        let plan = tianjin_outpatient();
        let (shares, year) =
            share_out(in_scope(100_000), plan, 3, EMPLOYEE, Year::default(), Purse::default());
        assert_eq!((shares.deductible, shares.hifp, shares.cash), (80_000, 11_000, 89_000));
        let (shares, _) = share_out(in_scope(10_000), plan, 1, EMPLOYEE, year, Purse::default());
        assert_eq!((shares.deductible, shares.hifp, shares.cash), (0, 7_500, 2_500));
    }

    #[test]
    fn a_bill_over_the_tier_and_the_cap_is_cut() {
        let year = Year { deducted: 80_000, counted: 500_000, pool: 300_000, ..Year::default() };
        let (shares, year) =
            share_out(in_scope(100_000), tianjin_outpatient(), 1, EMPLOYEE, year, Purse::default());
        assert_eq!(shares.hifp, 37_500 + 27_500, "half below the tier, half above it");
        let year = Year { pool: 999_000, ..year };
        let (shares, _) =
            share_out(in_scope(100_000), tianjin_outpatient(), 1, EMPLOYEE, year, Purse::default());
        assert_eq!(shares.hifp, 1_000, "what is left under the cap");
    }

    #[test]
    fn accounts_pay_before_cash_and_never_more_than_there_is() {
        let purse = Purse { own: 5_000, family: 2_000 };
        let (shares, _) =
            share_out(in_scope(10_000), tianjin_outpatient(), 1, EMPLOYEE, Year::default(), purse);
        assert_eq!((shares.account, shares.family, shares.cash), (5_000, 2_000, 3_000));
    }

    #[test]
    fn every_plan_is_marked_and_has_a_source() {
        for plan in Catalogue::get().plans() {
            assert!(plan.sandbox && !plan.source.is_empty(), "{plan:?}");
        }
        for item in Catalogue::get().items() {
            assert!(!item.name.is_empty() && item.code.starts_with("SANDBOX-"), "{item:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_add_up_whatever_the_bill(
            parts in prop::array::uniform4(0i64..50_000_000),
            which in 0usize..64,
            flags in prop::array::uniform4(any::<bool>()),
            level in 1u8..=3,
            year in prop::array::uniform4(0i64..30_000_000),
            purse in prop::array::uniform2(0i64..5_000_000),
        ) {
            let [own, over, first, scope] = parts;
            let bill = Priced {
                amount: own + over + first + scope,
                own, over, first, scope,
                hospital: if flags[0] { over } else { 0 },
            };
            let plans = Catalogue::get().plans();
            let plan = &plans[which % plans.len()];
            let patient = Patient {
                is_employee: plan.insutype == "310",
                retired: flags[1],
                civil_servant: flags[2],
                gets_aid: flags[3],
                place_factor: WHOLE,
            };
            let [deducted, counted, pool, burden] = year;
            let year = Year { deducted, counted, pool, burden, stays: 1 };
            let purse = Purse { own: purse[0], family: purse[1] };
            let (shares, _) = share_out(bill, plan, level, patient, year, purse);
            prop_assert_eq!(bill.amount, shares.fund() + shares.person() + bill.hospital);
            for share in [shares.hifp, shares.cvlserv, shares.hifmi, shares.hifob, shares.maf,
                          shares.account, shares.family, shares.cash, shares.deductible] {
                prop_assert!(share >= 0, "{:?}", shares);
            }
        }
    }
}
