import asyncio
from collections.abc import Callable

from ._connection import Connection
from ._edge import Edge

class TunnelEnd(asyncio.BufferedProtocol):
    client: bool
    fd: int
    closed: bool
    blocked: bool
    opened_at: float
    def __init__(
        self,
        edge: Edge,
        *,
        client: bool,
        on_over: Callable[[], None],
        on_bytes: Callable[[bytes], None] | None = None,
    ) -> None: ...
    @property
    def remote(self) -> str: ...
    @property
    def queued_bytes(self) -> int: ...
    def take_over(self, connection: Connection, transport: object, fd: int, early: bytes) -> None: ...
    def refuse(self, response: bytes) -> None: ...
    def say(self, data: bytes) -> None: ...
    def tunnel(
        self,
        upstream: TunnelEnd,
        response: bytes,
        upstream_early: bytes,
        *,
        rsv: int,
        max_message_bytes: int,
    ) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def abort(self) -> None: ...
