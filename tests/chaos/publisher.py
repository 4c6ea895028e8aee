"""A publisher: an app service that publishes with keys, and asks again as long as it does not know.

It speaks HTTP over one kept connection, writes down every intent and every outcome, and knows nothing of
what is right.  What always holds: a message whose last outcome is `Unknown` is sent again with the same
key until it is answered, or the run ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from .records import Acknowledged, AnyRecord, Failed, Intent, Unknown

TIMEOUT_S: Final = 15.0
RETRY_S: Final = (0.05, 0.4)


class Answer(NamedTuple):
    """Status and decoded body of an HTTP answer."""

    status: int
    body: dict[str, Any]


class NotSentError(OSError):
    """No connection could be made, so nothing happened."""


class Service:
    """One kept HTTP connection to the internal port of a gateway, made anew when it breaks."""

    def __init__(self) -> None:
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._address = ""

    async def post(self, address: str, path: str, body: object) -> Answer:
        """Post JSON.  Raises NotSentError; OSError, EOFError or TimeoutError when the outcome is unknown."""
        data = msgspec.json.encode(body)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {address}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        reader, writer = await self._connected(address)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                writer.write(head.encode() + data)
                status = int((await reader.readuntil(b"\r\n"))[9:12])
                length = 0
                while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                return Answer(status, msgspec.json.decode(await reader.readexactly(length)))
        except BaseException:
            await self.close()
            raise

    async def _connected(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None or self._address != address or self._streams[0].at_eof():
            await self.close()
            host, _, port = address.rpartition(":")
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    self._streams = await asyncio.open_connection(host, int(port))
            except (OSError, TimeoutError) as error:
                raise NotSentError(str(error)) from None
            self._address = address
        return self._streams

    async def close(self) -> None:
        """Close the connection.  Idempotent."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.transport.abort()
            await asyncio.sleep(0)


class Publisher:
    """Publishes to `channels` in turn at `rate` messages a second (0: none), and to `users` now and then.

    `slowest_s` is the longest that an answer took.
    """

    def __init__(
        self,
        name: str,
        apis: Sequence[str],
        channels: Sequence[str],
        *,
        seed: int,
        users: Sequence[str] = (),
        padding: int = 0,
    ) -> None:
        self.name = name
        self.log: list[AnyRecord] = []
        self.rate = 0.0
        self.slowest_s = 0.0
        self.codes: set[str] = set()
        self._apis = list(apis)
        self._channels = list(channels)
        self._users = list(users)
        self._padding = "|" + "x" * padding if padding else ""
        self._dice = random.Random(f"{seed} {name}")  # noqa: S311
        self._numbers = itertools.count(1)
        self._service = Service()
        self._api = self._dice.randrange(len(self._apis))
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to publish."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Publish nothing new; return when the last message has been answered."""
        self._stopping = True
        if self._task is not None:
            await self._task
        self._task = None

    async def abandon(self) -> None:
        """End at once, whatever is under way.  Idempotent."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._service.close()

    async def _work(self) -> None:
        due = time.monotonic()
        while not self._stopping:
            rate = self.rate
            if not rate:
                await asyncio.sleep(0.02)
                due = time.monotonic()
                continue
            if self._users and self._dice.random() < 0.1:
                await self.send(self._dice.choice(self._users))
            else:
                await self.publish(self._dice.choice(self._channels))
            due = max(due + 1 / rate, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def publish(self, channel: str) -> bool:
        """Publish one message; ask again until its fate is known.  Return whether it was acknowledged."""
        text = f"{self.name}.{next(self._numbers)}"
        self.log.append(Intent(at=time.monotonic(), message=text, channel=channel, key=text))
        body = {"channel": channel, "data": text + self._padding, "key": text}
        while True:
            outcome = await self._attempt("/api/publish", text, body)
            if outcome is Acknowledged:
                return True
            if outcome is Failed and self._dice.random() < 0.5 and not self._stopping:
                return False
            await asyncio.sleep(self._dice.uniform(*RETRY_S))

    async def send(self, user: str) -> None:
        """Send one message to a user.  There are no keys for that, so it is tried once."""
        text = f"{self.name}.{next(self._numbers)}"
        self.log.append(Intent(at=time.monotonic(), message=text, channel=f"@{user}", user=user))
        await self._attempt("/api/send", text, {"user": user, "data": text})

    async def _attempt(self, path: str, text: str, body: object) -> type[AnyRecord]:
        begun = time.monotonic()
        try:
            status, answer = await self._service.post(self._apis[self._api], path, body)
        except NotSentError:
            outcome: AnyRecord = Failed(at=time.monotonic(), message=text, code="not sent")
            self._api = self._dice.randrange(len(self._apis))
        except (OSError, EOFError, TimeoutError) as error:
            outcome = Unknown(at=time.monotonic(), message=text, code=type(error).__name__)
            self._api = self._dice.randrange(len(self._apis))
        else:
            outcome = _outcome(text, status, answer)
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
        if isinstance(outcome, (Failed, Unknown)):
            self.codes.add(outcome.code)
        self.log.append(outcome)
        return type(outcome)


def _outcome(text: str, status: int, answer: dict[str, Any]) -> AnyRecord:
    """Return what an answer of the API says of a message (docs/api.md, "Errors")."""
    at = time.monotonic()
    if status == 200:
        epoch, offset, duplicate = answer["epoch"], answer["offset"], answer.get("duplicate", False)
        return Acknowledged(at=at, message=text, epoch=epoch, offset=offset, duplicate=duplicate)
    code = answer["error"]["code"]
    return (
        Failed(at=at, message=text, code=code) if status == 503 else Unknown(at=at, message=text, code=code)
    )
