//! The e-card code, the trust list and the deny list under a fuzzer.

use std::sync::LazyLock;

use super::{Applied, DenyChange, DenyList, EcardCode, Member, SignedCode, TrustList};
use crate::{
    crypto::{KeyName, KeyVault, Sm2PublicKey, SoftVault},
    model::fuzz,
};

const BEIJING: u32 = 110_000;
const NOW: i64 = 1_790_000_000_000;

/// A region that signs, and the list that says so.
static WORLD: LazyLock<(SignedCode, TrustList)> = LazyLock::new(|| {
    let vault = SoftVault::empty().with_key(KeyName::Ecard, &[0xec; 32]).expect("a scalar");
    let code = EcardCode { issuer: BEIJING, card: [0x11; 16], nonce: [0x22; 16], issued_at_ms: NOW };
    let key = Sm2PublicKey::from_bytes(&vault.public_key(KeyName::Ecard).expect("a key")).expect("a point");
    let member = Member {
        region: BEIJING,
        name_zh: "样例".into(),
        name_en: "Sample".into(),
        endpoint: "https://127.0.0.1:7112".into(),
        tls_name: "peer.sample.onecard".into(),
        journal_key: key.clone(),
        federation_key: key.clone(),
        ecard_key: key,
        standard_min: 1,
        standard_max: 1,
    };
    let trust = TrustList::new(1, 0, 2 * NOW, vec![member]).expect("a list");
    (code.issue(&vault).expect("signs"), trust)
});

/// Text that was scanned from a phone, and the bytes between regions.
///
/// # Panics
/// When a reader does, or an altered code is believed.
pub fn code(data: &[u8]) {
    let (right, trust) = &*WORLD;
    let text = fuzz::input(&[right.to_text().into_bytes()], data);
    let parsed = [
        SignedCode::parse(&String::from_utf8_lossy(&text)),
        SignedCode::from_bytes(&fuzz::input(&[right.bytes().to_vec()], data)),
    ];
    for code in parsed.into_iter().flatten() {
        assert_eq!(SignedCode::parse(&code.to_text()).as_ref(), Ok(&code));
        let believed = code.verify(trust, NOW).is_ok();
        assert_eq!(believed, code == *right, "a code is believed exactly when it is the one that was signed");
    }
}

/// The file every member holds.
///
/// # Panics
/// When the parser does, or does not give back what it took.
pub fn trust_list(data: &[u8]) {
    let input = fuzz::input(&[WORLD.1.to_toml().into_bytes()], data);
    if let Ok(list) = TrustList::parse(&input) {
        assert_eq!(TrustList::parse(list.to_toml().as_bytes()), Ok(list));
    }
}

/// Deltas in any order, with gaps and repeats.
///
/// # Panics
/// When the list does, or a delta with a gap changes something.
pub fn deny_list(data: &[u8]) {
    let list = DenyList::new();
    let mut version = 0;
    for step in data.chunks_exact(4) {
        let next = u64::from(step[0] % 8);
        let change = DenyChange {
            card: [step[1] % 4; 16],
            denied: step[2] & 1 == 1,
            card_state: step[2] >> 1,
            expires_at_ms: i64::from(step[3]),
            since_ms: 0,
        };
        let before = list.state(&change.card, 1).is_some();
        match list.apply(BEIJING, next, &[change]) {
            Applied::Ok => {
                assert_eq!(next, version + 1);
                version = next;
            }
            Applied::AlreadyKnown => assert!(next <= version),
            Applied::Gap { have } => {
                assert!(next > version + 1 && have == version);
                assert_eq!(list.state(&change.card, 1).is_some(), before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::fuzz::smoke;

    #[test]
    fn codes_and_lists_are_read_in_total() {
        smoke(1_000, super::code);
        smoke(1_000, super::trust_list);
        smoke(1_000, super::deny_list);
    }
}
