"""Workers killed under load, again and again: nothing is lost or doubled, and everybody is back at once."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field

import httpx
import pytest
from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.support.peers import Peer, hang_up, since
from tests.support.process import GatewayProcess, StartGateway
from tests.support.workers import eventually, kill, pids, replacement_bound_s, waits_ms

CHANNEL = "long:a"
FLAGS = (
    *("--workers", "2", "--namespace", "default.presence=false"),
    *("--namespace", "long.history_size=100000", "--namespace", "long.history_bytes=256MiB"),
)
SUBSCRIBERS = 16
RETRY_S = 0.02


@dataclass
class Subscriber:
    """A client that comes back whenever it is cut, and writes down what it hears.

    `by_session`: it takes up its old session, and subscribes anew only where that is not known.
    """

    gateway: GatewayProcess
    by_session: bool
    epoch: str = ""
    heard: list[tuple[int, int]] = field(default_factory=list)
    resumes: int = 0
    unknown_sessions: int = 0
    session: str = ""
    up: bool = False

    async def work(self) -> None:
        while True:
            with contextlib.suppress(OSError, WebSocketException, InvalidHandshake, EOFError):
                peer = await Peer.connect(self.gateway)
                await self._subscribe(peer)
                self.up = True
                while True:
                    event = await peer.event()
                    assert event["type"] == "message", event
                    self.heard.append((event["offset"], event["data"]))
            self.up = False
            await asyncio.sleep(RETRY_S)

    async def _subscribe(self, peer: Peer) -> None:
        if not self.epoch:
            reply = await peer.ask("subscribe", channel=CHANNEL)
            assert reply["offset"] == 0, reply
            self.epoch, self.session = reply["epoch"], peer.hello["session"]
            return
        place = since(self.epoch, self.heard[-1][0] if self.heard else 0)
        if self.by_session:
            reply = await peer.ask("connect", session=self.session, since={CHANNEL: place})
            if reply["type"] == "reply":
                (reply,) = reply["subscriptions"]
            else:
                assert reply["code"] == "unauthorized", reply
                self.unknown_sessions += 1
                self.session = peer.hello["session"]
                reply = await peer.ask("subscribe", channel=CHANNEL, since=place)
        else:
            reply = await peer.ask("subscribe", channel=CHANNEL, since=place)
        assert reply.get("recovered") is True, reply
        assert reply["epoch"] == self.epoch
        self.resumes += 1


class Publisher:
    """Publishes numbers with keys, each until it is acknowledged, through the API or as a client."""

    def __init__(self, gateway: GatewayProcess, first: int) -> None:
        self.gateway = gateway
        self.next = first
        self.acknowledged: dict[int, int] = {}
        self.stopping = False

    async def by_api(self) -> None:
        async with httpx.AsyncClient(base_url=self.gateway.api_url, trust_env=False) as http:
            while not self.stopping:
                body = {"channel": CHANNEL, "data": self.next, "key": f"k{self.next}"}
                answer = await http.post("/api/publish", json=body)
                assert answer.status_code == 200, answer.text
                self._done(answer.json()["offset"])
                await asyncio.sleep(0.002)

    async def as_client(self) -> None:
        peer: Peer | None = None
        while not self.stopping:
            try:
                peer = peer or await Peer.connect(self.gateway)
                reply = await peer.ask("publish", channel=CHANNEL, data=self.next, key=f"k{self.next}")
                if reply["type"] == "reply":
                    self._done(reply["offset"])
            except (OSError, WebSocketException, EOFError):
                peer = None
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(0.002)

    def _done(self, offset: int) -> None:
        self.acknowledged[self.next] = offset
        self.next += 1


async def kill_one(gateway: GatewayProcess, dice: random.Random, subscribers: list[Subscriber]) -> float:
    """Kill a worker; return the seconds until it is replaced, when everybody is back too."""
    replaced = gateway.log.count("a worker was replaced")
    kill(dice.choice(await pids(gateway)))
    begun = time.monotonic()
    await eventually(lambda: gateway.log.count("a worker was replaced") > replaced, "it is replaced")
    took_s = time.monotonic() - begun
    await eventually(lambda: all(s.up for s in subscribers), "everybody is back")
    return took_s


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.timeout(170)
async def test_nothing_is_lost_or_doubled_when_workers_are_killed(
    gateway_process: StartGateway, kills: int
) -> None:
    gateway, dice = gateway_process(*FLAGS), random.Random(7)  # noqa: S311
    subscribers = [Subscriber(gateway, by_session=n % 2 == 0) for n in range(SUBSCRIBERS)]
    tasks = [asyncio.ensure_future(subscriber.work()) for subscriber in subscribers]
    await eventually(lambda: all(s.up for s in subscribers), "everybody is there")
    publishers = [Publisher(gateway, 0), Publisher(gateway, 1_000_000)]
    work = [asyncio.ensure_future(publishers[0].by_api()), asyncio.ensure_future(publishers[1].as_client())]
    took = []
    for _ in range(kills):
        await asyncio.sleep(dice.uniform(1.05, 1.4))  # it served for a second: no back-off
        took.append(await kill_one(gateway, dice, subscribers))
    for publisher in publishers:
        publisher.stopping = True
    await asyncio.gather(*work)
    newest = max(offset for p in publishers for offset in p.acknowledged.values())
    await eventually(
        lambda: all(s.heard and s.heard[-1][0] >= newest for s in subscribers), "everybody hears the last"
    )
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    await hang_up()

    assert set(waits_ms(gateway)) == {0}, "nobody waits for more than the start of a process"
    if kills > 3:  # run on a machine of its own, which the one of `make test` is not
        assert max(took) < await replacement_bound_s(), took
    assert sum(s.resumes for s in subscribers) >= kills
    expected = {offset: n for p in publishers for n, offset in p.acknowledged.items()}
    for subscriber in subscribers:
        offsets = [offset for offset, _ in subscriber.heard]
        assert offsets == list(range(1, len(offsets) + 1)), "no hole, nothing twice, in order"
        told = dict(subscriber.heard)
        assert {offset: told[offset] for offset in expected} == expected
        assert len(set(told.values())) == len(told), "each number was published once"
    assert len(expected) > 100 * kills
    unknown = sum(s.unknown_sessions for s in subscribers)
    assert unknown <= kills, f"{unknown} sessions were lost with their worker"
    print(f"\n{len(expected)} publications, {kills} kills, replaced in {max(took):.3f} s at the most")
