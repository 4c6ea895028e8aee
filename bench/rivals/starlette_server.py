"""Starlette on uvicorn (uvloop, websockets, no compression); fan-out by a `send_text` for each connection."""

from __future__ import annotations

import asyncio
import socket

from bench.rivals.rival import python_rival

RIVAL = python_rival("Starlette on uvicorn", __file__, "starlette", "uvicorn", "websockets", "uvloop")


async def serve() -> None:
    """Listen, print the port, and serve for ever."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    everybody: set[WebSocket] = set()

    async def echo(client: WebSocket) -> None:
        await client.accept()
        async for message in client.iter_text():
            await client.send_text(message)

    async def publish(client: WebSocket) -> None:
        await client.accept()
        async for message in client.iter_text():
            for subscriber in tuple(everybody):
                await subscriber.send_text(message)

    async def subscribe(client: WebSocket) -> None:
        await client.accept()
        everybody.add(client)
        try:
            async for _ in client.iter_text():
                pass
        finally:
            everybody.discard(client)

    routes = [WebSocketRoute(f"/{place.__name__}", place) for place in (echo, publish, subscribe)]
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        Starlette(routes=routes),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        log_level="critical",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    asyncio.get_running_loop().call_soon(print, listener.getsockname()[1])
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    import sys

    import uvloop

    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    uvloop.run(serve())
