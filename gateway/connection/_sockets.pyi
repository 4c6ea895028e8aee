import asyncio
import socket
from collections.abc import Callable

from ._connection import Connection
from ._edge import Edge

class Listener:
    def __init__(
        self,
        edge: Edge,
        sock: socket.socket,
        *,
        loop: asyncio.AbstractEventLoop,
        first: Callable[[int], None] | None = None,
    ) -> None: ...
    def adopt(self, fd: int, endpoint: Connection) -> None: ...
    def close(self) -> None: ...
