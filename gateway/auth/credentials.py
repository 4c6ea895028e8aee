"""Finds the token in the request of a handshake: header, query parameter or cookie, in this order.

It knows the request's headers and query, and believes nothing of what it finds.  What always holds: no part
of a token is in what it raises.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol
from urllib.parse import parse_qsl

import msgspec

from .refusals import TokenRefusedError

_MOST_FIELDS: Final = 100


class Handshake(Protocol):
    """What is looked at of a request; names of headers are in lower case."""

    query: str

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The first value of each header."""

    @property
    def repeated(self) -> Collection[bytes]:
        """Names of headers that are there more than once."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where a token may be besides the header: in this cookie ("": none), in the query parameter `token`."""

    cookie: str = ""
    query: bool = True


def find_token(request: Handshake, places: Places) -> str:
    """Return the token that a request shows, "" where it shows none.

    Raises TokenRefusedError where it shows several in one place, or an `Authorization` of another kind than
    Bearer (RFC 6750 section 2.1).
    """
    authorization = request.fields.get(b"authorization")
    if authorization is not None:
        if b"authorization" in request.repeated:
            raise TokenRefusedError("malformed", "several Authorization headers")
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise TokenRefusedError("malformed", "the Authorization header is not Bearer and a token")
        return token.strip().decode("latin-1")
    if places.query and request.query:
        token_text = _of_query(request.query)
        if token_text:
            return token_text
    return _of_cookies(request, places.cookie) if places.cookie else ""


def _of_query(query: str) -> str:
    try:
        found = [v for name, v in parse_qsl(query, max_num_fields=_MOST_FIELDS) if name == "token"]
    except ValueError:
        raise TokenRefusedError("malformed", "too many query parameters") from None
    if len(found) > 1:
        raise TokenRefusedError("malformed", "several query parameters token")
    return found[0] if found else ""


def _of_cookies(request: Handshake, name: str) -> str:
    """Return the value of a cookie (RFC 6265 section 4.2)."""
    if b"cookie" in request.repeated:
        raise TokenRefusedError("malformed", "several Cookie headers")
    pairs = request.fields.get(b"cookie", b"").decode("latin-1").split(";")
    found = [
        value.strip().strip('"') for key, _, value in (p.partition("=") for p in pairs) if key.strip() == name
    ]
    if len(found) > 1:
        raise TokenRefusedError("malformed", "the cookie is there more than once")
    return found[0] if found else ""
