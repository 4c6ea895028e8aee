"""What the soak does to a gateway: actors, each of which lives one short life after the other.

They know the gateway from outside only, and check what they are told: what they find wrong is in
`Load.problems`.  What always holds: between two lives an actor has no connection; after `rest` none has.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import httpx
import websockets

from tests.soak.client import PATIENCE_S, Client, Event

ROOMS: Final = 20
IN_TIME_S: Final = 3.0
"""In which a lost client is back: sessions and history are kept for five seconds."""
_MOST_PROBLEMS: Final = 20
_SLOW: Final = ("disconnect", "skip", "latest")
NAMESPACES: Final = tuple(
    flag
    for policy in _SLOW
    for flag in ("--namespace", f"{policy}.slow={policy}", "--namespace", f"{policy}.ring_bytes=64KiB",
                 "--namespace", f"{policy}.history_size=20", "--namespace", f"{policy}.ring_idle=1s",
                 "--namespace", f"{policy}.history_ttl=2s", "--namespace", f"{policy}.presence=false")
)  # fmt: skip


class Load:
    """All actors against one gateway; `did` counts what they did."""

    def __init__(self, ws_url: str, api_url: str, tell: Callable[[str], None]) -> None:
        self.ws_url = ws_url
        self._tell = tell
        self.did: Counter[str] = Counter()
        self.problems: list[str] = []
        limits = httpx.Limits(keepalive_expiry=5.0)
        self.http = httpx.AsyncClient(base_url=api_url, timeout=PATIENCE_S, limits=limits)
        self.numbers = itertools.count()
        self._random = random.Random(7)  # noqa: S311 - the same churn each time
        self._on = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- turns ------------------------------------------------------------------------------

    async def churn(self, seconds: float) -> None:
        """Let all actors live for a time, then let them end the lives that they are in."""
        self._on.set()
        lives: Sequence[tuple[int, Callable[[], Awaitable[None]]]] = (
            (12, self._visit), (3, self._return), (3, self._dawdle), (2, self._name), (2, self._serve),
            (3, self._overwhelm),
        )  # fmt: skip
        self._tasks = [asyncio.create_task(self._again(life)) for count, life in lives for _ in range(count)]
        await asyncio.sleep(seconds)
        self._on.clear()
        await asyncio.gather(*self._tasks)

    async def _again(self, life: Callable[[], Awaitable[None]]) -> None:
        while self._on.is_set() and len(self.problems) < _MOST_PROBLEMS:
            try:
                await life()
            except Exception as error:  # noqa: BLE001 - whatever it is, the verdict names it
                self.problem(f"{life.__name__}: {error!r}")

    def problem(self, text: str) -> None:
        """Note what is wrong."""
        self.problems.append(text)
        self._tell(text)

    def expect(self, right: object, *what: object) -> None:
        """Note that something is not as it should be."""
        if not right:
            self.problem(" ".join(str(w) for w in what)[:300])

    async def connect(self, user: str = "", *, sluggish: bool = False) -> Client:
        """Return a client; every third one speaks permessage-deflate."""
        number = next(self.numbers)
        self.did["connections"] += 1
        return await Client.connect(self.ws_url, user=user, compressed=number % 3 == 0, sluggish=sluggish)

    async def post(self, path: str, **body: object) -> Any:
        """Call the API; an answer other than 200 is a problem."""
        self.did["API calls"] += 1
        answer = await self.http.post(f"/api/{path}", json=body)
        self.expect(answer.status_code == 200, path, body, answer.status_code, answer.text)
        return answer.json()

    async def go(self, client: Client) -> None:
        """Let a client be gone, one way or the other."""
        if self._random.random() < 0.5:
            client.cut()
        else:
            await client.leave()

    # -- lives ------------------------------------------------------------------------------

    async def _visit(self) -> None:
        """Come, subscribe, publish, look around, listen, leave."""
        pick, number = self._random, next(self.numbers)
        client = await self.connect(pick.choice(["", f"u{number % 50}", f"once{number}"]))
        try:
            names = [f"room{pick.randrange(ROOMS)}", f"party:{number}"]
            for name in names:
                self._answered(await client.ask("subscribe", channel=name))
            for size in (1, 50, 700):
                self._answered(await client.ask("publish", channel=pick.choice(names), data="x" * size))
                self.did["publications"] += 1
            await client.tell({"type": "publish", "channel": names[0], "data64": "AAEC"})
            self._answered(await client.ask("publish", channel="keyed", data=1, key=f"k{number % 50}"))
            page = await client.ask("history", channel=names[0], limit=10)
            self.expect(page.get("publications"), "history", page)
            members = await client.ask("presence", channel=names[1])
            self.expect(len(members.get("members", ())) == 1, "presence", members)
            events = await client.hear(pick.uniform(0.0, 0.2))
            self.expect(any(e["type"] == "join" for e in events), "nobody came", events[:3])
            if pick.random() < 0.3:
                self._answered(await client.ask("unsubscribe", channel=names[1]))
        except websockets.ConnectionClosed as closed:
            self.expect(closed.rcvd is not None and closed.rcvd.code == 4004, "visitor", closed)
        finally:
            await self.go(client)

    def _answered(self, event: Event) -> None:
        self.did["commands"] += 1
        self.expect(event["type"] == "reply", "not a reply", event)

    async def _return(self) -> None:
        """Be lost, miss some messages, come back with the session, and miss none."""
        number = next(self.numbers)
        name, missed = f"back:{number}", self._random.randrange(1, 30)
        client = await self.connect(f"r{number}")
        place = await client.ask("subscribe", channel=name)
        client.cut()
        lost_s = time.monotonic()
        messages = [{"method": "publish", "channel": name, "data": i} for i in range(missed)]
        await self.post("batch", commands=messages)
        await asyncio.sleep(self._random.uniform(0.0, 0.3))
        session, client = client.session, await self.connect(f"r{number}")
        try:
            since = {name: {"epoch": place["epoch"], "offset": place["offset"]}}
            reply = await self._resumed(client, session, since)
            recovered = [s["recovered"] for s in reply["subscriptions"] if s["channel"] == name]
            if recovered != [True] and time.monotonic() - lost_s > IN_TIME_S:
                self.did["came back too late"] += 1  # the machine is busy
                return
            self.expect(recovered == [True], "not recovered", reply)
            heard = await self._next(client, missed)
            self.expect(heard == list(range(missed)), "recovered", heard, "of", missed)
            self.did["resumes"] += 1
        finally:
            await self.go(client)

    @staticmethod
    async def _resumed(client: Client, session: str, since: object) -> Event:
        """Ask until the gateway has noticed that the old connection is lost."""
        for _ in range(100):
            reply = await client.ask("connect", session=session, since=since)
            if reply["type"] == "reply":
                return reply
            await asyncio.sleep(0.02)
        return {"subscriptions": [], **reply}

    @staticmethod
    async def _next(client: Client, count: int) -> list[object]:
        heard = [e["data"] for e in client.unread if e["type"] == "message"]
        async with asyncio.timeout(PATIENCE_S):
            while len(heard) < count:
                event = await client.event()
                heard += [event["data"]] if event["type"] == "message" else []
        return heard

    async def _dawdle(self) -> None:
        """Do not read for a while; then everything is there, or a gap says what is not, or it is 4200."""
        policy = self._random.choice(_SLOW)
        client = await self.connect(sluggish=True)
        try:
            place = (await client.ask("subscribe", channel=f"{policy}:flood"))["offset"]
            await asyncio.sleep(self._random.uniform(0.5, 2.5))
            if self._random.random() < 0.3:
                return
            events = [e for e in await client.hear(0.3) if e["type"] in {"message", "gap"}]
            for event in events:
                first = event["offset"] if event["type"] == "message" else event["from"]
                self.expect(first == place + 1, policy, "after", place, "came", str(event)[:200])
                place = event.get("to") or event.get("offset")
                self.did["gaps"] += event["type"] == "gap"
        except websockets.ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd is not None else 1006
            # 1006: it did not read until its close frame was given up.
            self.expect(policy == "disconnect" and code in {4200, 1006}, policy, closed)
            self.did["slow disconnects"] += 1
        finally:
            client.cut()

    async def _overwhelm(self) -> None:
        """Publish more than a client that does not read can take."""
        for policy in _SLOW:
            await self.post("publish", channel=f"{policy}:flood", data="x" * 30_000)
            self.did["publications"] += 1
        await asyncio.sleep(0.05)

    async def _name(self) -> None:
        """Use names that nobody used before: fewer at a time than the crowd does (see `Crowd`)."""
        client = await self.connect()
        try:
            await use_names(client, next(self.numbers), 500)
            self.did["names"] += 500
            await asyncio.sleep(1.0)
        finally:
            await self.go(client)

    async def _serve(self) -> None:
        """Do what app services do."""
        number = next(self.numbers)
        channels = [f"room{number % ROOMS}", f"cast:{number}"]
        await self.post("broadcast", channels=channels, data={"n": number})
        await self.post("send", user=f"u{number % 50}", data="x" * 300)
        await self.post("subscribe", user=f"u{number % 50}", channel=f"room{number % 7}")
        if number % 5 == 0:
            await self.post("disconnect", user=f"u{number % 50}")
        for path in ("channels", "connections", f"channels/{channels[0]}/history", "nodes"):
            answer = await self.http.get(f"/api/{path}")
            self.expect(answer.status_code == 200, path, answer.status_code)
        await asyncio.sleep(0.05)


async def use_names(client: Client, number: int, count: int) -> None:
    """Subscribe to, publish to, and leave `count` channels, fifty at a time."""
    for start in range(0, count, 50):
        names = [f"names:{number}-{i}" for i in range(start, start + 50)]
        for kind, fields in (("subscribe", {}), ("publish", {"data": "x" * 20}), ("unsubscribe", {})):
            await client.tell([{"type": kind, "channel": name, **fields} for name in names])
        await client.ask("ping")
        client.unread.clear()


class Residents:
    """Clients that stay for the whole soak and must get every beat, in order."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._clients: list[Client] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, count: int) -> None:
        """Connect, and begin."""
        for number in range(count):
            client = await self._load.connect(f"resident{number}")
            place = await client.ask("subscribe", channel="beat")
            self._clients.append(client)
            self._tasks.append(asyncio.create_task(self._listen(client, place["offset"])))
        self._tasks.append(asyncio.create_task(self._beat()))

    async def _beat(self) -> None:
        while True:
            await self._load.post("publish", channel="beat", data="x" * 300)
            await asyncio.sleep(0.1)

    async def _listen(self, client: Client, place: int) -> None:
        try:
            while True:
                event = await client.event()
                if event["type"] == "message":
                    place += 1
                    self._load.expect(event["offset"] == place, "resident at", place, "hears", event)
                    self._load.did["beats heard"] += 1
        except websockets.ConnectionClosed as closed:
            self._load.problem(f"a resident was closed: {closed}")

    async def go(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for client in self._clients:
            await client.leave()


class Crowd:
    """The same state each time: what the memory of the gateway is compared by.

    It is to be larger than what churn comes to, or else the allocator's keepings of a busy hour are compared.
    """

    def __init__(self, load: Load, size: int, names: int) -> None:
        self._load = load
        self._size = size
        self._names = names
        self._clients: list[Client] = []

    async def come(self) -> None:
        """Connect and subscribe; fill rings and histories; use many names."""
        for start in range(0, self._size, 50):
            ready = (self._one(number) for number in range(start, min(start + 50, self._size)))
            self._clients += await asyncio.gather(*ready)
        for number in range(ROOMS):
            for _ in range(10):
                await self._load.post("publish", channel=f"crowd:{number}", data="x" * 500)
        await use_names(self._clients[0], next(self._load.numbers), self._names)
        for client in self._clients:
            await client.ask("ping")

    async def _one(self, number: int) -> Client:
        client = await self._load.connect(f"crowd{number}")
        await client.ask("subscribe", channel=f"crowd:{number % ROOMS}")
        await client.ask("subscribe", channel=f"alone:{number}")
        return client

    async def go(self) -> None:
        """Leave."""
        for client in self._clients:
            client.cut()
        self._clients.clear()
