"""Who does not read, passed through by `ringgate serve`: nothing is read for them, and nothing piles up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.integration.test_passthrough import OPTIONS, passing
from tests.support.process import GatewayProcess, StartGateway

BLOCK = b"x" * 65536
MOST_BLOCKS = 2048  # 128 MiB: much more than sockets hold
MAY_GROW_BYTES = 8 << 20  # what the bystanders and the allocator take, too
STILL_S = 1.0


def private_bytes(gateway: GatewayProcess) -> int:
    """Return the gateway's memory that is no file's; what the kernel holds for sockets is not in it."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


class Flood:
    """Sends blocks until nobody takes them; counts those that were taken."""

    def __init__(self) -> None:
        self.sent = 0
        self._last = time.monotonic()

    async def pour(self, connection: websockets.ClientConnection | ServerConnection) -> None:
        for _ in range(MOST_BLOCKS):
            await connection.send(BLOCK)
            self.sent += 1
            self._last = time.monotonic()

    async def stands(self) -> None:
        """Wait until nothing was taken for a while."""
        async with asyncio.timeout(60):
            while not self.sent or time.monotonic() - self._last < STILL_S:  # noqa: ASYNC110 time has no event
                await asyncio.sleep(0.05)


async def rounds(client: websockets.ClientConnection, n: int) -> float:
    """Return the longest of `n` round trips of a bystander."""
    longest = 0.0
    for number in range(n):
        begun = time.monotonic()
        await client.send(str(number))
        async with asyncio.timeout(30):
            assert await client.recv() == str(number)
        longest = max(longest, time.monotonic() - begun)
    return longest


class Service:
    """Echoes a bystander; floods the other client, or is flooded by it and reads from when it is told to."""

    def __init__(self, flooded: bool) -> None:
        self.flood = Flood()
        self.reads = asyncio.Event()
        self.got = 0
        self._flooded = flooded

    async def take(self, connection: websockets.ClientConnection | ServerConnection) -> None:
        await self.reads.wait()
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                self.got += len(message)

    async def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        if connection.request.path == "/app/bystander":
            async for message in connection:
                await connection.send(message)
        elif self._flooded:
            await self.take(connection)
        else:
            with contextlib.suppress(ConnectionClosed):
                await self.flood.pour(connection)

    async def holds(self, gateway: GatewayProcess, bystander: websockets.ClientConnection) -> None:
        """Nobody reads: little is taken, little is kept, the bystander goes on; then all of it arrives."""
        before = private_bytes(gateway)
        await self.flood.stands()
        assert self.flood.sent < MOST_BLOCKS, "it was read on and on"
        assert private_bytes(gateway) - before < MAY_GROW_BYTES
        assert await rounds(bystander, 100) < 5
        assert self.flood.sent < MOST_BLOCKS
        self.reads.set()
        async with asyncio.timeout(90):
            while self.got < MOST_BLOCKS * len(BLOCK):  # noqa: ASYNC110 counted elsewhere
                await asyncio.sleep(0.05)
        assert private_bytes(gateway) - before < MAY_GROW_BYTES
        assert self.got == MOST_BLOCKS * len(BLOCK)


@pytest.mark.parametrize("who", ["service", "client"])
async def test_who_does_not_read_is_not_read_for_and_nothing_piles_up(
    gateway_process: StartGateway, who: str
) -> None:
    app = Service(flooded=who == "service")
    some = {**OPTIONS, "compression": None, "max_queue": 1, "close_timeout": 5}
    async with websockets.serve(
        app.serve, "127.0.0.1", 0, ping_interval=None, compression=None, max_queue=1
    ) as server:
        address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        gateway = await asyncio.to_thread(gateway_process, *passing(address))
        async with websockets.connect(f"ws://{gateway.edge}/app/bystander", **some) as bystander:
            await rounds(bystander, 100)
            async with websockets.connect(f"ws://{gateway.edge}/app/x", **some) as client:
                job = asyncio.create_task(app.flood.pour(client) if who == "service" else app.take(client))
                try:
                    await app.holds(gateway, bystander)
                finally:
                    app.reads.set()
                    job.cancel()
                    with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                        await job
