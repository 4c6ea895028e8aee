"""The few lines that `ringgate serve` prints once it listens: where, and what is not safe.

Pure functions of the configuration, with the addresses in use; printing is the caller's.
"""

from __future__ import annotations

from typing import Final

from .config.broker_url import shown_broker
from .config.endpoints import Endpoint, tcp_addresses
from .config.kinds import Address
from .config.schema import Config

_SHORT_KEY_CHARS: Final = 16
_DEVELOPMENT: Final = (
    "development mode: anyone who connects may subscribe and publish (no authentication is configured)"
)


def render_banner(config: Config, *, version: str) -> str:
    """Return the banner, ending in a line feed.  `config` has the addresses really in use."""
    server = config.server
    clients = [_place("wss" if server.tls_cert else "ws", address) for address in server.listen]
    services = [_place("http", address) for address in server.api_listen]
    in_browser = [_place("http", address) for address in tcp_addresses(server.api_listen)]
    with_demo = in_browser if tcp_addresses(server.listen) else []
    lines = [
        f"Ringgate {version}",
        *(f"  clients    {place}/ws" for place in clients),
        *(f"  echo       {place}/echo" for place in clients if server.echo),
        *(f"  services   {place}/api/publish" for place in services),
        *(f"  demo       {place}/demo" for place in with_demo),
        f"  broker     {shown_broker(server.broker)}",
        *([f"  workers    {server.workers}"] if server.workers > 1 else []),
        *([f"  clients    need a token ({_keys(config)})"] if config.auth.configured else []),
        *([f"  clients    are let in by {config.hooks.connect}"] if config.hooks.connect else []),
        *(f"  insecure   {warning}" for warning in insecurities(config)),
    ]
    return "\n".join(lines) + "\n"


def insecurities(config: Config) -> list[str]:
    """Return what is not safe about a configuration, a clause each, the gravest first."""
    return [
        *_open_ports(config),
        *([] if config.authenticates else [_DEVELOPMENT]),
        *([] if config.every_api_key else ["no api.keys: whoever reaches the internal port may use it"]),
        *_weak_settings(config),
    ]


def _open_ports(config: Config) -> list[str]:
    edge, api = (_open_to_others(of) for of in (config.server.listen, config.server.api_listen))
    found = []
    if edge and not config.authenticates:
        found.append(f"the client port is open to the network ({edge}) without authentication")
    if api and not config.every_api_key:
        found.append(f"the internal port is open to the network ({api}) without a key")
    return found


def _open_to_others(endpoints: tuple[Endpoint, ...]) -> str:
    return ", ".join(str(endpoint) for endpoint in endpoints if not endpoint.is_loopback)


def _keys(config: Config) -> str:
    algorithms = list(dict.fromkeys(key.algorithm for key in config.auth.keys))
    return ", ".join([*algorithms, *config.auth.jwks])


def _weak_settings(config: Config) -> list[str]:
    found = []
    if config.auth.configured and config.auth.anonymous:
        found.append("auth.anonymous: clients without a token are let in")
    if "*" in config.websocket.origins:
        found.append('websocket.origins is "*": pages of any site may connect')
    if any(len(key.reveal()) < _SHORT_KEY_CHARS for key in config.every_api_key):
        found.append(f"an api key is shorter than {_SHORT_KEY_CHARS} characters")
    return found


def _place(scheme: str, endpoint: Endpoint) -> str:
    """Return a URL that works on this machine: an address that means "all" is shown as loopback.

    Of a Unix socket, which has none, it is the path, and a colon before what is asked for.
    """
    if not isinstance(endpoint, Address):
        return f"{endpoint}:"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host)  # noqa: S104
    return f"{scheme}://{Address(host, endpoint.port)}"
