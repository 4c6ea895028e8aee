"""Keys that verify tokens, each bound to one algorithm.

It knows key material and algorithms, but neither claims nor where keys come from.  How it works: a key is
imported as what its algorithm needs, and never as anything else; it is used only for tokens that name
this very algorithm (RFC 8725 section 3.1).  So the PEM of an RSA key is no HMAC secret, and `none` is no
algorithm at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import CompactSignature, JWSRegistry, validate_compact

from ..errors import GatewayError
from .algorithms import ALGORITHMS, ELLIPTIC, RSA, SYMMETRIC

LEAST_RSA_BITS: Final = 2048
_MAX_SIGNATURE_BYTES: Final = 2048  # in base64; an RSA key of 8192 bits makes 1366
_MAX_HEADER_BYTES: Final = 4096

_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 section 3.2
_CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "Ed25519": "Ed25519"}


class KeyRefusedError(GatewayError):
    """Key material that does not fit its algorithm.  The text quotes nothing of it."""


class _Registry(JWSRegistry):
    """One algorithm, without a warning that EdDSA has a newer name: many issuers know only the old."""

    max_header_length = _MAX_HEADER_BYTES
    max_signature_length = _MAX_SIGNATURE_BYTES

    def get_alg(self, name: str) -> Any:
        """Return what carries out the algorithm.  Raises UnsupportedAlgorithmError for any other."""
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError("another algorithm")
        return self.algorithms[name]


SIZES: Final = _Registry(strict_check_header=False)
"""Bounds of the parts of a token, for taking it apart."""


class VerifyKey:
    """A key with its algorithm and its id ("" where it has none)."""

    __slots__ = ("algorithm", "kid", "material", "registry")

    def __init__(self, algorithm: str, kid: str, material: Key) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.material = material
        self.registry = _Registry(algorithms=(algorithm,), strict_check_header=False)

    @property
    def signs(self) -> bool:
        """Whether tokens can be made with it: a secret or a private key."""
        return self.material.is_private

    def verifies(self, token: CompactSignature) -> bool:
        """Tell whether the signature of a token is this key's.  False also for one that makes no sense."""
        try:
            return validate_compact(token, self.material, registry=self.registry)
        except (JoseError, ValueError, TypeError):
            return False


class KeyRing(NamedTuple):
    """Keys by id.  Those without an id can verify any token that names no id, or one that is not known."""

    by_kid: Mapping[str, tuple[VerifyKey, ...]]

    def candidates(self, kid: str) -> tuple[VerifyKey, ...]:
        """Return the keys that a token with this key id may have been signed with, of any algorithm."""
        if kid and kid in self.by_kid:
            return self.by_kid[kid]
        if kid:
            return self.by_kid.get("", ())
        return tuple(key for keys in self.by_kid.values() for key in keys)


def make_ring(keys: Iterable[VerifyKey]) -> KeyRing:
    """Return keys by their ids, in order."""
    by_kid: dict[str, tuple[VerifyKey, ...]] = {}
    for key in keys:
        by_kid[key.kid] = (*by_kid.get(key.kid, ()), key)
    return KeyRing(by_kid)


def import_key(algorithm: str, kid: str, data: bytes | dict[str, Any]) -> VerifyKey:
    """Return the key in a secret's bytes, a PEM text or a JWK.

    Raises KeyRefusedError where that is not a key for `algorithm`, or too weak a one.
    """
    if algorithm not in ALGORITHMS:
        raise KeyRefusedError(f"the algorithms are {', '.join(ALGORITHMS)}")
    kind = _kind_of(algorithm)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what joserfc only warns of is refused here
            material: Key = kind.import_key(data)
    except (JoseError, ValueError, TypeError, KeyError, Warning):
        raise KeyRefusedError(f"{algorithm} needs {_NEEDS[kind]}") from None
    _check_strength(algorithm, material)
    return VerifyKey(algorithm, kid, material)


def _kind_of(algorithm: str) -> type[OctKey] | type[RSAKey] | type[ECKey] | type[OKPKey]:
    if algorithm in SYMMETRIC:
        return OctKey
    if algorithm in RSA:
        return RSAKey
    return ECKey if algorithm in ELLIPTIC else OKPKey


_NEEDS: Final[Mapping[type, str]] = {
    OctKey: "a secret, and a key in PEM is none",
    RSAKey: "an RSA key",
    ECKey: "a key on an elliptic curve",
    OKPKey: "an Ed25519 or Ed448 key",
}


def _check_strength(algorithm: str, material: Key) -> None:
    if isinstance(material, OctKey):
        least = _SECRET_BYTES[algorithm]
        if len(material.raw_value) < least:
            raise KeyRefusedError(f"{algorithm} needs a secret of at least {least} bytes")
    elif isinstance(material, RSAKey):
        if material.raw_value.key_size < LEAST_RSA_BITS:
            raise KeyRefusedError(f"{algorithm} needs an RSA key of at least {LEAST_RSA_BITS} bits")
    elif material.curve_name not in _curves(algorithm):
        raise KeyRefusedError(f"{algorithm} needs a key on {' or '.join(_curves(algorithm))}")


def _curves(algorithm: str) -> tuple[str, ...]:
    return ("Ed25519", "Ed448") if algorithm == "EdDSA" else (_CURVES[algorithm],)


def algorithms_of_jwk(jwk: Mapping[str, object]) -> tuple[str, ...]:
    """Return the algorithms that a public key of a JWK set may be used for (RFC 7517 section 4).

    That which it names; else those that fit its type and curve.  None for a key that is not for signatures,
    and for a secret, which has no place in a set that is published.
    """
    if jwk.get("use", "sig") != "sig":
        return ()
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return ()
    fitting = _fitting(jwk.get("kty"), jwk.get("crv"))
    named = jwk.get("alg")
    return fitting if named is None else tuple(a for a in fitting if a == named)


def _fitting(kty: object, crv: object) -> tuple[str, ...]:
    if kty == "RSA":
        return RSA
    if kty == "EC":
        return tuple(a for a in ELLIPTIC if _CURVES[a] == crv)
    if kty == "OKP" and crv in {"Ed25519", "Ed448"}:
        return ("EdDSA", "Ed25519") if crv == "Ed25519" else ("EdDSA",)
    return ()
