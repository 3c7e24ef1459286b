//! The money of a settlement: the identities that must hold, and who is booked.

use super::{FamilyAccount, Ratio, SettlementInfo, policy::SumRules};
use crate::model::{
    Fen, Posting,
    record::{MedicalBill, MedicalBillPart},
};

/// What a settlement is checked against.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// A pre-settlement of fees that come to this.
    Fees(Fen),
    /// A settlement: the total and the cash of its pre-settlement.
    PreSettled(&'a MedicalBill),
    /// A cancellation: every amount of the settlement, negated.
    Cancelled(&'a MedicalBill),
}

/// An identity that an answer breaks. The label is on metrics and in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Broken {
    #[error("medfee_sumamt is not the sum of its four parts")]
    Scope,
    #[error("fund_pay_sumamt is not the sum of the funds")]
    Funds,
    #[error("psn_part_amt is not account and cash")]
    Person,
    #[error("medfee_sumamt is not funds, person and hospital")]
    Total,
    #[error("an amount has the wrong sign")]
    Sign,
    #[error("the amounts are not those that were asked for")]
    Expected,
    #[error("an amount left the range of 64-bit fen")]
    Range,
}

impl Broken {
    pub const fn name(self) -> &'static str {
        match self {
            Broken::Scope => "scope",
            Broken::Funds => "funds",
            Broken::Person => "person",
            Broken::Total => "total",
            Broken::Sign => "sign",
            Broken::Expected => "expected",
            Broken::Range => "range",
        }
    }
}

/// Checks the identities and makes a bill of an answer. Where psn_part_amt is null it
/// is account and cash; a null acct_mulaid_pay or hosp_part_amt is zero, and the total
/// must close all the same.
///
/// # Errors
/// The first identity that does not hold.
pub fn bill_of(
    info: &SettlementInfo,
    expected: Expected<'_>,
    rules: SumRules,
) -> Result<MedicalBill, Broken> {
    let family = info.family_account.unwrap_or(Fen::ZERO);
    let own = match rules.family_account {
        FamilyAccount::Inside => info.account.minus(family).map_err(|_| Broken::Range)?,
        FamilyAccount::Beside => info.account,
    };
    let bill = MedicalBill {
        setl_id: info.setl_id.clone(),
        settled_at_ms: info.settled_at_ms,
        total_fen: info.total.get(),
        fully_own_fen: info.fully_own.get(),
        over_limit_fen: info.over_limit.get(),
        first_self_pay_fen: info.first_self_pay.get(),
        in_scope_fen: info.in_scope.get(),
        deductible_fen: info.deductible.get(),
        pool_ratio_e4: ratio(info.pool_ratio),
        basic_pool_fen: info.basic_pool.get(),
        civil_servants_fen: info.civil_servants.get(),
        enterprise_fen: info.enterprise.get(),
        serious_illness_fen: info.serious_illness.get(),
        large_amount_fen: info.large_amount.get(),
        medical_aid_fen: info.medical_aid.get(),
        other_funds_fen: info.other_funds.get(),
        account_fen: own.get(),
        family_account_fen: family.get(),
        cash_fen: info.cash.get(),
        hospital_fen: info.hospital.unwrap_or(Fen::ZERO).get(),
        balance_fen: info.balance.get(),
        parts: info.parts.iter().map(part).collect(),
        clearing_office: info.clearing_office.clone(),
        clearing_way: info.clearing_way.clone(),
        clearing_type: info.clearing_type.clone(),
    };
    let scope = [bill.fully_own_fen, bill.over_limit_fen, bill.first_self_pay_fen, bill.in_scope_fen];
    let funds = sum(funds_of(&bill).map(|(_, fen)| fen))?;
    let person = sum([bill.account_fen, bill.family_account_fen, bill.cash_fen])?;
    if sum(scope)? != bill.total_fen {
        return Err(Broken::Scope);
    }
    if funds != info.funds.get() {
        return Err(Broken::Funds);
    }
    if info.person.is_some_and(|told| told.get() != person) {
        return Err(Broken::Person);
    }
    if sum([funds, person, bill.hospital_fen])? != bill.total_fen {
        return Err(Broken::Total);
    }
    let sign = if matches!(expected, Expected::Cancelled(_)) { -1 } else { 1 };
    if amounts(&bill).into_iter().any(|fen| fen.signum() == -sign) {
        return Err(Broken::Sign);
    }
    let as_expected = match expected {
        Expected::Fees(total) => bill.total_fen == total.get(),
        Expected::PreSettled(before) => {
            (bill.total_fen, bill.cash_fen) == (before.total_fen, before.cash_fen) && !bill.setl_id.is_empty()
        }
        Expected::Cancelled(settled) => {
            amounts(&bill).into_iter().eq(amounts(settled).into_iter().map(i64::wrapping_neg))
        }
    };
    if as_expected { Ok(bill) } else { Err(Broken::Expected) }
}

