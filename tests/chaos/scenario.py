"""One run: gateways, publishers and clients, a fault at a seeded time in each phase, healing, and the logs.

    idle      one message a second
    steady    `rate` messages a second
    burst     as fast as publishers get answers

It decides nothing about right and wrong: that is the judge's.  What always holds: the same seed draws the
same times, channels and messages (the machine's own timing differs from run to run); at the end all
clients, publishers and gateways are gone, also when something failed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.api import get

from .client import ChaosClient
from .editors import DOCUMENTS, Editor, had
from .publisher import Publisher
from .records import Acknowledged, AnyRecord, Fault, Healed, Kind, Logs, Setting
from .site import HISTORY, Site

HEAL_S: Final = 30.0
CHANNELS: Final = ("long:a", "long:b", "plain:a", "plain:b")
LOUD: Final = "skipping:a"
USERS: Final = ("ada", "bob", "eve")
BURST: Final = 5000.0


@dataclass(frozen=True)
class Size:
    """How much of everything: `phase_s` is the length of a phase besides the fault's own time."""

    clients: int = 24
    publishers: int = 4
    rate: float = 100.0
    phase_s: float = 1.0
    phases: tuple[str, ...] = ("steady",)
    crowd: int = 100
    hold: float = 1.0  # what the lengths of faults are multiplied by
    heal_s: float = HEAL_S


@dataclass
class Run:
    """What a fault has at hand: the site, clients, publishers, dice, and a way to note what it does."""

    site: Site
    dice: random.Random
    size: Size
    logs: Logs
    clients: list[ChaosClient] = field(default_factory=list)
    crowd: list[ChaosClient] = field(default_factory=list)  # who comes and goes within a fault
    publishers: list[Publisher] = field(default_factory=list)
    phase: str = "idle"

    def note(self, name: str) -> None:
        """Write down that something is broken now."""
        self.logs.run.append(Fault(at=time.monotonic(), name=name))

    async def hold(self, seconds: float) -> None:
        """Leave it as it is for so long (times what the size says)."""
        await asyncio.sleep(seconds * self.size.hold)

    def choose(self, number: int, *, proxied: bool) -> Callable[[], str]:
        """Return what a client asks for its next URL: first gateway `number`, then any."""
        urls, dice, tries = self.site.edges(proxied=proxied), random.Random(number), iter([number])  # noqa: S311
        return lambda: urls(next(tries, dice.randrange(1000)))


FaultFunction = Callable[[Run], Awaitable[None]]


async def run(
    site: Site,
    fault: FaultFunction,
    *,
    setting: Setting,
    size: Size,
    keeps: bool = True,
    leave: Path | None = None,
) -> tuple[Logs, Run]:
    """Carry out one run, and return its logs for the judge.

    `keeps`: the history survives the fault, so that all can be had from it.  A run that does not come to its
    end leaves its logs in the folder `leave`, if any.
    """
    logs = Logs(run=[setting])
    try:
        return logs, await _run(site, fault, logs, setting=setting, size=size, keeps=keeps)
    except BaseException:
        if leave is not None:
            logs.write(leave)
        raise


async def _run(
    site: Site, fault: FaultFunction, logs: Logs, *, setting: Setting, size: Size, keeps: bool
) -> Run:
    for channel in (*CHANNELS, LOUD):
        history = HISTORY[channel.partition(":")[0]] if keeps else 0
        logs.run.append(Kind(at=setting.at, channel=channel, history=history))
    seed = setting.seed
    this = Run(site, random.Random(f"{seed} {setting.row}"), size, logs)  # noqa: S311
    try:
        await site.start()
        await _warm_up(this)
        start = await site.sample("start")
        logs.run += start
        await _begin(this, seed)
        for phase in size.phases:
            await _phase(this, phase, fault)
        logs.run.append(Healed(at=time.monotonic()))
        await _settle(this)
        await _leave(this)
        words = await site.last_words()
        logs.run += await site.quiet(start, size.heal_s)
        logs.run += words
    finally:
        try:
            await _leave(this)
        finally:
            await site.stop()
        logs.clients |= {client.name: client.log for client in [*this.clients, *this.crowd]}
        logs.publishers |= {publisher.name: publisher.log for publisher in this.publishers}
    return this


async def _warm_up(this: Run) -> None:
    """Let one client come and go, and a message through, so that what is made once has been made."""
    client = ChaosClient("warm", this.choose(0, proxied=False), {"long:warm"})
    publisher = Publisher("warm", this.site.apis, ["long:warm"], seed=0)
    client.start()
    await until(lambda: client.settled, "the first client is there")
    for _ in this.site.apis:
        await publisher.publish("long:warm")
    await client.leave()
    await publisher.abandon()
    await asyncio.sleep(0.7)  # longer than a ring is kept


