"""Faults of clients, of their networks, and of the workers that hold them.

Each is a function of a run that breaks something, holds it, and mends it.  What always holds: when it
returns, nothing is broken any more by its doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

from .client import ChaosClient
from .publisher import Publisher
from .scenario import CHANNELS, LOUD, Run, until
from .site import WorkersSite, descriptors, family

IDLE_TIMEOUT_S = 3.0
CLOSE_TIMEOUT_S = 1.0
MACHINE_S = 3.0  # what a busy machine may add
SLOW_CLIENTS = 4
LOUD_BYTES = 30_000
LOUD_MESSAGES = 700  # more than the sockets of a slow client and its ring hold


async def _pids(run: Run) -> list[int]:
    assert isinstance(run.site, WorkersSite)
    return await run.site.worker_pids()


async def worker_killed(run: Run) -> None:
    """One worker is gone, without a word."""
    before = await _pids(run)
    pid = run.dice.choice(before)
    run.note(f"SIGKILL to worker {pid}")
    os.kill(pid, signal.SIGKILL)
    await until(lambda: _replaced(run, before), "the worker is replaced")
    await run.hold(1.0)


def _replaced(run: Run, before: list[int]) -> bool:
    now = family(run.site.gateways[0].pid)[1:]
    return len(now) == len(before) and set(now) != set(before)


async def crash_loop(run: Run) -> None:
    """Worker after worker is killed as soon as it is there."""
    for _ in range(4):
        await worker_killed(run)


async def _stopped(run: Run, seconds: float) -> None:
    pid = run.dice.choice(await _pids(run))
    run.note(f"SIGSTOP to worker {pid}")
    os.kill(pid, signal.SIGSTOP)
    try:
        await run.hold(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def worker_stopped_1s(run: Run) -> None:
    """A worker does nothing for a second."""
    await _stopped(run, 1.0)


async def worker_stopped_10s(run: Run) -> None:
    """A worker does nothing for longer than any heartbeat."""
    await _stopped(run, 10.0)


async def workers_rolling(run: Run) -> None:
    """Each worker is told to end; another takes its place."""
    for pid in await _pids(run):
        before = await _pids(run)
        run.note(f"SIGTERM to worker {pid}")
        os.kill(pid, signal.SIGTERM)
        await until(lambda before=before: _replaced(run, before), "the worker is replaced")  # type: ignore[misc]
        await run.hold(0.5)


async def reloaded(run: Run) -> None:
    """The configuration is read again, many times while messages are on their way."""
    pids = [gateway.pid for gateway in run.site.gateways]
    run.note(f"SIGHUP to {pids}, 20 times")
    for _ in range(20):
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        await run.hold(0.1)


async def half_open(run: Run) -> None:
    """The network forgets half of the clients: the gateway closes their connections by its heartbeat."""
    gateway = run.site.gateways[0]
    direct = [client for n, client in enumerate(run.clients) if n % 2]
    before = sum(map(descriptors, family(gateway.pid)))
    run.note("half of the clients are cut off, both ways")
    begun = time.monotonic()
    for proxy in run.site.client_proxies:
        proxy.stall()
    gone = len(run.clients) - len(direct)
    await until(
        lambda: sum(map(descriptors, family(gateway.pid))) <= before - gone,
        "half-open connections are closed",
    )
    took_s = time.monotonic() - begun
    run.note(f"{gone} half-open connections were closed within {took_s:.1f} s")
    assert took_s < 1.5 * IDLE_TIMEOUT_S + CLOSE_TIMEOUT_S + MACHINE_S, f"the heartbeat took {took_s:.1f} s"
    for proxy in run.site.client_proxies:
        proxy.heal()


async def torn(run: Run) -> None:
    """Connections are reset in the middle of a frame, in either direction."""
    for _ in range(3):
        run.note("connections are reset in mid-frame")
        for proxy in run.site.client_proxies:
            proxy.tear("down", run.dice.randint(1, 6))
            proxy.tear("up", run.dice.randint(1, 3))
        await run.hold(0.5)
        for proxy in run.site.client_proxies:
            proxy.heal()


async def cut(run: Run) -> None:
    """Half of the clients are reset at once, twice."""
    for _ in range(2):
        run.note("half of the clients are reset")
        for proxy in run.site.client_proxies:
            proxy.cut()
        await run.hold(0.5)


async def one_byte(run: Run) -> None:
    """Everything between half of the clients and the gateway goes byte by byte, handshakes too."""
    rates = [publisher.rate for publisher in run.publishers]
    for publisher in run.publishers:
        publisher.rate = min(publisher.rate, 2.0)
    run.note("one byte at a time")
    for proxy in run.site.client_proxies:
        proxy.cut()
        proxy.slice_bytes = 1
    await run.hold(2.0)
    for proxy in run.site.client_proxies:
        proxy.heal()
    for publisher, rate in zip(run.publishers, rates, strict=True):
        publisher.rate = rate


async def racing(run: Run) -> None:
    """Clients subscribe, unsubscribe, are cut and come back, all at once and at random."""
    run.note("clients race")
    wanted = [set(client.wanted) for client in run.clients]
    until_s = time.monotonic() + 2.0 * run.size.hold
    while time.monotonic() < until_s:
        client = run.dice.choice(run.clients)
        if run.dice.random() < 0.1:
            client.cut()
        else:
            channel = run.dice.choice(CHANNELS)
            client.want(channel, wanted=channel not in client.wanted)
        await asyncio.sleep(0.002)
    for client, before in zip(run.clients, wanted, strict=True):
        for channel in CHANNELS:
            client.want(channel, wanted=channel in before)


async def slow_readers(run: Run) -> None:
    """Some clients of a channel with the policy `skip` do not read while a lot is published."""
    begun = len(run.crowd)
    slow = [ChaosClient(f"s{begun + n}", run.choose(n, proxied=True), {LOUD}) for n in range(SLOW_CLIENTS)]
    run.crowd += slow
    for client in slow:
        client.start()
    await until(lambda: all(client.settled for client in slow), "the slow clients are there")
    loud = Publisher(f"loud{begun}", run.site.apis, [LOUD], seed=begun, padding=LOUD_BYTES)
    run.publishers.append(loud)
    run.note("slow clients do not read")
    for proxy in run.site.client_proxies:
        proxy.stall(["down"])
    before = time.monotonic()
    for _ in range(LOUD_MESSAGES):
        await loud.publish(LOUD)
        if time.monotonic() - before > IDLE_TIMEOUT_S / 2:
            break
    for proxy in run.site.client_proxies:
        proxy.heal()
    run.note("they read again")
    await loud.publish(LOUD)
    await until(lambda: all(c.positions[LOUD] == slow[0].positions[LOUD] for c in slow), "the same for all")
