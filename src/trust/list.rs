//! The trust list: the regions that believe each other, where they are and which
//! keys they sign with. A file of TOML that every member holds; parsed whole or
//! refused whole.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    crypto::{BadKey, Sm2PublicKey},
    limits,
    model::Millis,
};

/// Why a trust list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustListError {
    #[error("the trust list is larger than {} bytes", limits::TRUST_LIST_BYTES_MAX)]
    TooLarge,
    #[error("the trust list is not TOML of the known form: {0}")]
    Form(String),
    #[error("the trust list's {field} is not valid: {why}")]
    Field { field: &'static str, why: &'static str },
    #[error("the trust list names region {0:06} twice")]
    Twice(u32),
    #[error("member {region:06}: {field} is not valid: {why}")]
    Member { region: u32, field: &'static str, why: &'static str },
    #[error("member {region:06}: {field}: {source}")]
    Key { region: u32, field: &'static str, source: BadKey },
}

/// A region on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// GB/T 2260 province, 6 digits.
    pub region: u32,
    pub name_zh: String,
    pub name_en: String,
    /// Where its peer service listens, `https://host:port`.
    pub endpoint: String,
    /// The name in its TLS certificate.
    pub tls_name: String,
    /// Signs journal batches, so that receipts can be checked anywhere.
    pub journal_key: Sm2PublicKey,
    /// Signs envelopes.
    pub federation_key: Sm2PublicKey,
    /// Signs e-card codes.
    pub ecard_key: Sm2PublicKey,
    /// Versions of the interchange standard it speaks, from and to.
    pub standard_min: u32,
    pub standard_max: u32,
}

/// A checked trust list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustList {
    version: u64,
    valid_from_ms: Millis,
    valid_until_ms: Millis,
    members: BTreeMap<u32, Member>,
}

impl TrustList {
    /// Makes a list and checks it: version above 0, validity not empty, at least
    /// one and at most [`limits::TRUST_MEMBERS_MAX`] members, each region once and
    /// a province.
    ///
    /// # Errors
    /// When a check fails; says which.
    pub fn new(
        version: u64,
        valid_from_ms: Millis,
        valid_until_ms: Millis,
        members: Vec<Member>,
    ) -> Result<Self, TrustListError> {
        let field = |field, why| Err(TrustListError::Field { field, why });
        if version == 0 {
            return field("version", "versions count from 1");
        }
        if valid_from_ms >= valid_until_ms {
            return field("valid_until", "it does not lie after valid_from");
        }
        if !(1..=limits::TRUST_MEMBERS_MAX).contains(&members.len()) {
            return field("member", "a list has 1 to 64 members");
        }
        let mut checked = BTreeMap::new();
        for member in members {
            member.check()?;
            let region = member.region;
            if checked.insert(region, member).is_some() {
                return Err(TrustListError::Twice(region));
            }
        }
        Ok(TrustList { version, valid_from_ms, valid_until_ms, members: checked })
    }

    /// Parses the TOML form and checks it like [`TrustList::new`].
    ///
    /// # Errors
    /// When it is not the known form, holds an unknown field, or a check fails.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustListError> {
        if bytes.len() > limits::TRUST_LIST_BYTES_MAX {
            return Err(TrustListError::TooLarge);
        }
        let form = |error: &dyn std::fmt::Display| TrustListError::Form(error.to_string());
        let text = std::str::from_utf8(bytes).map_err(|error| form(&error))?;
        let list: ListForm = toml::from_str(text).map_err(|error| form(&error))?;
        let members = list.member.into_iter().map(Member::try_from).collect::<Result<_, _>>()?;
        TrustList::new(
            list.version,
            instant("valid_from", &list.valid_from)?,
            instant("valid_until", &list.valid_until)?,
            members,
        )
    }

    /// The TOML form, which [`TrustList::parse`] reads back.
    pub fn to_toml(&self) -> String {
        let text = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
        let form = ListForm {
            version: self.version,
            valid_from: text(self.valid_from_ms),
            valid_until: text(self.valid_until_ms),
            member: self.members.values().map(MemberForm::from).collect(),
        };
        toml::to_string(&form).expect("strings and numbers have a TOML form")
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The member that answers for a province (6-digit code).
    pub fn member(&self, province: u32) -> Option<&Member> {
        self.members.get(&province)
    }

    /// Every member, by province code.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether the list holds at an instant: from `valid_from` up to, not
    /// including, `valid_until`.
    pub fn is_valid_at(&self, now_ms: Millis) -> bool {
        (self.valid_from_ms..self.valid_until_ms).contains(&now_ms)
    }

    /// When the list stops to hold.
    pub fn valid_until_ms(&self) -> Millis {
        self.valid_until_ms
    }
}

