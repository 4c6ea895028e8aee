"""What app services do, for tests: plain requests to a gateway's internal port, one connection each.

Knows paths and JSON, nothing of the gateway's code.  The calls block; they are for gateways that run
in a process of their own.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

from tests.support.process import GatewayProcess

TIMEOUT_S = 30.0


def request(
    address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Return status and body of an answer; `address` is HOST:PORT."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def get(gateway: GatewayProcess, path: str) -> Any:
    """The decoded answer to a GET that succeeds."""
    status, body = request(gateway.api, "GET", path)
    assert status == http.client.OK, body
    return json.loads(body)


def post(gateway: GatewayProcess, path: str, body: object) -> Any:
    """The decoded answer to a POST that succeeds; `body` is encoded as JSON unless it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, answer = request(gateway.api, "POST", path, data, {"Content-Type": "application/json"})
    assert status == http.client.OK, answer
    return json.loads(answer)


def metrics(gateway: GatewayProcess) -> dict[str, float]:
    """Every sample that the gateway shows, by its name with labels; none may be there twice."""
    status, body = request(gateway.api, "GET", "/metrics")
    assert status == http.client.OK
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    samples = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
    assert len(samples) == len(lines), "a sample is there twice"
    return samples