/// fund_pay_sumamt
pub fn funds_fen(bill: &MedicalBill) -> i64 {
    funds_of(bill).iter().fold(0, |sum, (_, fen)| sum.saturating_add(*fen))
}

/// psn_part_amt
pub fn person_fen(bill: &MedicalBill) -> i64 {
    bill.account_fen.saturating_add(bill.family_account_fen).saturating_add(bill.cash_fen)
}

/// The double entry of a bill: funds of the insured region by kind, the person's and
/// the family's account, cash and the hospital's own share on one side, what the
/// institution is owed on the other. A cancellation's bill books the opposite.
///
/// # Panics
/// When the sums do not hold: such a bill is never made.
pub fn postings(bill: &MedicalBill, insured_region: &str, participant: &str) -> Vec<Posting> {
    let mut postings: Vec<Posting> = Vec::new();
    let mut book = |account: String, fen: i64| {
        if fen != 0 {
            postings.push(Posting { account, amount: Fen::new(fen) });
        }
    };
    for (fund, fen) in funds_of(bill) {
        book(format!("fund/{insured_region}/{fund}"), fen);
    }
    book(format!("account/{insured_region}/own"), bill.account_fen);
    book(format!("account/{insured_region}/family"), bill.family_account_fen);
    book(format!("participant/{participant}/cash"), bill.cash_fen);
    book(format!("participant/{participant}/borne"), bill.hospital_fen);
    book(format!("participant/{participant}/care"), -bill.total_fen);
    let left: i64 = postings.iter().map(|posting| posting.amount.get()).sum();
    assert_eq!(left, 0, "a settlement's postings sum to zero");
    postings
}

