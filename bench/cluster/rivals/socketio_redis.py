"""python-socketio with AsyncRedisManager on uvicorn (uvloop, websockets, no compression).

What a client sends as the event "publish" goes with `emit` to a room, in which all clients are.
"""

from __future__ import annotations

import socket
import sys
from typing import Any, Final

from bench.cluster.rivals.cluster import python_cluster
from gateway.bench.runs import Subscribing

# A client connects to the default namespace ("40") and is told so ("40{...").
HOW: Final = Subscribing(
    subscribe="40", confirmation='40{"sid"', publish='42["publish","{payload}"]', join="40"
)
PATH: Final = "/socket.io/?EIO=4&transport=websocket"
CLUSTERS: Final = (
    python_cluster(
        "python-socketio",
        "bench.cluster.rivals.socketio_redis",
        *("socketio", "redis", "uvicorn", "websockets", "uvloop"),
        how=HOW,
        path=PATH,
    ),
)


async def serve(redis_url: str) -> None:
    """Listen, print the port, and serve for ever."""
    import socketio
    import uvicorn

    manager = socketio.AsyncRedisManager(redis_url)
    server = socketio.AsyncServer(async_mode="asgi", http_compression=False, client_manager=manager)

    @server.event  # type: ignore[untyped-decorator]
    async def connect(client: str, environ: Any, auth: Any) -> None:
        await server.enter_room(client, "room")

    @server.event  # type: ignore[untyped-decorator]
    async def publish(client: str, data: str) -> None:
        await server.emit("message", data, room="room")

    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        socketio.ASGIApp(server),
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

    uvloop.run(serve(sys.argv[1]))
