"""A crowd of Python clients through the restart of their node: all come back, and nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from gateway.client import Client, Lost, Message, Status, Subscribed
from tests.support.api import post
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer

NODE = (
    *("--redis-lease", "2s", "--redis-check-interval", "1s"),
    *("--namespace", "default.presence=false", "--namespace", "default.history_size=10000"),
)
CHANNELS = 10
AT_ONCE = 50
WITHIN_S = 10.0


class Member:
    """One client of the crowd, on two channels: one that all hear, and one of some."""

    def __init__(self, url: str, number: int) -> None:
        self.client = Client(url)
        self.heard: dict[str, list[object]] = {"all": [], f"group:{number % CHANNELS}": []}
        self.lost: list[Lost] = []
        self.resumed: Counter[str] = Counter()
        self.back_at = 0.0
        self.client.on_status(self._watch)
        self.subscriptions = [
            self.client.subscribe(
                channel, on_message=self._hear, on_lost=self.lost.append, on_subscribed=self._resumed
            )
            for channel in self.heard
        ]

    def _hear(self, message: Message) -> None:
        self.heard[message.channel].append(message.data)

    def _resumed(self, event: Subscribed) -> None:
        self.resumed[event.channel] += event.recovered is True
        self.back_at = asyncio.get_running_loop().time()

    def _watch(self, status: Status) -> None:
        if status.state != "online":
            self.back_at = 0.0

    @property
    def is_back(self) -> bool:
        """Both channels go on where they stopped."""
        return self.back_at > 0.0 and all(self.resumed[channel] for channel in self.heard)


async def crowd_of(url: str, size: int) -> list[Member]:
    """Return connected and subscribed clients."""
    crowd = [Member(url, number) for number in range(size)]
    for begin in range(0, size, AT_ONCE):
        some = crowd[begin : begin + AT_ONCE]
        for member in some:
            member.client.connect()
        async with asyncio.timeout(30):
            await asyncio.gather(*(s.ready() for member in some for s in member.subscriptions))
    return crowd


async def publishing(node: GatewayProcess, done: asyncio.Event) -> int:
    """Publish 1, 2, 3, ... to every channel until told to stop; return how many."""
    number = 0
    while not done.is_set():
        number += 1
        channels = ["all", *(f"group:{n}" for n in range(CHANNELS))]
        await asyncio.to_thread(post, node, "/api/broadcast", {"channels": channels, "data": number})
        await asyncio.sleep(0.1)
    return number


@pytest.mark.parametrize(
    ("size", "end"),
    [
        pytest.param(150, signal.SIGKILL, id="150 killed"),
        pytest.param(1000, signal.SIGKILL, id="1000 killed", marks=pytest.mark.full),
        pytest.param(1000, signal.SIGTERM, id="1000 drained", marks=pytest.mark.full),
    ],
)
async def test_crowd_resumes_after_a_restart_of_its_node(
    size: int, end: signal.Signals, gateway_process: StartGateway, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    with RedisServer(tmp_path) as redis:
        broker = ("--broker", redis.url, *NODE)
        node = gateway_process(*broker, unclean=True)
        other = gateway_process(*broker, unclean=True)
        crowd = await crowd_of(node.ws_url, size)
        done = asyncio.Event()
        published = asyncio.create_task(publishing(other, done))
        await asyncio.sleep(0.5)
        began = loop.time()
        await asyncio.to_thread(node.stop, end)
        again = await asyncio.to_thread(gateway_process, *broker, "--listen", node.edge, unclean=True)
        up_at = loop.time()
        assert again.edge == node.edge
        async with asyncio.timeout(3 * WITHIN_S):
            while not all(member.is_back for member in crowd):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        backs = sorted(member.back_at for member in crowd)
        done.set()
        count = await published
        expected: list[object] = list(range(1, count + 1))
        async with asyncio.timeout(30):
            while any(heard[-1:] != [count] for member in crowd for heard in member.heard.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await asyncio.gather(*(member.client.close() for member in crowd))
    assert all(heard == expected for member in crowd for heard in member.heard.values())
    assert not any(member.lost for member in crowd)
    middle = backs[size * 9 // 10] - backs[size // 10]
    print(f"{size} clients, {count} publications on {1 + CHANNELS} channels; up after {up_at - began:.2f} s;")
    print(f"from then on first back {backs[0] - up_at:+.2f} s, last {backs[-1] - up_at:+.2f} s,")
    print(f"the middle 80 % of them within {middle:.2f} s")
    assert backs[-1] - up_at < WITHIN_S
    assert middle > 0.1, "they come spread out, not at once"
