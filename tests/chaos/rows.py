"""The matrix: each row is a fault, what it is made against, and what may be expected of it.

A new row is a function of a run (client_faults.py, redis_faults.py) and a line here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import client_faults, clock_faults, failovers, redis_faults
from .redis_faults import babbling, refused, stalled
from .scenario import FaultFunction


class Row(NamedTuple):
    """A fault.

    `epochs_change`: it may cost an acknowledged tail, and then the epoch changes.  `killed`: processes that
    count are killed.  `keeps`: the history survives it.  `redis` says which Redis it needs, "" for none.
    `answer_s` bounds what a publisher waits for an answer.  `phases`, if any, are the only ones for it.
    """

    name: str
    fault: FaultFunction
    epochs_change: bool = False
    killed: bool = False
    keeps: bool = True
    redis: str = ""
    answer_s: float = 15.0
    phases: tuple[str, ...] = ()


STOPPED_S: Final = 20.0
"""A stopped gateway answers nobody: a publisher waits for it until it gives up by itself, after 15 s."""
CLIENT_ROWS: Final = (
    Row("worker-killed", client_faults.worker_killed, killed=True),
    Row("worker-crash-loop", client_faults.crash_loop, killed=True),
    Row("worker-stopped-1s", client_faults.worker_stopped_1s),
    Row("worker-stopped-10s", client_faults.worker_stopped_10s),
    Row("workers-rolling", client_faults.workers_rolling, killed=True),
    Row("reloaded", client_faults.reloaded),
    Row("client-half-open", client_faults.half_open),
    Row("client-torn-frame", client_faults.torn),
    Row("client-cut", client_faults.cut),
    Row("client-one-byte", client_faults.one_byte),
    Row("crowd-gone", client_faults.crowd_gone),
    Row("racing", client_faults.racing),
    Row("slow-readers", client_faults.slow_readers, phases=("steady",)),
)

FAILOVER_ROWS: Final = (
    Row("sentinel", failovers.sentinel_promotes, epochs_change=True, redis="sentinel"),
    Row(
        "sentinel-lost-tail",
        failovers.sentinel_promotes_with_a_lost_tail,
        epochs_change=True,
        redis="sentinel",
    ),
    Row("sentinel-asked", failovers.sentinel_is_asked, epochs_change=True, redis="sentinel"),
    Row("cluster", failovers.cluster_promotes, epochs_change=True, redis="cluster"),
    Row(
        "cluster-lost-tail",
        failovers.cluster_promotes_with_a_lost_tail,
        epochs_change=True,
        redis="cluster",
    ),
)

CLOCK_ROWS: Final = (
    Row("clock-of-gateways", clock_faults.gateways_step, redis="stepped"),
    Row("clock-of-redis", clock_faults.redis_steps, epochs_change=True, keeps=False, redis="stepped"),
)

NONSENSE: Final = b"$-7\r\n*3\r\n:what\r\n"
REDIS_ROWS: Final = (
    Row("node-killed", redis_faults.node_killed, killed=True, redis="plain"),
    Row("node-stopped-1s", redis_faults.node_stopped_1s, redis="plain"),
    Row("node-stopped-15s", redis_faults.node_stopped_15s, redis="plain", answer_s=STOPPED_S),
    Row(
        "node-stopped-60s",
        redis_faults.node_stopped_60s,
        redis="plain",
        answer_s=STOPPED_S,
        phases=("steady",),
    ),
    Row("nodes-reloaded", client_faults.reloaded, redis="plain"),
    Row("nodes-rolling", redis_faults.nodes_rolling, killed=True, redis="plain"),
    Row("redis-restarted-aof", redis_faults.redis_restarted, redis="aof"),
    Row("redis-restarted-empty", redis_faults.redis_restarted, epochs_change=True, redis="plain"),
    Row("redis-stopped", redis_faults.redis_stopped, redis="plain"),
    Row("redis-flushall", redis_faults.flushall, epochs_change=True, redis="plain"),
    Row("redis-trimmed", redis_faults.trimmed, keeps=False, redis="plain"),
    Row("replica-promoted", redis_faults.promoted, epochs_change=True, redis="plain"),
    Row("cut-dropped-1s", stalled(1.0), redis="plain"),
    Row("cut-dropped-15s", stalled(15.0), redis="plain"),
    Row("cut-dropped-60s", stalled(60.0), redis="plain", phases=("steady",)),
    Row("cut-refused-1s", refused(1.0), redis="plain"),
    Row("cut-refused-15s", refused(15.0), redis="plain"),
    Row("cut-refused-60s", refused(60.0), redis="plain", phases=("steady",)),
    Row("cut-one-way-up", stalled(5.0, ["up"]), redis="plain"),
    Row("cut-one-way-down", stalled(5.0, ["down"]), redis="plain"),
    Row("cut-flapping", redis_faults.flapping, redis="plain"),
    Row("redis-slow", redis_faults.slow, redis="plain"),
    Row("redis-sliced", redis_faults.sliced, redis="plain"),
    Row("redis-torn-reply", redis_faults.torn, redis="plain"),
    Row("redis-buffer-limit", redis_faults.buffer_limit, redis="plain"),
    Row("error-oom", redis_faults.out_of_memory, redis="plain"),
    Row("error-busy", redis_faults.busy, redis="plain"),
    Row("error-readonly", redis_faults.read_only, redis="plain"),
    Row("error-loading", babbling(b"-LOADING Redis is loading the dataset in memory\r\n"), redis="plain"),
    Row("error-moved", babbling(b"-MOVED 1 127.0.0.1:1\r\n"), redis="plain"),
    Row("error-nonsense", babbling(NONSENSE), redis="plain"),
    Row("error-http", babbling(b"HTTP/1.1 400 Bad Request\r\n\r\n"), redis="plain"),
)
