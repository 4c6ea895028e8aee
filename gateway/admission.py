"""Asking an app service whether a client may come in, and what its answer makes of the client's grant.

It knows requests, grants and the seam to the service, but no sockets and no sessions.  What always holds: a
service is never told a token that the gateway verified itself; what a service grants is held to the same
rules as the claims of a token.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol
from urllib.parse import unquote_plus

import msgspec

from .asking import NOTHING_FORWARDED, Admission
from .auth.claims import ClaimRules, permissions_of
from .auth.grant import Grant


class Handshake(Protocol):
    """What a service may learn of a request; names of headers are in lower case."""

    path: str
    query: str

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The first value of each header."""


def forwarded_of(request: Handshake, names: Collection[str]) -> Mapping[str, str]:
    """Return those headers of a request that a service may see."""
    if not names:
        return NOTHING_FORWARDED
    found = {name: request.fields.get(name.encode()) for name in names}
    return {name: value.decode("latin-1") for name, value in found.items() if value is not None}


def without_token(query: str) -> str:
    """Return a query without its parameters `token`."""
    return "&".join(pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) != "token")


def merged(
    grant: Grant, admission: Admission, rules: ClaimRules, forwarded: Mapping[str, str], now_s: float
) -> Grant:
    """Return a grant with what a service adds; it ends when the first of the two ends.

    Raises TokenRefusedError for claims that make no sense.
    """
    claims = {**grant.claims, **admission.claims}
    ends = [at for at in (grant.expires, float(admission.expires)) if at]
    return msgspec.structs.replace(
        grant,
        authenticated=True,
        user=admission.user or grant.user,
        info=admission.info or grant.info,
        channels=tuple(dict.fromkeys((*grant.channels, *admission.channels))),
        expires=min(ends, default=0.0),
        issued=grant.issued or now_s,
        permissions=permissions_of(claims, rules.permissions),
        claims=claims,
        forwarded=forwarded,
    )
