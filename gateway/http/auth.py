"""Who may call: API keys where they are configured, and a guard against web pages where none are.

A pure ASGI wrapper around the whole application; knows nothing of what is asked for, only paths
and headers.  With keys, `/api/*` needs one of them; health, metrics, OpenAPI and demo do not.
Without keys the port is on loopback and trusts every local program, but not the web pages
that a local browser shows: a request with an Origin of another host (cross-site request
forgery), or called by a foreign name (DNS rebinding), is refused on every path.  What says HTTP/1.0 and names
no host at all (a load balancer's health check) is no browser's.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import CommandError
from .answers import HttpError, error_response
from .gateway_view import HttpOptions

_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::([0-9]{1,5}))?\Z")
_ORIGIN: Final = re.compile(r"https?://([^/?#@\\\s]+)\Z")
_MAX_KEY_CHARS: Final = 4096

_PUBLISH: Final = 1
_READ: Final = 2
_ADMIN: Final = 4
_ALL: Final = _PUBLISH | _READ | _ADMIN
_PUBLISHING: Final = frozenset({"/api/publish", "/api/broadcast", "/api/send", "/api/update"})


class Guard:
    """ASGI wrapper that lets a request through, or answers it with 400, 401 or 403."""

    def __init__(self, app: ASGIApp, options: HttpOptions) -> None:
        self._app = app
        by_scope = ((_ALL, options.keys), (_PUBLISH, options.publish_keys), (_READ, options.read_keys))
        self._keys = tuple((key.encode(), scope) for scope, keys in by_scope for key in keys)
        self._hosts = frozenset(
            host.lower().strip("[]") for host in ("localhost", *options.listen_hosts, *options.hosts) if host
        )
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
        if self._keys:
            if scope["path"].startswith("/api/"):
                self._check_key(_only(headers, b"authorization"), _scope_of(scope))
            return
        host = _only(headers, b"host").lower()
        named = any(name == b"host" for name, _ in headers)
        if named or scope["http_version"] != "1.0":  # RFC 9112 section 3.2 asks for Host since HTTP/1.1
            self._check_host(host)
        origin = _only(headers, b"origin").lower()
        if origin and not same_host(origin, host):
            raise CommandError("permission_denied", "web pages of another origin may not call the gateway")

    def _check_key(self, authorization: str, needed: int) -> None:
        """Compare with every key in constant time, so that time tells nothing about any of them.

        A key that is good for something else is told so (403), since its owner has it anyway.
        """
        scheme, _, given = authorization.partition(" ")
        secret = given.strip().encode("latin-1")
        if not secret or scheme.lower() != "bearer" or len(secret) > _MAX_KEY_CHARS:
            raise CommandError("unauthorized", "an API key is needed: Authorization: Bearer <key>")
        granted = 0
        for key, scope in self._keys:
            granted |= scope * hmac.compare_digest(key, secret)
        if not granted:
            raise CommandError("unauthorized", "the API key is not valid")
        if not granted & needed:
            raise CommandError("permission_denied", "this API key is not for that")

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


def _scope_of(scope: Scope) -> int:
    """Return what a key has to be for: reading is what GET does; a batch can hold anything."""
    if scope["method"] in {"GET", "HEAD"}:
        return _READ
    return _PUBLISH if scope["path"] in _PUBLISHING else _ADMIN


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
