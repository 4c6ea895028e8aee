"""Clients that nobody here wrote, and a gateway of two workers, over TLS, on a Unix socket, and all at once.

Each library does everything once that differs on the wire; the whole of it is in `test_real_clients`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import post
from tests.support.clients import (
    DEFLATING,
    FRAGMENTING,
    LIBRARIES,
    UNIX_ABLE,
    Client,
    Closed,
    Library,
    connected,
)
from tests.support.process import GatewayProcess, start_gateway
from tests.support.tls import Authority

KIB, MIB = 1 << 10, 1 << 20
FLAGS = ("--echo", "--websocket-max-message-bytes", "2MiB", "--websocket-compression")
TWO = ("--workers", "2")
VARIANTS = ("workers", "tls", "unix", "tls and workers", "unix and workers")
CASES = [
    pytest.param(variant, library, id=f"{variant}-{library}")
    for variant in VARIANTS
    for library in (UNIX_ABLE if "unix" in variant else LIBRARIES)
]


@dataclass
class Place:
    """A gateway, and how clients get to it."""

    gateway: GatewayProcess
    options: dict[str, Any]

    def connected(self, library: Library, path: str, **more: Any) -> AbstractAsyncContextManager[Client]:
        scheme = "wss" if "authority" in self.options else "ws"
        host = "localhost" if "unix_path" in self.options else self.gateway.edge
        return connected(library, f"{scheme}://{host}{path}", **self.options, **more)


@pytest.fixture(scope="module")
def places() -> Iterator[Callable[[str], Place]]:
    """The gateways of this module, one for each variant."""
    running: dict[str, Place] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = Authority(folder)

        def place(variant: str) -> Place:
            if variant not in running:
                running[variant] = _start(variant, folder, authority)
            return running[variant]

        yield place
        statuses = [place.gateway.stop() for place in running.values()]
        for each in running.values():
            each.gateway.check()
        assert statuses == [0] * len(running)


def _start(variant: str, folder: Path, authority: Authority) -> Place:
    start = partial(start_gateway, *FLAGS, log_path=folder / f"{variant}.log")
    workers = TWO if "workers" in variant else ()
    if "tls" in variant:
        return Place(start(*authority.flags, *workers), {"authority": authority})
    if "unix" in variant:
        path = str(folder / f"{len(workers)}.sock")
        return Place(start("--listen", f"unix:{path}", *workers), {"unix_path": path})
    return Place(start(*workers), {})


@pytest.fixture
def place(variant: str, places: Callable[[str], Place]) -> Place:
    return places(variant)


async def event_of(client: Client, *kinds: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(await client.receive())
        if event["type"] in kinds:
            return event


@pytest.mark.parametrize(("variant", "library"), CASES)
async def test_messages_of_every_form_come_back(place: Place, library: Library, node: str) -> None:
    async with place.connected(library, "/echo", node=node) as client:
        await client.ping(b"how are you")
        for size in (0, 1, 125, 126, 65_535, 65_536, MIB):
            for message in ("x" * size, bytes(size)):
                await client.send(message)
                assert await client.receive() == message
        if library in FRAGMENTING:
            await client.send("ü" * 50_000, 7)
            assert await client.receive() == "ü" * 50_000
        burst = [f"{n}:{'x' * (n * 37 % 900)}" for n in range(200)]
        for text in burst:
            await client.send(text)
        assert [await client.receive() for _ in burst] == burst
        await client.close(4321, "fertig, schöne Grüße")
        assert (await client.closed()).code == 4321


@pytest.mark.parametrize(("variant", "library"), [case for case in CASES if case.values[1] in DEFLATING])
async def test_compressed_messages_come_back(place: Place, variant: str, library: Library, node: str) -> None:
    async with place.connected(library, "/echo", deflate=True, node=node) as client:
        assert client.extensions.startswith("permessage-deflate")
        for size in (0, 126, 5000, 200_000):
            await client.send("abc" * size)
            assert await client.receive() == "abc" * size
        await client.send(bytes(3 * MIB))
        closed = await client.closed()
        if library == "aiohttp" and "tls" in variant and closed.code == 1006:
            # TLS ends both ways at once: aiohttp cannot answer, and forgets the code that it was told.
            assert closed.reason == "message too big"
        else:
            assert closed.code == 1009


@pytest.mark.parametrize(("variant", "library"), CASES)
async def test_publication_and_close_of_a_service_arrive(
    place: Place, variant: str, library: Library, node: str
) -> None:
    channel = f"exact:{variant.replace(' ', '-')}-{library}"
    payload = '{"a" :  1.50,  "big":12345678901234567890 , "none": null }'
    async with place.connected(library, "/ws", subprotocols=("ringgate.v1.json",), node=node) as client:
        assert client.subprotocol == "ringgate.v1.json"
        hello = await event_of(client, "hello")
        await client.send(json.dumps({"type": "subscribe", "id": 1, "channel": channel}))
        assert (await event_of(client, "reply"))["id"] == 1
        body = f'{{"channel":"{channel}","data":{payload}}}'
        assert post(place.gateway, "/api/publish", body.encode())["offset"] == 1
        while "message" not in (text := str(await client.receive())):
            pass
        assert f'"data":{payload},' in text
        asked = {"client": hello["client"], "code": 4004, "reason": "bis bald"}
        assert post(place.gateway, "/api/disconnect", asked) == {"connections": 1}
        assert await client.closed() == Closed(4004, "bis bald")
