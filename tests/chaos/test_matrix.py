"""The matrix of faults: after each of them, what was promised holds; and a short form of some rows.

The long form (`make chaos`) has every row while idle, at a steady rate and in a burst.
"""

from __future__ import annotations

import asyncio
import io
import random
import time
from pathlib import Path

import pytest

from tests.chaos.crowd_site import CrowdNodes, CrowdWorkers
from tests.chaos.judge import judge
from tests.chaos.records import Setting
from tests.chaos.redis_site import ClusterSite, RedisSite, SentinelSite, SteppedSite
from tests.chaos.rows import ROWS, Row
from tests.chaos.scenario import Run, Size, run
from tests.chaos.served_site import Served, ServedCluster, ServedNodes, ServedSentinels, ServedWorkers
from tests.chaos.site import Site, WorkersSite
from tests.chaos.violations import report

_LONGEST_S = 100.0
_CROWDED_S = 400.0
SHORT = (
    "worker-killed",
    "redis-restarted-empty",
    "client-torn-frame",
    "racing",
    "slow-readers",
    "service-all-killed",
    "service-nonsense",
)
OTHERS: dict[str, type[Site]] = {"sentinel": SentinelSite, "cluster": ClusterSite, "stepped": SteppedSite}
SERVED: dict[str, type[Served]] = {
    "": ServedWorkers,
    "aof": ServedNodes,
    "sentinel": ServedSentinels,
    "cluster": ServedCluster,
}
CROWDED: dict[str, type[Site]] = {"workers": CrowdWorkers, "nodes": CrowdNodes}


def seed_of(config: pytest.Config) -> int:
    """The seed of the command line, or another one each time."""
    chosen = config.getoption("--seed", default=None)
    return int(chosen) if chosen is not None else random.SystemRandom().randrange(10**6)


def site_of(row: Row, folder: Path, seed: int) -> Site:
    if row.service:
        served = SERVED[row.redis](folder, seed)
        if row.dies:  # Redis is away twice within a moment there, and no lease may end by it
            served.stand.gives_up, served.stand.lease = "1s", "6s"
        return served
    if row.crowd:
        return CROWDED[row.crowd](folder, seed)
    if not row.redis:
        return WorkersSite(folder, seed)
    if row.redis in OTHERS:
        return OTHERS[row.redis](folder, seed)
    return RedisSite(folder, seed, aof=row.redis == "aof")


async def judged(row: Row, folder: Path, config: pytest.Config, size: Size) -> Run:
    """Run a row, and let the judge find nothing."""
    seed = seed_of(config)
    print(f"\n{row.name}: seed {seed}")
    setting = Setting(
        at=time.monotonic(), row=row.name, seed=seed, epochs_change=row.epochs_change, killed=row.killed,
        notices=row.service, stays=row.stays, opens=row.opens, dies=row.dies,
    )  # fmt: skip
    watch = asyncio.create_task(tell_of_a_hang(_CROWDED_S if row.crowd else _LONGEST_S))
    kept = config.getoption("--chaos-logs", default="")
    target = (Path(kept) if kept else folder) / f"{row.name}-{seed}"
    site = site_of(row, folder, seed)
    logs, done = await run(site, row.fault, setting=setting, size=size, keeps=row.keeps, leave=target)
    watch.cancel()
    violations = judge(logs)
    if violations or kept:
        logs.write(target)
        print(f"logs: {target}")
    published = sum(len(p.log) for p in done.publishers) // 2
    print(f"{published} messages, {len(logs.clients)} clients, codes {sorted(_codes(done))}")
    assert not violations, f"{row.name}, seed {seed}:\n{report(violations)}"
    slowest_s = max(p.slowest_s for p in done.publishers)
    assert slowest_s < row.answer_s, f"a publish waited {slowest_s:.1f} s for its answer (seed {seed})"
    return done


async def tell_of_a_hang(within_s: float) -> None:
    """Print what every task of a run waits for that takes too long."""
    await asyncio.sleep(within_s)
    told = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(file=told)
    print(f"still running after {within_s:g} s\n{told.getvalue()}", flush=True)


def _codes(done: Run) -> set[str]:
    return {code for p in done.publishers for code in p.codes}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SHORT)
async def test_promises_hold_in_the_short_form(
    name: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    size = Size(clients=18, rate=80.0, phase_s=0.6, hold=0.5)
    await judged(ROWS[name], tmp_path, pytestconfig, size)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ROWS)
async def test_promises_hold_while_idle_steady_and_in_a_burst(
    name: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    row = ROWS[name]
    size = Size(
        clients=pytestconfig.getoption("--chaos-clients", default=150),
        crowd=pytestconfig.getoption("--chaos-crowd", default=2000),
        rate=pytestconfig.getoption("--chaos-rate", default=200.0),
        hold=pytestconfig.getoption("--chaos-hold", default=1.0),
        phase_s=2.0,
        phases=row.phases or ("idle", "steady", "burst"),
    )
    await judged(row, tmp_path, pytestconfig, size)
