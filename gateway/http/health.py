"""Health: is the process alive, and should it get traffic.

Live answers whenever the event loop runs.  Ready asks the node (a probe through the broker and
back; draining) and answers within its time bound, whatever the broker does.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.requests import Request
from starlette.responses import Response

from ..errors import GatewayError
from .answers import json_response
from .gateway_view import GatewayView, HttpOptions

_log = logging.getLogger("gateway.http")


class Health:
    """The two health endpoints; neither needs a key."""

    def __init__(self, node: GatewayView, options: HttpOptions) -> None:
        self._node = node
        self._timeout_s = options.ready_timeout_s

    async def live(self, request: Request) -> Response:
        """Answer 200: the process runs and its loop turns."""
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Answer 200 when this node should get traffic, else 503; `details` says why."""
        try:
            async with asyncio.timeout(self._timeout_s):
                ready, details = await self._node.ready()
        except TimeoutError:
            ready, details = False, {"broker": "no answer in time"}
        except GatewayError:
            ready, details = False, {"broker": "unavailable"}
        except Exception as error:  # noqa: BLE001 - a health check answers whatever happens
            _log.error("readiness could not be told", exc_info=error)
            ready, details = False, {"error": "internal"}
        answer = {"status": "ready" if ready else "not_ready", "details": dict(details)}
        return json_response(answer, 200 if ready else 503)
