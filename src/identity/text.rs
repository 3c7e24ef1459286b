//! Lets values that are written as text stand in configuration files.

/// Reads a value through its `FromStr`, so that a configuration file is held to
/// the same rules as the wire.
macro_rules! read_from_text {
    ($($name:ty),* $(,)?) => {
        $(impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        })*
    };
}

read_from_text!(
    super::BirthDate,
    super::CardDate,
    super::CardIdentifier,
    super::HolderName,
    super::Province,
    super::RegionCode,
    super::SocialSecurityNumber,
    super::UnifiedCreditCode,
);
