"""The internal port, made from the configuration: API, health, metrics and demo page of one gateway.

It knows nothing of the edge.  What a configuration that is read again can change, changes for the
requests that come after it.
"""

from __future__ import annotations

import socket
from importlib.metadata import version
from typing import Final

from .config import Config
from .http.app import CurrentApp, build_app
from .http.gateway_view import GatewayView, HttpOptions
from .http.metrics import Metrics
from .http.server import HttpServer

VERSION: Final = version("ringgate")


class InternalPort:
    """The HTTP server of one gateway on a listening socket.  `ws_port` is the edge's."""

    def __init__(self, config: Config, view: GatewayView, sock: socket.socket, *, ws_port: int) -> None:
        self._view = view
        self._ws_port = ws_port
        self._metrics = Metrics(view, self._options(config))
        self._app = CurrentApp(build_app(view, self._options(config), self._metrics))
        self._server = HttpServer(self._app, sock)

    async def start(self) -> None:
        """Accept connections from now on."""
        await self._server.start()

    async def stop(self) -> None:
        """Finish the requests in hand, and close."""
        await self._server.stop()

    def reload(self, config: Config) -> None:
        """Ask for the keys, and allow the sizes, of another configuration from now on."""
        self._app.app = build_app(self._view, self._options(config), self._metrics)

    def _options(self, config: Config) -> HttpOptions:
        return HttpOptions(
            version=VERSION,
            keys=tuple(key.reveal() for key in config.api.keys),
            listen_host=config.server.api_listen.host,
            max_body_bytes=config.api.max_body_bytes,
            hosts=config.api.hosts,
            ws_port=self._ws_port,
            ws_tls=bool(config.server.tls_cert),
        )
