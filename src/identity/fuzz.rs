//! The parsers under a fuzzer: total, and what they take they give back unchanged.

use super::{
    BirthDate, CardDate, CardIdentifier, CardNumber, CodeTable, CodeTables, DocumentKind, DocumentNumber,
    Ethnicity, HolderName, Province, RegionCode, Sex, SocialSecurityNumber, UnifiedCreditCode,
};
use crate::model::fuzz;

const SEEDS: [&str; 10] = [
    "110000",
    "130399",
    "110101198101010019",
    "USA1234567",
    "A1234567X",
    "11010012340000000000000000000001",
    "20260228",
    "01",
    "欧阳·Ann",
    "91350100M000100Y43",
];

/// Feeds every parser of the room.
///
/// # Panics
/// When a parser does, or does not give back what it took.
pub fn parsers(data: &[u8]) {
    let input = fuzz::input(&SEEDS.map(|seed| seed.as_bytes().to_vec()), data);
    let text = String::from_utf8_lossy(&input);
    texts(&text);
    bytes(&input);
}

fn texts(text: &str) {
    if let Ok(region) = text.parse::<RegionCode>() {
        assert_eq!(region.to_string(), text);
        assert_eq!(RegionCode::from_bcd(region.to_bcd()), Ok(region));
        let _ = (region.class(CodeTables::embedded().regions()), region.province().zh());
    }
    if let Ok(province) = text.parse::<Province>() {
        assert_eq!(Province::from_code(province.code()), Ok(province));
    }
    if let Ok(number) = text.parse::<SocialSecurityNumber>() {
        assert_eq!(number.reveal().parse(), Ok(number.clone()));
        let _ = (number.born(), number.sex());
    }
    if let Ok((number, warning)) = CardNumber::parse(text) {
        assert_eq!(CardNumber::parse(number.reveal()), Ok((number.clone(), warning)));
    }
    if let Ok(card) = text.parse::<CardIdentifier>() {
        assert_eq!(card.reveal_hex().parse(), Ok(card));
    }
    if let Ok(day) = text.parse::<CardDate>() {
        assert_eq!(day.to_string(), text);
    }
    if let Ok(born) = text.parse::<BirthDate>() {
        assert_eq!(BirthDate::from_yyyymmdd(born.yyyymmdd()), Ok(born));
        let _ = born.age_on(CardDate::from_yyyymmdd(20_261_122).expect("a day").date());
    }
    for kind in DocumentKind::ALL {
        if let Ok(number) = DocumentNumber::parse(*kind, text) {
            assert_eq!(DocumentNumber::parse(*kind, number.reveal()), Ok(number));
        }
    }
    if let Ok(name) = text.parse::<HolderName>() {
        assert_eq!(name.reveal().parse(), Ok(name.clone()));
    }
    let _ = text.parse::<DocumentKind>();
    let _ = text.parse::<Sex>();
    let _ = text.parse::<UnifiedCreditCode>();
    let _ = Ethnicity::parse(text, CodeTables::embedded().ethnicity());
    let _ = CodeTable::parse("sex", text);
}

fn bytes(bytes: &[u8]) {
    if let Ok(card) = CardIdentifier::from_slice(bytes) {
        assert_eq!(CardIdentifier::from_slice(card.as_bytes()), Ok(card));
        let _ = card.region().province();
    }
    if let Some(day) = bytes.first_chunk::<4>() {
        let _ = (CardDate::from_bcd(*day), BirthDate::from_bcd(*day));
        let number = u32::from_be_bytes(*day);
        let _ = (CardDate::from_yyyymmdd(number), RegionCode::from_code(number), Province::from_code(number));
    }
    if let Some(region) = bytes.first_chunk::<3>()
        && let Ok(code) = RegionCode::from_bcd(*region)
    {
        assert_eq!(code.to_bcd(), *region);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_parsers_are_total() {
        crate::model::fuzz::smoke(3_000, super::parsers);
    }
}
