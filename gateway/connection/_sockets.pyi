import asyncio
import socket

from ._edge import Edge
from ._tunnel import TunnelEnd

class Listener:
    def __init__(self, edge: Edge, sock: socket.socket, *, loop: asyncio.AbstractEventLoop) -> None: ...
    def close(self) -> None: ...

def attach(edge: Edge, endpoint: TunnelEnd, sock: socket.socket) -> None: ...
