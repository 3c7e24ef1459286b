//! AAB301: the region a card, a person or an institution belongs to.
//!
//! A region is six digits. GB/T 2260 lists most of them, insurance uses others
//! (`130399` is a city-level pool, `639900` a provincial issuer), and abolished
//! districts live on in old numbers. So any suffix of a known province is legal,
//! routing looks at the first two digits only, and the table gives names and a
//! class, never a refusal.

use std::{fmt, str::FromStr};

use crate::model::BadId;

use super::CodeTable;

/// The provinces of GB/T 2260 with their two-digit number.
const PROVINCES: [(u8, &str, &str); 34] = [
    (11, "北京市", "Beijing"),
    (12, "天津市", "Tianjin"),
    (13, "河北省", "Hebei"),
    (14, "山西省", "Shanxi"),
    (15, "内蒙古自治区", "Inner Mongolia"),
    (21, "辽宁省", "Liaoning"),
    (22, "吉林省", "Jilin"),
    (23, "黑龙江省", "Heilongjiang"),
    (31, "上海市", "Shanghai"),
    (32, "江苏省", "Jiangsu"),
    (33, "浙江省", "Zhejiang"),
    (34, "安徽省", "Anhui"),
    (35, "福建省", "Fujian"),
    (36, "江西省", "Jiangxi"),
    (37, "山东省", "Shandong"),
    (41, "河南省", "Henan"),
    (42, "湖北省", "Hubei"),
    (43, "湖南省", "Hunan"),
    (44, "广东省", "Guangdong"),
    (45, "广西壮族自治区", "Guangxi"),
    (46, "海南省", "Hainan"),
    (50, "重庆市", "Chongqing"),
    (51, "四川省", "Sichuan"),
    (52, "贵州省", "Guizhou"),
    (53, "云南省", "Yunnan"),
    (54, "西藏自治区", "Xizang"),
    (61, "陕西省", "Shaanxi"),
    (62, "甘肃省", "Gansu"),
    (63, "青海省", "Qinghai"),
    (64, "宁夏回族自治区", "Ningxia"),
    (65, "新疆维吾尔自治区", "Xinjiang"),
    (71, "台湾省", "Taiwan"),
    (81, "香港特别行政区", "Hong Kong"),
    (82, "澳门特别行政区", "Macao"),
];

/// A province, autonomous region or municipality: what messages are routed by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Province(u8);

impl Province {
    pub const BEIJING: Province = Province(11);
    pub const TIANJIN: Province = Province(12);
    pub const HEBEI: Province = Province(13);

    /// From the six-digit form, `110000`.
    ///
    /// # Errors
    /// When it is not a province of GB/T 2260.
    pub fn from_code(code: u32) -> Result<Self, BadId> {
        if code.is_multiple_of(10_000) { Self::from_prefix(code / 10_000) } else { None }.ok_or(BadId {
            what: "province",
            expected: "a province of GB/T 2260 as six digits, for example 110000",
        })
    }

    fn from_prefix(prefix: u32) -> Option<Self> {
        let prefix = u8::try_from(prefix).ok()?;
        PROVINCES.binary_search_by_key(&prefix, |row| row.0).ok().map(|_| Province(prefix))
    }

    /// The six-digit form, `110000`.
    pub const fn code(self) -> u32 {
        self.0 as u32 * 10_000
    }

    /// The two-digit form, `11`.
    pub const fn prefix(self) -> u8 {
        self.0
    }

    fn names(self) -> (&'static str, &'static str) {
        let row = PROVINCES
            .binary_search_by_key(&self.0, |row| row.0)
            .expect("a province is built from its row only");
        (PROVINCES[row].1, PROVINCES[row].2)
    }

    pub fn zh(self) -> &'static str {
        self.names().0
    }

    pub fn en(self) -> &'static str {
        self.names().1
    }
}

impl FromStr for Province {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::from_code(six_digits(text).unwrap_or(1))
    }
}

impl fmt::Display for Province {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.code())
    }
}

impl fmt::Debug for Province {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a code is, as far as the table of the three regions can tell. All of
/// them are legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegionClass {
    /// Stands in the table.
    Listed,
    /// Made by an insurance: `…99` after a city or county level of zero or more
    /// (`130399`, `131199`, `639900`).
    Insurance,
    /// Of a province the table covers, but neither listed nor of an insurance:
    /// an abolished district, or a development zone's statistics code.
    Unlisted,
    /// Of a province the table does not cover; only its form was checked.
    Elsewhere,
}

/// Six digits whose first two are a province.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionCode(u32);

impl RegionCode {
    const BAD: BadId =
        BadId { what: "region", expected: "six digits that begin with a province, for example 110105" };

    /// From the number, `110105`.
    ///
    /// # Errors
    /// When its first two of six digits are no province.
    pub fn from_code(code: u32) -> Result<Self, BadId> {
        match Province::from_prefix(code / 10_000) {
            Some(_) => Ok(RegionCode(code)),
            None => Err(Self::BAD),
        }
    }

