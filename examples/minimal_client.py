"""A whole client, written from docs/protocol.md alone: it comes back, and goes on where it stopped.

    python examples/minimal_client.py ws://127.0.0.1:8000/ws?user=ada news

It prints what is published to a channel, and publishes each line that is typed.  It is here to be read, and
to be translated; a test sends it through a bad network.  Numbers are those of "A client, step by step".
"""

import asyncio
import contextlib
import json
import random
import sys
import uuid
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

SUBSCRIBE = 1  # the id of that command; publications have those above


class MinimalClient:
    """Hears one channel: `hear` is called with each message, and with None where some are missing."""

    def __init__(self, url: str, channel: str, hear: Callable[[dict[str, Any] | None], None]) -> None:
        self.url, self.channel, self.hear = url, channel, hear
        self.position: dict[str, Any] | None = None
        self.clients: list[str] = []  # its ids on earlier connections
        self.waiting: dict[int, dict[str, Any]] = {}  # publications without an answer
        self.advice: list[int] | None = None
        self.socket: ClientConnection | None = None

    async def publish(self, data: Any) -> None:
        """Publish now or when there is a connection, and once, however often that breaks."""
        number = max(self.waiting, default=SUBSCRIBE) + 1
        command = {"type": "publish", "id": number, "channel": self.channel, "data": data}
        self.waiting[number] = {**command, "key": uuid.uuid4().hex}  # 5
        await self.say(self.waiting[number])

    async def say(self, command: dict[str, Any]) -> None:
        """Send a command; if the connection ends meanwhile, what matters is repeated on the next one."""
        if self.socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self.socket.send(json.dumps(command))

    async def run(self) -> str:
        """Be connected until the gateway refuses this client; return why it does."""
        attempt = 0
        while True:
            code, reason, began = 1006, "", asyncio.get_running_loop().time()
            try:
                async with connect(self.url, max_size=None, ping_interval=None) as socket:  # 1
                    await self.converse(socket)
            except ConnectionClosed as closed:
                if closed.rcvd is not None:
                    code, reason = closed.rcvd.code, closed.rcvd.reason
            except (OSError, WebSocketException):
                pass
            self.socket = None
            if 4000 <= code < 4100:
                return f"{code} {reason}"
            if asyncio.get_running_loop().time() - began > 5:
                attempt = 0
            await asyncio.sleep(self.wait_s(code, attempt))
            attempt += 1

    def wait_s(self, code: int, attempt: int) -> float:
        """Return how long to wait for the next attempt."""  # 6
        advice, self.advice = self.advice, None
        if advice is not None:
            return random.uniform(*advice) / 1000  # noqa: S311
        if 4200 <= code < 4300 and not attempt:
            return 0
        return random.uniform(0, min(8, 0.5 * 2**attempt))  # noqa: S311

    async def converse(self, socket: ClientConnection) -> None:
        """Take up the channel, repeat what was not answered, and listen until the connection ends."""
        hello = json.loads(await asyncio.wait_for(socket.recv(), 10))
        self.socket = socket
        since = {"since": {**self.position, "clients": self.clients[-16:]}} if self.position else {}
        await self.say({"type": "subscribe", "id": SUBSCRIBE, "channel": self.channel, **since})  # 2
        for command in list(self.waiting.values()):
            await self.say(command)
        self.clients.append(hello["client"])
        asked = False
        while True:
            try:
                event = json.loads(await asyncio.wait_for(socket.recv(), hello["ping"]))
            except TimeoutError:
                if asked:
                    return
                asked = True
                await self.say({"type": "ping"})  # 4
            else:
                asked = False
                await self.take(event)

    async def take(self, event: dict[str, Any]) -> None:
        """Go by one event."""
        match event:
            case {"type": "reply", "id": 1, "epoch": epoch, "offset": offset}:
                if not event.get("recovered"):
                    if self.position is not None:
                        self.hear(None)
                    self.position = {"epoch": epoch, "offset": offset}
            case {"type": "error", "id": 1}:
                raise OSError(event["message"])  # not subscribed: once more, later
            case {"type": "message", "channel": self.channel, "offset": offset} if self.position:
                if offset > self.position["offset"]:  # 3
                    self.position["offset"] = offset
                    self.hear(event)
            case {"type": "gap", "channel": self.channel} if self.position:
                self.position["epoch"] = event.get("epoch", self.position["epoch"])
                self.position["offset"] = event.get("to", 0 if "epoch" in event else self.position["offset"])
                self.hear(None)
            case {"type": "reply", "id": int(number)} | {"type": "error", "retry": False, "id": int(number)}:
                self.waiting.pop(number, None)
            case {"type": "error", "retry": True, "id": int(number)}:
                await asyncio.sleep(0.5)
                await self.say(self.waiting[number])
            case {"type": "reconnect", "after": after}:
                self.advice = after


async def main(url: str, channel: str) -> None:
    """Print what is heard, publish what is typed."""
    client = MinimalClient(
        url, channel, lambda message: print(message["data"] if message else "(some are missing)")
    )
    running = asyncio.create_task(client.run())
    while line := await asyncio.to_thread(sys.stdin.readline):
        await client.publish(line.rstrip("\n"))
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
