"""What bystanders notice of an app service that is ill: echo, publish and fan-out while others ask it.

    python -m bench.bystanders              writes docs/benchmarks/bystanders.json and its part of the page
    python -m bench.bystanders --rounds 9 --only hang,flood

One gateway, one service in a process of its own.  Some clients ask the service all the time: calls,
publishes that a hook decides, and subscriptions that it is told of.  Others have nothing to do with it, and
are measured by a process of their own (`bench.bystander_load`, which says how): how long an echo takes, a
publish until its reply, and a publication until each of its subscribers has it.

How it works: a round takes the illnesses one after the other.  For each the same clients are measured for a
short time while the service is well, and at once while it is ill, from the moment on in which it falls ill:
with all that waits for it then, time-outs, the breaker that opens, and its probes.  What counts is the ratio
of the two in each round.  Everybody sends at a fixed rate, whatever the answers.  The gateway has a
core of its own, goes before all others there if that is allowed (to root), and what it used of it is told.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench import compare, page
from bench.bystander_load import MEASURES
from bench.bystander_table import percentiles, table
from bench.hooks import cpu_s
from bench.ill_service import ILLNESSES
from gateway.bench import report

KEPT: Final = compare.ROOT / "docs" / "benchmarks" / "bystanders.json"
CALLING, COMING = 20, 10
CALLS_S, COMINGS_S = 10.0, 5.0
_SETTLE_S: Final = 0.3
_RECOVER_S: Final = 60.0
_MOST_LINE_BYTES: Final = 16 * 1024 * 1024
USUAL: Final = 'timeout = "500ms"\nbreaker_open = "500ms"\nbreaker_open_most = "1s"'
PATIENT: Final = 'timeout = "10s"\nbreaker_open = "500ms"\nbreaker_open_most = "1s"'
_NO_BREAKER: Final = (
    'timeout = "500ms"\nbreaker_failures = 10000\nbreaker_open = "10ms"\nbreaker_open_most = "10ms"'
)
_CONFIG: Final = """\
[server]
listen = "127.0.0.1:0"
api_listen = "127.0.0.1:0"
log_format = "json"
[websocket]
ping_interval = "1h"
idle_timeout = "2h"
[upstream.app]
addresses = ["http://127.0.0.1:{port}"]
{upstream}
[hooks]
secrets = ["a-secret-of-some-length"]
publish = "app/publish"
call = "app/call"
notices = "app/notices"
calls_at_once = 4
[namespace.asked]
publish = "hook"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; write the results and the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.bystanders", description="Measure bystanders.")
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="(default %(default)s)")
    parser.add_argument("--seconds", metavar="S", type=float, default=2.0, help="each (default %(default)s)")
    parser.add_argument("--only", default=",".join(ILLNESSES), help="illnesses (default: all)")
    parser.add_argument(
        "--no-breaker", action="store_true", help="never leave the service alone; prints the table only"
    )
    options = parser.parse_args(argv)
    gc.disable()
    upstream = _NO_BREAKER if options.no_breaker else USUAL
    records = uvloop.run(measure(options.only.split(","), options.rounds, options.seconds, upstream))
    about = {"machine": report.machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    if options.no_breaker:
        print(table(records, about))
        return 0
    KEPT.write_text(json.dumps(about | {"records": records}, indent=1) + "\n")
    page.PAGE.write_text(page.filled(page.PAGE.read_text(), {"bystanders": table(records, about)}))
    return 0


async def measure(
    illnesses: Sequence[str], rounds: int, seconds: float, upstream: str = USUAL
) -> list[dict[str, Any]]:
    """Return a record for each round and illness: what `Town.measure` says of well and of ill."""
    records = []
    async with town(pinned=True, upstream=upstream) as there:
        for number in range(rounds):
            for illness in illnesses:
                well = await there.measure("well", seconds)
                ill = await there.measure(illness, seconds)
                records.append({"round": number, "illness": illness, "well": well, "ill": ill})
                print(records[-1], file=sys.stderr, flush=True)
        if there.lost:
            raise SystemExit(f"{there.lost} connections of clients that ask ended")
    return records


@contextlib.asynccontextmanager
async def town(*, pinned: bool = False, upstream: str = USUAL) -> AsyncIterator[Town]:
    """Start a service, a gateway and everybody around it; pinned: the gateway alone on its core.

    `upstream` is what the upstream has besides its address in the configuration.
    """
    async with contextlib.AsyncExitStack() as stack:
        cores = sorted(os.sched_getaffinity(0))
        if pinned and len(cores) > 1:
            os.sched_setaffinity(0, set(cores[1:]))
            stack.callback(os.sched_setaffinity, 0, set(cores))
        service = await _process(stack, "bench.ill_service")
        port = int(await _line(service))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = Path(folder) / "ringgate.toml"
        file.write_text(_CONFIG.format(port=port, upstream=upstream))
        gateway = await _process(stack, "gateway", "serve", "--echo", "--config", str(file))
        assert gateway.stderr is not None
        line = json.loads(await gateway.stderr.readline())
        reading = asyncio.create_task(_drain(gateway.stderr))
        stack.callback(reading.cancel)
        if pinned and len(cores) > 1:
            _alone(gateway.pid, cores[0])
        load = await _process(stack, "bench.bystander_load", line["edge"])
        await _line(load)
        there = Town(line["edge"], service, load, gateway.pid)
        stack.push_async_callback(there.stop)
        await there.start()
        yield there


def _alone(pid: int, core: int) -> None:
    """Give a process a core, and there the right of way over all others, where that is allowed."""
    os.sched_setaffinity(pid, {core})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the measurement ended")
    return line


async def _process(stack: contextlib.AsyncExitStack, *module: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *module),
        cwd=compare.ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE if module[0] != "gateway" else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE if module[0] == "gateway" else None,
        limit=_MOST_LINE_BYTES,
    )

    async def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    stack.push_async_callback(end)
    return process


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


