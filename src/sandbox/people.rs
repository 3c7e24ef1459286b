//! Sample people and their cards: synthetic, and the same for the same seed.
//!
//! Nobody here exists. Names are a surname and a word for "sample"; social
//! security numbers are well formed, with a sequence no district reaches in a
//! day, so that they are nobody's. Not here: how a card file is kept on disk
//! (`card_files`) and how a gateway imports cards.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{crypto::sm3, gateway::CardLine, identity::yyyymmdd, limits, model::Millis};

/// A region that sample people live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    /// GB/T 2260 province, 6 digits.
    pub province: u32,
    /// What the names of its cards begin with.
    pub prefix: &'static str,
    /// Districts that issue its cards, GB/T 2260.
    pub districts: &'static [u32],
}

/// People of a home that certainly share no number and no card number. (A card number,
/// AAZ500, has six digits of its own and is no key.)
pub const PEOPLE_MAX: u32 = 50_000;

/// Residents of a home that certainly share no number; from a million on some share a
/// card number, as AAZ500 allows.
pub const RESIDENTS_MAX: u32 = 40_000_000;

/// The regions of the sandbox.
pub const HOMES: [Home; 3] = [
    Home { province: 110_000, prefix: "bj", districts: &[110_101, 110_102, 110_105, 110_108, 110_112] },
    Home { province: 120_000, prefix: "tj", districts: &[120_101, 120_103, 120_104, 120_116] },
    Home { province: 130_000, prefix: "he", districts: &[130_102, 130_203, 130_602, 131_003, 130_632] },
];

/// A person who does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplePerson {
    /// AAC002, 18 characters with a right check digit.
    pub social_security_number: String,
    /// AAC003.
    pub name: String,
    /// AAC004, GB/T 2261.1: "1" male, "2" female.
    pub sex: String,
    /// AAC005, GB/T 3304, two digits.
    pub ethnicity: String,
    /// AAC006, yyyymmdd.
    pub born: u32,
    /// AAC058, "01" resident identity card.
    pub document_kind: String,
    /// AAE135.
    pub document_number: String,
}

/// What a sample card is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    TemporarilyLost,
    NotActivated,
    Expired,
}

/// A person with their card, without the secrets on the chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleHolder {
    /// What people type: `bj-001`, `tj-lost`.
    pub short_name: String,
    /// AAB301 of the issuer, 6 digits: the district.
    pub region: u32,
    /// AAZ501, 32 hexadecimal digits.
    pub card_identifier: String,
    /// AAZ500, 9 characters with a right check digit.
    pub card_number: String,
    /// AAZ507, hexadecimal.
    pub reset_information: String,
    /// AAZ502 digit the card is imported with.
    pub state: u8,
    /// yyyymmdd.
    pub valid_until: u32,
    /// The holder within the home region, 32 hexadecimal digits.
    pub holder: String,
    pub person: SamplePerson,
}

impl SampleHolder {
    /// Whether they are one of many (`bj-003`), not a special one (`bj-lost`).
    pub fn is_numbered(&self) -> bool {
        self.short_name.rsplit('-').next().is_some_and(|end| end.parse::<u32>().is_ok())
    }

    /// The card as a gateway imports it at `now_ms`; a temporary loss lapses from
    /// then.
    pub fn import_line(&self, now_ms: Millis) -> CardLine {
        let lost = self.state == Kind::TemporarilyLost.state();
        CardLine {
            card_identifier: self.card_identifier.clone(),
            card_number: self.card_number.clone(),
            state: self.state,
            state_expires_at_ms: if lost { now_ms + limits::TEMPORARY_LOSS_MS } else { 0 },
            holder: self.holder.clone(),
            social_security_number: self.person.social_security_number.clone(),
            name: self.person.name.clone(),
            sex: self.person.sex.clone(),
            ethnicity: self.person.ethnicity.clone(),
            born: self.person.born,
            valid_until: self.valid_until,
            region: self.region,
        }
    }
}

/// The text of `cards.jsonl`: one JSON object a line.
pub fn import_lines(holders: &[SampleHolder], now_ms: Millis) -> String {
    let line = |holder: &SampleHolder| {
        serde_json::to_string(&holder.import_line(now_ms)).expect("strings and numbers are always JSON")
    };
    holders.iter().map(line).fold(String::new(), |text, line| text + &line + "\n")
}

