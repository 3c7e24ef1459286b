#!/usr/bin/env python3
"""Checks onecard's SM2, SM3, SM4 and its sandbox card suite against another
implementation, in both directions.

Run from the root of the repository, with a virtual environment that has gmssl
(SM2, SM3, SM4 in pure Python; CMAC, GCM and the card suite are written out
below from the standards):

    python3 -m venv "$VENV" && "$VENV/bin/pip" install gmssl==3.2.2
    ONECARD_VECTORS_OUT="$TMP/out.json" \
        cargo test --lib crypto::vectors::vectors_are_written
    "$VENV/bin/python" tests/interop/crypto_vectors.py "$TMP/out.json" "$TMP/in.json"
    ONECARD_VECTORS_IN="$TMP/in.json" \
        cargo test --lib crypto::vectors::signatures_of_another

The first argument is what onecard wrote; the second is written for the way back:
signatures by gmssl. Where the openssl command speaks SM2, it checks onecard's
signatures as a second opinion. Exit status 0 when everything agrees.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from gmssl import func, sm2, sm3
from gmssl.sm4 import SM4_ENCRYPT, CryptSM4

checks = 0


def agree(what, ours, theirs):
    global checks
    checks += 1
    if ours != theirs:
        sys.exit(f"{what} differs: onecard {ours}, here {theirs}")


class Block:
    """SM4 of single blocks."""

    def __init__(self, key):
        self.cipher = CryptSM4()
        self.cipher.set_key(key, SM4_ENCRYPT)

    def __call__(self, block):
        return bytes(self.cipher.one_round(self.cipher.sk, list(block)))


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other))


def cmac(key, message):
    """NIST SP 800-38B."""
    block = Block(key)

    def double(value):
        value = int.from_bytes(value, "big") << 1
        return ((value ^ 0x87) & ((1 << 128) - 1) if value >> 128 else value).to_bytes(16, "big")

    k1 = double(block(bytes(16)))
    head, tail = message[: (max(len(message), 1) - 1) // 16 * 16], message[(max(len(message), 1) - 1) // 16 * 16 :]
    if len(tail) == 16:
        tail = xor(tail, k1)
    else:
        tail = xor((tail + b"\x80").ljust(16, b"\0"), double(k1))
    state = bytes(16)
    for at in range(0, len(head), 16):
        state = block(xor(state, head[at : at + 16]))
    return block(xor(state, tail))


def gcm(key, nonce, bound, plain):
    """NIST SP 800-38D with 96-bit nonces: ciphertext and tag."""
    block = Block(key)
    h = int.from_bytes(block(bytes(16)), "big")

    def times_h(x):
        z, v = 0, h
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        return z

    cipher = b""
    for at in range(0, len(plain), 16):
        stream = block(nonce + (at // 16 + 2).to_bytes(4, "big"))
        cipher += xor(plain[at : at + 16], stream)
    y = 0
    padded = bound + bytes(-len(bound) % 16) + cipher + bytes(-len(cipher) % 16)
    padded += (len(bound) * 8).to_bytes(8, "big") + (len(cipher) * 8).to_bytes(8, "big")
    for at in range(0, len(padded), 16):
        y = times_h(y ^ int.from_bytes(padded[at : at + 16], "big"))
    return cipher + xor(y.to_bytes(16, "big"), block(nonce + b"\0\0\0\1"))


def check_suite(v):
    """The sandbox suite, from docs/standard/sandbox-suite.md."""
    raw = {name: bytes.fromhex(v[name]) for name in v if isinstance(v[name], str) and name not in ("station", "line")}
    chip = cmac(raw["card_root"], b"\x01" + raw["card"])
    transit = cmac(raw["transit_root"], b"\x01" + raw["card"])
    internal = cmac(chip, b"I" + raw["internal_factor"])
    external = cmac(chip, b"E" + raw["external_factor"])
    agree("internal cryptogram", v["internal_cryptogram"], cmac(internal, b"C" + raw["internal_data"]).hex())
    agree("internal authenticator", v["internal_authenticator"], cmac(internal, b"A" + raw["internal_data"]).hex())
    agree("external authenticator", v["external_authenticator"], cmac(external, b"A" + raw["external_data"]).hex())
    record = b"onecard/tap/v1\0" + bytes([v["kind"]])
    for text in (v["station"].encode(), v["line"].encode()):
        record += len(text).to_bytes(4, "big") + text
    record += v["tapped_at_ms"].to_bytes(8, "big", signed=True) + v["counter"].to_bytes(4, "big") + raw["card"]
    record += v["valid_until"].to_bytes(4, "big") if v["valid_until"] else b""
    agree("tap MAC", v["mac"], cmac(transit, record)[:8].hex())


def signer(secret, public):
    # gmssl counts the point without its 04 and writes r and s one after another.
    return sm2.CryptSM2(private_key=secret, public_key=public[2:])


def openssl_agrees(v):
    """Whether the openssl command verifies; None when it cannot be asked."""
    if shutil.which("openssl") is None:
        return None
    head = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
    pem = base64.encodebytes(head + bytes.fromhex(v["public"])).decode()

    def integer(text):
        value = int(text, 16)
        raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
        return bytes([2, len(raw)]) + raw

    pair = integer(v["signature"][:64]) + integer(v["signature"][64:])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "key").write_text(f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n")
        (folder / "message").write_bytes(bytes.fromhex(v["message"]))
        (folder / "signature").write_bytes(bytes([0x30, len(pair)]) + pair)
        run = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678"]
            + ["-pubin", "-inkey", folder / "key", "-in", folder / "message", "-sigfile", folder / "signature"],
            capture_output=True,
            text=True,
        )
    if "Signature Verified Successfully" in run.stdout:
        return True
    return False if "Signature Verification Failure" in run.stdout else None


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    vectors = json.loads(pathlib.Path(sys.argv[1]).read_text())
    for v in vectors["sm3"]:
        agree("SM3", v["digest"], sm3.sm3_hash(list(bytes.fromhex(v["message"]))))
    for v in vectors["cmac"]:
        agree("SM4-CMAC", v["mac"], cmac(bytes.fromhex(v["key"]), bytes.fromhex(v["message"])).hex())
    for v in vectors["gcm"]:
        parts = [bytes.fromhex(v[name]) for name in ("key", "nonce", "bound", "plain")]
        agree("SM4-GCM", v["sealed"], gcm(*parts).hex())
    for v in vectors["suite"]:
        check_suite(v)
    back, asked = [], 0
    for v in vectors["sm2"]:
        other, message = signer(v["secret"], v["public"]), bytes.fromhex(v["message"])
        agree("SM2 public key", v["public"][2:], other._kg(int(v["secret"], 16), other.ecc_table["g"]))
        agree("SM2 verification", True, bool(other.verify_with_sm3(v["signature"], message)))
        agree("SM2 verification of another message", False, bool(other.verify_with_sm3(v["signature"], message + b"x")))
        second = openssl_agrees(v)
        if second is not None:
            asked += 1
            agree("SM2 verification by openssl", True, second)
        # gmssl takes the nonce as text of a number below n.
        nonce = func.random_hex(other.para_len)
        signature = other.sign_with_sm3(message, nonce)
        back.append({"public": v["public"], "message": v["message"], "signature": signature})
    if not all(vectors[kind] for kind in ("sm2", "sm3", "cmac", "gcm", "suite")):
        sys.exit("a kind of vector is missing")
    pathlib.Path(sys.argv[2]).write_text(json.dumps(back))
    print(f"{checks} checks agree, openssl asked for {asked}; {len(back)} signatures written for the way back")


if __name__ == "__main__":
    main()
