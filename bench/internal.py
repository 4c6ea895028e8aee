"""Ringgate's internal port, as its own measurements use it: metrics, and publications in a batch."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from gateway.bench.target import BenchError

_SAMPLE: Final = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)
_AT_ONCE: Final = 500


def ask(address: str, method: str, path: str, body: object = None) -> bytes:
    """Return the body of the answer.  Raises BenchError unless it is 200."""
    with closing(http.client.HTTPConnection(address, timeout=30.0)) as connection:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = connection.getresponse()
        content = answer.read()
    if answer.status != 200:
        raise BenchError(f"{path} answers {answer.status}: {content[:200]!r}")
    return content


def metrics(address: str) -> dict[str, float]:
    """Return each sample by its name, with labels as they stand there."""
    text = ask(address, "GET", "/metrics").decode()
    return {name: float(value) for name, value in _SAMPLE.findall(text)}


def publish(address: str, messages: Sequence[tuple[str, str]]) -> None:
    """Publish messages: channel and text of each."""
    for start in range(0, len(messages), _AT_ONCE):
        part = messages[start : start + _AT_ONCE]
        commands = [{"method": "publish", "channel": channel, "data": text} for channel, text in part]
        results = json.loads(ask(address, "POST", "/api/batch", {"commands": commands}))["results"]
        if any("error" in result for result in results):
            raise BenchError(f"a publication was refused: {results[:3]}")


def until(address: str, name: str, value: float, within_s: float = 30.0) -> None:
    """Wait until a metric has a value.  Raises BenchError."""
    give_up_s = time.monotonic() + within_s
    while (now := metrics(address).get(name)) != value:
        if time.monotonic() > give_up_s:
            raise BenchError(f"{name} is {now} and not {value} after {within_s:g} s")
        time.sleep(0.05)