/// `count` people with a normal card for a home, and three with a special one:
/// `bj-lost` (temporary loss), `bj-new` (not activated), `bj-expired`. Each
/// depends on seed and name alone: more people change nobody.
///
/// # Panics
/// Beyond [`PEOPLE_MAX`], where numbers would be given twice.
pub fn people(home: &Home, seed: u64, count: u32) -> Vec<SampleHolder> {
    assert!(count <= PEOPLE_MAX, "a home has numbers for {PEOPLE_MAX} people");
    let numbered = (1..=count).map(|number| (numbered_name(home, number), Kind::Normal));
    let special = [("lost", Kind::TemporarilyLost), ("new", Kind::NotActivated), ("expired", Kind::Expired)];
    let special = special.map(|(word, kind)| (format!("{}-{word}", home.prefix), kind));
    special
        .into_iter()
        .chain(numbered)
        .zip(1..)
        .map(|((short_name, kind), serial)| holder(home, seed, short_name, kind, serial))
        .collect()
}

/// One of a home's people with a normal card, by number from 1: who would come at this
/// place among [`people`], and further ones, without making those before.
///
/// # Panics
/// Beyond [`RESIDENTS_MAX`], where numbers would be given twice.
pub fn resident(home: &Home, seed: u64, number: u32) -> SampleHolder {
    assert!((1..=RESIDENTS_MAX).contains(&number), "a home has numbers for {RESIDENTS_MAX} residents");
    holder(home, seed, numbered_name(home, number), Kind::Normal, SPECIALS + number)
}

fn numbered_name(home: &Home, number: u32) -> String {
    format!("{}-{number:03}", home.prefix)
}

/// Those with a special card come before the numbered ones.
const SPECIALS: u32 = 3;

impl Kind {
    /// AAZ502.
    const fn state(self) -> u8 {
        match self {
            Kind::NotActivated => 0,
            Kind::Normal | Kind::Expired => 1,
            Kind::TemporarilyLost => 4,
        }
    }

    const fn valid_until(self) -> u32 {
        match self {
            Kind::Expired => 20_201_231,
            Kind::Normal | Kind::TemporarilyLost | Kind::NotActivated => 20_361_231,
        }
    }
}

fn holder(home: &Home, seed: u64, short_name: String, kind: Kind, serial: u32) -> SampleHolder {
    let mut dice = Dice::new(seed, &short_name);
    let region = *dice.pick(home.districts);
    let offset = Dice::new(seed, home.prefix).below(BIRTHDAYS);
    let person = person(&mut dice, region, serial, offset);
    let identifier = [&bcd6(region)[..], &[0xd1, 0x56, 0x00, 0x00, 0x05], &dice.bytes::<8>()].concat();
    let reset = [&[0x00, 0x81, 0x4e, 0x43, 0x23, 0x86, 0x97, 0x15][..], &dice.bytes::<5>()].concat();
    SampleHolder {
        region,
        card_identifier: hex::encode_upper(identifier),
        card_number: card_number(home.province / 10_000 - 10, serial),
        reset_information: hex::encode_upper(reset),
        state: kind.state(),
        valid_until: kind.valid_until(),
        holder: hex::encode(dice.bytes::<16>()),
        person,
        short_name,
    }
}

const SURNAMES: [&str; 12] = ["赵", "钱", "孙", "李", "周", "吴", "郑", "王", "冯", "陈", "褚", "卫"];
const GIVEN: [&str; 10] = ["样一", "样二", "样三", "样四", "样五", "试甲", "试乙", "试丙", "试丁", "试戊"];
/// Han mostly, as in the regions; then Hui, Mongol, Manchu.
const ETHNICITIES: [&str; 8] = ["01", "01", "01", "01", "01", "03", "02", "11"];

/// Days from 1950 to 2004 that somebody may be born on.
const BIRTHDAYS: u32 = 20_000;

/// A stride without a common divisor with [`BIRTHDAYS`]: the people of a home
/// are born on different days until the days are used up, so that no two share
/// a number.
const STRIDE: u32 = 7_919;

