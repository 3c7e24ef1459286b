//! Who is insured, and how.

use crate::sandbox::people::SampleHolder;

/// An insurance of a person: one element of `insuinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insurance {
    /// `insutype`: 310 employees, 390 residents, …
    pub kind: String,
    /// `insuplc_admdvs`, 6 digits.
    pub place: String,
    /// `psn_insu_stas`: 1 normal, 2 paused, 4 ended.
    pub status: String,
    /// `balc`, fen: the personal account.
    pub balance_fen: i64,
}

/// A person with their insurances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insured {
    /// `psn_no`.
    pub number: String,
    /// `certno`.
    pub document: String,
    /// `psn_name`.
    pub name: String,
    /// `gend`: 1 male, 2 female.
    pub sex: String,
    /// `naty`.
    pub ethnicity: String,
    /// `brdy`, yyyymmdd.
    pub born: u32,
    /// Card numbers and identifiers that name them (`mdtrt_cert_type` 03).
    pub cards: Vec<(String, String)>,
    /// E-voucher tokens that name them (`mdtrt_cert_type` 01).
    pub tokens: Vec<String>,
    pub insurances: Vec<Insurance>,
    pub retired: bool,
    /// `cvlserv_flag`.
    pub civil_servant: bool,
    /// `psn_idet_type` of somebody who gets medical aid.
    pub identity: Option<String>,
    /// The person whose account pays when theirs is empty.
    pub family: Option<String>,
    /// Whether care outside the three regions has been filed.
    pub filed: bool,
}

/// Numbers of `psn_no` after the province.
const SERIAL_DIGITS: usize = 20;

/// The insurances of a sample person. What somebody has follows from the number in
/// the short name (`bj-003`), so that a story can rely on it:
///
/// | last digit | who |
/// | --- | --- |
/// | 1 | employee with an account |
/// | 2 | resident |
/// | 3 | retired employee with an account |
/// | 4 | several insurances at once, as in a real answer of Hebei: 310, 320, 330, 510, 39999 ended, 390 elsewhere |
/// | 5 | resident with medical aid |
/// | 6 | employee with an empty account; the family's (of number 1) helps |
/// | 7 | employee whose insurance is paused, and nothing else |
/// | 8 | civil servant |
/// | 9 | employee who has filed care elsewhere |
/// | 0 | resident and paused employee |
pub fn sample(holder: &SampleHolder) -> Insured {
    let province = holder.region / 10_000;
    let number: u32 = holder.short_name.rsplit('-').next().and_then(|tail| tail.parse().ok()).unwrap_or(1);
    let of = |kind: &str, status: &str, balance_fen| Insurance {
        kind: kind.to_owned(),
        place: place_of(province),
        status: status.to_owned(),
        balance_fen,
    };
    let balance = 20_000 + i64::from(number % 37) * 1_050;
    let insurances = match number % 10 {
        1 | 3 | 9 => vec![of("310", "1", balance), of("330", "1", 0)],
        2 | 5 => vec![of("390", "1", 0)],
        4 => vec![
            of("39999", "4", 0),
            Insurance { place: elsewhere(province), ..of("390", "1", 0) },
            of("310", "1", balance),
            of("320", "1", 0),
            of("330", "1", 0),
            of("510", "1", 0),
        ],
        6 => vec![of("310", "1", 0), of("330", "1", 0)],
        7 => vec![of("310", "2", balance)],
        8 => vec![of("310", "1", balance), of("320", "1", 0), of("330", "1", 0)],
        _ => vec![of("310", "2", balance), of("390", "1", 0)],
    };
    let serial = |of_number: u32| format!("{province}{:0>width$}", of_number, width = SERIAL_DIGITS - 2);
    Insured {
        number: serial(number),
        document: holder.person.document_number.clone(),
        name: holder.person.name.clone(),
        sex: holder.person.sex.clone(),
        ethnicity: holder.person.ethnicity.clone(),
        born: holder.person.born,
        cards: vec![(holder.card_number.clone(), holder.card_identifier.clone())],
        tokens: Vec::new(),
        insurances,
        retired: number % 10 == 3,
        civil_servant: matches!(number % 10, 4 | 8),
        identity: (number % 10 == 5).then(|| "5101".to_owned()),
        family: (number % 10 == 6).then(|| serial(number - 5)),
        filed: number % 10 == 9,
    }
}

/// Insurance codes of the pooled place, which are not all in GB/T 2260.
fn place_of(province: u32) -> String {
    match province {
        13 => "130199".to_owned(),
        municipality => format!("{municipality}9900"),
    }
}

fn elsewhere(province: u32) -> String {
    match province {
        13 => "130302".to_owned(),
        municipality => format!("{municipality}0199"),
    }
}