impl Member {
    fn check(&self) -> Result<(), TrustListError> {
        let region = self.region;
        let field = |field, why| Err(TrustListError::Member { region, field, why });
        if !(110_000..=820_000).contains(&region) || !region.is_multiple_of(10_000) {
            return field("region", "not a province code of GB/T 2260");
        }
        for (name, value) in [("name_zh", &self.name_zh), ("name_en", &self.name_en)] {
            if value.is_empty() || value.len() > 64 || value.chars().any(char::is_control) {
                return field(name, "a name has 1 to 64 bytes");
            }
        }
        let host = self.endpoint.strip_prefix("https://").unwrap_or_default();
        if !(1..=255).contains(&host.len())
            || !host.bytes().all(|b| b.is_ascii_graphic())
            || host.contains('/')
        {
            return field("endpoint", "expected https://host:port");
        }
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if !(1..=253).contains(&self.tls_name.len()) || !self.tls_name.bytes().all(is_name) {
            return field("tls_name", "expected a host name in small letters");
        }
        if self.standard_min == 0 || self.standard_min > self.standard_max {
            return field("standard_min", "expected 1 or more and not above standard_max");
        }
        Ok(())
    }
}

fn instant(field: &'static str, text: &str) -> Result<Millis, TrustListError> {
    let why = "expected an instant like 2026-01-01T00:00:00Z";
    text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|_| TrustListError::Field { field, why })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListForm {
    version: u64,
    valid_from: String,
    valid_until: String,
    member: Vec<MemberForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberForm {
    region: u32,
    name_zh: String,
    name_en: String,
    endpoint: String,
    tls_name: String,
    journal_key: String,
    federation_key: String,
    ecard_key: String,
    standard_min: u32,
    standard_max: u32,
}

impl TryFrom<MemberForm> for Member {
    type Error = TrustListError;

    fn try_from(form: MemberForm) -> Result<Self, TrustListError> {
        let region = form.region;
        let key = |field, text: &str| {
            Sm2PublicKey::from_hex(text).map_err(|source| TrustListError::Key { region, field, source })
        };
        Ok(Member {
            region,
            journal_key: key("journal_key", &form.journal_key)?,
            federation_key: key("federation_key", &form.federation_key)?,
            ecard_key: key("ecard_key", &form.ecard_key)?,
            name_zh: form.name_zh,
            name_en: form.name_en,
            endpoint: form.endpoint,
            tls_name: form.tls_name,
            standard_min: form.standard_min,
            standard_max: form.standard_max,
        })
    }
}

impl From<&Member> for MemberForm {
    fn from(member: &Member) -> Self {
        MemberForm {
            region: member.region,
            name_zh: member.name_zh.clone(),
            name_en: member.name_en.clone(),
            endpoint: member.endpoint.clone(),
            tls_name: member.tls_name.clone(),
            journal_key: member.journal_key.to_hex(),
            federation_key: member.federation_key.to_hex(),
            ecard_key: member.ecard_key.to_hex(),
            standard_min: member.standard_min,
            standard_max: member.standard_max,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crypto::{KeyName, KeyVault};
    use proptest::prelude::*;

    /// A list of regions whose keys are all the e-card key of a vault.
    pub(in crate::trust) fn list_of(regions: &[(u32, &dyn KeyVault)]) -> TrustList {
        let member = |(region, vault): &(u32, &dyn KeyVault)| {
            let point = vault.public_key(KeyName::Ecard).expect("an e-card key");
            let key = Sm2PublicKey::from_bytes(&point).expect("a point");
            Member {
                region: *region,
                name_zh: "样例".into(),
                name_en: "Sample".into(),
                endpoint: "https://127.0.0.1:7112".into(),
                tls_name: "peer.sample.onecard".into(),
                journal_key: key.clone(),
                federation_key: key.clone(),
                ecard_key: key,
                standard_min: 1,
                standard_max: 1,
            }
        };
        TrustList::new(1, 0, i64::from(u32::MAX) * 1_000, regions.iter().map(member).collect())
            .expect("a right list")
    }

    const POINT: &str = "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";

    fn text() -> String {
        let member = |region: u32, name: &str| {
            format!(
                "[[member]]\nregion = {region}\nname_zh = \"样例\"\nname_en = \"{name}\"\n\
                 endpoint = \"https://127.0.0.1:7112\"\ntls_name = \"peer.{name}.onecard\"\n\
                 journal_key = \"{POINT}\"\nfederation_key = \"{POINT}\"\necard_key = \"{POINT}\"\n\
                 standard_min = 1\nstandard_max = 2\n"
            )
        };
        format!(
            "version = 3\nvalid_from = \"2026-01-01T00:00:00Z\"\nvalid_until = \"2027-01-01T08:00:00+08:00\"\n{}{}",
            member(110_000, "beijing"),
            member(130_000, "hebei")
        )
    }

    #[test]
    fn a_list_is_read_and_written_the_same() {
        let list = TrustList::parse(text().as_bytes()).expect("a right list");
        assert_eq!((list.version(), list.members().count()), (3, 2));
        assert_eq!(list.member(130_000).map(|member| member.name_en.as_str()), Some("hebei"));
        assert_eq!(list.member(120_000), None);
        assert_eq!(TrustList::parse(list.to_toml().as_bytes()), Ok(list));
    }

    #[test]
    fn a_list_holds_from_its_first_to_before_its_last_instant() {
        let list = TrustList::parse(text().as_bytes()).expect("a right list");
        let (from, until) = (1_767_225_600_000, 1_798_761_600_000);
        assert_eq!(list.valid_until_ms(), until);
        for (at, expect) in [(from - 1, false), (from, true), (until - 1, true), (until, false)] {
            assert_eq!(list.is_valid_at(at), expect, "{at}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_list_is_named() {
        #[track_caller]
        fn check(from: &str, to: &str, names: &str) {
            assert!(text().contains(from), "the case changes nothing: {from}");
            let refused = TrustList::parse(text().replacen(from, to, 1).as_bytes());
            let story = refused.expect_err(to).to_string();
            assert!(story.contains(names), "{to}: {story}");
        }
        check("version = 3", "version = 0", "version");
        check("version = 3", "version = 3\nextra = 1", "extra");
        check("region = 110000", "region = 110000\nextra = 1", "extra");
        check("region = 110000", "region = 130000", "twice");
        check("region = 110000", "region = 110100", "region");
        check("region = 110000", "region = 900000", "region");
        check("2027-01-01T08", "2025-01-01T08", "valid_until");
        check("2026-01-01T00:00:00Z", "2026-01-01", "valid_from");
        check("name_en = \"beijing\"", "name_en = \"\"", "name_en");
        check("https://127", "http://127", "endpoint");
        check("peer.beijing.onecard", "Peer Beijing", "tls_name");
        check("standard_min = 1", "standard_min = 3", "standard_min");
        check("ad13\"\nfederation_key", "ad14\"\nfederation_key", "journal_key");
        check("ad13\"\necard_key", "ad1\"\necard_key", "federation_key");
        check("[[member]]", "[[members]]", "members");
    }

    #[test]
    fn an_empty_list_is_refused() {
        assert!(matches!(
            TrustList::new(1, 0, 1, vec![]),
            Err(TrustListError::Field { field: "member", .. })
        ));
        let huge = vec![b'#'; limits::TRUST_LIST_BYTES_MAX + 1];
        assert_eq!(TrustList::parse(&huge), Err(TrustListError::TooLarge));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = TrustList::parse(&bytes);
            let mut altered = text().into_bytes();
            let at = at.index(altered.len());
            altered[at] = byte;
            let _ = TrustList::parse(&altered);
        }
    }
}
