//! Vectors for and from another implementation; `tests/interop/crypto_vectors.py`
//! runs both tests below and says how.
//!
//! Without `ONECARD_VECTORS_OUT` the vectors are made and checked here, and
//! written nowhere; without `ONECARD_VECTORS_IN` there is nothing to check back.

use serde_json::{Value, json};

use super::{
    CardSuite, ChipChallenge, KeyName, KeyVault, SandboxSuite, Sm2PublicKey, Sm2SigningKey, Sm4Gcm, Sm4Mac,
    SoftVault, TapRecord, VirtualChip, sm3,
};

/// Lengths around the borders of blocks and paddings.
const LENGTHS: [usize; 12] = [0, 1, 15, 16, 17, 31, 32, 55, 56, 64, 100, 1_000];

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| seed.wrapping_add((at as u8).wrapping_mul(31))).collect()
}

fn key(seed: u8) -> [u8; 16] {
    bytes(16, seed).try_into().expect("16 bytes")
}

fn sm2_vector(length: usize) -> Value {
    let seed = length as u8;
    let secret: [u8; 32] = bytes(32, seed.wrapping_add(1)).try_into().expect("32 bytes");
    let (signing, message) = (Sm2SigningKey::from_secret(&secret).expect("in range"), bytes(length, seed));
    let signature = signing.sign(&message);
    assert_eq!(signing.public_key().verify(&message, &signature), Ok(()));
    json!({
        "secret": hex::encode(secret),
        "public": signing.public_key().to_hex(),
        "message": hex::encode(message),
        "signature": hex::encode(signature),
    })
}

fn gcm_vector(length: usize) -> Value {
    let seed = length as u8;
    let nonce: [u8; 12] = bytes(12, seed).try_into().expect("12 bytes");
    let (bound, plain) = (bytes(length / 3, seed), bytes(length, seed.wrapping_add(9)));
    let sealed = Sm4Gcm::new(&key(seed)).seal(&nonce, &bound, &plain);
    json!({
        "key": hex::encode(key(seed)), "nonce": hex::encode(nonce), "bound": hex::encode(bound),
        "plain": hex::encode(plain), "sealed": hex::encode(sealed),
    })
}

fn suite_vector(seed: u8) -> Value {
    let vault = SoftVault::empty()
        .with_key(KeyName::CardRoot, &key(seed))
        .and_then(|vault| vault.with_key(KeyName::TransitRoot, &key(seed.wrapping_add(1))))
        .expect("two roots");
    let card = key(seed.wrapping_add(2));
    let chip = VirtualChip::personalise(&vault, card).expect("two roots");
    let challenge = ChipChallenge {
        internal_factor: [seed; 8],
        internal_data: key(seed.wrapping_add(3)),
        internal_cryptogram: chip.internal(&[seed; 8], &key(seed.wrapping_add(3))),
        external_factor: [!seed; 8],
        external_data: key(seed.wrapping_add(4)),
    };
    let answer = SandboxSuite.answer_chip(&vault, &card, &challenge).expect("genuine");
    let record = TapRecord {
        kind: 1 + seed % 2,
        station: "西直门",
        line: if seed < 128 { "bj-l2" } else { "" },
        tapped_at_ms: 1_790_000_000_000 - i64::from(seed),
        counter: u32::from(seed) << 20,
        card,
        valid_until: if seed.is_multiple_of(3) { 0 } else { 20_300_101 + u32::from(seed) % 28 },
    };
    json!({
        "card_root": hex::encode(key(seed)), "transit_root": hex::encode(key(seed.wrapping_add(1))),
        "card": hex::encode(card),
        "internal_factor": hex::encode(challenge.internal_factor),
        "internal_data": hex::encode(challenge.internal_data),
        "internal_cryptogram": hex::encode(challenge.internal_cryptogram),
        "external_factor": hex::encode(challenge.external_factor),
        "external_data": hex::encode(challenge.external_data),
        "internal_authenticator": hex::encode(answer.internal_authenticator),
        "external_authenticator": hex::encode(answer.external_authenticator),
        "kind": record.kind, "station": record.station, "line": record.line,
        "tapped_at_ms": record.tapped_at_ms, "counter": record.counter, "valid_until": record.valid_until,
        "mac": hex::encode(SandboxSuite.tap_mac(&vault, &record).expect("the root")),
    })
}

#[test]
fn vectors_are_written_for_another_implementation() {
    let each =
        |vector: &dyn Fn(usize) -> Value| LENGTHS.iter().map(|length| vector(*length)).collect::<Value>();
    let vectors = json!({
        "sm3": each(&|length| json!({
            "message": hex::encode(bytes(length, 5)), "digest": hex::encode(sm3(&[&bytes(length, 5)])),
        })),
        "sm2": each(&sm2_vector),
        "cmac": each(&|length| json!({
            "key": hex::encode(key(length as u8)), "message": hex::encode(bytes(length, 7)),
            "mac": hex::encode(Sm4Mac::new(&key(length as u8)).mac(&[&bytes(length, 7)])),
        })),
        "gcm": each(&gcm_vector),
        "suite": [suite_vector(0), suite_vector(77), suite_vector(200)],
    });
    if let Ok(path) = std::env::var("ONECARD_VECTORS_OUT") {
        std::fs::write(path, vectors.to_string()).expect("the vectors can be written");
    }
}

#[test]
fn signatures_of_another_implementation_verify() {
    let Ok(path) = std::env::var("ONECARD_VECTORS_IN") else { return };
    let text = std::fs::read_to_string(path).expect("the vectors can be read");
    let signatures: Vec<Value> = serde_json::from_str(&text).expect("a list");
    assert!(!signatures.is_empty(), "the other implementation made no signature");
    for vector in &signatures {
        let field = |name: &str| hex::decode(vector[name].as_str().expect("text")).expect("hexadecimal");
        let public = Sm2PublicKey::from_bytes(&field("public")).expect("a point");
        let signature = field("signature").try_into().expect("64 bytes");
        assert_eq!(public.verify(&field("message"), &signature), Ok(()), "{vector}");
    }
}

#[test]
fn sm3_is_that_of_the_standard() {
    // GB/T 32905, annex A.
    let expect = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0";
    assert_eq!(hex::encode(sm3(&[b"a", b"", b"bc"])), expect);
    let expect = "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732";
    assert_eq!(hex::encode(sm3(&[&b"abcd".repeat(16)])), expect);
}

#[test]
fn the_vault_macs_and_diversifies_as_documented() {
    let vault = SoftVault::empty().with_key(KeyName::Seal, &key(1)).expect("16 bytes");
    let mac = Sm4Mac::new(&key(1));
    assert_eq!(vault.mac(KeyName::Seal, b"tag"), Ok(mac.mac(&[b"tag"])));
    let diversified = vault.diversify(KeyName::Seal, &key(2)).expect("SM4");
    assert_eq!(*diversified, mac.mac(&[&[1], &key(2)]));
}
