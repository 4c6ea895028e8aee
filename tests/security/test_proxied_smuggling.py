"""The 300 attempts to smuggle, sent to the running gateway: directly, and through the real nginx and HAProxy.

The files of `deploy/` let nothing pass but `/ws`.  Behind each attempt stand requests for paths that only the
gateway itself would answer: if an answer to one comes back, a request went past the proxy unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.client import Client, upgrade
from tests.support.process import GatewayProcess, StartGateway
from tests.support.proxies import KINDS, proxy
from tests.unit.connection.test_handshake_smuggling import CASES

INNER_KEY = b64encode(b"smuggled request").decode()
INNER_ACCEPT = b"Sec-WebSocket-Accept: lsTSGYvqF9mIpHNIsfHH3EfpX/A="
LENGTH = re.compile(rb"(content-length|transfer-encoding):", re.IGNORECASE)
HEALTHY = b"\r\n\r\nok\n"
HIDDEN = (
    b"0\r\n\r\n"  # the end of a chunked body
    b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    + upgrade("/echo", {"Sec-WebSocket-Key": INNER_KEY})
)
AT_ONCE = 40
QUIET_S = 1.0


@pytest.fixture(params=["direct", *KINDS])
def port(request: pytest.FixtureRequest, gateway_process: StartGateway, tmp_path: Path) -> Iterator[int]:
    """The port of a gateway, or of a proxy in front of two."""
    if request.param == "direct":
        yield gateway_process("--echo").edge_port
        return
    gateways: list[GatewayProcess] = [gateway_process("--echo") for _ in range(2)]
    with proxy(request.param, gateways, tmp_path) as front:
        yield front.port


async def answer_to(port: int, data: bytes) -> bytes:
    """Return all that comes until the connection ends, or nothing comes for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(data)
        with contextlib.suppress(OSError, TimeoutError):
            while piece := await asyncio.wait_for(reader.read(65536), QUIET_S):
                received += piece
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return received


def attempts(port: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers of each attempt, and the whole of what is sent."""
    head = upgrade(host=f"127.0.0.1:{port}").removesuffix(b"\r\n")
    for one, other, *_ in CASES:
        lines = b"\r\n".join(filter(None, (one, other)))
        yield lines, head + lines + b"\r\n\r\n" + HIDDEN


async def test_no_attempt_gets_a_request_past_a_proxy_or_two_answers_from_the_gateway(port: int) -> None:
    room, statuses = asyncio.Semaphore(AT_ONCE), Counter[bytes]()

    async def attempt(lines: bytes, data: bytes) -> None:
        async with room:
            answer = await answer_to(port, data)
        assert HEALTHY not in answer, lines
        assert INNER_ACCEPT not in answer, lines
        if answer.startswith(b"HTTP/1.1 101"):  # nginx left a malformed line out: what is hidden is no frame
            assert not LENGTH.match(lines), lines
            assert answer.endswith(b"reserved bit is set"), lines
        statuses[answer[9:12]] += 1

    await asyncio.gather(*(attempt(lines, data) for lines, data in attempts(port)))
    assert statuses.total() >= 300
    assert set(statuses) <= {b"101", b"400", b"413", b"422", b"501"}, statuses
    for _ in range(10):  # and nobody gets another's answer
        await asyncio.to_thread(lambda: Client(port).reset())


async def test_what_the_attempts_hide_is_answered_where_nothing_hides_it(
    gateway_process: StartGateway,
) -> None:
    """Else the test above could not fail."""
    gateway = gateway_process("--echo")
    _, health, echo = HIDDEN.split(b"GET ")
    assert HEALTHY in await answer_to(gateway.edge_port, b"GET " + health)
    assert INNER_ACCEPT in await answer_to(gateway.edge_port, b"GET " + echo)
