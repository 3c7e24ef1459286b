//! Card suites: how a chip proves itself and how a tap is authenticated. The
//! published standards leave the diversification of the real chips open; so it
//! stands behind [`CardSuite`], and [`SandboxSuite`] is the documented one
//! (`docs/standard/sandbox-suite.md`).

use subtle::ConstantTimeEq;

use super::{KeyName, KeyVault, Sm4Mac, VaultError};

/// What opens a tap record under the MAC.
const TAP_DOMAIN: &[u8] = b"onecard/tap/v1\0";

/// What reader and chip said before the gateway was asked (AAA311 to AAA314).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChipChallenge {
    /// Diversifies the internal key.
    pub internal_factor: [u8; 8],
    /// The reader's random data.
    pub internal_data: [u8; 16],
    /// What the card answered to it.
    pub internal_cryptogram: [u8; 16],
    /// Diversifies the external key.
    pub external_factor: [u8; 8],
    /// The card's random challenge.
    pub external_data: [u8; 16],
}

/// What the gateway answers (AAA315, AAA316).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChipAnswer {
    /// Proof for the reader that the card is genuine.
    pub internal_authenticator: [u8; 16],
    /// What the reader hands to the card.
    pub external_authenticator: [u8; 16],
}

/// A tap as the card authenticates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapRecord<'a> {
    /// 1 entry, 2 exit.
    pub kind: u8,
    pub station: &'a str,
    pub line: &'a str,
    /// The terminal's clock, milliseconds UTC.
    pub tapped_at_ms: i64,
    /// The card's counter, one more with every tap.
    pub counter: u32,
    /// AAZ501.
    pub card: [u8; 16],
    /// The card's last good day as its public file says, yyyymmdd; 0 where the reader
    /// did not read it.
    pub valid_until: u32,
}

impl TapRecord<'_> {
    /// The bytes under the MAC. Two different records never have the same: every
    /// field has a fixed length or is preceded by its own, and the validity, which
    /// stands last, is there when it is not 0.
    pub fn encode(&self) -> Vec<u8> {
        self.with_parts(|parts| parts.concat())
    }

    fn with_parts<T>(&self, use_them: impl FnOnce(&[&[u8]]) -> T) -> T {
        let length =
            |text: &str| u32::try_from(text.len()).expect("a message is far below 4 GiB").to_be_bytes();
        let valid_until = self.valid_until.to_be_bytes();
        use_them(&[
            TAP_DOMAIN,
            &[self.kind],
            &length(self.station),
            self.station.as_bytes(),
            &length(self.line),
            self.line.as_bytes(),
            &self.tapped_at_ms.to_be_bytes(),
            &self.counter.to_be_bytes(),
            &self.card,
            if self.valid_until == 0 { &[] } else { &valid_until },
        ])
    }
}

/// Why a card was not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuiteError {
    /// Internal authentication failed.
    #[error("the chip is not genuine")]
    ChipNotGenuine,
    /// The MAC does not fit the tap, or is not 8 bytes long.
    #[error("the MAC does not fit the tap")]
    MacWrong,
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// The cryptography of a kind of card.
pub trait CardSuite: Send + Sync + 'static {
    /// AAA254: the value that names this suite in a chip challenge.
    fn algorithm(&self) -> &'static str;

    /// Checks what the chip of `card` answered and makes both authenticators.
    ///
    /// # Errors
    /// When the cryptogram is not that of the card, or the vault fails.
    fn answer_chip(
        &self,
        vault: &dyn KeyVault,
        card: &[u8; 16],
        challenge: &ChipChallenge,
    ) -> Result<ChipAnswer, SuiteError>;

    /// The MAC the card named in the record makes over it.
    ///
    /// # Errors
    /// When the vault fails.
    fn tap_mac(&self, vault: &dyn KeyVault, record: &TapRecord<'_>) -> Result<[u8; 8], SuiteError>;

    /// Checks the MAC of a tap, in constant time.
    ///
    /// # Errors
    /// When it does not fit or is not exactly 8 bytes, or the vault fails.
    fn verify_tap(&self, vault: &dyn KeyVault, record: &TapRecord<'_>, mac: &[u8]) -> Result<(), SuiteError> {
        let right = self.tap_mac(vault, record)?;
        if bool::from(right.as_slice().ct_eq(mac)) { Ok(()) } else { Err(SuiteError::MacWrong) }
    }
}

/// The sandbox suite: SM4-CMAC throughout.
#[derive(Debug, Clone, Copy, Default)]
pub struct SandboxSuite;