class Town:
    """Everybody around one gateway."""

    def __init__(
        self,
        edge: str,
        service: asyncio.subprocess.Process,
        load: asyncio.subprocess.Process,
        pid: int,
    ) -> None:
        self.lost = 0
        """Connections that ended."""
        self.answers: dict[str, int] = defaultdict(int)
        """What callers were told, by error code; "" is an answer of the service."""
        self._edge = edge
        self._service = service
        self._load = load
        self._pid = pid
        self._state = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: list[ClientConnection] = []

    async def start(self) -> None:
        """Connect everybody who asks, and have them begin."""
        for number in range(CALLING):
            self._go(self._call(await self._client(), number))
        for number in range(COMING):
            self._go(self._come(await self._client(), number))
        await self._become("well")

    async def stop(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            client.transport.abort()

    async def measure(self, state: str, seconds: float) -> dict[str, Any]:
        """Let the service be so for a while; return what bystanders waited, in microseconds.

        Measured is from the moment on in which it falls ill; where it is to be well, once it answers again.
        `gateway` has the share of a core that the gateway used and for which it waited, in percent.
        """
        if state == "well" != self._state:
            await self._become("well")
        self._tell(self._load, "begin")
        begun, used = time.perf_counter(), Core(self._pid)
        self.answers.clear()
        if state != self._state:
            self._tell(self._service, state)
            self._state = state
        await asyncio.sleep(seconds)
        self._tell(self._load, "end")
        core = Core(self._pid).since(used, time.perf_counter() - begun)
        told = json.loads(await _line(self._load))
        return {name: percentiles(told[name]) if name in MEASURES else told[name] for name in told} | {
            "gateway": core
        }

    async def _become(self, state: str) -> None:
        """Wait until the service is well, the breaker closed, and what went before it done."""
        self._tell(self._service, state)
        self._state = state
        ends = time.monotonic() + _RECOVER_S
        while time.monotonic() < ends:
            self.answers.clear()
            await asyncio.sleep(_SETTLE_S)
            if self.answers[""] and not any(self.answers[code] for code in self.answers if code):
                return
        raise RuntimeError(f"the service is well, and clients are told otherwise: {dict(self.answers)}")

    def _tell(self, process: asyncio.subprocess.Process, order: str) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{order}\n".encode())

    # -- who does what ------------------------------------------------------------------------------

    async def _client(self, path: str = "/ws") -> ClientConnection:
        client = await connect(f"ws://{self._edge}{path}", compression=None, ping_interval=None)
        self._clients.append(client)
        if path == "/ws":
            await client.recv()
        return client

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        async def watched() -> None:
            try:
                await work
            except ConnectionClosed:
                self.lost += 1

        self._tasks.append(asyncio.create_task(watched()))

    async def _call(self, client: ClientConnection, number: int) -> None:
        """Ask all the time, without waiting: a call, or a publish that the service has to allow."""
        listening = asyncio.create_task(self._hear_answers(client))
        kind: dict[str, Any] = {"type": "call", "method": "m"}
        if number % 4 == 0:
            kind = {"type": "publish", "channel": "asked:1", "data": 1}
        try:
            async for count in _ticks(CALLS_S, number / CALLING / CALLS_S):
                await client.send(json.dumps({**kind, "id": count + 1}))
        finally:
            listening.cancel()

    async def _hear_answers(self, client: ClientConnection) -> None:
        async for message in client:
            self.answers[json.loads(message).get("code", "")] += 1

    async def _come(self, client: ClientConnection, number: int) -> None:
        """Enter a room and leave it, of which the service is told."""
        async for count in _ticks(COMINGS_S, number / COMING / COMINGS_S):
            kind = "unsubscribe" if count % 2 else "subscribe"
            await client.send(json.dumps({"type": kind, "id": 1, "channel": f"room:{number}"}))
            await client.recv()


async def _ticks(per_second: float, first_s: float) -> AsyncIterator[int]:
    """Yield at fixed times; what came too late is left out."""
    loop = asyncio.get_running_loop()
    due, count = loop.time() + first_s, 0
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        yield count
        count += 1
        due = max(due + 1 / per_second, loop.time())


class Core:
    """What a process had of the processors until now."""

    def __init__(self, pid: int) -> None:
        self._cpu_s = cpu_s(pid)
        self._waited_s = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9

    def since(self, before: Core, seconds: float) -> dict[str, float]:
        """Return what it used since then and how long it waited for its turn, in percent of a core."""
        used, waited = self._cpu_s - before._cpu_s, self._waited_s - before._waited_s
        return {"cpu_percent": used / seconds * 100, "waited_percent": waited / seconds * 100}


if __name__ == "__main__":
    raise SystemExit(main())
