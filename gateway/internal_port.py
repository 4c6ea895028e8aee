"""The internal port, made from the configuration: API, health, metrics and demo page of one gateway.

It knows nothing of the edge but its ports.  What a configuration that is read again can change, changes for
the requests that come after it.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from .config import Config
from .config.endpoints import tcp_addresses
from .http.app import CurrentApp, build_app
from .http.gateway_view import GatewayView, GripOptions, HttpOptions, NamedKeys
from .http.metrics import Metrics
from .http.server import HttpServer
from .listeners import Listeners

VERSION: Final = version("ringgate")


class InternalPort:
    """The HTTP server of one gateway, on the sockets that its listeners have for services."""

    def __init__(self, config: Config, view: GatewayView, listeners: Listeners) -> None:
        self._view = view
        self._listeners = listeners
        self._metrics = Metrics(view, self._options(config))
        self._app = CurrentApp(build_app(view, self._options(config), self._metrics))
        self._server = HttpServer(self._app, *(listener.sock for listener in listeners.api))

    async def start(self) -> None:
        """Accept connections from now on."""
        await self._server.start()

    async def stop(self) -> None:
        """Finish the requests in hand, and close."""
        self._listeners.unlink_api()
        await self._server.stop()

    def reload(self, config: Config) -> None:
        """Ask for the keys, and allow the sizes, of another configuration from now on."""
        self._app.app = build_app(self._view, self._options(config), self._metrics)

    def _options(self, config: Config) -> HttpOptions:
        hosts = [address.host for address in tcp_addresses(self._listeners.api_addresses)]
        # The demo page can tell a browser of a TCP port only.
        ws_ports = self._listeners.edge_ports
        return HttpOptions(
            version=VERSION,
            keys=tuple(key.reveal() for key in config.api.keys),
            publish_keys=tuple(key.reveal() for key in config.api.publish_keys),
            read_keys=tuple(key.reveal() for key in config.api.read_keys),
            named_keys=tuple(
                NamedKeys(name, tuple(key.reveal() for key in named.keys), named.scopes, named.channels)
                for name, named in config.api_keys.items()
            ),
            listen_hosts=tuple(hosts),
            max_body_bytes=config.api.max_body_bytes,
            hosts=config.api.hosts,
            demo=bool(ws_ports),
            ws_port=ws_ports[0] if ws_ports else 0,
            ws_tls=bool(config.server.tls_cert),
            login=config.authenticates,
            grip=_grip(config),
        )


def _grip(config: Config) -> GripOptions | None:
    if not config.speaks_grip:
        return None
    from .grip_parts import publishing  # it brings cryptography, of which others need nothing

    return publishing(config)
