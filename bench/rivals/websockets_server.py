"""The `websockets` library on uvloop, without compression; fan-out by its own `broadcast`."""

from __future__ import annotations

import asyncio
import logging

from bench.rivals.rival import python_rival

RIVAL = python_rival("websockets", __file__, "websockets", "uvloop")


async def serve() -> None:
    """Listen, print the port, and serve for ever."""
    from websockets.asyncio.server import ServerConnection, broadcast
    from websockets.asyncio.server import serve as listen

    everybody: set[ServerConnection] = set()

    async def handler(connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else ""
        if path == "/echo":
            async for message in connection:
                await connection.send(message)
        elif path == "/publish":
            async for message in connection:
                broadcast(everybody, message)
        else:
            everybody.add(connection)
            try:
                await connection.wait_closed()
            finally:
                everybody.discard(connection)

    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    options = {"compression": None, "max_size": None, "ping_interval": None, "backlog": 4096}
    async with listen(handler, "127.0.0.1", 0, **options) as server:  # type: ignore[arg-type]
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
