"""The matrix: each row is a fault, what it is made against, and what may be expected of it.

A new row is a function of a run (client_faults.py, redis_faults.py) and a line here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import client_faults, clock_faults, crowd_faults, failovers, redis_faults, service_faults
from .redis_faults import babbling, refused, stalled
from .scenario import FaultFunction
from .state_faults import editing


class Row(NamedTuple):
    """A fault.

    `epochs_change`: it may cost an acknowledged tail, and then the epoch changes.  `killed`: processes that
    count are killed.  `keeps`: the history survives it.  `redis` says which Redis it needs, "" for none.
    `answer_s` bounds what a publisher waits for an answer.  `phases`, if any, are the only ones for it.
    `service` says where an app service's notices are kept, "" for none; `stays`: nobody loses a connection;
    `opens`: breakers open and close.  `crowd`: on what there is room for a crowd, "" where there is none.
    `dies`: notices become dead letters soon.
    """

    name: str
    fault: FaultFunction
    epochs_change: bool = False
    killed: bool = False
    keeps: bool = True
    redis: str = ""
    answer_s: float = 15.0
    phases: tuple[str, ...] = ()
    service: str = ""
    stays: bool = False
    opens: bool = False
    crowd: str = ""
    dies: bool = False


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
    Row("racing", client_faults.racing),
    Row("slow-readers", client_faults.slow_readers, phases=("steady",)),
)

CROWD_ROWS: Final = (
    Row("crowd-gone", crowd_faults.gone, crowd="workers", stays=True),
    Row("crowd-silent", crowd_faults.silent, crowd="workers", stays=True, phases=("steady",)),
    Row("nodes-crowd-gone", crowd_faults.gone, redis="plain", crowd="nodes", stays=True),
    Row(
        "nodes-crowd-silent",
        crowd_faults.silent,
        redis="plain",
        crowd="nodes",
        stays=True,
        phases=("steady",),
    ),
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


def _ill(name: str, fault: FaultFunction) -> tuple[Row, ...]:
    """A fault of the app service alone, which nobody else may notice: with Redis, and without."""
    return (
        Row(name, fault, redis="aof", service="redis", stays=True, opens=True),
        Row(f"{name}-workers", fault, service="memory", stays=True, opens=True),
    )


SERVICE_ROWS: Final = (
    *_ill("service-dead", service_faults.dead),
    *_ill("service-hanging", service_faults.hanging),
    *_ill("service-500", service_faults.failing),
    *_ill("service-redirecting", service_faults.redirecting),
    *_ill("service-resetting", service_faults.resetting),
    *_ill("service-nonsense", service_faults.nonsense),
    *_ill("service-flapping", service_faults.flapping),
    Row("service-node-killed", service_faults.node_killed, killed=True, redis="aof", service="redis"),
    Row("service-node-stopped", service_faults.node_stopped, redis="aof", service="redis"),
    Row("service-nodes-rolling", service_faults.nodes_rolling, killed=True, redis="aof", service="redis"),
    Row("service-all-killed", service_faults.all_killed, killed=True, redis="aof", service="redis"),
    Row("service-redis-restarted", service_faults.redis_restarted, redis="aof", service="redis"),
    Row("service-redis-stopped", service_faults.redis_stopped, redis="aof", service="redis"),
    Row(
        "service-sentinel",
        service_faults.sentinel,
        epochs_change=True,
        redis="sentinel",
        service="redis",
    ),
    Row("service-cluster", service_faults.cluster, epochs_change=True, redis="cluster", service="redis"),
    Row(
        "service-cluster-500",
        service_faults.failing,
        redis="cluster",
        service="redis",
        stays=True,
        opens=True,
    ),
    Row("service-worker-killed", service_faults.worker_killed, killed=True, service="memory"),
    Row(
        "service-gateway-killed", service_faults.all_killed, epochs_change=True, killed=True, service="memory"
    ),
)


def _dead(name: str, fault: FaultFunction, redis: str, *, killed: bool = False, lossy: bool = False) -> Row:
    """A fault while there are dead letters, and while they are replayed."""
    service = "redis" if redis else "memory"
    return Row(
        f"dead-letters-{name}",
        fault,
        epochs_change=lossy,
        killed=killed,
        redis=redis,
        service=service,
        dies=True,
    )


DEAD_ROWS: Final = (
    _dead("node-killed", service_faults.dead_node_killed, "aof", killed=True),
    _dead("redis-restarted", service_faults.dead_redis_restarted, "aof"),
    _dead("sentinel", service_faults.dead_sentinel, "sentinel", lossy=True),
    _dead("cluster", service_faults.dead_cluster, "cluster", lossy=True),
    _dead("worker-killed", service_faults.dead_worker_killed, "", killed=True),
)


def _edited(*rows: Row) -> tuple[Row, ...]:
    """The same faults while clients edit shared states."""
    return tuple(row._replace(name=f"state-{row.name}", fault=editing(row.fault)) for row in rows)


_OTHERS: Final = {row.name: row for row in (*CLIENT_ROWS, *REDIS_ROWS, *FAILOVER_ROWS)}
STATE_ROWS: Final = _edited(
    *(
        _OTHERS[name]
        for name in (
            *(
                "worker-killed",
                "client-cut",
                "client-torn-frame",
                "node-killed",
                "node-stopped-1s",
                "nodes-rolling",
            ),
            *(
                "redis-restarted-aof",
                "redis-restarted-empty",
                "redis-stopped",
                "redis-flushall",
                "redis-trimmed",
            ),
            *("replica-promoted", "cut-dropped-1s", "cut-refused-1s", "cut-flapping", "redis-torn-reply"),
            *(
                "error-oom",
                "error-readonly",
                "sentinel",
                "sentinel-lost-tail",
                "cluster",
                "cluster-lost-tail",
            ),
        )
    )
)

ROWS: Final = {
    row.name: row
    for row in (
        *CLIENT_ROWS, *CROWD_ROWS, *REDIS_ROWS,
        *FAILOVER_ROWS, *CLOCK_ROWS, *SERVICE_ROWS, *DEAD_ROWS, *STATE_ROWS,
    )
}  # fmt: skip
"""Every row, by its name."""
