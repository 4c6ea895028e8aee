"""What a message costs programs in Python, with our client and others: `python -m bench.python_clients`.

Each client is a process of its own, on asyncio's own loop; its CPU time is divided by the messages.  All do
the same work: they subscribe to a channel of a real gateway and read what is published there into values, or
publish and wait for the answers, a hundred on their way.  `websockets` and `aiohttp` do that by hand, in
JSON, without what our client does besides: order, positions, keys, repetition.  Writes a section of
docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import aiohttp
import httpx
from websockets.asyncio.client import connect

from gateway.client import Client
from gateway.client.codecs import EncodingName
from tests.support.process import GatewayProcess, start_gateway

from . import page

MESSAGES: Final = 20_000
BATCH: Final = 500
WINDOW: Final = 100
SUBSCRIPTIONS: Final = 5_000
CONNECTIONS: Final = 100
ROUNDS: Final = 3
WAIT_S: Final = 30.0
CHAT: Final = {"text": "shall we meet at eight?", "room": 7, "mentions": ["ada", "bob"]}
FLAGS: Final = (
    "--session-max-channels", "10000", "--namespace", "default.presence=false",
    "--namespace", "default.ring_bytes=16MiB",
)  # fmt: skip
NAMES: Final = {
    "json": "Ringgate, JSON",
    "msgpack": "Ringgate, MessagePack",
    "protobuf": "Ringgate, Protobuf",
    "websockets": "websockets, JSON by hand",
    "aiohttp": "aiohttp, JSON by hand",
}
ENCODINGS: Final[tuple[EncodingName, ...]] = ("json", "msgpack", "protobuf")


# -- the clients, each in its own process -----------------------------------------------------------


def say(**told: object) -> None:
    """Tell the parent."""
    print(json.dumps(told), flush=True)


async def ours(url: str, encoding: EncodingName) -> None:
    """Receive, send, and weigh subscriptions, with the client of this package."""
    done, heard, begun = asyncio.Event(), 0, 0.0

    def on_message(_: object) -> None:
        nonlocal heard, begun
        heard += 1
        if heard == 1:
            begun = time.process_time()
        elif heard == MESSAGES:
            done.set()

    async with Client(url, encoding=encoding) as client:
        news = client.subscribe("news", on_message=on_message)
        await news.ready()
        say(ready=True)
        await done.wait()
        received = time.process_time() - begun
        news.close()
        begun = time.process_time()
        for _ in range(MESSAGES // WINDOW):
            await asyncio.gather(*(client.publish("sent", CHAT) for _ in range(WINDOW)))
        sent = time.process_time() - begun
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        kept = [client.subscribe(f"c:{n}", on_message=on_message) for n in range(SUBSCRIPTIONS)]
        for each in kept:
            await each.ready()
        weight = (tracemalloc.get_traced_memory()[0] - before) / SUBSCRIPTIONS
        tracemalloc.stop()
        say(received=received, sent=sent, subscription=weight)


Exchange = tuple[Callable[[str], Awaitable[Any]], Callable[[], Awaitable[str | bytes]]]


async def by_hand(
    send: Callable[[str], Awaitable[Any]], receive: Callable[[], Awaitable[str | bytes]]
) -> None:
    """Receive and send with a connection that only knows messages."""
    await receive()
    await send('{"type":"subscribe","id":1,"channel":"news"}')
    await receive()
    say(ready=True)
    heard, begun = 0, 0.0
    while heard < MESSAGES:
        event = json.loads(await receive())
        heard += event["type"] == "message"
        begun = begun or time.process_time()
    received = time.process_time() - begun
    begun, number = time.process_time(), 1
    for _ in range(MESSAGES // WINDOW):
        for _ in range(WINDOW):
            number += 1
            key = f"k{number}-{begun}"
            command = {"type": "publish", "id": number, "channel": "sent", "data": CHAT, "key": key}
            await send(json.dumps(command))
        for _ in range(WINDOW):
            json.loads(await receive())
    say(received=received, sent=time.process_time() - begun)


async def with_websockets(url: str) -> None:
    """Use the package websockets."""
    async with connect(url, compression=None, proxy=None) as socket:
        await by_hand(socket.send, socket.recv)


async def with_aiohttp(url: str) -> None:
    """Use the package aiohttp."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await by_hand(socket.send_str, socket.receive_str)


