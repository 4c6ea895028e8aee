import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from ._census import Census
from ._connection import Connection
from ._tunnel import TunnelEnd
from ._wheel import TimerWheel
from .accepted import Accepted
from .admission import Admission
from .handshake import RouteOptions
from .interface import HandlerFactory, Waiting
from .options import EdgeOptions

class Passage(Protocol):
    @property
    def keeps_connections(self) -> Literal[False]: ...
    def take(
        self, connection: Connection, transport: object, fd: int, accepted: Accepted, early: bytes
    ) -> None: ...

class Asking(Protocol):
    @property
    def keeps_connections(self) -> Literal[True]: ...
    def receive(self, connection: Connection, accepted: Accepted) -> Waiting: ...

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
    connections: set[Connection | TunnelEnd]
    draining: bool
    stopped: bool
    log: logging.Logger
    admission: Admission | None
    on_limit: Callable[[str, str], None] | None
    census: Census | None
    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        protocol: Callable[[Edge], Connection],
        routes: Mapping[str, RouteOptions],
        factories: Mapping[str, HandlerFactory | None],
        options: EdgeOptions,
        stats: EdgeStats,
        passages: Mapping[str, Passage | Asking] | None = None,
        admission: Admission | None = None,
    ) -> None: ...
    def __call__(self) -> Connection: ...
    def change(
        self, *, routes: Mapping[str, RouteOptions], passages: Mapping[str, Passage | Asking] | None
    ) -> None: ...
    def drain(self, code: int, reason: str, spread_s: float = 0.0) -> None: ...
    def stop(self) -> None: ...
