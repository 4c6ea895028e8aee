from collections.abc import Mapping

from .accepted import Accepted
from .handshake import RouteOptions
from .request import HeadLimits

def scan_upgrade(
    data: bytes | bytearray, routes: Mapping[str, RouteOptions], limits: HeadLimits
) -> Accepted | None: ...
