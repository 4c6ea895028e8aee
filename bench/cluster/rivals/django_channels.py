"""Django Channels on uvicorn (uvloop, websockets, no compression) with channels_redis: both of its layers.

A consumer joins a group and sends what its client publishes to it with `group_send`.  The pub/sub layer is
newer and made for groups; the core layer, the documented default, keeps a list in Redis for every channel
and drops messages above its capacity, which is raised here from 100 to 10,000.
"""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from typing import Any, Final

from bench.cluster.rivals.cluster import python_cluster
from gateway.bench.runs import Subscribing

HOW: Final = Subscribing(subscribe="join", confirmation="joined", publish="{payload}", join="join")
_MODULE: Final = "bench.cluster.rivals.django_channels"
_NEEDS: Final = ("django", "channels", "channels_redis", "uvicorn", "websockets", "uvloop")
_PUBSUB = python_cluster("Django Channels, pub/sub layer", _MODULE, *_NEEDS, how=HOW)
_CORE = python_cluster("Django Channels, core layer", _MODULE, *_NEEDS, how=HOW)
CLUSTERS: Final = (
    replace(_PUBSUB, command=lambda url: [*_PUBSUB.command(url), "pubsub.RedisPubSubChannelLayer"]),
    replace(_CORE, command=lambda url: [*_CORE.command(url), "core.RedisChannelLayer"]),
)


def application(redis_url: str, layer: str) -> Any:
    """Return the ASGI application."""
    from django.conf import settings

    options: dict[str, Any] = {"hosts": [redis_url]}
    if layer.startswith("core."):
        options["capacity"] = 10_000
    layers = {"default": {"BACKEND": f"channels_redis.{layer}", "CONFIG": options}}
    settings.configure(CHANNEL_LAYERS=layers, SECRET_KEY="bench", USE_TZ=True)  # noqa: S106 - nothing is signed
    import django

    django.setup()
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.urls import path

    class Consumer(AsyncWebsocketConsumer):  # type: ignore[misc]
        groups = ("room",)

        async def receive(self, text_data: str = "", bytes_data: bytes = b"") -> None:
            if text_data == "join":
                await self.send(text_data="joined")
            else:
                await self.channel_layer.group_send("room", {"type": "chat.message", "text": text_data})

        async def chat_message(self, event: dict[str, str]) -> None:
            await self.send(text_data=event["text"])

    return ProtocolTypeRouter({"websocket": URLRouter([path("ws", Consumer.as_asgi())])})


async def serve(redis_url: str, layer: str) -> None:
    """Listen, print the port, and serve for ever."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        application(redis_url, layer),
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

    uvloop.run(serve(*sys.argv[1:]))