/// When days and sequences are used up, further people were registered in districts
/// that there are not: 110301, 110302 and so on.
const PER_DISTRICT: u32 = 3 * BIRTHDAYS;
const NO_DISTRICT: u32 = 300;

fn person(dice: &mut Dice, region: u32, serial: u32, offset: u32) -> SamplePerson {
    let region = match serial / PER_DISTRICT {
        0 => region,
        further => region / 10_000 * 10_000 + NO_DISTRICT + further,
    };
    let day = (serial % BIRTHDAYS * STRIDE % BIRTHDAYS + offset) % BIRTHDAYS;
    let born = Date::constant(1950, 1, 1).saturating_add(jiff::Span::new().days(i64::from(day)));
    let born = yyyymmdd(born);
    // Odd is male. No district registers 990 births a day.
    let sequence = 990 + 2 * (serial / BIRTHDAYS % 3) + dice.below(2);
    let number = with_check_digit(&format!("{region:06}{born:08}{sequence:03}"));
    SamplePerson {
        social_security_number: number.clone(),
        name: format!("{}{}", dice.pick(&SURNAMES), dice.pick(&GIVEN)),
        sex: if sequence % 2 == 1 { "1" } else { "2" }.to_owned(),
        ethnicity: (*dice.pick(&ETHNICITIES)).to_owned(),
        born,
        document_kind: "01".to_owned(),
        document_number: number,
    }
}

/// GB 11643: the check character after 17 digits.
fn with_check_digit(digits: &str) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];
    let sum: u32 = digits.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    format!("{digits}{}", CHECKS[(sum % 11) as usize])
}

/// X, the region's digit, a serial of six digits, and the check character of
/// GB 11714.
fn card_number(region_digit: u32, serial: u32) -> String {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let body = format!("X{:01}{:06}", region_digit % 10, serial % 1_000_000);
    let value = |c: char| c.to_digit(36).unwrap_or(0);
    let sum: u32 = body.chars().map(value).zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    let check = match 11 - sum % 11 {
        10 => 'X',
        11 => '0',
        digit => char::from_digit(digit, 10).unwrap_or('0'),
    };
    format!("{body}{check}")
}

/// Six decimal digits as three bytes of BCD.
fn bcd6(number: u32) -> [u8; 3] {
    let mut bytes = [0; 3];
    hex::decode_to_slice(format!("{:06}", number % 1_000_000), &mut bytes)
        .expect("six decimal digits are hexadecimal too");
    bytes
}

/// Numbers that look random and follow from seed and label: SM3 in counter mode,
/// so that no library's generator can change the people.
struct Dice {
    key: [u8; 32],
    block: u64,
}

impl Dice {
    fn new(seed: u64, label: &str) -> Self {
        let key = sm3(&[b"onecard/sandbox/people/v1\0", &seed.to_be_bytes(), label.as_bytes()]);
        Dice { key, block: 0 }
    }

