import asyncio
import logging
from collections.abc import Mapping

from .._sink import Sink
from ..deflate import Deflater
from .handshake import RouteOptions
from .interface import HandlerFactory
from .options import EdgeOptions
from .wheel import TimerWheel

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

class Edge:
    loop: asyncio.AbstractEventLoop
    wheel: TimerWheel[Connection]
    options: EdgeOptions
    stats: EdgeStats
    connections: set[Connection]
    draining: bool
    log: logging.Logger
    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        routes: Mapping[str, RouteOptions],
        factories: Mapping[str, HandlerFactory | None],
        options: EdgeOptions,
        stats: EdgeStats,
    ) -> None: ...
    def __call__(self) -> Connection: ...
    def drain(self, code: int, reason: str) -> None: ...
    def stop(self) -> None: ...

class Connection(Sink, asyncio.BufferedProtocol):
    opened_at: float
    wheel_slot: int
    def __init__(self, edge: Edge) -> None: ...
    def get_buffer(self, sizehint: int) -> memoryview: ...
    def send(self, opcode: int, payload: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def abort(self) -> None: ...
    @property
    def remote(self) -> str: ...
    @property
    def shared_deflater(self) -> Deflater | None: ...
    @property
    def queued_bytes(self) -> int: ...
