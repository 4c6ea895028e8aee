"""python-socketio on uvicorn (uvloop, websockets, no compression); fan-out by its own `emit` to a room.

It speaks Socket.IO inside WebSocket, so there is no bare echo; what is published comes as a POST, as an app
service would send it.
"""

from __future__ import annotations

import socket
from typing import Any

from bench.rivals.rival import ROOM, python_rival
from gateway.bench.runs import Subscribing


def _how(base_url: str) -> Subscribing:
    """A client connects to the default namespace ("40") and is told so ("40{...")."""
    url = f"{base_url.replace('ws:', 'http:')}/publish"
    return Subscribing(subscribe="40", confirmation='40{"sid"', publish=ROOM, publish_url=url)


RIVAL = python_rival(
    "python-socketio",
    __file__,
    *("socketio", "starlette", "uvicorn", "websockets", "uvloop"),
    scenarios=("fanout", "connect", "idle"),
    path="/socket.io/?EIO=4&transport=websocket",
    how=_how,
)


async def serve() -> None:
    """Listen, print the port, and serve for ever."""
    import socketio
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    server = socketio.AsyncServer(async_mode="asgi", http_compression=False)

    @server.event  # type: ignore[untyped-decorator]
    async def connect(client: str, environ: Any, auth: Any) -> None:
        await server.enter_room(client, "room")

    async def publish(request: Request) -> Response:
        await server.emit("message", (await request.body()).decode(), room="room")
        return Response()

    app = socketio.ASGIApp(server, Starlette(routes=[Route("/publish", publish, methods=["POST"])]))
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="critical",
        lifespan="off",
    )
    print(listener.getsockname()[1], flush=True)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
