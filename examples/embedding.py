"""A whole gateway inside an asyncio program: every second its clients hear the time."""

import asyncio
import time

from gateway import Gateway


async def main() -> None:
    """Publish until the program is interrupted; the clients are then told to reconnect."""
    async with Gateway({"server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"}}) as gateway:
        print("subscribe to the channel clock at", gateway.ws_url, flush=True)
        while True:
            await gateway.publish("clock", {"time": time.time()})
            await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(main())  # or uvloop.run(main()), for which it is made
