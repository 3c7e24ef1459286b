//! The e-card code: "one code for all", signed by the card's region, checked by
//! any region from the trust list without a call home. Byte by byte in
//! `docs/standard/ecard-code.md`. That a code is used once only is settled
//! elsewhere (`gateway`, with the region that issued it).

use std::fmt;

use super::{TrustList, base32};
use crate::{
    crypto::{KeyName, KeyVault, VaultError},
    limits,
    model::{Millis, Reason},
};

const PREFIX: &str = "OC1.";
const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"onecard/ecard/code/v1\0";
const BODY: usize = 44;
const SIGNED: usize = BODY + 64;

/// What a code says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EcardCode {
    /// The region that signed it, 6-digit province code.
    pub issuer: u32,
    /// AAZ501.
    pub card: [u8; 16],
    /// Makes the code unique; single use is kept by it.
    pub nonce: [u8; 16],
    /// By the issuer's clock.
    pub issued_at_ms: Millis,
}

/// A code is a secret until it is used, and names a card.
impl fmt::Debug for EcardCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcardCode")
            .field("issuer", &self.issuer)
            .field("issued_at_ms", &self.issued_at_ms)
            .finish_non_exhaustive()
    }
}

impl EcardCode {
    /// Signs the code with the region's e-card key.
    ///
    /// # Errors
    /// When the vault fails.
    ///
    /// # Panics
    /// When the issuer has more than six digits or the time lies before 1970.
    pub fn issue(&self, vault: &dyn KeyVault) -> Result<SignedCode, VaultError> {
        let body = self.body();
        let signature = vault.sign(KeyName::Ecard, &[DOMAIN, &body].concat())?;
        let mut bytes = [0; SIGNED];
        bytes[..BODY].copy_from_slice(&body);
        bytes[BODY..].copy_from_slice(&signature);
        Ok(SignedCode { bytes, code: *self })
    }

    /// When the last region stops taking it: what the phone shows as its end is
    /// `issued_at_ms` + one minute; the skew on top is for clocks, not for people.
    pub fn expires_at_ms(&self) -> Millis {
        self.issued_at_ms.saturating_add(limits::CODE_LIFE_MS)
    }

    fn body(&self) -> [u8; BODY] {
        assert!(self.issuer <= 999_999, "a province has six digits");
        let issued = u64::try_from(self.issued_at_ms).expect("codes are issued after 1970");
        let mut body = [0; BODY];
        body[0] = VERSION;
        body[1..4].copy_from_slice(&self.issuer.to_be_bytes()[1..]);
        body[4..20].copy_from_slice(&self.card);
        body[20..36].copy_from_slice(&self.nonce);
        body[36..].copy_from_slice(&issued.to_be_bytes());
        body
    }

    fn parse(body: &[u8; BODY]) -> Option<Self> {
        let issuer = u32::from_be_bytes([0, body[1], body[2], body[3]]);
        if body[0] != VERSION || issuer > 999_999 {
            return None;
        }
        Some(EcardCode {
            issuer,
            card: body[4..20].try_into().ok()?,
            nonce: body[20..36].try_into().ok()?,
            issued_at_ms: u64::from_be_bytes(body[36..].try_into().ok()?).try_into().ok()?,
        })
    }
}

/// The text or bytes are not those of a code of a known version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an e-card code")]
pub struct CodeMalformed;

impl CodeMalformed {
    /// The reason the terminal is told.
    pub const fn reason(self) -> Reason {
        Reason::CodeMalformed
    }
}

/// Why a well-formed code is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeRefused {
    /// Not signed by the region it names, or that region is not on the list.
    #[error("the signature is not that of the region the code names")]
    SignatureWrong,
    #[error("the code has expired")]
    Expired,
    /// Issued later than the skew of clocks explains.
    #[error("the code lies in the future")]
    NotYetValid,
}

impl CodeRefused {
    /// The reason the terminal is told.
    pub const fn reason(self) -> Reason {
        match self {
            CodeRefused::SignatureWrong => Reason::CodeSignatureWrong,
            CodeRefused::Expired => Reason::CodeExpired,
            CodeRefused::NotYetValid => Reason::CodeNotYetValid,
        }
    }
}

/// A code with its signature, which need not have been checked yet.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedCode {
    bytes: [u8; SIGNED],
    code: EcardCode,
}

impl fmt::Debug for SignedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)
    }
}

