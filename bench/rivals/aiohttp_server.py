"""aiohttp on uvloop, without compression; fan-out by a `send_str` for each connection."""

from __future__ import annotations

import asyncio

from bench.rivals.rival import python_rival

RIVAL = python_rival("aiohttp", __file__, "aiohttp", "uvloop")


async def serve() -> None:
    """Listen, print the port, and serve for ever."""
    from aiohttp import WSMsgType, web

    everybody: set[web.WebSocketResponse] = set()

    async def opened(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        return socket

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = await opened(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    async def publish(request: web.Request) -> web.WebSocketResponse:
        socket = await opened(request)
        async for message in socket:
            for subscriber in tuple(everybody):
                await subscriber.send_str(message.data)
        return socket

    async def subscribe(request: web.Request) -> web.WebSocketResponse:
        socket = await opened(request)
        everybody.add(socket)
        try:
            async for _ in socket:
                pass
        finally:
            everybody.discard(socket)
        return socket

    app = web.Application()
    app.router.add_get("/echo", echo)
    app.router.add_get("/publish", publish)
    app.router.add_get("/subscribe", subscribe)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
