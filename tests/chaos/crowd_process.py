"""Many clients in a process of their own, so that they are gone at once when it is killed.

    python -m tests.chaos.crowd_process URL SOURCE PATH FIRST COUNT CHANNEL...

connects COUNT clients from the address SOURCE to URL, each subscribed to one of the channels, in turn.  It
says `there` in a line when all are, and for each line that it reads, it writes what its clients were told to
the file PATH, and says `told`.  What always holds: a client that is not let in ends the process.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from .records import AnyRecord, Connected, Delivered, Lost, Subscribed, Subscribing
from .wire import Wire, dial

AT_ONCE: Final = 50
_CONNECT_S: Final = 30.0


class Member:
    """One client of the crowd: it subscribes, listens, and never comes back."""

    def __init__(self, channel: str) -> None:
        self.log: list[AnyRecord] = []
        self.there = asyncio.Event()
        self._channel = channel
        self._epoch = ""

    def opened(self, wire: Wire) -> None:
        """Wait for the gateway's first word."""

    def heard(self, wire: Wire, message: bytes) -> None:
        """Write down what matters, and subscribe after `hello`; who else comes and goes is for watchers."""
        if message.startswith((b'{"type":"join"', b'{"type":"leave"')):
            return
        event, at = msgspec.json.decode(message), time.monotonic()
        if event["type"] == "hello":
            self.log.append(Connected(at=at, client=event["client"]))
            self.log.append(Subscribing(at=at, channel=self._channel))
            wire.send(msgspec.json.encode({"type": "subscribe", "id": 1, "channel": self._channel}))
        elif event["type"] == "reply":
            self._epoch = event["epoch"]
            self.log.append(
                Subscribed(at=at, channel=self._channel, epoch=self._epoch, offset=event.get("offset", 0))
            )
            self.there.set()
        elif event["type"] == "message":
            self._note(at, event)

    def _note(self, at: float, event: dict[str, Any]) -> None:
        text, offset = event["data"], event["offset"]
        delivered = Delivered(
            at=at, channel=self._channel, epoch=self._epoch, offset=offset, message=text, id=event["id"]
        )
        self.log.append(delivered)

    def closed(self, wire: Wire, code: int) -> None:
        """Write down that the gateway ended it."""
        self.log.append(Lost(at=time.monotonic(), code=code))


async def _enter(member: Member, url: str, source: str, turn: asyncio.Semaphore) -> Wire:
    async with turn:
        wire = await dial(member, url, _CONNECT_S, source)
        async with asyncio.timeout(_CONNECT_S):
            await member.there.wait()
        return wire


def _dump(logs: dict[str, list[AnyRecord]], path: Path) -> None:
    path.write_bytes(msgspec.json.encode(logs))


async def work(url: str, source: str, path: Path, first: int, count: int, channels: Sequence[str]) -> None:
    """Be the crowd, until nobody asks any more."""
    members = {f"x{n}": Member(channels[n % len(channels)]) for n in range(first, first + count)}
    turn = asyncio.Semaphore(AT_ONCE)
    wires = await asyncio.gather(*(_enter(member, url, source, turn) for member in members.values()))
    print("there", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        _dump({name: member.log for name, member in members.items()}, path)
        print("told", flush=True)
    for wire in wires:
        wire.abort()


if __name__ == "__main__":
    _, url, source, path, first, count, *channels = sys.argv
    asyncio.run(work(url, source, Path(path), int(first), int(count), channels))
