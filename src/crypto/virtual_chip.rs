//! The card's side of the sandbox suite, for simulated readers and the terminal
//! tools. A real card keeps these keys in its chip.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    BadKey, ChipChallenge, KeyName, KeyVault, TapRecord, VaultError,
    suite::{ChipKey, tap_mac},
};
use crate::model::Rng;

/// A chip with its own keys, diversified from the region's roots. Wiped on drop.
#[derive(Clone)]
pub struct VirtualChip {
    /// AAZ501.
    pub card: [u8; 16],
    chip_key: Zeroizing<[u8; 16]>,
    transit_key: Zeroizing<[u8; 16]>,
}

impl VirtualChip {
    /// Makes the chip of `card` as its issuer does.
    ///
    /// # Errors
    /// When the vault lacks a root.
    pub fn personalise(vault: &dyn KeyVault, card: [u8; 16]) -> Result<Self, VaultError> {
        Ok(VirtualChip {
            card,
            chip_key: vault.diversify(KeyName::CardRoot, &card)?,
            transit_key: vault.diversify(KeyName::TransitRoot, &card)?,
        })
    }

    /// Internal authentication: the card's cryptogram over the reader's data.
    pub fn internal(&self, factor: &[u8; 8], data: &[u8; 16]) -> [u8; 16] {
        ChipKey::new(&self.chip_key).internal_cryptogram(factor, data)
    }

    /// The random challenge for external authentication.
    pub fn external_challenge(&self, rng: &dyn Rng) -> [u8; 16] {
        let mut challenge = [0; 16];
        rng.fill(&mut challenge);
        challenge
    }

    /// External authentication: whether the authenticator answers the challenge.
    pub fn check_external(&self, factor: &[u8; 8], challenge: &[u8; 16], authenticator: &[u8]) -> bool {
        let right = ChipKey::new(&self.chip_key).external_authenticator(factor, challenge);
        right.as_slice().ct_eq(authenticator).into()
    }

    /// What a reader collects from the card before it asks the gateway, with
    /// factors and reader's data from `rng`.
    pub fn challenge(&self, rng: &dyn Rng) -> ChipChallenge {
        let (mut internal_factor, mut internal_data, mut external_factor) = ([0; 8], [0; 16], [0; 8]);
        rng.fill(&mut internal_factor);
        rng.fill(&mut internal_data);
        rng.fill(&mut external_factor);
        ChipChallenge {
            internal_factor,
            internal_data,
            internal_cryptogram: self.internal(&internal_factor, &internal_data),
            external_factor,
            external_data: self.external_challenge(rng),
        }
    }

    /// The MAC over a tap. The record names this card.
    pub fn tap_mac(&self, record: &TapRecord<'_>) -> [u8; 8] {
        tap_mac(&self.transit_key, record)
    }

    /// Card, chip key and transit key as 96 hexadecimal digits. A secret.
    pub fn to_hex(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 48]);
        bytes[..16].copy_from_slice(&self.card);
        bytes[16..32].copy_from_slice(&*self.chip_key);
        bytes[32..].copy_from_slice(&*self.transit_key);
        Zeroizing::new(hex::encode(*bytes))
    }

    /// Reads what [`VirtualChip::to_hex`] wrote.
    ///
    /// # Errors
    /// When it is not 96 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, BadKey> {
        let mut bytes = Zeroizing::new([0; 48]);
        hex::decode_to_slice(text, &mut *bytes).map_err(|_| BadKey::chip())?;
        let part = |at: usize| -> [u8; 16] { bytes[at..at + 16].try_into().expect("16 of 48 bytes") };
        Ok(VirtualChip {
            card: part(0),
            chip_key: Zeroizing::new(part(16)),
            transit_key: Zeroizing::new(part(32)),
        })
    }
}

impl fmt::Debug for VirtualChip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtualChip(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crypto::SoftVault, model::SystemRng};

    #[test]
    fn a_chip_written_down_is_the_same_chip() {
        let vault = SoftVault::generate(&SystemRng);
        let chip = VirtualChip::personalise(&vault, [9; 16]).expect("roots");
        let again = VirtualChip::from_hex(&chip.to_hex()).expect("its own form");
        assert_eq!(again.card, chip.card);
        assert_eq!(again.to_hex(), chip.to_hex());
        assert_eq!(again.internal(&[1; 8], &[2; 16]), chip.internal(&[1; 8], &[2; 16]));
    }

    #[test]
    fn debug_shows_no_key_and_no_card() {
        let chip = VirtualChip::from_hex(&"5a".repeat(48)).expect("96 digits");
        assert!(!format!("{chip:?}").contains("5a"));
    }

    #[test]
    fn what_is_not_96_digits_is_no_chip() {
        for text in ["", "5a", &"5a".repeat(47), &"zz".repeat(48)] {
            assert!(VirtualChip::from_hex(text).is_err(), "{text}");
        }
    }
}