impl SignedCode {
    /// Reads what was scanned from a phone.
    ///
    /// # Errors
    /// When it is not the text of a code.
    pub fn parse(text: &str) -> Result<Self, CodeMalformed> {
        let text = text.strip_prefix(PREFIX).ok_or(CodeMalformed)?;
        if text.len() != (SIGNED * 8).div_ceil(5) {
            return Err(CodeMalformed);
        }
        Self::from_bytes(&base32::decode(text).ok_or(CodeMalformed)?)
    }

    /// Reads the bytes that travel between regions.
    ///
    /// # Errors
    /// When they are not those of a code.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodeMalformed> {
        let bytes: [u8; SIGNED] = bytes.try_into().map_err(|_| CodeMalformed)?;
        let body = bytes.first_chunk().expect("the body is shorter than the code");
        let code = EcardCode::parse(body).ok_or(CodeMalformed)?;
        Ok(SignedCode { bytes, code })
    }

    /// Body and signature, 108 bytes, as they travel between regions.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the phone shows as a QR code: `OC1.` and 173 capitals and digits.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(PREFIX.len() + (SIGNED * 8).div_ceil(5));
        text.push_str(PREFIX);
        base32::encode(&self.bytes, &mut text);
        text
    }

    /// What the code says, whether or not it is true. For routing to the issuer;
    /// nothing is decided on it before [`SignedCode::verify`].
    pub fn claimed(&self) -> &EcardCode {
        &self.code
    }

    /// Checks that the region the code names signed it, within one minute of
    /// `now_ms`. Both clocks may be off by [`limits::CODE_SKEW_MS`] together: the
    /// code is taken from `issued - skew` up to, not including, `issued + one
    /// minute + skew`. Whether the trust list itself is still valid is the
    /// caller's to ask ([`TrustList::is_valid_at`]).
    ///
    /// # Errors
    /// When the code is not to be believed, with the reason.
    pub fn verify(&self, trust: &TrustList, now_ms: Millis) -> Result<EcardCode, CodeRefused> {
        let issuer = trust.member(self.code.issuer).ok_or(CodeRefused::SignatureWrong)?;
        let (body, signature) =
            self.bytes.split_last_chunk::<64>().expect("the signature is its last 64 bytes");
        issuer
            .ecard_key
            .verify(&[DOMAIN, body].concat(), signature)
            .map_err(|_| CodeRefused::SignatureWrong)?;
        let issued = self.code.issued_at_ms;
        if now_ms < issued.saturating_sub(limits::CODE_SKEW_MS) {
            return Err(CodeRefused::NotYetValid);
        }
        if now_ms >= self.code.expires_at_ms().saturating_add(limits::CODE_SKEW_MS) {
            return Err(CodeRefused::Expired);
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{crypto::SoftVault, trust::list::tests::list_of};
    use proptest::prelude::*;

    const ISSUED: Millis = 1_790_000_000_000;

    fn vault() -> SoftVault {
        SoftVault::empty().with_key(KeyName::Ecard, &[0xec; 32]).expect("a scalar")
    }

    fn code() -> EcardCode {
        EcardCode { issuer: 110_000, card: [0x11; 16], nonce: [0x22; 16], issued_at_ms: ISSUED }
    }

    fn signed() -> SignedCode {
        code().issue(&vault()).expect("signs")
    }

    fn trust() -> TrustList {
        list_of(&[(110_000, &vault())])
    }

    #[test]
    fn a_code_lives_a_minute_and_the_skew_of_clocks() {
        #[track_caller]
        fn check(after_ms: i64, expect: Result<(), CodeRefused>) {
            assert_eq!(signed().verify(&trust(), ISSUED + after_ms).map(|_| ()), expect, "{after_ms} ms");
        }
        check(-30_001, Err(CodeRefused::NotYetValid));
        check(-30_000, Ok(()));
        check(0, Ok(()));
        check(60_000, Ok(()));
        check(89_999, Ok(()));
        check(90_000, Err(CodeRefused::Expired));
        check(86_400_000, Err(CodeRefused::Expired));
    }

    #[test]
    fn a_code_of_nobody_or_of_another_region_is_refused() {
        let nobody = EcardCode { issuer: 120_000, ..code() }.issue(&vault()).expect("signs");
        assert_eq!(nobody.verify(&trust(), ISSUED), Err(CodeRefused::SignatureWrong));
        let other = SoftVault::empty().with_key(KeyName::Ecard, &[0xed; 32]).expect("a scalar");
        let forged = code().issue(&other).expect("signs");
        assert_eq!(forged.verify(&trust(), ISSUED), Err(CodeRefused::SignatureWrong));
        let late = forged.verify(&trust(), ISSUED + 86_400_000);
        assert_eq!(late, Err(CodeRefused::SignatureWrong), "the time of a forgery means nothing");
    }

    #[test]
    fn the_extremes_of_time_neither_panic_nor_pass() {
        let far = EcardCode { issued_at_ms: i64::MAX, ..code() }.issue(&vault()).expect("signs");
        assert_eq!(far.verify(&trust(), ISSUED), Err(CodeRefused::NotYetValid));
        let old = EcardCode { issued_at_ms: 0, ..code() }.issue(&vault()).expect("signs");
        assert_eq!(old.verify(&trust(), i64::MAX), Err(CodeRefused::Expired));
        assert_eq!(old.verify(&trust(), i64::MIN), Err(CodeRefused::NotYetValid));
    }

    #[test]
    fn reasons_are_those_of_the_table() {
        let reasons = [CodeRefused::SignatureWrong, CodeRefused::Expired, CodeRefused::NotYetValid];
        let codes = reasons.map(|refused| refused.reason().code());
        assert_eq!(codes, ["CODE_SIGNATURE_WRONG", "CODE_EXPIRED", "CODE_NOT_YET_VALID"]);
        assert_eq!(CodeMalformed.reason().code(), "CODE_MALFORMED");
    }

    #[test]
    fn debug_shows_neither_card_nor_code() {
        let shown = format!("{:?} {:?}", signed(), code());
        assert!(
            !shown.contains("17, 17") && !shown.contains("11111111") && !shown.contains("OC1"),
            "{shown}"
        );
    }

    #[test]
    fn the_worked_example_of_the_standard_holds() {
        // docs/standard/ecard-code.md; key, card and nonce are obviously examples.
        let public = vault().public_key(KeyName::Ecard).expect("is there");
        let text = format!(
            "public key  {}\nbody        {}\nsignature   {}\ntext        {}\n",
            hex::encode(public),
            hex::encode(&signed().bytes()[..BODY]),
            hex::encode(&signed().bytes()[BODY..]),
            signed().to_text(),
        );
        let document = include_str!("../../docs/standard/ecard-code.md");
        assert!(document.contains(&text), "the document should say:\n{text}");
    }

    #[test]
    fn other_forms_of_a_code_are_malformed() {
        let text = signed().to_text();
        assert_eq!(text.len(), 177);
        let lower = text.to_lowercase();
        let longer = format!("{text}A");
        let spaced = format!(" {text}");
        for text in ["", "OC1.", &text[..176], &lower, &longer, &spaced, &text[4..], "OC2.AAAA", "一卡通"]
        {
            assert_eq!(SignedCode::parse(text), Err(CodeMalformed), "{text}");
        }
        let mut version = signed().bytes;
        version[0] = 2;
        let mut negative = signed().bytes;
        negative[36] = 0x80;
        let mut province = signed().bytes;
        province[1] = 0x10;
        for bytes in [version, negative, province] {
            assert_eq!(SignedCode::from_bytes(&bytes), Err(CodeMalformed));
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,200}", tail in "[A-Z2-7]{173}", bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = SignedCode::parse(&text);
            let _ = SignedCode::parse(&format!("OC1.{tail}"));
            let _ = SignedCode::from_bytes(&bytes);
        }

        #[test]
        fn codes_round_trip_and_a_flipped_bit_is_refused(
            card in any::<[u8; 16]>(),
            nonce in any::<[u8; 16]>(),
            bit in 0..SIGNED * 8,
        ) {
            let code = EcardCode { card, nonce, ..code() };
            let signed = code.issue(&vault()).expect("signs");
            let again = SignedCode::parse(&signed.to_text()).expect("its own text");
            prop_assert_eq!(again.verify(&trust(), ISSUED), Ok(code));
            let mut bytes = signed.bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(altered) = SignedCode::from_bytes(&bytes) {
                prop_assert_eq!(altered.verify(&trust(), ISSUED), Err(CodeRefused::SignatureWrong));
            }
        }
    }
}
