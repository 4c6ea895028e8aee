"""Faults of the app service, and of gateways, nodes and Redis while it is away and notices wait.

Each is a function of a run against a `Served` site that breaks something, holds it, and mends it.  What
always holds: when it returns, nothing is broken any more by its doing.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from tests.support.app_service import Answer

from . import failovers, redis_faults
from .scenario import HEAL_S, FaultFunction, Run, until
from .served_site import Served, ServedWorkers
from .site import family
from .stand import NONSENSE, hangs, redirects, resets, says, talks_nonsense
from .visitors import Caller, Guest

VISITORS: Final = 6
DEAD: Final = 10
"""How many dead letters there are before more is broken."""


def _site(run: Run) -> Served:
    assert isinstance(run.site, Served)
    return run.site


async def _visit(run: Run) -> None:
    """Have clients that call and clients that come and go, from the first fault on."""
    if any(isinstance(client, Caller) for client in run.crowd):
        return
    for number in range(VISITORS):
        choose = run.choose(number, proxied=False)
        run.crowd += [Caller(f"caller{number}", choose), Guest(f"guest{number}", choose)]
    visitors = run.crowd[-2 * VISITORS :]
    for visitor in visitors:
        visitor.start()
    await until(lambda: all(v.transport for v in visitors), "the visitors are there")
    await run.hold(1.0)


def answering(answer: Answer, seconds: float = 3.0) -> FaultFunction:
    """Return a fault: the service answers so for some seconds."""

    async def fault(run: Run) -> None:
        await _visit(run)
        run.note(f"the service {answer.__name__}")
        _site(run).stand.answer = answer
        await run.hold(seconds)
        _site(run).stand.answer = None
        await run.hold(1.0)

    return fault


hanging = answering(hangs)
failing = answering(says({}, 500))
redirecting = answering(redirects)
resetting = answering(resets)
babbling = answering(talks_nonsense)


async def dead(run: Run) -> None:
    """Nobody listens where the service was."""
    await _visit(run)
    run.note("the service is gone")
    await _site(run).stand.stop()
    await run.hold(3.0)
    await _site(run).stand.start()
    await run.hold(1.0)


async def nonsense(run: Run) -> None:
    """The service answers without an end, too slowly, too much, or half."""
    await _visit(run)
    for answer in run.dice.sample(NONSENSE, 4):
        run.note(f"the service {answer.__name__}")
        _site(run).stand.answer = answer
        await run.hold(1.2)
    _site(run).stand.answer = None
    await run.hold(1.0)


async def flapping(run: Run) -> None:
    """The service is well and ill in turn."""
    await _visit(run)
    for _ in range(6):
        ill = run.dice.choice([hangs, resets, redirects, says({}, 503)])
        run.note(f"the service {ill.__name__}")
        _site(run).stand.answer = ill
        await run.hold(run.dice.uniform(0.1, 0.6))
        _site(run).stand.answer = None
        await run.hold(run.dice.uniform(0.1, 0.6))


@asynccontextmanager
async def _away(run: Run) -> AsyncIterator[None]:
    """Have notices wait: the service takes none meanwhile."""
    await _visit(run)
    run.note("the service is busy")
    _site(run).stand.answer = says({}, 503)
    await run.hold(1.0)
    try:
        yield
    finally:
        run.note("the service is back")
        _site(run).stand.answer = None
    await run.hold(1.0)


def while_away(fault: FaultFunction) -> FaultFunction:
    """Return another fault, while notices wait."""

    async def both(run: Run) -> None:
        async with _away(run):
            await fault(run)

    return both


node_killed = while_away(redis_faults.node_killed)
node_stopped = while_away(redis_faults.node_stopped_1s)
nodes_rolling = while_away(redis_faults.nodes_rolling)
redis_restarted = while_away(redis_faults.redis_restarted)
redis_stopped = while_away(redis_faults.redis_stopped)
sentinel = while_away(failovers.sentinel_promotes)


cluster = while_away(failovers.cluster_promotes)


def with_dead_letters(fault: FaultFunction) -> FaultFunction:
    """Return another fault, while there are dead letters, and once more while they are replayed."""

    async def both(run: Run) -> None:
        await _visit(run)
        site = _site(run)
        run.note("the service takes nothing, and notices die")
        site.stand.answer = says({}, 503)
        begun = time.monotonic()
        while await site.note_dead() < DEAD:
            assert time.monotonic() - begun < HEAL_S, "no notices become dead letters"
            await asyncio.sleep(0.2)
        await fault(run)
        await _ask_until(site.note_dead, "dead letters can be listed again")
        site.stand.answer = None
        run.note("the service is back, and dead letters are replayed")
        again = asyncio.create_task(_ask_until(site.replay, "dead letters can be replayed"))
        try:
            await run.hold(run.dice.uniform(0.0, 0.2))
            await fault(run)
        finally:
            await again

    return both


async def _ask_until(ask: Callable[[], Awaitable[int]], what: str) -> None:
    """Ask a gateway until it answers; one that was killed or has no Redis does not."""
    begun = time.monotonic()
    while True:
        try:
            await ask()
        except (OSError, http.client.HTTPException, AssertionError):
            assert time.monotonic() - begun < HEAL_S, what
            await asyncio.sleep(0.2)
        else:
            return


dead_node_killed = with_dead_letters(redis_faults.node_killed)
dead_redis_restarted = with_dead_letters(redis_faults.redis_restarted)
dead_sentinel = with_dead_letters(failovers.sentinel_promotes)
dead_cluster = with_dead_letters(failovers.cluster_promotes)


async def _kill(run: Run, number: int) -> None:
    gateway = run.site.gateways[number]
    workers = family(gateway.pid)[1:]
    run.note(f"SIGKILL to gateway {number}")
    gateway.popen.kill()
    await asyncio.to_thread(gateway.popen.wait)
    await until(lambda: not any(map(_there, workers)), "its workers have ended")


def _there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}/fd")


async def all_killed(run: Run) -> None:
    """Every gateway is killed while notices wait, and started again."""
    async with _away(run):
        for number in range(len(run.site.gateways)):
            await _kill(run, number)
        await asyncio.gather(*(run.site.restart(n) for n in range(len(run.site.gateways))))
        await run.hold(1.0)


async def _kill_worker(run: Run) -> None:
    assert isinstance(run.site, ServedWorkers)
    pid = run.dice.choice(await run.site.worker_pids())
    run.note(f"SIGKILL to worker {pid}")
    os.kill(pid, signal.SIGKILL)
    await run.hold(1.0)


worker_killed = while_away(_kill_worker)
dead_worker_killed = with_dead_letters(_kill_worker)