impl CardSuite for SandboxSuite {
    fn algorithm(&self) -> &'static str {
        "SM4"
    }

    fn answer_chip(
        &self,
        vault: &dyn KeyVault,
        card: &[u8; 16],
        challenge: &ChipChallenge,
    ) -> Result<ChipAnswer, SuiteError> {
        let chip = ChipKey::new(&*vault.diversify(KeyName::CardRoot, card)?);
        let cryptogram = chip.internal_cryptogram(&challenge.internal_factor, &challenge.internal_data);
        if !bool::from(cryptogram.ct_eq(&challenge.internal_cryptogram)) {
            return Err(SuiteError::ChipNotGenuine);
        }
        Ok(ChipAnswer {
            internal_authenticator: chip
                .internal_authenticator(&challenge.internal_factor, &challenge.internal_data),
            external_authenticator: chip
                .external_authenticator(&challenge.external_factor, &challenge.external_data),
        })
    }

    fn tap_mac(&self, vault: &dyn KeyVault, record: &TapRecord<'_>) -> Result<[u8; 8], SuiteError> {
        Ok(tap_mac(&*vault.diversify(KeyName::TransitRoot, &record.card)?, record))
    }
}

/// The first 8 bytes of the CMAC over a tap under the card's transit key.
pub(super) fn tap_mac(transit_key: &[u8; 16], record: &TapRecord<'_>) -> [u8; 8] {
    let mac = record.with_parts(|parts| Sm4Mac::new(transit_key).mac(parts));
    *mac.first_chunk().expect("8 of 16 bytes")
}

/// A card's chip key at work; both sides of the authentication use it.
pub(super) struct ChipKey(Sm4Mac);

