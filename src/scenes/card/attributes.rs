//! What a participant may be told of a holder: only what a policy line names.

use std::{collections::BTreeMap, str::FromStr};

use crate::model::record::HolderFile;

/// An attribute of a holder by its sector code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttributeCode {
    /// AAC002, social security number.
    SocialSecurityNumber,
    /// AAC003, name.
    Name,
    /// AAC004, sex.
    Sex,
    /// AAC005, ethnicity.
    Ethnicity,
    /// AAC006, birth date, yyyymmdd.
    Born,
    /// AAZ500, card number.
    CardNumber,
}

/// A policy names an attribute that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no attribute; known are AAC002, AAC003, AAC004, AAC005, AAC006, AAZ500")]
pub struct UnknownAttribute(String);

impl AttributeCode {
    pub const fn code(self) -> &'static str {
        match self {
            AttributeCode::SocialSecurityNumber => "AAC002",
            AttributeCode::Name => "AAC003",
            AttributeCode::Sex => "AAC004",
            AttributeCode::Ethnicity => "AAC005",
            AttributeCode::Born => "AAC006",
            AttributeCode::CardNumber => "AAZ500",
        }
    }

    fn of(self, holder: &HolderFile) -> String {
        match self {
            AttributeCode::SocialSecurityNumber => holder.social_security_number.clone(),
            AttributeCode::Name => holder.name.clone(),
            AttributeCode::Sex => holder.sex.clone(),
            AttributeCode::Ethnicity => holder.ethnicity.clone(),
            AttributeCode::Born => holder.born.to_string(),
            AttributeCode::CardNumber => holder.card_number.clone(),
        }
    }
}

impl FromStr for AttributeCode {
    type Err = UnknownAttribute;

    fn from_str(code: &str) -> Result<Self, UnknownAttribute> {
        [
            AttributeCode::SocialSecurityNumber,
            AttributeCode::Name,
            AttributeCode::Sex,
            AttributeCode::Ethnicity,
            AttributeCode::Born,
            AttributeCode::CardNumber,
        ]
        .into_iter()
        .find(|attribute| attribute.code() == code)
        .ok_or_else(|| UnknownAttribute(code.to_owned()))
    }
}

/// The attributes a policy grants one participant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted(Vec<AttributeCode>);

impl Granted {
    pub fn new(mut attributes: Vec<AttributeCode>) -> Self {
        attributes.sort_unstable();
        attributes.dedup();
        Granted(attributes)
    }

    /// Whether a policy line names it.
    pub fn names(&self, attribute: AttributeCode) -> bool {
        self.0.contains(&attribute)
    }

    /// What is told, by sector code.
    pub fn tell(&self, holder: &HolderFile) -> BTreeMap<String, String> {
        self.0.iter().map(|attribute| (attribute.code().to_owned(), attribute.of(holder))).collect()
    }
}
