"""Verifies tokens: JWTs in the compact form (RFC 7519), signed by one of the configured keys.

It joins keys, claims and revocations, and knows no sessions and no HTTP requests.  How it works: the header
says which key; the key says which algorithm, and the header has to say the same; then the signature; then
the claims.  Only what a signature covers is believed.  A token that was verified is remembered by its
digest, since a client that comes back shows the same one, and of a remembered one only time and revocation
are looked at.

What always holds: no token is remembered that was not verified, nor longer than it holds, nor after the keys
changed; nothing of a token is in a log line or an exception but its key's id and the names of claims.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec
from joserfc.errors import JoseError
from joserfc.jws import CompactSignature, extract_compact

from .algorithms import MAX_KID_CHARS
from .claims import ClaimRules, channel_grant_of, check_claims, check_time, grant_of, read_claims
from .grant import ChannelGrant, Grant
from .jwks import KeySet
from .keys import SIZES, KeyRing, VerifyKey, make_ring
from .refusals import KeysUnavailableError, TokenRefusedError
from .revocations import Revocations

MAX_TOKEN_BYTES: Final = 8 * 1024
_MOST_TRIES: Final = 8  # keys that are tried for a token that names none
_TYPES: Final = frozenset({"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"})

_log = logging.getLogger("gateway.auth")

G = TypeVar("G", Grant, ChannelGrant)


class VerifierOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`cache_size` is the most tokens that are remembered."""

    rules: ClaimRules = ClaimRules()
    cache_size: int = 10_000


class _UnknownKeyError(TokenRefusedError):
    """No key is known by this id: a JWK set may have it by now."""

    def __init__(self) -> None:
        super().__init__("unknown_key", "no key that is known could have signed it")


class TokenVerifier:
    """Verifies tokens by configured keys and by JWK sets.  `now_s` is seconds since 1970."""

    def __init__(
        self,
        keys: Iterable[VerifyKey],
        sets: Sequence[KeySet],
        options: VerifierOptions,
        *,
        revocations: Revocations,
        now_s: Callable[[], float],
    ) -> None:
        self.sets = sets
        self.rules = options.rules
        self._own = make_ring(keys)
        self._options = options
        self._revocations = revocations
        self._now_s = now_s
        self._verified: dict[bytes, tuple[Grant, dict[str, Any]]] = {}
        self.remembered = 0  # how often that was enough

    def verify(self, token: str) -> Grant:
        """Return what a client's token grants, by the keys that are known now.  Raises TokenRefusedError."""
        digest = sha256(token.encode("utf-8", "replace")).digest()
        known = self._verified.get(digest)
        if known is not None:
            grant, claims = known
            self.remembered += 1
        else:
            claims = self._verified_claims(token)
            grant = grant_of(claims, self._options.rules)
        check_time(claims, self._options.rules, self._now_s())
        self.check_revoked(grant)
        if known is None:
            self._remember(digest, grant, claims)
        return grant

    def verify_channel(self, token: str) -> ChannelGrant:
        """Return what a token for a single channel grants.  Raises TokenRefusedError."""
        claims = self._verified_claims(token)
        grant = channel_grant_of(claims, self._options.rules)
        check_time(claims, self._options.rules, self._now_s())
        self.check_revoked(grant.grant)
        return grant

    def needs_keys(self, problem: TokenRefusedError) -> bool:
        """Tell whether asking for the JWK sets again could change a refusal."""
        return isinstance(problem, _UnknownKeyError) and any(not s.known or s.may_ask for s in self.sets)

    async def verify_later(self, token: str, verify: Callable[[str], G]) -> G:
        """Ask for the JWK sets again, then verify by `verify`, a method of this object.

        Raises TokenRefusedError, and KeysUnavailableError where there never was a set of some place.
        """
        await self.refresh([s for s in self.sets if s.may_ask])
        try:
            return verify(token)
        except _UnknownKeyError:
            if all(s.known for s in self.sets):
                raise
            raise KeysUnavailableError("no key set could be had yet") from None

    async def refresh(self, sets: Iterable[KeySet]) -> None:
        """Ask for JWK sets; forget verified tokens when keys changed."""
        for keys in sets:
            if await keys.refresh():
                self._verified.clear()

    @property
    def stale(self) -> list[KeySet]:
        """Those sets that should be asked for again, although nobody waits for them."""
        return [s for s in self.sets if s.stale]

    async def stop(self) -> None:
        """Wait for what is under way."""
        for keys in self.sets:
            await keys.stop()

    # -- signatures -------------------------------------------------------------------------

    def _verified_claims(self, token: str) -> dict[str, Any]:
        """Return the checked claims of a token whose signature is good."""
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRefusedError("too_large", f"more than {MAX_TOKEN_BYTES} bytes")
        parsed = _take_apart(token)
        self._check_signature(parsed, parsed.headers())
        claims = read_claims(parsed.payload)
        check_claims(claims, self._options.rules)
        return claims

    def _check_signature(self, token: CompactSignature, header: dict[str, Any]) -> None:
        algorithm, kid = _check_header(header)
        candidates = self._candidates(kid)
        if not candidates:
            raise _UnknownKeyError
        fitting = [key for key in candidates if key.algorithm == algorithm]
        if not fitting:
            raise TokenRefusedError("algorithm", "it is not the one that its key is for")
        if not any(key.verifies(token) for key in fitting[:_MOST_TRIES]):
            if not kid and self.sets:
                raise _UnknownKeyError
            raise TokenRefusedError("signature")

    def _candidates(self, kid: str) -> list[VerifyKey]:
        """Return the keys that may have signed: those that have this id, else configured ones without any."""
        rings: list[KeyRing] = [self._own, *(s.ring for s in self.sets)]
        named = [key for ring in rings for key in ring.by_kid.get(kid, ()) if kid]
        return named or [key for ring in rings for key in ring.candidates(kid)]

    def check_revoked(self, grant: Grant) -> None:
        """Raise TokenRefusedError if a grant was revoked."""
        if self._revocations.revokes(grant):
            raise TokenRefusedError("revoked")

    def _remember(self, digest: bytes, grant: Grant, claims: dict[str, Any]) -> None:
        if len(self._verified) >= self._options.cache_size:
            if not self._options.cache_size:
                return
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = (grant, claims)


def _take_apart(token: str) -> CompactSignature:
    try:
        return extract_compact(token.encode("ascii"), registry=SIZES)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise TokenRefusedError("malformed", "no JWS in the compact form") from None


def _check_header(header: object) -> tuple[str, str]:
    """Return the algorithm and the id of the key that a header names.  Raises TokenRefusedError.

    What a header says about where keys are (`jku`, `jwk`, `x5u`, `x5c`) is not looked at.
    """
    if not isinstance(header, dict):
        raise TokenRefusedError("malformed", "the header is no JSON object")
    if "crit" in header or "b64" in header:
        raise TokenRefusedError("malformed", "it has an extension that must be understood, and is not")
    algorithm, kid, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "")
    if not isinstance(algorithm, str) or not isinstance(kid, str) or not isinstance(kind, str):
        raise TokenRefusedError("malformed", "alg, kid or typ is no text")
    if len(kid) > MAX_KID_CHARS:
        raise TokenRefusedError("malformed", f"kid has more than {MAX_KID_CHARS} characters")
    if kind.lower() not in _TYPES:
        raise TokenRefusedError("purpose", "typ is that of another kind of token")
    return algorithm, kid
