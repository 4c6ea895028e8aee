"""The names of the algorithms that tokens can be signed with (RFC 7518 section 3, RFC 8037, RFC 9864)."""

from __future__ import annotations

from typing import Final

SYMMETRIC: Final = ("HS256", "HS384", "HS512")
RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ELLIPTIC: Final = ("ES256", "ES384", "ES512")
EDWARDS: Final = ("EdDSA", "Ed25519")
ASYMMETRIC: Final = (*RSA, *ELLIPTIC, *EDWARDS)
ALGORITHMS: Final = (*SYMMETRIC, *ASYMMETRIC)

MAX_KID_CHARS: Final = 256
"""Bound of a key's id."""
