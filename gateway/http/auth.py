"""Who may call: API keys where they are configured, and a guard against web pages where none are.

A pure ASGI wrapper around the whole application; knows nothing of what is asked for, only paths
and headers.  With keys, everything needs one of them but health, metrics, OpenAPI and demo; whether it is for
what is asked is looked at where that is known (`permitting`).  Where GRIP is spoken, its path for publishers
takes a token made with a shared secret as well, and needs that or a key.
Without keys the port is on loopback and trusts every local program, but not the web pages
that a local browser shows: a request with an Origin of another host (cross-site request
forgery), or called by a foreign name (DNS rebinding), is refused on every path.  What says HTTP/1.0 and names
no host at all (a load balancer's health check) is no browser's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import CommandError
from .answers import HttpError, error_response
from .gateway_view import HttpOptions
from .keys import ApiKeys
from .scopes import ApiCaller

_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::([0-9]{1,5}))?\Z")
_ORIGIN: Final = re.compile(r"https?://([^/?#@\\\s]+)\Z")
CALLER: Final = "ringgate.caller"
"""Under what name a request's scope has who asks."""
_PUBLIC: Final = frozenset({"/health/live", "/health/ready", "/metrics", "/openapi.json", "/asyncapi.json"})
_DEMO: Final = "/demo"

GRIP_PATHS: Final = ("/publish", "/publish/")  # where libraries of GRIP publish


def is_public(path: str) -> bool:
    """Tell whether a path needs no key."""
    return path in _PUBLIC or path == _DEMO or path.startswith(f"{_DEMO}/")


class Guard:
    """ASGI wrapper that lets a request through, or answers it with 400, 401 or 403."""

    def __init__(
        self,
        app: ASGIApp,
        options: HttpOptions,
        count: Callable[[str, str], None] = lambda name, outcome: None,
    ) -> None:
        self._app = app
        self._keys = ApiKeys(options)
        self._count = count
        self._hosts = frozenset(
            host.lower().strip("[]") for host in ("localhost", *options.listen_hosts, *options.hosts) if host
        )
        self._verifies = None if options.grip is None else options.grip.verifies
        self._any_host = "*" in options.hosts
        self._any_address = not all(map(is_loopback, options.listen_hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; scopes other than HTTP are refused by never being answered."""
        if scope["type"] != "http":
            return
        try:
            self._check(scope)
        except CommandError as error:
            await error_response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        publishes = scope["path"] in GRIP_PATHS
        if publishes and self._verifies is not None and self._shows_token(headers):
            return
        if self._keys:
            if not is_public(scope["path"]):
                scope[CALLER] = self._caller(_only(headers, b"authorization"))
            return
        if publishes and self._verifies is not None:
            raise CommandError("unauthorized", "a token made with one of grip.keys is needed")
        host = _only(headers, b"host").lower()
        named = any(name == b"host" for name, _ in headers)
        if named or scope["http_version"] != "1.0":  # RFC 9112 section 3.2 asks for Host since HTTP/1.1
            self._check_host(host)
        origin = _only(headers, b"origin").lower()
        if origin and not same_host(origin, host):
            raise CommandError("permission_denied", "web pages of another origin may not call the gateway")

    def _shows_token(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Tell whether a publisher of GRIP shows a good token."""
        scheme, _, token = _only(headers, b"authorization").partition(" ")
        return scheme.lower() == "bearer" and self._verifies is not None and self._verifies(token.strip())

    def _caller(self, authorization: str) -> ApiCaller:
        try:
            caller = self._keys.caller(authorization)
        except CommandError:
            self._count("", "unauthorized")
            raise
        self._count(caller.name, "known")
        return caller

    def _check_host(self, host: str) -> None:
        """Refuse a name that an attacker's DNS could have pointed at this machine."""
        name = host_name(host)
        if not name:
            raise HttpError(400, "bad_request", "exactly one valid Host header is needed")
        if self._any_host or name in self._hosts or is_loopback(name):
            return
        # A rebound name is never an address: where we listen widely, any address may be ours.
        if not (self._any_address and _is_address(name)):
            raise CommandError("permission_denied", "the gateway is not called by this host name")


def host_name(host: str) -> str:
    """Return the host of a `Host` header without port and brackets, or "" when it is malformed."""
    match = _HOST.match(host)
    return match[1].strip("[]") if match else ""


def same_host(origin: str, host: str) -> bool:
    """Tell whether an Origin header (RFC 6454 section 7) names the same host and port as a Host header."""
    match = _ORIGIN.match(origin)
    if match is None:
        return False
    port = ":443" if origin.startswith("https:") else ":80"
    return match[1].removesuffix(port) == host.removesuffix(port)


def is_loopback(host: str) -> bool:
    """Tell whether `host` is `localhost` or a loopback address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _only(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    """Return a header's value, "" when it is absent.  Raises CommandError when it is there twice."""
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        raise HttpError(400, "bad_request", f"the header {name.decode()} is given twice")
    return values[0].decode("latin-1").strip() if values else ""
