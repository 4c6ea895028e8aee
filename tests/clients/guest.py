"""A guest with the Python client: python -m tests.clients.guest '{"url": "...", "channel": "...", ...}'.

It has the interface of guest-node.mjs: one command a line in, one answer a line out, and the same report.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, TextIO

from gateway.client import Client, Lost, Message, Options, RinggateError, Status

QUICK = Options(backoff_first=0.3, backoff_most=0.8, connect_timeout=1.5, close_timeout=0.5)


class Guest:
    """Hears a channel, publishes when told, and keeps a log."""

    def __init__(self, client: Client, channel: str, board: str) -> None:
        self._client = client
        self._channel = channel
        self._heard: list[tuple[int | str, Any]] = []
        self._states: list[str] = []
        self._failed: list[list[str]] = []
        self._waiting: set[asyncio.Task[None]] = set()
        client.on_status(self._status)
        self._room = client.subscribe(channel, on_message=self._message, on_lost=self._lost)
        self._presence = client.presence(channel)
        self._shared = client.state(board)

    def _status(self, status: Status) -> None:
        if self._states[-1:] != [status.state]:
            self._states.append(status.state)

    def _message(self, message: Message) -> None:
        self._heard.append((message.offset, message.data))

    def _lost(self, lost: Lost) -> None:
        self._heard.append(("lost", lost.reason))

    def publish(self, text: str) -> None:
        """Say something, and write it on the board."""
        for waiting in (self._client.publish(self._channel, text), self._shared.update({text: True})):
            task = asyncio.create_task(self._settle(text, waiting))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _settle(self, text: str, waiting: asyncio.Future[Any]) -> None:
        try:
            await waiting
        except RinggateError as error:
            self._failed.append([text, error.code])

    def report(self) -> dict[str, Any]:
        """Return the log."""
        return {
            "heard": self._heard,
            "states": self._states,
            "failed": self._failed,
            "state": self._client.status.state,
            "active": self._shared.position is not None,
            "queued": len(self._waiting),
            "members": len(self._presence.members),
            "board": self._shared.confirmed,
            "pending": self._shared.pending,
        }


async def main(url: str, channel: str, board: str) -> None:
    """Serve until the input ends."""
    lines = await _lines(sys.stdin)
    async with Client(url, options=QUICK) as client:
        guest = Guest(client, channel, board)
        while line := await lines.readline():
            command = json.loads(line)
            answer: dict[str, Any] = {}
            if command["op"] == "publish":
                guest.publish(command["text"])
            else:
                answer = guest.report()
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


async def _lines(source: TextIO) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    return reader


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
