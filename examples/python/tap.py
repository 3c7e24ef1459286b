#!/usr/bin/env python3
"""A metro gate: one tap of a sample card, over the public contract."""

import argparse
import fcntl
import json
import os
import random
import struct
import sys
import tempfile
import time
import tomllib
import uuid
from importlib import import_module
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.cmac import CMAC

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 2.0
TRIES_MAX = 4
MAY_PASS = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


def stubs(proto: Path):
    """Generates the stubs into a temporary folder and imports them."""
    from grpc_tools import protoc

    out = tempfile.mkdtemp(prefix="onecard-stubs-")
    names = ["onecard/common/v1/common.proto", "onecard/transit/v1/transit.proto"]
    arguments = ["protoc", f"-I{proto}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(arguments + names) != 0:
        sys.exit("the stubs cannot be generated from " + str(proto))
    sys.path.insert(0, out)
    modules = ["common.v1.common_pb2", "transit.v1.transit_pb2", "transit.v1.transit_pb2_grpc"]
    return [import_module("onecard." + module) for module in modules]


def tap_record(
    kind: int, station: str, line: str, tapped_at_ms: int, counter: int, card: bytes, valid_until: int
) -> bytes:
    """The bytes under the MAC, as docs/standard/sandbox-suite.md lays them out."""
    record = b"onecard/tap/v1\0" + bytes([kind])
    for text in (station.encode(), line.encode()):
        record += struct.pack(">I", len(text)) + text
    record += struct.pack(">qI", tapped_at_ms, counter) + card
    return record + struct.pack(">I", valid_until) if valid_until else record


def tap_mac(transit_key: bytes, record: bytes) -> bytes:
    """The first 8 bytes of the SM4-CMAC over the record."""
    cmac = CMAC(SM4(transit_key))
    cmac.update(record)
    return cmac.finalize()[:8]


def next_counter(path: Path) -> tuple[dict, int]:
    """Takes the card's next counter; it is on disk before it is used."""
    with open(path.with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        card = json.loads(path.read_text())
        card["counter"] += 1
        beside = path.with_suffix(".py-new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(card, file, ensure_ascii=False, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    return card, card["counter"]


def region_and_terminal(data: Path, wanted: str | None, name: str | None):
    """The region's gateway and the name of a gate that may tap there."""
    town = tomllib.loads((data / "town.toml").read_text())
    regions = [r for r in town["region"] if wanted in (None, r["name"], str(r["code"]))]
    if not regions:
        sys.exit(f"town.toml has no region {wanted}")
    region = regions[0]
    gates = [t["name"] for t in region.get("terminal", []) if "transit" in t["scenes"]]
    if name is None and not gates:
        sys.exit(f"region {region['name']} has no gate")
    return region, name or gates[0]


def channel(data: Path, region: dict, terminal: str) -> grpc.Channel:
    """Mutual TLS: the gateway's authority, the terminal's certificate and key."""
    pki = data / "pki"
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(pki / "ca.pem").read_bytes(),
        private_key=(pki / "terminals" / f"{terminal}.key").read_bytes(),
        certificate_chain=(pki / "terminals" / f"{terminal}.pem").read_bytes(),
    )
    # We repeat by ourselves, so that every repeat is a decision of the gate.
    options = [("grpc.ssl_target_name_override", f"{region['name']}.onecard"), ("grpc.enable_retries", 0)]
    return grpc.secure_channel(region["grpc"], credentials, options)


def send(stub, request):
    """Sends the same request until it is answered or patience ends."""
    for tried in range(1, TRIES_MAX + 1):
        try:
            return stub.Tap(request, timeout=DEADLINE_SECONDS)
        except grpc.RpcError as error:
            if error.code() not in MAY_PASS or tried == TRIES_MAX:
                raise
            time.sleep(random.uniform(0.5, 1.0) * 0.05 * 2**tried)


def show(response) -> None:
    answer = response.answer
    decision = {1: "通过 APPROVED", 2: "未通过 DECLINED", 3: "待确认 PENDING"}.get(answer.decision, "?")
    print(f"outcome      {decision}")
    if answer.reason:
        print(f"reason       {answer.reason} {answer.text_zh} / {answer.text_en}")
    if response.HasField("charge"):
        charge = response.charge
        print(f"ride         {charge.from_station} → {charge.to_station}")
        print(f"charge       {charge.amount_fen / 100:.2f} 元 ({charge.amount_fen} fen)")
    print(f"transaction  {answer.transaction_id}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".onecard"))
    parser.add_argument("--proto", type=Path, default=ROOT / "proto")
    parser.add_argument("--region")
    parser.add_argument("--as", dest="terminal")
    parser.add_argument("--card", required=True)
    parser.add_argument("--station", required=True)
    parser.add_argument("--line", default="")
    parser.add_argument("--repeat", action="store_true")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--in", dest="kind", action="store_const", const=1)
    kind.add_argument("--out", dest="kind", action="store_const", const=2)
    arguments = parser.parse_args()

    common, transit, transit_grpc = stubs(arguments.proto)
    region, terminal = region_and_terminal(arguments.data, arguments.region, arguments.terminal)
    card, counter = next_counter(arguments.data / "cards" / f"{arguments.card}.json")
    # Card identifier, chip key, transit key, 16 bytes each.
    chip = bytes.fromhex(card["chip"])
    identifier, transit_key = chip[:16], chip[32:]
    now_ms = time.time_ns() // 1_000_000
    record = tap_record(arguments.kind, arguments.station, arguments.line, now_ms, counter, identifier, card["valid_until"])
    read = transit.TransitRead(
        card_identifier=identifier,
        counter=counter,
        mac=tap_mac(transit_key, record),
        valid_until=card["valid_until"],
    )
    request = transit.TapRequest(
        header=common.RequestHeader(
            request_id=str(uuid.uuid4()),
            terminal_time_ms=now_ms,
            purpose=common.PURPOSE_TRANSIT_RIDE,
        ),
        tap=transit.Tap(
            kind=arguments.kind,
            station=arguments.station,
            line=arguments.line,
            tapped_at_ms=now_ms,
            read=read,
        ),
    )
    with channel(arguments.data, region, terminal) as line:
        stub = transit_grpc.TransitServiceStub(line)
        try:
            response = send(stub, request)
            show(response)
            if arguments.repeat:
                same = send(stub, request) == response
                print("repeat       " + ("✓ the same answer" if same else "✗ ANOTHER answer"))
        except grpc.RpcError as error:
            print(f"refused      {error.code().name}: {error.details()}", file=sys.stderr)
            return 2
    return {1: 0, 2: 1, 3: 3}.get(response.answer.decision, 2)


if __name__ == "__main__":
    sys.exit(main())
