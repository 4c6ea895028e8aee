"""Where libraries of GRIP publish: `POST /publish`, as Pushpin has it.

It knows the node through `GatewayView`.  What always holds: items are carried out in their order; a body of
which any item is malformed does nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..grip.items import Publish, read_items
from .answers import answering
from .auth import CALLER, GRIP_PATHS
from .gateway_view import GatewayView, GripOptions
from .reading import read_json_body
from .scopes import EVERYTHING, Scope


def grip_routes(
    node: GatewayView, options: GripOptions, max_body_bytes: int, count: Callable[[str], None]
) -> list[Route]:
    """Return the routes of publishers; `count` hears "ok" or the code of an error."""

    async def publish(request: Request) -> Response:
        caller = request.scope.get(CALLER, EVERYTHING)
        caller.check_scope(Scope.PUBLISH)
        items = read_items(await read_json_body(request, max_body_bytes), options.prefix)
        caller.check_channels(item.channel for item in items)
        for item in items:
            if isinstance(item, Publish):
                await node.publish(
                    item.channel, item.data, binary=item.binary, key=item.key, exclude=item.exclude
                )
            else:
                await node.close_bare(item.channel, item.code, item.reason, item.exclude)
        return PlainTextResponse("Published\n", headers={"cache-control": "no-store"})

    return [Route(path, answering(publish, count), methods=["POST"]) for path in GRIP_PATHS]
