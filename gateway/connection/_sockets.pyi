import asyncio
import socket

from ._edge import Edge

class Listener:
    def __init__(self, edge: Edge, sock: socket.socket, *, loop: asyncio.AbstractEventLoop) -> None: ...
    def close(self) -> None: ...
