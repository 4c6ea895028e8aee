"""API keys: which of them a request shows, found in constant time.

It knows their digests only: a key is compared by its SHA-256, so configurations need not hold the key itself
(`sha256:` and 64 hexadecimal digits).  What always holds: every key is compared with, whichever fits, and the
time of that depends on their number alone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from ..auth.grant import Pattern
from ..errors import CommandError
from .gateway_view import HttpOptions
from .key_hashes import digest_of
from .scopes import ApiCaller, Scope, merged

_MAX_KEY_CHARS: Final = 4096


class ApiKeys:
    """The keys of one gateway."""

    def __init__(self, options: HttpOptions) -> None:
        by_digest: dict[bytes, list[ApiCaller]] = {}
        for caller, keys in _configured(options):
            for key in keys:
                by_digest.setdefault(digest_of(key), []).append(caller)
        self._callers = tuple((digest, merged(callers)) for digest, callers in by_digest.items())

    def __bool__(self) -> bool:
        return bool(self._callers)

    def caller(self, authorization: str) -> ApiCaller:
        """Return whose key an Authorization header shows.  Raises CommandError `unauthorized`."""
        scheme, _, given = authorization.partition(" ")
        secret = given.strip().encode("latin-1")
        if not secret or scheme.lower() != "bearer" or len(secret) > _MAX_KEY_CHARS:
            raise CommandError("unauthorized", "an API key is needed: Authorization: Bearer <key>")
        shown = hashlib.sha256(secret).digest()
        found = None
        for digest, caller in self._callers:
            if hmac.compare_digest(digest, shown):
                found = caller
        if found is None:
            raise CommandError("unauthorized", "the API key is not valid")
        return found


def _configured(options: HttpOptions) -> Iterable[tuple[ApiCaller, tuple[str, ...]]]:
    lists = (
        ("api.keys", Scope.ADMIN, options.keys),
        ("api.publish_keys", Scope.PUBLISH, options.publish_keys),
        ("api.read_keys", Scope.READ, options.read_keys),
    )
    for name, scope, keys in lists:
        yield ApiCaller(name, frozenset({scope})), keys
    for named in options.named_keys:
        patterns = tuple(map(Pattern, named.channels))
        yield ApiCaller(named.name, frozenset(map(Scope, named.scopes)), patterns), named.keys
