"""The matrix: each row is a fault, what it is made against, and what may be expected of it.

A new row is a function of a run (client_faults.py, redis_faults.py) and a line here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import client_faults
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


CLIENT_ROWS: Final = (
    Row("worker-killed", client_faults.worker_killed, killed=True),
    Row("worker-crash-loop", client_faults.crash_loop, killed=True),
    Row("worker-stopped-1s", client_faults.worker_stopped_1s),
    Row("worker-stopped-10s", client_faults.worker_stopped_10s),
    Row("workers-rolling", client_faults.workers_rolling, killed=True),
    Row("client-half-open", client_faults.half_open),
    Row("client-torn-frame", client_faults.torn),
    Row("client-cut", client_faults.cut),
    Row("client-one-byte", client_faults.one_byte),
    Row("crowd-gone", client_faults.crowd_gone),
    Row("racing", client_faults.racing),
    Row("slow-readers", client_faults.slow_readers, phases=("steady",)),
)
