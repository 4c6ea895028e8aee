import asyncio
import logging
from collections.abc import Callable, Mapping

from ._connection import Connection
from ._wheel import TimerWheel
from .admission import Admission
from .handshake import RouteOptions
from .interface import HandlerFactory
from .options import EdgeOptions

class EdgeStats:
    accepted: int
    opened: int
    closed: int
    messages_in: int
    message_bytes_in: int
    messages_out: int
    message_bytes_out: int
    bytes_in: int
    pings_out: int
    pongs_in: int
    refusals: dict[str, int]
    closes: dict[int, int]
    def count_refusal(self, label: str) -> None: ...

class Edge:
    loop: asyncio.AbstractEventLoop
    wheel: TimerWheel[Connection]
    options: EdgeOptions
    stats: EdgeStats
    connections: set[Connection]
    draining: bool
    log: logging.Logger
    admission: Admission | None
    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        protocol: Callable[[Edge], Connection],
        routes: Mapping[str, RouteOptions],
        factories: Mapping[str, HandlerFactory | None],
        options: EdgeOptions,
        stats: EdgeStats,
        admission: Admission | None = None,
    ) -> None: ...
    def __call__(self) -> Connection: ...
    def drain(self, code: int, reason: str) -> None: ...
    def stop(self) -> None: ...
