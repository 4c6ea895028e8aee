"""What encodings cost, plain and deflated: bytes on the wire, a broadcast at the gateway, a page's script.

    python -m bench.encodings            writes docs/benchmarks/encodings.json, and its part of the page
    python -m bench.encodings --seconds 2

At the gateway a broadcast is encoded once for each encoding in use, and deflated once where that was
negotiated, however many subscribers there are: what is timed is `Encoding.publication`, as a ring calls it,
with the options that compression has by default.  In JavaScript the client's own codecs run in Node, whose
engine is that of Chromium; for Protobuf, which that client does not speak, the package protobufjs.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from bench import page
from gateway.bench import report
from gateway.config.schema import WebSocketOptions
from gateway.deflate import TAIL, Deflater
from gateway.hub.encoding import Encoding
from gateway.message.codec import Codec
from gateway.message.json import JsonCodec
from gateway.message.msgpack import MsgpackCodec
from gateway.message.protobuf import ProtobufCodec
from gateway.message.publication import Publication

ROOT: Final = Path(__file__).resolve().parents[1]
KEPT: Final = ROOT / "docs" / "benchmarks" / "encodings.json"
SCRIPT: Final = ROOT / "bench" / "encodings.mjs"
PROTO: Final = ROOT / "gateway" / "message" / "ringgate.proto"
CHANNEL: Final = "chat:17"
CODECS: Final[dict[str, Codec]] = {
    "json": JsonCodec(),
    "msgpack": MsgpackCodec(),
    "protobuf": ProtobufCodec(),
}
TITLES: Final = {"json": "JSON", "msgpack": "MessagePack", "protobuf": "Protobuf"}
_ROUNDS: Final = 60
_SCRIPT: Final = (
    "CPU of a script in µs: `publish` from a value to what is sent, `message` from what came to a value; and "
    "what zlib takes to inflate that in JSON, which a browser does outside of scripts:"
)
_SHORT, _MEDIUM = 125, 65_535  # the longest payloads whose length takes no byte more, and two: RFC 6455 5.2


Measured = dict[str, Any]
"""What one run gave, as it is kept."""


class Case(NamedTuple):
    """A message that is typical of something."""

    name: str
    payload: object


def _rows(count: int) -> dict[str, object]:
    return {
        "rows": [
            {"id": n, "name": f"row {n}", "price": n * 1.25, "tags": ["a", "b"], "open": True}
            for n in range(count)
        ]
    }


CASES: Final = (
    Case("a cursor", {"x": 0.417, "y": 0.883}),
    Case("a line of chat", {"text": "shall we meet at eight?", "room": 7, "mentions": ["ada", "bob"]}),
    Case("a small table", _rows(15)),
    Case("a table", _rows(118)),
    Case("random bytes", random.Random(1).randbytes(1024)),  # noqa: S311
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the figures and the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.encodings", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", metavar="S", type=float, default=0.5, help="each (default %(default)s)")
    options = parser.parse_args(argv)
    about = {"machine": report.machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    measured = measure(options.seconds)
    KEPT.write_text(json.dumps(about | measured, indent=1) + "\n")
    page.PAGE.write_text(page.filled(page.PAGE.read_text(), {"encodings": table(measured, about)}))
    return 0


def measure(seconds: float) -> Measured:
    """Return the figures of every case: bytes, and microseconds of the gateway and of a script."""
    events = {case.name: _events(case) for case in CASES}
    script = in_javascript(events, seconds)
    cases = []
    for case, told in zip(CASES, script["outcome"], strict=True):
        ways = {
            f"{name}{suffix}": _way(Encoding(codec, deflater, threshold), case, seconds)
            for name, codec in CODECS.items()
            for suffix, deflater, threshold in (("", None, 0), ("+deflate", _deflater(), _threshold()))
        }
        size = len(_publication(case).data)
        cases.append({"name": case.name, "payload_bytes": size, "ways": ways, "javascript": told["costs"]})
    return {"node": script["node"], "cases": cases}


def _way(encoding: Encoding, case: Case, seconds: float) -> dict[str, float]:
    """Measure one ring's share of a broadcast."""
    opcode, payload = encoding.publication(CHANNEL, _publication(case))
    publication = _publication(case)
    figures = {
        "wire_bytes": len(payload) + header_bytes(len(payload)),
        "broadcast_us": least_us(lambda: encoding.publication(CHANNEL, publication), seconds),
    }
    if opcode & 0x40:
        whole = payload + TAIL
        figures["inflate_us"] = least_us(lambda: zlib.decompressobj(-15).decompress(whole), seconds)
    return figures