def resident_kib() -> int:
    """Return the memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def weigh(name: str, url: str) -> None:
    """Tell what a connection with one subscription takes."""
    first = await _open(name, url, 1)  # what that loads counts for none
    before = resident_kib()
    kept = await _open(name, url, CONNECTIONS)
    say(connection=(resident_kib() - before) / CONNECTIONS)
    for client in [*first, *kept]:
        await client.close()


async def _open(name: str, url: str, count: int) -> list[Any]:
    kept: list[Any] = []
    session = aiohttp.ClientSession() if name == "aiohttp" else None
    for _ in range(count):
        client: Any
        if name == "websockets":
            client = await connect(url, compression=None, proxy=None)
            await client.send('{"type":"subscribe","id":1,"channel":"quiet"}')
            await client.recv()
            await client.recv()
        elif session is not None:
            client = await session.ws_connect(url)
            await client.send_str('{"type":"subscribe","id":1,"channel":"quiet"}')
            await client.receive_str()
            await client.receive_str()
        else:
            client = Client(url, encoding="json" if name not in ENCODINGS else name)
            client.connect()
            await client.subscribe("quiet", on_message=print).ready()
        kept.append(client)
    return kept if session is None else [*kept, session]


# -- the parent -------------------------------------------------------------------------------------


def measure(name: str, gateway: GatewayProcess) -> dict[str, float]:
    """Run one client and publish to it; return what it told."""
    figures: dict[str, float] = {}
    with _child(name, "run", gateway) as told:
        assert json.loads(told.readline()) == {"ready": True}
        publications = [{"method": "publish", "channel": "news", "data": CHAT}] * BATCH
        with httpx.Client(base_url=gateway.api_url, timeout=60) as http:
            for _ in range(MESSAGES // BATCH):
                http.post("/api/batch", json={"commands": publications}).raise_for_status()
        figures |= json.loads(told.readline())
    with _child(name, "weigh", gateway) as told:
        figures |= json.loads(told.readline())
    return figures


@contextmanager
def _child(name: str, what: str, gateway: GatewayProcess) -> Iterator[IO[str]]:
    """Start one client; give what it tells.  It is over in the end in any case."""
    command = [sys.executable, "-m", "bench.python_clients", what, name, gateway.ws_url]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert child.stdout is not None
    try:
        yield child.stdout
        child.wait(WAIT_S)
    finally:
        child.kill()
        child.communicate()


def table(rounds: int = ROUNDS) -> str:
    """Measure each client in turn, `rounds` times; return the least of each figure, in Markdown."""
    least: dict[str, dict[str, float]] = {name: {} for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        gateway = start_gateway(*FLAGS, log_path=Path(folder) / "log")
        try:
            for _ in range(rounds):
                for name, figures in least.items():
                    for what, value in measure(name, gateway).items():
                        figures[what] = min(value, figures.get(what, value))
        finally:
            gateway.stop()
    rows = [
        (
            "| client | CPU per message received, µs | per message published and answered, µs "
            "| memory per subscription, bytes | per connection, KiB |"
        ),
        "|---|---:|---:|---:|---:|",
    ]
    for name, title in NAMES.items():
        f = least[name]
        weight = f"{f['subscription']:,.0f}" if "subscription" in f else ""
        per = 1e6 / MESSAGES
        cpu = f"{f['received'] * per:.1f} | {f['sent'] * per:.1f}"
        rows.append(f"| {title} | {cpu} | {weight} | {f['connection']:.0f} |")
    return "\n".join(rows)


def main() -> int:
    """Be a client, or measure all of them and write the section; return the exit status."""
    if len(sys.argv) > 1:
        _, what, name, url = sys.argv
        work = weigh(name, url) if what == "weigh" else _client(name, url)
        asyncio.run(work)
        return 0
    page.PAGE.write_text(page.filled(page.PAGE.read_text(), {"python clients": table()}))
    return 0


def _client(name: str, url: str) -> Any:
    if name == "websockets":
        return with_websockets(url)
    return with_aiohttp(url) if name == "aiohttp" else ours(url, name)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
