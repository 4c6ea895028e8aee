"""Fuzz the reader of upstreams' answers with atheris: `python fuzz/answers.py -max_total_time=60 [corpus]`.

Half of the inputs are raw bytes, half are a 101 into which fuzzed lines are put.  A finding is an exception,
a difference that hangs on how the bytes were cut, or an answer that is taken and that h11 refuses or reads
otherwise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["gateway.passthrough.answer", "h11"]):
    from tests.support.answers import check_against_h11

NAMES = (b"Upgrade: ", b"Connection: ", b"Sec-WebSocket-Accept: ", b"Content-Length: ", b"X", b"")
STATUS = (b"HTTP/1.1 101 x\r\n", b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 101 x\r\n", b"HTTP/1.1 ", b"")


def build(provider: atheris.FuzzedDataProvider) -> bytes:
    """Return raw fuzzed bytes, or an answer with fuzzed lines."""
    if provider.ConsumeBool():
        return bytes(provider.ConsumeBytes(4096))
    answer = STATUS[provider.ConsumeIntInRange(0, len(STATUS) - 1)]
    for _ in range(provider.ConsumeIntInRange(0, 4)):
        name = NAMES[provider.ConsumeIntInRange(0, len(NAMES) - 1)]
        answer += name + bytes(provider.ConsumeBytes(provider.ConsumeIntInRange(0, 40)))
        answer += (b"\r\n", b"\n", b"\r")[min(2, provider.ConsumeIntInRange(0, 9))]
    return answer + b"\r\n" + bytes(provider.ConsumeBytes(20))


def one_input(data: bytes) -> None:
    """Check one input."""
    provider = atheris.FuzzedDataProvider(data)
    cuts = [provider.ConsumeIntInRange(0, 200) for _ in range(3)]
    check_against_h11(build(provider), cuts)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