    /// At most 32 bytes.
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let block = sm3(&[&self.key, &self.block.to_be_bytes()]);
        self.block += 1;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&block[..N]);
        bytes
    }

    fn below(&mut self, bound: u32) -> u32 {
        // A bias of bound / 2^32 is of no interest here.
        u32::from_be_bytes(self.bytes()) % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(u32::try_from(from.len()).unwrap_or(u32::MAX)) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn everybody(seed: u64, count: u32) -> Vec<SampleHolder> {
        HOMES.iter().flat_map(|home| people(home, seed, count)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_people_and_another_others() {
        assert_eq!(everybody(7, 40), everybody(7, 40));
        assert_eq!(import_lines(&everybody(7, 40), 5), import_lines(&everybody(7, 40), 5));
        assert_ne!(everybody(7, 40), everybody(8, 40));
        let few = everybody(7, 3);
        assert!(few.iter().all(|holder| everybody(7, 40).contains(holder)), "more people change nobody");
    }

    #[test]
    fn a_named_card_never_changes() {
        // Docs and the tour name these people; a change here is a change there.
        let first = people(&HOMES[0], 1, 1).pop().expect("a person");
        assert_eq!(first.short_name, "bj-001");
        assert_eq!(first.card_number, "X10000047");
        let bytes = sm3(&[import_lines(&[first], 0).as_bytes()]);
        assert_eq!(hex::encode(&bytes[..8]), "3221400d8ad9c982");
    }

    /// ISO 7064 MOD 11-2, another way to the same check digit: the weighted sum
    /// with the check character is 1 modulo 11.
    fn number_is_sound(number: &str) -> bool {
        let value = |c: char| if c == 'X' { Some(10) } else { c.to_digit(10) };
        let folded = number.chars().try_fold(0, |sum, c| value(c).map(|value| (sum * 2 + value) % 11));
        number.len() == 18 && folded == Some(1)
    }

    #[test]
    fn every_number_is_well_formed_and_nobodys() {
        for holder in everybody(7, 200) {
            let person = &holder.person;
            let number = &person.social_security_number;
            assert!(number_is_sound(number), "{number}");
            assert_eq!(number[..6], holder.region.to_string());
            assert_eq!(number[6..14], person.born.to_string());
            assert!((990..996).contains(&number[14..17].parse::<u32>().expect("digits")), "{number}");
            let odd = number.as_bytes()[16] % 2 == 1;
            assert_eq!(person.sex, if odd { "1" } else { "2" });
            assert_eq!(holder.card_identifier[..16], format!("{}D156000005", holder.region));
            assert_eq!((holder.card_identifier.len(), holder.card_number.len()), (32, 9));
        }
    }

    #[test]
    fn the_check_digits_are_those_of_the_published_examples() {
        assert_eq!(with_check_digit("11111119810101111"), "111111198101011110");
        let check = |serial| card_number(0, serial);
        assert_eq!(check(1), "X00000019");
    }

    #[test]
    fn nobody_shares_a_number_or_a_card() {
        let all = everybody(7, 25_000);
        let distinct = |of: fn(&SampleHolder) -> &str| all.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|holder| &holder.person.social_security_number), all.len());
        assert_eq!(distinct(|holder| &holder.card_identifier), all.len());
        assert_eq!(distinct(|holder| &holder.card_number), all.len());
        assert_eq!(distinct(|holder| &holder.holder), all.len());
        assert_eq!(distinct(|holder| &holder.short_name), all.len());
    }

    #[test]
    fn a_resident_is_who_comes_at_that_place_and_far_ones_share_no_number() {
        let home = &HOMES[0];
        let all = people(home, 7, 300);
        let named = |number: u32| all.iter().find(|holder| holder.short_name == numbered_name(home, number));
        assert_eq!(Some(&resident(home, 7, 1)), named(1));
        assert_eq!(Some(&resident(home, 7, 300)), named(300));
        // Around where days, sequences and districts begin anew, and at the end.
        let edges = [0, 19_996, 59_996, 79_996, 119_996, 9_999_000, RESIDENTS_MAX - 1_000];
        let far: Vec<_> = edges
            .iter()
            .flat_map(|first| (1..=1_000).map(move |more| resident(home, 7, first + more)))
            .collect();
        let numbers: HashSet<_> = far.iter().map(|holder| &holder.person.social_security_number).collect();
        assert_eq!(numbers.len(), far.len());
        assert!(far.iter().all(|holder| number_is_sound(&holder.person.social_security_number)));
        let cards: HashSet<_> = far.iter().map(|holder| &holder.card_identifier).collect();
        assert_eq!(cards.len(), far.len());
    }

    #[test]
    fn the_special_cards_are_what_their_names_say() {
        let line = |name: &str| {
            let holder = everybody(7, 1).into_iter().find(|holder| holder.short_name == name);
            holder.expect(name).import_line(1_000)
        };
        assert_eq!(
            (line("he-lost").state, line("he-lost").state_expires_at_ms),
            (4, 1_000 + limits::TEMPORARY_LOSS_MS)
        );
        assert_eq!((line("tj-new").state, line("tj-new").state_expires_at_ms), (0, 0));
        assert_eq!((line("bj-expired").state, line("bj-expired").valid_until), (1, 20_201_231));
        assert_eq!(line("bj-001").state, 1);
    }
}
