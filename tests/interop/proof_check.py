#!/usr/bin/env python3
"""Checks proofs of onecard's journal with a public key and nothing else: an
implementation of docs/journal.md that shares no code with onecard.

    python3 tests/interop/proof_check.py KEY PROOF...

KEY is the region's public key, 04 then x then y in hexadecimal. SM2 and SM3 come
from gmssl; the two protobuf messages are read field by field below. Exit status 0
when every proof holds, 1 when one does not.
"""

import json
import pathlib
import sys

from gmssl import sm2, sm3

BATCH_TAG = b"onecard/journal/batch/v1\0"


class Forged(Exception):
    pass


def digest(*parts):
    return bytes.fromhex(sm3.sm3_hash(list(b"".join(parts))))


def fields(message):
    """The fields of a protobuf message: number to the last value, as in proto3."""

    def varint(at):
        value, shift = 0, 0
        while True:
            byte = message[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    found, at = {}, 0
    while at < len(message):
        key, at = varint(at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            found[number], at = varint(at)
        elif wire == 2:
            length, at = varint(at)
            found[number], at = message[at : at + length], at + length
        else:
            raise Forged(f"a field of wire type {wire}")
    return found


def root_of(leaf, index, count, path):
    """Climbs from a leaf to the root; a lonely node moves up unchanged."""
    if index >= count:
        raise Forged("the index is beyond the batch")
    path, node, width = list(path), leaf, count
    while width > 1:
        if not (index == width - 1 and width % 2 == 1):
            if not path:
                raise Forged("the path is too short")
            sibling = path.pop(0)
            pair = (node, sibling) if index % 2 == 0 else (sibling, node)
            node = digest(b"\1", *pair)
        index, width = index // 2, (width + 1) // 2
    if path:
        raise Forged("the path is too long")
    return node


def transaction_bytes(text):
    province, shard, time, chance = text.split("-")
    head = int(province) << 12 | int(shard, 16)
    return head.to_bytes(4, "big") + bytes.fromhex(time) + bytes.fromhex(chance)


def check(proof, key):
    if proof["format"] != "onecard/journal/proof/v1":
        raise Forged("another format")
    if not proof["steps"]:
        raise Forged("no step")
    verifier = sm2.CryptSM2(private_key=None, public_key="")
    # Past the constructor, which strips more than one 04.
    verifier.public_key = key[2:]
    for number, step in enumerate(proof["steps"]):
        public_part, header_bytes = bytes.fromhex(step["public_part"]), bytes.fromhex(step["batch_header"])
        entry, header = fields(public_part), fields(header_bytes)
        leaf = digest(b"\0", digest(public_part), bytes.fromhex(step["sealed_digest"]))
        root = root_of(leaf, step["index"], header.get(8, 0), [bytes.fromhex(node) for node in step["path"]])
        if root != header[7]:
            raise Forged("the path does not lead to the root")
        if header[10].decode() != digest(bytes.fromhex(key))[:8].hex():
            raise Forged("the batch is signed with another key")
        if not verifier.verify_with_sm3(step["signature"], BATCH_TAG + header_bytes):
            raise Forged("the signature is not that of the key")
        if entry[2] != transaction_bytes(proof["transaction_id"]):
            raise Forged("the entry is of another transaction")
        if entry.get(4, 0) != header.get(9, 0):
            raise Forged("the entry has another time of commitment than its batch")
        if entry.get(3, 0) != number:
            raise Forged("a step is missing, or not where it belongs")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    status = 0
    for path in sys.argv[2:]:
        try:
            check(json.loads(pathlib.Path(path).read_text()), sys.argv[1])
            print(f"{path}: holds (later steps may exist)")
        except (Forged, KeyError, ValueError, IndexError) as reason:
            status = 1
            print(f"{path}: proves nothing: {reason!r}")
    sys.exit(status)


if __name__ == "__main__":
    main()
