"""The shared secrets of GRIP: `Grip-Sig` for services, and the tokens that publishers show.

Both are JWTs by HS256.  It knows keys and claims, nothing of HTTP.  What always holds: a token without an
end (`exp`) is not accepted, nor one that is signed in another way, nor a `Grip-Sig`, which is not secret.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jws import extract_compact

from ..auth.keys import SIZES, VerifyKey, import_key
from ..auth.minting import mint

_PURPOSE: Final = "grip-sig"
_LIVES_S: Final = 3600
_RENEWED_S: Final = 600  # before its end
_LEEWAY_S: Final = 60
_MOST_TOKEN_BYTES: Final = 4096


class GripKeys:
    """Secrets: the first signs, each verifies.  `now_s` is seconds since 1970."""

    def __init__(self, secrets: Sequence[bytes], *, issuer: str, now_s: Callable[[], float]) -> None:
        self._keys: list[VerifyKey] = [import_key("HS256", "", secret) for secret in secrets]
        self._issuer = issuer
        self._now_s = now_s
        self._signature = ""
        self._ends_s = 0.0

    def signature(self) -> str:
        """Return the value of `Grip-Sig`; "" where there is no secret."""
        now_s = self._now_s()
        if self._keys and self._ends_s - now_s < _RENEWED_S:
            self._ends_s = now_s + _LIVES_S
            claims = {"iss": self._issuer, "exp": int(self._ends_s), "purpose": _PURPOSE}
            self._signature = mint(self._keys[0], claims)
        return self._signature

    def verifies(self, token: str) -> bool:
        """Tell whether a publisher's token was made with one of the secrets, and has not ended."""
        if len(token) > _MOST_TOKEN_BYTES:
            return False
        try:
            found = extract_compact(token.encode(), registry=SIZES)
            claims: Any = msgspec.json.decode(found.payload)
        except (JoseError, msgspec.DecodeError, ValueError, TypeError, RecursionError):
            return False
        if found.headers().get("alg") != "HS256" or not any(key.verifies(found) for key in self._keys):
            return False
        if not isinstance(claims, dict) or claims.get("purpose") == _PURPOSE:
            return False
        ends = claims.get("exp")
        if not isinstance(ends, int | float) or isinstance(ends, bool):
            return False
        return self._now_s() < ends + _LEEWAY_S
