"""Makes tokens, for development and tests: production has an issuer of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from joserfc.jws import serialize_compact

from ..errors import UsageError
from .keys import VerifyKey


def mint(key: VerifyKey, claims: Mapping[str, Any], *, header: Mapping[str, Any] | None = None) -> str:
    """Return a signed token.  Raises UsageError when the key can only verify."""
    if not key.signs:
        raise UsageError("a public key cannot sign")
    kid = {"kid": key.kid} if key.kid else {}
    protected = {"alg": key.algorithm, "typ": "JWT", **kid, **(header or {})}
    return serialize_compact(protected, msgspec.json.encode(claims), key.material, registry=key.registry)
