"""The few lines that `ringgate serve` prints once it listens: where, and what is not safe.

Pure functions of the configuration and the addresses in use; printing is the caller's.
"""

from __future__ import annotations

from typing import Final

from .config.broker_url import shown_broker
from .config.kinds import Address
from .config.schema import Config

_SHORT_KEY_CHARS: Final = 16


def render_banner(config: Config, *, version: str, edge: Address, api: Address) -> str:
    """Return the banner, ending in a line feed.  `edge` and `api` are the addresses really in use."""
    scheme = "wss" if config.server.tls_cert else "ws"
    lines = [
        f"Ringgate {version}",
        f"  clients    {_url(scheme, edge)}/ws",
        *([f"  echo       {_url(scheme, edge)}/echo"] if config.server.echo else []),
        f"  services   {_url('http', api)}/api/publish",
        f"  demo       {_url('http', api)}/demo",
        f"  broker     {shown_broker(config.server.broker)}",
        *([f"  workers    {config.server.workers}"] if config.server.workers > 1 else []),
        *(f"  insecure   {warning}" for warning in insecurities(config)),
    ]
    return "\n".join(lines) + "\n"


def insecurities(config: Config) -> list[str]:
    """Return what is not safe about a configuration, a clause each, the gravest first."""
    return [
        *_open_ports(config),
        "development mode: anyone who connects may subscribe and publish (no authentication is configured)",
        *([] if config.api.keys else ["no api.keys: whoever reaches the internal port may use it"]),
        *_weak_settings(config),
    ]


def _open_ports(config: Config) -> list[str]:
    found = []
    if not config.server.listen.is_loopback:
        found.append(
            f"the client port is open to the network ({config.server.listen}) without authentication"
        )
    if not config.server.api_listen.is_loopback and not config.api.keys:
        found.append(f"the internal port is open to the network ({config.server.api_listen}) without a key")
    return found


def _weak_settings(config: Config) -> list[str]:
    found = []
    if "*" in config.websocket.origins:
        found.append('websocket.origins is "*": pages of any site may connect')
    if any(len(key.reveal()) < _SHORT_KEY_CHARS for key in config.api.keys):
        found.append(f"an api key is shorter than {_SHORT_KEY_CHARS} characters")
    return found


def _url(scheme: str, address: Address) -> str:
    """Return a URL that works on this machine: an address that means "all" is shown as loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return f"{scheme}://{Address(host, address.port)}"
