"""Bugs between real parts: a real gateway and clients, with a proxy or a broker that breaks a promise.

The checker has to find each of them, by the right rule, and nothing where nothing was planted.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import gateway.server
from gateway import Gateway
from gateway.broker import ChannelOptions, PublishResult
from gateway.broker.memory import MemoryBroker
from gateway.broker.service import finish
from gateway.message.publication import Publication
from tests.chaos import liar
from tests.chaos.judge import judge
from tests.chaos.liar import Lie, LyingProxy
from tests.chaos.records import Sample, Setting
from tests.chaos.scenario import CHANNELS, Run, Size, run
from tests.chaos.site import Site
from tests.chaos.violations import report

CONFIG: dict[str, Any] = {
    "server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0", "shutdown_timeout": "1s"},
    "namespace": {
        "default": {"presence": False, "ring_idle": "100ms"},
        "long": {"history_size": 10_000},
        "plain": {"history_size": 0},
    },
}


class Losing(MemoryBroker):
    """Acknowledges some publications that it does not make."""

    count = 0

    def publish_now(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str = ""
    ) -> PublishResult:
        self.count += 1
        if self.count == 25:
            position = finish(self.subscribe(channel, options))
            return PublishResult(position.epoch, position.offset + 1)
        return super().publish_now(channel, publication, options, key)


class Forgetful(MemoryBroker):
    """Publishes some publications twice, as when a key was forgotten."""

    count = 0

    def publish_now(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str = ""
    ) -> PublishResult:
        self.count += 1
        if self.count == 25:
            super().publish_now(channel, publication, options)
        return super().publish_now(channel, publication, options, key)


class LyingSite(Site):
    """A gateway in this process, behind a proxy that lies to half of the clients."""

    def __init__(self, folder: Path, lie: Lie, *, leaks: int = 0) -> None:
        super().__init__(folder, 0)
        self._lie = lie
        self.leaks = leaks
        self._leaked: list[socket.socket] = []
        self._gateway = Gateway(CONFIG)

    async def start(self) -> None:
        await self._gateway.start()
        edge, api = self._gateway.edge_address, self._gateway.api_address
        known: Any = SimpleNamespace(
            edge=f"{edge.host}:{edge.port}", edge_port=edge.port, api=f"{api.host}:{api.port}", pid=0
        )
        self.gateways = [known]
        proxy = LyingProxy(("127.0.0.1", edge.port), self._lie)
        await proxy.start()
        self.client_proxies.append(proxy)

    def _sample(self, number: int, gateway: Any, phase: str) -> Sample:
        whole = super()._sample(number, gateway, phase)
        values = {name: value for name, value in whole.values.items() if not name.startswith("rig_")}
        return Sample(at=whole.at, gateway=whole.gateway, phase=phase, values=values)

    def leak(self) -> None:
        """Open connections that nobody closes."""
        edge = self._gateway.edge_address
        self._leaked += [socket.create_connection((edge.host, edge.port)) for _ in range(self.leaks)]

    async def stop(self) -> None:
        for leaked in self._leaked:
            leaked.close()
        for proxy in self.client_proxies:
            await proxy.close()
        await self._gateway.stop()


async def life(this: Run) -> None:
    """Half of the clients are cut and come back, and some unsubscribe and subscribe again."""
    assert isinstance(this.site, LyingSite)
    this.site.leak()
    for proxy in this.site.client_proxies:
        proxy.cut()
    await this.hold(0.4)
    for client in this.clients:
        for channel in sorted(client.wanted)[:1]:
            client.want(channel, wanted=False)
    await this.hold(0.2)
    for client in this.clients:
        for channel in CHANNELS:
            client.want(channel, wanted=True)
    await this.hold(0.2)


class Planted(NamedTuple):
    """A bug, and the rule that has to find it."""

    name: str
    rule: int
    lie: Lie = liar.honest
    broker: type[MemoryBroker] = MemoryBroker
    leaks: int = 0


BUGS = (
    Planted("skip one", 3, liar.skip_one),
    Planted("double one", 3, liar.double_one),
    Planted("swap two", 3, liar.swap_two),
    Planted("wrong channel", 4, liar.wrong_channel),
    Planted("silent gap", 3, liar.silent_gap),
    Planted("off by one on resume", 3, liar.off_by_one_on_resume),
    Planted("recovered though partial", 2, liar.recovered_though_partial),
    Planted("wrong epoch", 2, liar.wrong_epoch),
    Planted("private to another", 5, liar.private_to_another),
    Planted("late after unsubscribe", 3, liar.late_after_unsubscribe),
    Planted("never heals", 6, liar.never_heals),
    Planted("uncounted gap", 7, liar.uncounted_gap),
    Planted("acknowledged but lost", 2, broker=Losing),
    Planted("duplicated with a key", 4, broker=Forgetful),
    Planted("leaked connections", 8, leaks=2),
)
QUICK = {"skip one", "recovered though partial", "acknowledged but lost", "leaked connections"}


@pytest.fixture
def use_broker(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[MemoryBroker]], None]:
    def use(kind: type[MemoryBroker]) -> None:
        def make(config: Any, loop: Any) -> MemoryBroker:
            return kind(clock=loop.time, random_id=lambda: f"e{time.monotonic_ns()}")

        monkeypatch.setattr(gateway.server, "make_broker", make)

    return use


async def judged(site: LyingSite) -> tuple[set[int], str]:
    setting = Setting(at=time.monotonic(), row="planted", seed=1, heal_s=6.0)
    size = Size(clients=8, rate=150.0, phase_s=0.3, heal_s=6.0)
    logs, _ = await run(site, life, setting=setting, size=size)
    violations = judge(logs)
    return {violation.rule for violation in violations}, report(violations)


@pytest.mark.parametrize(
    "bug",
    [pytest.param(b, id=b.name, marks=[] if b.name in QUICK else [pytest.mark.full]) for b in BUGS],
)
async def test_a_bug_between_real_parts_is_found(
    bug: Planted, tmp_path: Path, use_broker: Callable[[type[MemoryBroker]], None]
) -> None:
    use_broker(bug.broker)
    rules, found = await judged(LyingSite(tmp_path, bug.lie, leaks=bug.leaks))
    assert bug.rule in rules, found


async def test_nothing_is_found_where_nothing_was_planted(tmp_path: Path) -> None:
    rules, found = await judged(LyingSite(tmp_path, liar.honest))
    assert not rules, found
