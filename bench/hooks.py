"""What a publish through a hook costs: the same publish with and without asking a service, in turn.

    python -m bench.hooks              writes docs/benchmarks/hooks.json and its part of docs/benchmarks.md
    python -m bench.hooks --rounds 5

One gateway, one service that says yes to everything, clients that publish one message after the other and
wait for each reply.
What counts is the CPU time of the gateway, and what a client waits.  Nothing is pinned: the service and
the clients share this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop
from websockets.asyncio.client import ClientConnection, connect

from bench import compare, page
from gateway.bench import report

KEPT: Final = compare.ROOT / "docs" / "benchmarks" / "hooks.json"
WAYS: Final = ("plain", "asked")
CLIENTS: Final = (1, 16)
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_CONFIG: Final = """\
[server]
listen = "127.0.0.1:0"
api_listen = "127.0.0.1:0"
log_format = "json"
[upstream.app]
addresses = ["http://127.0.0.1:{port}"]
[hooks]
secrets = ["a-secret-of-some-length"]
publish = "app/hooks/publish"
[namespace.asked]
publish = "hook"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; write the results and the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.hooks", description="Measure what a hook costs.")
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="(default %(default)s)")
    parser.add_argument("--messages", metavar="N", type=int, default=3000, help="each (default %(default)s)")
    options = parser.parse_args(argv)
    records = uvloop.run(measure(options.rounds, options.messages))
    about = {"machine": report.machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    KEPT.write_text(json.dumps(about | {"records": records}, indent=1) + "\n")
    page.PAGE.write_text(page.filled(page.PAGE.read_text(), {"hooks": table(records, about)}))
    return 0


class Service(asyncio.Protocol):
    """Says yes to every request that it has whole, as cheaply as can be."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if found:
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(rest) >= length:
                self._data = rest[length:]
                self._transport.write(_ANSWER)


@contextlib.asynccontextmanager
async def gateway() -> AsyncIterator[tuple[str, int]]:
    """Start a service and a gateway; the gateway's address for clients, and its process."""
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ringgate.toml"
        file.write_text(_CONFIG.format(port=server.sockets[0].getsockname()[1]))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve", "--config", str(file)),
            cwd=compare.ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stderr is not None
            line = json.loads(await process.stderr.readline())
            yield line["edge"], process.pid
        finally:
            process.kill()
            await process.wait()
            server.close()


async def measure(rounds: int, messages: int) -> list[dict[str, Any]]:
    """Return a record for each number of clients, way and round."""
    records = []
    async with gateway() as (address, pid):
        for clients in CLIENTS:
            for number in range(rounds):
                for way in WAYS:
                    cost = await run(address, pid, way, clients, messages)
                    records.append({"clients": clients, "way": way, "round": number, **cost})
                    print(records[-1], file=sys.stderr, flush=True)
    return records


async def run(address: str, pid: int, way: str, clients: int, messages: int) -> dict[str, float]:
    """Publish; return the gateway's CPU time for each message, and what a client waited, in microseconds."""
    async with contextlib.AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(connect(f"ws://{address}/ws")) for _ in range(clients)]
        for peer in peers:
            await peer.recv()
        before, waits = cpu_s(pid), list[float]()
        await asyncio.gather(*(publish(peer, way, messages // clients, waits) for peer in peers))
        used = cpu_s(pid) - before
    return {"cpu_us": used / len(waits) * 1e6, "p50_us": median(waits) * 1e6}


async def publish(peer: ClientConnection, way: str, count: int, waits: list[float]) -> None:
    """Publish one message after the other."""
    text = json.dumps({"type": "publish", "id": 1, "channel": f"{way}:1", "data": "x" * 64})
    for _ in range(count):
        begun = time.perf_counter()
        await peer.send(text)
        answer = await peer.recv()
        waits.append(time.perf_counter() - begun)
        if b'"reply"' not in (answer.encode() if isinstance(answer, str) else answer):
            raise AssertionError(f"not published: {answer!r}")


def cpu_s(pid: int) -> float:
    """Return the processor time that the threads of a process have used, in seconds.

    As the scheduler counts it, in nanoseconds: who wakes and sleeps in step with the clock's ticks is told
    far too much or too little by utime and stime, which count those.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def table(records: Sequence[dict[str, Any]], about: dict[str, Any]) -> str:
    """Return the part of the page: medians of the rounds."""
    machine = about["machine"]
    lines = [
        f"Measured {about['time']} on {machine['cpu']}, Python {machine['python']}: `python -m bench.hooks`.",
        "",
        "| clients | plain, CPU µs | asked, CPU µs | times | plain, p50 µs | asked, p50 µs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for clients in CLIENTS:
        cost = {
            (way, what): [r[what] for r in records if r["clients"] == clients and r["way"] == way]
            for way in WAYS
            for what in ("cpu_us", "p50_us")
        }
        plain, asked = cost["plain", "cpu_us"], cost["asked", "cpu_us"]
        times = median(more / less for more, less in zip(asked, plain, strict=True))
        waits = (median(cost[way, "p50_us"]) for way in WAYS)
        told = " | ".join(
            f"{figure:.3g}" if figure < 1000 else f"{figure:,.0f}"
            for figure in (median(plain), median(asked), times, *waits)
        )
        lines.append(f"| {clients} | {told} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
