"""Faults of a crowd: many more clients than usual are gone, or silent, in the same moment.

Each is a function of a run against a site with room for them (crowd_site.py).  What always holds: when it
returns, the crowd is gone, and everybody who watches was told, or had the time to be.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tests.soak.watch import memory_bytes

from .crowd import Crowd
from .crowd_site import IDLE_TIMEOUT_S, Roomy
from .publisher import Publisher
from .records import Connected, Delivered, Intent, Went
from .scenario import Run, until, wait_for
from .site import descriptors, family
from .watching import Watcher

IN_A_CHANNEL: Final = 20
WATCHED: Final = 200
"""How many channels one watcher watches; a session has 256 at the most."""
SAID: Final = 100
CLOSE_TIMEOUT_S: Final = 1.0
MACHINE_S: Final = 3.0
RESUME_S: Final = 5.0
MIB: Final = 1 << 20
BYTES_EACH: Final = 2400
"""What a client of the crowd takes, about: a connection, a session and a member of a channel."""
KEPT: Final = 0.25
SLACK_BYTES: Final = 4 * MIB


async def gone(run: Run) -> None:
    """A crowd comes, and all of it is gone at once, without a close frame.

    While nothing else takes memory, a second one does the same, and has to find room in what the first left.
    """
    left = await _come_and_go(run)
    if run.phase == "idle":
        more = await _come_and_go(run) - left
        most = KEPT * BYTES_EACH * run.size.crowd + SLACK_BYTES
        assert more <= most, f"a second crowd left {more / MIB:.1f} MiB more than the first"


async def _come_and_go(run: Run) -> int:
    """Return how many bytes the gateways hold after it."""
    before = held(run)
    crowd, channels = await _come(run)
    try:
        with_them = held(run)
        calm_s = await _say(run, channels)
        begun = time.monotonic()
        run.note(f"{crowd.count} clients are gone")
        await crowd.gone(run.logs)
        busy_s = await _say(run, channels)
        await _told_to_go(run, crowd)
        print(f"gone: everybody was told within {time.monotonic() - begun:.1f} s")
        print(f"others waited {calm_s * 1e3:.0f} ms for a message at most, and {busy_s * 1e3:.0f} ms then")
    finally:
        await crowd.end()
    await asyncio.sleep(RESUME_S + MACHINE_S)  # their sessions are kept for so long
    after = held(run)
    print(f"memory: {before / MIB:.1f} MiB, {with_them / MIB:.1f} with the crowd, {after / MIB:.1f} after it")
    return after


async def silent(run: Run) -> None:
    """A crowd comes, and all of it says nothing any more: the heartbeat closes every connection."""
    before = sum(map(descriptors, _pids(run)))
    crowd, _ = await _come(run)
    try:
        begun = time.monotonic()
        run.note(f"{crowd.count} clients are silent")
        await crowd.silent(run.logs)
        closed = await wait_for(
            lambda: sum(map(descriptors, _pids(run))) < before + len(run.clients),
            1.5 * IDLE_TIMEOUT_S + CLOSE_TIMEOUT_S + MACHINE_S,
        )
        took_s = time.monotonic() - begun
        run.note(f"they were closed within {took_s:.1f} s")
        print(f"the heartbeat closed {crowd.count} connections within {took_s:.1f} s")
        assert closed, f"silent connections are still open after {took_s:.1f} s"
        await _told_to_go(run, crowd)
        await run.hold(1.0)
    finally:
        await crowd.end()


def _pids(run: Run) -> list[int]:
    return [pid for gateway in run.site.gateways for pid in family(gateway.pid)]


def held(run: Run) -> int:
    """Bytes of memory of all gateways."""
    return sum(map(memory_bytes, _pids(run)))


async def _come(run: Run) -> tuple[Crowd, list[str]]:
    """Have watchers, and a crowd that is subscribed to what they watch."""
    assert isinstance(run.site, Roomy)
    channels = [f"crowd:{n}" for n in range(max(1, run.size.crowd // IN_A_CHANNEL))]
    if not _watchers(run):
        for at in range(0, len(channels), WATCHED):
            watched = set(channels[at : at + WATCHED])
            run.crowd.append(Watcher(f"watcher{at}", run.choose(at // WATCHED, proxied=False), watched))
            run.crowd[-1].start()
        await until(lambda: all(w.settled for w in _watchers(run)), "the watchers are there")
    first = sum(name.startswith("x") for name in run.logs.clients)
    url = run.site.edges(proxied=False)
    urls = [url(number) for number in range(len(run.site.gateways))]
    crowd, begun = Crowd(run.site.folder, urls, channels, first=first, count=run.size.crowd), time.monotonic()
    try:
        await crowd.there()
    except BaseException:
        await crowd.end()
        raise
    run.note(f"{run.size.crowd} clients came within {time.monotonic() - begun:.1f} s")
    print(f"{run.size.crowd} clients came within {time.monotonic() - begun:.1f} s")
    await run.hold(0.5)
    return crowd, channels


def _watchers(run: Run) -> list[Watcher]:
    return [client for client in run.crowd if isinstance(client, Watcher)]


async def _say(run: Run, channels: list[str]) -> float:
    """Publish to some of the crowd's channels; return how long a message of this time took at most (s)."""
    publisher = next((p for p in run.publishers if p.name == "crowd"), None)
    if publisher is None:
        publisher = Publisher("crowd", run.site.apis, channels, seed=run.logs.setting.seed)
        run.publishers.append(publisher)
    begun = time.monotonic()
    for channel in run.dice.choices(channels, k=min(SAID, len(channels))):
        await publisher.publish(channel)
    await run.hold(0.5)
    return _slowest_s(run, begun)


def _slowest_s(run: Run, since: float) -> float:
    """How long it took from the intent to the last client that got it, at most, of what was meant since."""
    meant = {
        r.message: r.at for p in run.publishers for r in p.log if isinstance(r, Intent) and r.at >= since
    }
    others = [*run.clients, *run.crowd]
    return max(
        (
            r.at - meant[r.message]
            for client in others
            for r in client.log
            if isinstance(r, Delivered) and r.message in meant
        ),
        default=0.0,
    )


async def _told_to_go(run: Run, crowd: Crowd) -> None:
    """Wait until every member of a crowd was told to go, or for as long as that may take."""
    names = (f"x{n}" for n in range(crowd.first, crowd.first + crowd.count))
    ids = {r.client for name in names for r in run.logs.clients[name] if isinstance(r, Connected)}

    def told() -> bool:
        return ids <= {r.client for w in _watchers(run) for r in w.log if isinstance(r, Went)}

    await wait_for(told, run.size.heal_s)
