from ._edge import Edge
from ._tunnel import TunnelEnd

class SocketAddress:
    def __init__(self, ip: str, port: int) -> None: ...

def connect(edge: Edge, endpoint: TunnelEnd, where: SocketAddress) -> None: ...