def least_us(call: Callable[[], object], seconds: float) -> float:
    """Return the microseconds of CPU of one call: the least of many short rounds."""
    count = 1
    while (took := _round(call, count)) < seconds / _ROUNDS:
        count *= 2
    return min(took, *(_round(call, count) for _ in range(_ROUNDS - 1))) / count * 1e6


def _round(call: Callable[[], object], count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        call()
    return time.process_time() - began


def header_bytes(payload_bytes: int) -> int:
    """Return the size of the header of a server's frame (RFC 6455 section 5.2)."""
    if payload_bytes <= _SHORT:
        return 2
    return 4 if payload_bytes <= _MEDIUM else 10


def in_javascript(events: dict[str, dict[str, str]], seconds: float) -> dict[str, Any]:
    """Return what bench/encodings.mjs measured."""
    cases = [
        {
            "name": case.name,
            "channel": CHANNEL,
            "events": events[case.name],
            **(
                {"data64": b64encode(case.payload).decode()}
                if isinstance(case.payload, bytes)
                else {"data": case.payload}
            ),
        }
        for case in CASES
    ]
    asked = orjson.dumps({"seconds": seconds, "proto": str(PROTO), "cases": cases})
    done = subprocess.run(["node", str(SCRIPT)], input=asked, stdout=subprocess.PIPE, check=True)  # noqa: S603, S607
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _events(case: Case) -> dict[str, str]:
    publication = _publication(case)
    return {
        name: b64encode(codec.encode_publication(CHANNEL, publication)).decode()
        for name, codec in CODECS.items()
    }


def _publication(case: Case) -> Publication:
    binary = isinstance(case.payload, bytes)
    return Publication(
        id="UOlpxzDk-1",
        data=case.payload if isinstance(case.payload, bytes) else orjson.dumps(case.payload),
        time_ms=1795426675119,
        offset=7,
        binary=binary,
        client="nXoqO_AS0OHOIfRc",
        user="ada",
    )


def _threshold() -> int:
    return WebSocketOptions().compression_threshold


def _deflater() -> Deflater:
    """Return one as all subscribers of a channel share it, with the default options."""
    options = WebSocketOptions()
    return Deflater(
        window_bits=options.compression_window_bits,
        takeover=False,
        level=options.compression_level,
        mem_level=options.compression_memory,
    )


# -- the page -------------------------------------------------------------------------------------------


def table(measured: Measured, about: dict[str, Any]) -> str:
    """Return the tables in Markdown."""
    bytes_rows = ["| `message` | " + " | ".join(_ways()) + " |", "|---|" + "---|" * len(_ways())]
    broadcast = bytes_rows.copy()
    script = [
        "| | " + " | ".join(f"{title}: encode | decode" for title in TITLES.values()) + " | inflate |",
        "|---|" + "---|" * (2 * len(TITLES) + 1),
    ]
    for case in measured["cases"]:
        name = f"{case['name']}, {case['payload_bytes']:,} B"
        ways = case["ways"].values()
        bytes_rows.append(_row(name, [f"{way['wire_bytes']:,}" for way in ways]))
        broadcast.append(_row(name, [f"{way['broadcast_us']:.2f}" for way in ways]))
        costs = [f"{cost[what]:.2f}" for cost in case["javascript"].values() for what in ("encode", "decode")]
        inflate = case["ways"]["json+deflate"].get("inflate_us")
        script.append(_row(name, [*costs, f"{inflate:.1f}" if inflate else "-"]))
    machine = about["machine"]
    when = (
        f"Measured {about['time']} on {machine['cpu']}, Python {machine['python']}, Node {measured['node']}"
    )
    return "\n\n".join(
        [
            f"{when}: `python -m bench.encodings`.",
            "Bytes on the wire, with the frame's header:",
            "\n".join(bytes_rows),
            "CPU of the gateway for a broadcast in µs, once for all subscribers that share an encoding:",
            "\n".join(broadcast),
            _SCRIPT,
            "\n".join(script),
        ]
    )


def _ways() -> list[str]:
    return [f"{title}{suffix}" for title in TITLES.values() for suffix in ("", ", deflated")]


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
