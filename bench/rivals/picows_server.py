"""picows on uvloop; fan-out by a `send` for each connection."""

from __future__ import annotations

import asyncio

from bench.rivals.rival import python_rival

RIVAL = python_rival("picows", __file__, "picows", "uvloop")


async def serve() -> None:
    """Listen, print the port, and serve for ever."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    everybody: set[WSTransport] = set()

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
            else:
                transport.send(frame.msg_type, frame.get_payload_as_memoryview())

    class Publisher(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            message = frame.get_payload_as_bytes()
            for subscriber in everybody:
                subscriber.send(WSMsgType.TEXT, message)

    class Subscriber(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            everybody.add(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            everybody.discard(transport)

    listeners: dict[bytes, type[WSListener]] = {b"/echo": Echo, b"/publish": Publisher}

    def factory(request: WSUpgradeRequest) -> WSListener:
        return listeners.get(request.path, Subscriber)()

    server = await ws_create_server(factory, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