async def _begin(this: Run, seed: int) -> None:
    this.clients += [_client(this, number) for number in range(this.size.clients)]
    for client in this.clients:
        client.start()
    await until(lambda: all(client.settled for client in this.clients), "everybody is there")
    this.publishers += [
        Publisher(f"p{n}", this.site.apis, CHANNELS, seed=seed, users=USERS if n == 0 else ())
        for n in range(this.size.publishers)
    ]
    for publisher in this.publishers:
        publisher.start()


def _client(this: Run, number: int) -> ChaosClient:
    wanted = set(this.dice.sample(CHANNELS, 2))
    user = USERS[number % 6] if number % 6 < len(USERS) else ""
    choose = this.choose(number, proxied=number % 2 == 0)
    with_user = f"?user={user}" if user else ""
    return ChaosClient(
        f"c{number}", lambda: choose() + with_user, wanted, user=user, by_session=number % 4 < 2
    )


async def _phase(this: Run, phase: str, fault: FaultFunction) -> None:
    this.phase = phase
    rates = {"idle": 1.0, "steady": this.size.rate, "burst": BURST}
    for publisher in this.publishers:
        publisher.rate = rates[phase] / this.size.publishers
    lead_s = this.dice.uniform(0.2, 0.8) * this.size.phase_s
    await asyncio.sleep(lead_s)
    await fault(this)
    if phase == "burst":  # an endless burst would only measure the machine
        for publisher in this.publishers:
            publisher.rate = this.size.rate / this.size.publishers
    await asyncio.sleep(this.size.phase_s - lead_s)


async def _settle(this: Run) -> None:
    """Let publishers end, publish a last message to each channel, and give everybody time to hear it."""
    healed = time.monotonic()
    for publisher in this.publishers:
        publisher.rate = 0.0
    await wait_for(lambda: all(client.content(healed) for client in this.crowd), this.size.heal_s)
    await wait_for(lambda: all(client.settled for client in this.clients), this.size.heal_s)
    this.logs.run += await compare(this)
    async with asyncio.timeout(HEAL_S * 2):
        await asyncio.gather(*(publisher.stop() for publisher in this.publishers))
        heads = {channel: await _last_message(this.publishers[0], channel) for channel in CHANNELS}
    await wait_for(lambda: all(_at_head(client, heads) for client in this.clients), this.size.heal_s)


async def compare(this: Run) -> list[AnyRecord]:
    """Let editors rest, give them time to agree, and return what each gateway has of the documents."""
    editors = [client for client in this.crowd if isinstance(client, Editor)]
    if not editors:
        return []
    for editor in editors:
        editor.rests = True
    await wait_for(lambda: all(e.done and e.settled for e in editors), this.size.heal_s)

    def agreed() -> bool:
        return all(len({(e.copies[d].epoch, e.copies[d].version) for e in editors}) == 1 for d in DOCUMENTS)

    await wait_for(agreed, this.size.heal_s)
    found: list[AnyRecord] = []
    for gateway in this.site.gateways:
        for document in DOCUMENTS:
            s = await asyncio.to_thread(get, gateway, f"/api/channels/{document}/state")
            found.append(had(time.monotonic(), document, s["epoch"], s["version"], s["data"]))
    return found


async def _last_message(publisher: Publisher, channel: str) -> tuple[str, int]:
    """Publish to a channel until it is acknowledged; return the position."""
    while not await publisher.publish(channel):
        pass
    answer = publisher.log[-1]
    assert isinstance(answer, Acknowledged)
    return answer.epoch, answer.offset


def _at_head(client: ChaosClient, heads: dict[str, tuple[str, int]]) -> bool:
    return client.settled and all(client.positions.get(c) == heads[c] for c in client.wanted)


async def _leave(this: Run) -> None:
    await asyncio.gather(*(publisher.abandon() for publisher in this.publishers))
    await asyncio.gather(*(client.leave() for client in [*this.clients, *this.crowd]))


async def wait_for(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait until a condition holds, or for so long; tell whether it holds."""
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 nobody has an event for it
        await asyncio.sleep(0.05)
    return condition()


async def until(condition: Callable[[], bool], what: str, within_s: float = HEAL_S) -> None:
    """Wait for a condition.  Raises AssertionError when it does not come true."""
    assert await wait_for(condition, within_s), what