    /// From three bytes of packed decimal digits, as a chip and a card identifier
    /// have it.
    ///
    /// # Errors
    /// When a half byte is no decimal digit, or the province is unknown.
    pub fn from_bcd(bytes: [u8; 3]) -> Result<Self, BadId> {
        Self::from_code(bcd(&bytes).ok_or(Self::BAD)?)
    }

    /// Three bytes of packed decimal digits.
    pub fn to_bcd(self) -> [u8; 3] {
        let pair = |value: u32| {
            let value = (value % 100) as u8;
            ((value / 10) << 4) | (value % 10)
        };
        [pair(self.0 / 10_000), pair(self.0 / 100), pair(self.0)]
    }

    /// The number, `110105`.
    pub const fn code(self) -> u32 {
        self.0
    }

    /// Where messages about it go: the first two digits alone decide.
    pub const fn province(self) -> Province {
        Province((self.0 / 10_000) as u8)
    }

    /// What the code is, by `regions` (see [`super::CodeTables::regions`]).
    pub fn class(self, regions: &CodeTable) -> RegionClass {
        let insurance = self.0 % 100 == 99 || (self.0.is_multiple_of(100) && self.0 / 100 % 100 == 99);
        if regions.contains(&self.to_string()) {
            RegionClass::Listed
        } else if insurance {
            RegionClass::Insurance
        } else if regions.contains(&self.province().to_string()) {
            RegionClass::Unlisted
        } else {
            RegionClass::Elsewhere
        }
    }
}

impl From<Province> for RegionCode {
    fn from(province: Province) -> Self {
        RegionCode(province.code())
    }
}

impl FromStr for RegionCode {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::from_code(six_digits(text).ok_or(Self::BAD)?)
    }
}

impl fmt::Display for RegionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl fmt::Debug for RegionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn six_digits(text: &str) -> Option<u32> {
    let fits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

/// The number in packed decimal digits, at most four bytes of it.
pub(super) fn bcd(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |number, byte| {
        let (tens, ones) = (byte >> 4, byte & 0x0f);
        if tens > 9 || ones > 9 { None } else { Some(number * 100 + u32::from(tens) * 10 + u32::from(ones)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CodeTables;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, province: Province, class: RegionClass) {
        let region: RegionCode = text.parse().expect(text);
        assert_eq!(
            (region.province(), region.class(CodeTables::embedded().regions())),
            (province, class),
            "{text}"
        );
        assert_eq!(region.to_string(), text);
    }

    #[test]
    fn every_suffix_of_a_known_province_is_legal_and_has_a_class() {
        let qinghai = Province::from_code(630_000).expect("Qinghai");
        check("110105", Province::BEIJING, RegionClass::Listed);
        check("120000", Province::TIANJIN, RegionClass::Listed);
        check("130682", Province::HEBEI, RegionClass::Listed);
        check("133100", Province::HEBEI, RegionClass::Listed);
        check("130399", Province::HEBEI, RegionClass::Insurance);
        check("131199", Province::HEBEI, RegionClass::Insurance);
        check("119900", Province::BEIJING, RegionClass::Insurance);
        check("639900", qinghai, RegionClass::Insurance);
        check("110103", Province::BEIJING, RegionClass::Unlisted);
        check("130171", Province::HEBEI, RegionClass::Unlisted);
        check("630104", qinghai, RegionClass::Elsewhere);
    }

    #[test]
    fn what_is_no_region_is_refused() {
        for text in ["", "11010", "1101055", "990000", "000000", "11010a", "+11010", "１１０１０５", " 11010"]
        {
            assert!(text.parse::<RegionCode>().is_err(), "{text}");
        }
        for text in ["110100", "160000", "11", ""] {
            assert!(text.parse::<Province>().is_err(), "{text}");
        }
        assert!(RegionCode::from_bcd([0x1a, 0, 0]).is_err());
        assert!(RegionCode::from_code(u32::MAX).is_err());
    }

    #[test]
    fn provinces_have_names_and_stand_in_order() {
        assert!(PROVINCES.is_sorted_by_key(|row| row.0));
        assert_eq!((Province::HEBEI.zh(), Province::HEBEI.en()), ("河北省", "Hebei"));
        assert_eq!(Province::BEIJING.code(), 110_000);
    }

    proptest! {
        #[test]
        fn a_region_round_trips_through_text_and_chip(code in 0u32..1_000_000) {
            if let Ok(region) = RegionCode::from_code(code) {
                prop_assert_eq!(region.to_string().parse(), Ok(region));
                prop_assert_eq!(RegionCode::from_bcd(region.to_bcd()), Ok(region));
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,10}", bytes in any::<[u8; 3]>()) {
            let _ = text.parse::<RegionCode>();
            let _ = text.parse::<Province>();
            let _ = RegionCode::from_bcd(bytes);
        }
    }
}
