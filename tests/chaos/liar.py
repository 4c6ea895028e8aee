"""A proxy that lies: it reads the gateway's WebSocket messages, and breaks a promise in the gateway's place.

For tests of the checker with real gateways and clients.  A lie is a function of a connection and an event
that returns the events which the client gets instead.  What always holds: frames that are no text pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from .proxy import Direction, FaultProxy

Event = dict[str, Any]


@dataclass
class Line:
    """What a lie remembers: of this connection, and (in `common`, `last`) of all that the proxy has."""

    common: dict[str, Any]
    last: dict[str, Event]
    seen: int = 0
    own: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str = "done") -> bool:
        """Return True the first time that any connection asks."""
        first = not self.common.get(name)
        self.common[name] = True
        return first


Lie = Callable[[Line, Event], list[Event]]


class LyingProxy(FaultProxy):
    """Tells clients what `lie` makes of what is said."""

    def __init__(self, target: tuple[str, int], lie: Lie) -> None:
        super().__init__(target)
        self.lie = lie
        self._common: dict[str, Any] = {}
        self._last: dict[str, Event] = {}

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        origin: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        if direction == "up":
            await super()._pump(reader, writer, origin, direction)
            return
        line = Line(self._common, self._last)
        with contextlib.suppress(OSError, RuntimeError, asyncio.IncompleteReadError):
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            while True:
                opcode, payload = await _read_frame(reader)
                if opcode == 1:
                    for event in self._told(line, orjson.loads(payload)):
                        writer.write(_frame(1, orjson.dumps(event)))
                else:
                    writer.write(_frame(opcode, payload))
        writer.close()

    def _told(self, line: Line, event: Event) -> list[Event]:
        told = self.lie(line, event)
        if event["type"] == "message":
            line.seen += 1
            self._last[event["channel"]] = event
        return told


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, length = await reader.readexactly(2)
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.readexactly(8))
    return first & 0x0F, await reader.readexactly(length)


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 65536:
        return bytes([0x80 | opcode, 126]) + struct.pack("!H", size) + payload
    return bytes([0x80 | opcode, 127]) + struct.pack("!Q", size) + payload


# -- lies ---------------------------------------------------------------------------------------


def honest(line: Line, event: Event) -> list[Event]:
    return [event]


def _is_message(event: Event) -> bool:
    return event["type"] == "message" and not event["channel"].startswith("@")


def skip_one(line: Line, event: Event) -> list[Event]:
    return [] if _is_message(event) and line.seen >= 3 and line.once() else [event]


def double_one(line: Line, event: Event) -> list[Event]:
    return [event, event] if _is_message(event) and line.seen >= 3 and line.once() else [event]


def swap_two(line: Line, event: Event) -> list[Event]:
    if _is_message(event) and line.seen >= 2 and line.once():
        line.own["held"] = event
        return []
    held = line.own.get("held")
    if held and event.get("channel") == held["channel"]:
        del line.own["held"]
        return [event, held]
    return [event]


def wrong_channel(line: Line, event: Event) -> list[Event]:
    if _is_message(event) and line.seen >= 3 and line.once():
        return [{**event, "channel": "long:b" if event["channel"] == "long:a" else "long:a"}]
    return [event]


def silent_gap(line: Line, event: Event) -> list[Event]:
    return [] if _is_message(event) and 3 <= line.seen < 8 else [event]


def _recovered(event: Event) -> list[str]:
    replies = [event, *event.get("subscriptions", ())]
    return [r["channel"] for r in replies if r.get("recovered") and "channel" in r]


def off_by_one_on_resume(line: Line, event: Event) -> list[Event]:
    for channel in _recovered(event):
        line.own[channel] = True
    if _is_message(event) and line.own.pop(event["channel"], False):
        before = line.last.get(event["channel"])
        return [before, event] if before and before["offset"] == event["offset"] - 1 else [event]
    return [event]


def recovered_though_partial(line: Line, event: Event) -> list[Event]:
    for channel in _recovered(event):
        line.own[channel] = True
    return [] if _is_message(event) and line.own.pop(event["channel"], False) else [event]


def wrong_epoch(line: Line, event: Event) -> list[Event]:
    if event["type"] == "reply" and event.get("epoch") and event.get("channel") and line.once():
        return [{**event, "epoch": "e-other"}]
    return [event]


def private_to_another(line: Line, event: Event) -> list[Event]:
    private = line.common.get("private")
    if event.get("channel", "").startswith("@"):
        line.common["private"] = event
        line.own["user"] = event["channel"]
    elif private and line.own.get("user") != private["channel"] and event["type"] == "message":
        line.common["private"] = None
        return [event, private]
    return [event]


def late_after_unsubscribe(line: Line, event: Event) -> list[Event]:
    if event["type"] == "reply" and "epoch" not in event and event.get("channel") in line.last:
        return [event, line.last[event["channel"]]]
    return [event]


def never_heals(line: Line, event: Event) -> list[Event]:
    """One channel falls silent, and stays so."""
    return [] if _is_message(event) and event["channel"] == "long:a" and event["offset"] >= 5 else [event]


def uncounted_gap(line: Line, event: Event) -> list[Event]:
    """A message is dropped, and told as a slow client's gap, but nobody counts it."""
    if _is_message(event) and line.seen >= 3 and line.once():
        offset = event["offset"]
        return [{"type": "gap", "channel": event["channel"], "from": offset, "to": offset, "reason": "slow"}]
    return [event]
