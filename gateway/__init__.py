"""Ringgate: a self-hosted WebSocket gateway.

`Gateway` is the whole gateway inside an asyncio program; `ringgate serve` is the same on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .server import Gateway

__all__ = ["Gateway"]


def __getattr__(name: str) -> object:
    # Imported on demand: the command line and the configuration must not wait for the server.
    if name == "Gateway":
        from .server import Gateway

        return Gateway
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