fn funds_of(bill: &MedicalBill) -> [(&'static str, i64); 7] {
    [
        ("hifp", bill.basic_pool_fen),
        ("cvlserv", bill.civil_servants_fen),
        ("hifes", bill.enterprise_fen),
        ("hifmi", bill.serious_illness_fen),
        ("hifob", bill.large_amount_fen),
        ("maf", bill.medical_aid_fen),
        ("oth", bill.other_funds_fen),
    ]
}

/// Every amount that a cancellation negates. The balance is none: it is what is left.
fn amounts(bill: &MedicalBill) -> [i64; 16] {
    let [hifp, cvlserv, hifes, hifmi, hifob, maf, oth] = funds_of(bill).map(|(_, fen)| fen);
    [
        bill.total_fen,
        bill.fully_own_fen,
        bill.over_limit_fen,
        bill.first_self_pay_fen,
        bill.in_scope_fen,
        hifp,
        cvlserv,
        hifes,
        hifmi,
        hifob,
        maf,
        oth,
        bill.account_fen,
        bill.family_account_fen,
        bill.cash_fen,
        bill.hospital_fen,
    ]
}

fn sum(parts: impl IntoIterator<Item = i64>) -> Result<i64, Broken> {
    parts.into_iter().try_fold(0_i64, i64::checked_add).ok_or(Broken::Range)
}

fn ratio(ratio: Ratio) -> i64 {
    ratio.units()
}

fn part(part: &super::SettlementPart) -> MedicalBillPart {
    MedicalBillPart {
        fund_pay_type: part.fund_pay_type.clone(),
        name: part.name.clone(),
        in_scope_fen: part.in_scope.get(),
        limit_fen: part.limit.get(),
        paid_fen: part.paid.get(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// 100.00: 60.00 pool, 5.00 civil servants, 10.00 own and 5.00 family account, 18.00
    /// cash, 2.00 hospital.
    pub fn info() -> SettlementInfo {
        SettlementInfo {
            mdtrt_id: "M1".into(),
            setl_id: "S1".into(),
            total: Fen::yuan(100),
            fully_own: Fen::yuan(8),
            over_limit: Fen::yuan(1),
            first_self_pay: Fen::yuan(4),
            in_scope: Fen::yuan(87),
            funds: Fen::yuan(65),
            basic_pool: Fen::yuan(60),
            civil_servants: Fen::yuan(5),
            person: Some(Fen::yuan(33)),
            account: Fen::yuan(15),
            family_account: Some(Fen::yuan(5)),
            cash: Fen::yuan(18),
            hospital: Some(Fen::yuan(2)),
            ..SettlementInfo::default()
        }
    }

    pub fn negated(info: &SettlementInfo) -> SettlementInfo {
        SettlementInfo {
            setl_id: "S2".into(),
            total: info.total.negated(),
            fully_own: info.fully_own.negated(),
            over_limit: info.over_limit.negated(),
            first_self_pay: info.first_self_pay.negated(),
            in_scope: info.in_scope.negated(),
            funds: info.funds.negated(),
            basic_pool: info.basic_pool.negated(),
            civil_servants: info.civil_servants.negated(),
            person: info.person.map(Fen::negated),
            account: info.account.negated(),
            family_account: info.family_account.map(Fen::negated),
            cash: info.cash.negated(),
            hospital: info.hospital.map(Fen::negated),
            ..info.clone()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut SettlementInfo), expect: Result<(), Broken>) {
        let mut info = info();
        change(&mut info);
        let told = bill_of(&info, Expected::Fees(Fen::yuan(100)), SumRules::default());
        assert_eq!(told.map(drop), expect);
    }

    #[test]
    fn every_identity_is_checked() {
        check(|_| {}, Ok(()));
        check(|info| info.in_scope = Fen::yuan(86), Err(Broken::Scope));
        check(|info| info.basic_pool = Fen::yuan(59), Err(Broken::Funds));
        check(|info| info.cash = Fen::yuan(17), Err(Broken::Person));
        check(|info| info.hospital = Some(Fen::yuan(3)), Err(Broken::Total));
        check(|info| info.medical_aid = Fen::new(i64::MAX), Err(Broken::Range));
        check(
            |info| {
                info.basic_pool = Fen::yuan(70);
                info.other_funds = Fen::yuan(-10);
            },
            Err(Broken::Sign),
        );
        let other = bill_of(&info(), Expected::Fees(Fen::yuan(99)), SumRules::default());
        assert_eq!(other, Err(Broken::Expected));
    }

    #[test]
    fn what_is_null_must_close_all_the_same() {
        check(|info| info.person = None, Ok(()));
        check(
            |info| {
                info.person = None;
                info.cash = Fen::yuan(19);
            },
            Err(Broken::Total),
        );
        check(|info| info.hospital = None, Err(Broken::Total));
        check(
            |info| {
                info.hospital = None;
                info.basic_pool = Fen::yuan(62);
                info.funds = Fen::yuan(67);
            },
            Ok(()),
        );
        check(|info| info.family_account = None, Ok(()));
    }

    #[test]
    fn the_familys_account_is_inside_or_beside() {
        let bill = |rules, account: i64| {
            let info = SettlementInfo { account: Fen::yuan(account), ..info() };
            bill_of(&info, Expected::Fees(Fen::yuan(100)), SumRules { family_account: rules })
                .map(|bill| (bill.account_fen, bill.family_account_fen))
        };
        assert_eq!(bill(FamilyAccount::Inside, 15), Ok((1_000, 500)));
        assert_eq!(bill(FamilyAccount::Beside, 10), Ok((1_000, 500)));
        assert_eq!(bill(FamilyAccount::Beside, 15), Err(Broken::Person));
    }

    #[test]
    fn a_cancellation_negates_everything() {
        let settled = bill_of(&info(), Expected::Fees(Fen::yuan(100)), SumRules::default()).expect("holds");
        let cancelled =
            |info: &SettlementInfo| bill_of(info, Expected::Cancelled(&settled), SumRules::default());
        assert!(cancelled(&negated(&info())).is_ok());
        assert_eq!(cancelled(&info()), Err(Broken::Sign));
        let mut other = negated(&info());
        other.basic_pool = Fen::yuan(-61);
        other.civil_servants = Fen::yuan(-4);
        assert_eq!(cancelled(&other), Err(Broken::Expected));
    }

    #[test]
    fn postings_sum_to_zero_and_a_cancellation_books_the_opposite() {
        let settled = bill_of(&info(), Expected::Fees(Fen::yuan(100)), SumRules::default()).expect("holds");
        let back =
            bill_of(&negated(&info()), Expected::Cancelled(&settled), SumRules::default()).expect("holds");
        let told = |bill: &MedicalBill| -> Vec<(String, i64)> {
            postings(bill, "130399", "bj-hospital")
                .into_iter()
                .map(|posting| (posting.account, posting.amount.get()))
                .collect()
        };
        let booked = told(&settled);
        let expect = [
            ("fund/130399/hifp", 6_000),
            ("fund/130399/cvlserv", 500),
            ("account/130399/own", 1_000),
            ("account/130399/family", 500),
            ("participant/bj-hospital/cash", 1_800),
            ("participant/bj-hospital/borne", 200),
            ("participant/bj-hospital/care", -10_000),
        ];
        assert_eq!(booked, expect.map(|(account, fen)| (account.to_owned(), fen)));
        let opposite: Vec<_> = booked.into_iter().map(|(account, fen)| (account, -fen)).collect();
        assert_eq!(told(&back), opposite);
    }
}
