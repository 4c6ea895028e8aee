"""Sites with room for a crowd: a gateway with workers, or three nodes of one Redis.

`crowd:` channels tell who comes and goes.  What always holds: connections are pinged less often than in other
rows, since thousands of pings a second would be all that the machine does.
"""

from __future__ import annotations

from typing import Final

from tests.support.process import GatewayProcess

from .redis_site import RedisSite
from .site import Site, WorkersSite

IDLE_TIMEOUT_S: Final = 12.0
ROOM: Final = (
    *("--max-connections", "60000", "--websocket-ping-interval", "4s"),
    *("--websocket-idle-timeout", f"{IDLE_TIMEOUT_S:g}s"),
    *("--namespace", "crowd.presence=true", "--namespace", "crowd.join_leave=true"),
    *("--namespace", "crowd.history_size=0"),
)


class Roomy(Site):
    """A site with room for a crowd.  To be named before another kind of site."""

    async def _launch(self, *flags: str) -> GatewayProcess:
        return await super()._launch(*flags, *ROOM)


class CrowdWorkers(Roomy, WorkersSite):
    """One gateway with three workers."""


class CrowdNodes(Roomy, RedisSite):
    """Three nodes of one Redis."""