impl ChipKey {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        ChipKey(Sm4Mac::new(key))
    }

    fn session(&self, direction: u8, factor: &[u8; 8]) -> Sm4Mac {
        Sm4Mac::new(&zeroize::Zeroizing::new(self.0.mac(&[&[direction], factor])))
    }

    /// The card's proof over the reader's data.
    pub(super) fn internal_cryptogram(&self, factor: &[u8; 8], data: &[u8; 16]) -> [u8; 16] {
        self.session(b'I', factor).mac(&[b"C", data])
    }

    /// The gateway's word for the reader that the proof was right.
    pub(super) fn internal_authenticator(&self, factor: &[u8; 8], data: &[u8; 16]) -> [u8; 16] {
        self.session(b'I', factor).mac(&[b"A", data])
    }

    /// The gateway's proof over the card's challenge.
    pub(super) fn external_authenticator(&self, factor: &[u8; 8], data: &[u8; 16]) -> [u8; 16] {
        self.session(b'E', factor).mac(&[b"A", data])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{SoftVault, VirtualChip};
    use crate::model::SystemRng;
    use proptest::prelude::*;

    const CARD: [u8; 16] = [0x11; 16];

    fn vault() -> SoftVault {
        SoftVault::empty()
            .with_key(KeyName::CardRoot, &[0xc0; 16])
            .and_then(|vault| vault.with_key(KeyName::TransitRoot, &[0x70; 16]))
            .expect("two roots")
    }

    fn record() -> TapRecord<'static> {
        TapRecord {
            kind: 1,
            station: "bj-s01",
            line: "bj-l1",
            tapped_at_ms: 1_790_000_000_000,
            counter: 7,
            card: CARD,
            valid_until: 0,
        }
    }

    #[test]
    fn a_genuine_chip_and_the_gateway_convince_each_other() {
        let chip = VirtualChip::personalise(&vault(), CARD).expect("two roots");
        let challenge = chip.challenge(&SystemRng);
        let answer = SandboxSuite.answer_chip(&vault(), &CARD, &challenge).expect("genuine");
        assert!(chip.check_external(
            &challenge.external_factor,
            &challenge.external_data,
            &answer.external_authenticator
        ));
        assert!(!chip.check_external(
            &challenge.external_factor,
            &challenge.external_data,
            &answer.internal_authenticator
        ));
    }

    #[test]
    fn a_chip_of_another_card_or_another_answer_is_not_genuine() {
        let chip = VirtualChip::personalise(&vault(), CARD).expect("two roots");
        let right = chip.challenge(&SystemRng);
        let refused = |card: &[u8; 16], challenge: &ChipChallenge| {
            SandboxSuite.answer_chip(&vault(), card, challenge) == Err(SuiteError::ChipNotGenuine)
        };
        assert!(refused(&[0x12; 16], &right));
        let mut cryptogram = right;
        cryptogram.internal_cryptogram[15] ^= 1;
        let mut data = right;
        data.internal_data[0] ^= 1;
        let mut factor = right;
        factor.internal_factor[0] ^= 1;
        for altered in [cryptogram, data, factor] {
            assert!(refused(&CARD, &altered), "{altered:?}");
        }
    }

    #[test]
    fn the_gateway_s_answer_to_a_reader_is_no_answer_of_a_card() {
        // Or a reader could play the card's part with what it was told.
        let chip = VirtualChip::personalise(&vault(), CARD).expect("two roots");
        let mut challenge = chip.challenge(&SystemRng);
        let answer = SandboxSuite.answer_chip(&vault(), &CARD, &challenge).expect("genuine");
        challenge.internal_cryptogram = answer.internal_authenticator;
        assert_eq!(SandboxSuite.answer_chip(&vault(), &CARD, &challenge), Err(SuiteError::ChipNotGenuine));
    }

    #[test]
    fn a_tap_verifies_and_every_altered_field_is_refused() {
        let mac = VirtualChip::personalise(&vault(), CARD).expect("two roots").tap_mac(&record());
        let check = |record: &TapRecord<'_>, mac: &[u8]| SandboxSuite.verify_tap(&vault(), record, mac);
        assert_eq!(check(&record(), &mac), Ok(()));
        for altered in [
            TapRecord { kind: 2, ..record() },
            TapRecord { station: "bj-s02", ..record() },
            TapRecord { line: "", ..record() },
            TapRecord { station: "bj-s01b", line: "j-l1", ..record() },
            TapRecord { tapped_at_ms: 1_790_000_000_001, ..record() },
            TapRecord { counter: 8, ..record() },
            TapRecord { card: [0x12; 16], ..record() },
            TapRecord { valid_until: 20_991_231, ..record() },
        ] {
            assert_eq!(check(&altered, &mac), Err(SuiteError::MacWrong), "{altered:?}");
        }
        for length in 0..8 {
            assert_eq!(check(&record(), &mac[..length]), Err(SuiteError::MacWrong), "{length} bytes");
        }
        assert_eq!(check(&record(), &[mac.as_slice(), &[0]].concat()), Err(SuiteError::MacWrong));
    }

    #[test]
    fn without_its_root_a_region_says_so() {
        let missing = SandboxSuite.tap_mac(&SoftVault::empty(), &record());
        assert_eq!(missing, Err(SuiteError::Vault(VaultError::Missing("transit-root"))));
    }

    #[test]
    fn the_worked_example_of_the_standard_holds() {
        // docs/standard/sandbox-suite.md; roots and card are obviously examples.
        let chip = VirtualChip::personalise(&vault(), CARD).expect("two roots");
        let challenge = ChipChallenge {
            internal_factor: [0xf1; 8],
            internal_data: [0xd1; 16],
            internal_cryptogram: chip.internal(&[0xf1; 8], &[0xd1; 16]),
            external_factor: [0xf2; 8],
            external_data: [0xd2; 16],
        };
        let answer = SandboxSuite.answer_chip(&vault(), &CARD, &challenge).expect("genuine");
        let text = format!(
            "chip key                {}\ntransit key             {}\ninternal cryptogram     {}\n\
             internal authenticator  {}\nexternal authenticator  {}\ntap record              {}\n\
             tap MAC                 {}\n",
            hex::encode(*vault().diversify(KeyName::CardRoot, &CARD).expect("root")),
            hex::encode(*vault().diversify(KeyName::TransitRoot, &CARD).expect("root")),
            hex::encode(challenge.internal_cryptogram),
            hex::encode(answer.internal_authenticator),
            hex::encode(answer.external_authenticator),
            hex::encode(record().encode()),
            hex::encode(chip.tap_mac(&record())),
        );
        let document = include_str!("../../docs/standard/sandbox-suite.md");
        assert!(document.contains(&text), "the document should say:\n{text}");
    }

    proptest! {
        #[test]
        fn two_different_taps_never_have_the_same_bytes(
            one in ("[a-c]{0,3}", "[a-c]{0,3}", 1..3u8, 0..2i64, 0..2u32, 0..2u8, 0..2u32),
            other in ("[a-c]{0,3}", "[a-c]{0,3}", 1..3u8, 0..2i64, 0..2u32, 0..2u8, 0..2u32),
        ) {
            let record = |(station, line, kind, tapped_at_ms, counter, card, valid_until): &(String, String, u8, i64, u32, u8, u32)|
                TapRecord { kind: *kind, station, line, tapped_at_ms: *tapped_at_ms, counter: *counter, card: [*card; 16], valid_until: *valid_until }
                    .encode();
            prop_assert_eq!(record(&one) == record(&other), one == other);
        }

        #[test]
        fn a_flipped_bit_of_the_mac_is_refused(bit in 0..64usize) {
            let mut mac = SandboxSuite.tap_mac(&vault(), &record()).expect("root");
            mac[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(SandboxSuite.verify_tap(&vault(), &record(), &mac), Err(SuiteError::MacWrong));
        }
    }
}
