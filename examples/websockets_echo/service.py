"""An echo service on the `websockets` library that knows nothing of the gateway: `python service.py`."""

import asyncio
import os

from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    """Say who is there, then return what comes."""
    headers = connection.request.headers if connection.request is not None else {}
    await connection.send(f"hello {headers.get('X-Ringgate-User', 'stranger')}")
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    """Serve until the process ends."""
    async with serve(echo, "127.0.0.1", int(os.environ.get("PORT", "9000"))) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
