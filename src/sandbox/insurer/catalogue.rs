//! Catalogues, institutions and benefit parameters: data with their source, all of
//! them of the sandbox.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::decimal;

/// An item of the medical catalogue in a province.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Item {
    /// First two digits of the province, or `*` for all.
    pub(super) province: String,
    /// `med_list_codg`.
    pub(super) code: String,
    pub(super) name: String,
    /// `chrgitm_lv`: 01 class A, 02 B, 03 C.
    pub(super) class: String,
    /// `pric_uplmt_amt`, yuan; 999999 stands for none.
    price_limit: String,
    /// `selfpay_prop`.
    self_pay: String,
    /// Whether the hospital bears what is over the limit.
    pub(super) hospital_bears: u8,
    /// `med_chrgitm_type`.
    pub(super) charge_kind: String,
}

/// No ceiling.
pub(super) const NO_LIMIT: i64 = 999_999_000_000;

impl Item {
    /// Millionths of a yuan.
    pub(super) fn price_limit(&self) -> i64 {
        decimal::read(&self.price_limit.clone().into(), decimal::PRICE_PLACES).unwrap_or(NO_LIMIT)
    }

    /// Ten thousandths.
    pub(super) fn self_pay(&self) -> i64 {
        decimal::read(&self.self_pay.clone().into(), decimal::COUNT_PLACES).unwrap_or(0)
    }
}

/// A hospital or pharmacy with an agreement.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Institution {
    /// `fixmedins_code`.
    pub(super) code: String,
    pub(super) name: String,
    /// 1, 2, 3; 11 is a pharmacy.
    pub(super) level: u8,
}

/// What an insurance pays for a kind of care; amounts in fen, ratios in ten
/// thousandths.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// First two digits of the insured place.
    pub(super) province: String,
    pub(super) insutype: String,
    pub(super) care: Care,
    pub(super) deductible_fen: i64,
    pub(super) deductible_retired_fen: i64,
    /// From the second stay of a year; the same as the first when it is left out.
    pub(super) deductible_later_fen: Option<i64>,
    /// By level 1, 2, 3; a pharmacy counts as the first.
    pub(super) ratios: [i64; 3],
    pub(super) retired_adds: i64,
    /// Above this, counted over the year, `ratios_above` hold.
    #[serde(default)]
    pub(super) tier_fen: Option<i64>,
    #[serde(default)]
    pub(super) ratios_above: Option<[i64; 3]>,
    /// What the pool pays in a year.
    #[serde(default)]
    pub(super) cap_fen: Option<i64>,
    /// From which personal burden in a year serious illness is paid for, and how far
    /// the first ratio goes.
    #[serde(default)]
    pub(super) serious_from_fen: Option<i64>,
    #[serde(default)]
    pub(super) serious_first_fen: i64,
    /// The part of what remains that a civil servant's supplement pays.
    #[serde(default)]
    pub(super) civil_servant: i64,
    /// The part of what remains that medical aid pays.
    #[serde(default)]
    pub(super) medical_aid: i64,
    /// Where the figures are from.
    pub(super) source: String,
    /// Always true here: nobody may take these figures for the law.
    pub(super) sandbox: bool,
}

/// Kinds of care that benefits tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Care {
    Outpatient,
    Inpatient,
    Pharmacy,
}

/// Everything that is data.
#[derive(Debug)]
pub(super) struct Catalogue {
    items: BTreeMap<(String, String), Item>,
    institutions: BTreeMap<String, Institution>,
    plans: Vec<Plan>,
}

#[derive(Deserialize)]
struct Plans {
    plan: Vec<Plan>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    // Embedded and tested: they cannot fail to parse in a build that passed.
    let items = rows::<Item>(include_str!("data/catalogue.csv"));
    let institutions = rows::<Institution>(include_str!("data/institutions.csv"));
    let plans: Plans = toml::from_str(include_str!("data/benefits.toml")).expect("benefits.toml is TOML");
    Catalogue {
        items: items.map(|item| ((item.province.clone(), item.code.clone()), item)).collect(),
        institutions: institutions.map(|place| (place.code.clone(), place)).collect(),
        plans: plans.plan,
    }
});

fn rows<T: serde::de::DeserializeOwned>(text: &'static str) -> impl Iterator<Item = T> {
    let reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
    reader.into_deserialize().map(|row| row.expect("the sandbox's tables are well formed"))
}

impl Catalogue {
    pub(super) fn get() -> &'static Catalogue {
        &CATALOGUE
    }

    /// The item as the place of care has it: its own list first, then the common one.
    pub(super) fn item(&self, care_place: &str, code: &str) -> Option<&Item> {
        let province = care_place.get(..2).unwrap_or_default();
        [province, "*"].iter().find_map(|list| self.items.get(&((*list).to_owned(), code.to_owned())))
    }

    pub(super) fn institutions(&self) -> impl Iterator<Item = &Institution> {
        self.institutions.values()
    }

    pub(super) fn institution(&self, code: &str) -> Option<&Institution> {
        self.institutions.get(code)
    }

    pub(super) fn plan(&self, insured_place: &str, insutype: &str, care: Care) -> Option<&Plan> {
        let province = insured_place.get(..2).unwrap_or_default();
        self.plans
            .iter()
            .find(|plan| plan.province == province && plan.insutype == insutype && plan.care == care)
    }

    pub(super) fn plans(&self) -> &[Plan] {
        &self.plans
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }
}

/// What a place of care sells, for stories and loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ware {
    /// `med_list_codg`.
    pub code: &'static str,
    pub name: &'static str,
    /// 01 class A, 02 B, 03 C.
    pub class: &'static str,
}

/// The items that a province's catalogue has.
pub fn wares(province: u32) -> Vec<Ware> {
    let province = province.to_string();
    let list = province.get(..2).unwrap_or_default();
    let has = |item: &&Item| item.province == "*" || item.province == list;
    let ware = |item: &'static Item| Ware { code: &item.code, name: &item.name, class: &item.class };
    Catalogue::get().items().filter(has).map(ware).collect()
}

/// Codes and names of a province's institutions; a code that begins with P is a
/// pharmacy's.
pub fn institutions(province: u32) -> Vec<(&'static str, &'static str)> {
    let province = province.to_string();
    let list = province.get(..2).unwrap_or_default();
    let is_here = |place: &&Institution| place.code.get(1..3) == Some(list);
    let named = |place: &'static Institution| (place.code.as_str(), place.name.as_str());
    Catalogue::get().institutions().filter(is_here).map(named).collect()
}

/// Where benefit parameters are from, to be shown beside them.
pub fn sources() -> std::collections::BTreeSet<&'static str> {
    let marked = |plan: &&Plan| plan.sandbox;
    Catalogue::get().plans().iter().filter(marked).map(|plan| plan.source.as_str()).collect()
}
