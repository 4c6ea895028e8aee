"""Faults of wall clocks: they step by an hour, and back, in gateways or in Redis.

What always holds: when a fault returns, all clocks are right again.
"""

from __future__ import annotations

from .records import Lost
from .redis_site import Clock, SteppedSite
from .scenario import Run

HOUR_S = 3600


async def _step(run: Run, clock: Clock, whose: str) -> None:
    """Step there and back; nobody may be disconnected by it."""
    before = _losses(run)
    for seconds in (HOUR_S, 0, -HOUR_S, 0):
        run.note(f"the clock of {whose} is {seconds} s ahead")
        clock.step(seconds)
        await run.hold(3.0)
    more = _losses(run)[len(before) :]
    assert not more, f"{len(more)} connections ended since a clock was stepped, with {more[:5]}"


def _losses(run: Run) -> list[int]:
    losses = [r for client in run.clients for r in client.log if isinstance(r, Lost)]
    return [r.code for r in sorted(losses, key=lambda r: r.at)]


async def gateways_step(run: Run) -> None:
    """The clock of every gateway steps by an hour, forth and back."""
    assert isinstance(run.site, SteppedSite)
    await _step(run, run.site.gateway_clock, "the gateways")


async def redis_steps(run: Run) -> None:
    """The clock of Redis steps by an hour, forth and back: leases end, and what is kept for less is gone."""
    assert isinstance(run.site, SteppedSite)
    await _step(run, run.site.redis_clock, "Redis")
