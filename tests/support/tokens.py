"""Keys for tests, and tokens of every kind: good ones, and such as only a forger makes.

`forge` signs whatever it is given, by `cryptography` itself and not by what the gateway verifies with.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.auth.keys import VerifyKey, import_key

NOW = 1_764_000_000
"""The time in tests with a clock of their own, in seconds since 1970."""

SECRET = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
Sign = Callable[[bytes], bytes]

_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_DIGESTS = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
_CURVES: dict[str, ec.EllipticCurve] = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}


@cache
def private(kind: str) -> Private:
    """Return a private key: "rsa", "rsa-other", "rsa-1024", "p-256" to "p-521", "ed25519", "ed448"."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, 1024 if kind.endswith("1024") else 2048)
    if kind.startswith("p-"):
        bits = "512" if kind.startswith("p-521") else kind[2:5]
        return ec.generate_private_key(_CURVES[bits])
    if kind.startswith("ed448"):
        return ed448.Ed448PrivateKey.generate()
    return ed25519.Ed25519PrivateKey.generate()


def private_pem(kind: str) -> bytes:
    return private(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(kind: str) -> bytes:
    return private(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def kind_of(algorithm: str) -> str:
    """Return which private key an algorithm takes."""
    if algorithm.startswith("ES"):
        return {"ES256": "p-256", "ES384": "p-384", "ES512": "p-521"}[algorithm]
    return "ed25519" if algorithm.startswith("Ed") else "rsa"


def signer(algorithm: str, key: str = "", secret: bytes = SECRET) -> Sign:
    """Return what signs by an algorithm, with the key of this kind (see `private`) or the usual one."""
    bits = algorithm[2:]
    if algorithm.startswith("HS"):
        return lambda data: hmac.new(secret, data, _DIGESTS[bits]).digest()
    signing = private(key or kind_of(algorithm))
    if isinstance(signing, rsa.RSAPrivateKey):
        if algorithm.startswith("PS"):
            pad: Any = padding.PSS(padding.MGF1(_HASHES[bits]), _HASHES[bits].digest_size)
        else:
            pad = padding.PKCS1v15()
        return lambda data: signing.sign(data, pad, _HASHES[bits])
    if isinstance(signing, ec.EllipticCurvePrivateKey):
        size = (signing.curve.key_size + 7) // 8

        def sign(data: bytes) -> bytes:
            r, s = decode_dss_signature(signing.sign(data, ec.ECDSA(_HASHES[bits])))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")

        return sign
    return signing.sign


def b64(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: object, payload: object, sign: Sign) -> str:
    """Return a token of a header and a payload, each JSON, or bytes as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signed = ".".join(map(b64, parts))
    return f"{signed}.{b64(sign(signed.encode()))}"


def claims(**more: Any) -> dict[str, Any]:
    """Return good claims of ada, valid for an hour; None takes one out."""
    made = {"sub": "ada", "iat": NOW - 10, "exp": NOW + 3600, **more}
    return {name: value for name, value in made.items() if value is not None}


def make(algorithm: str = "HS256", *, kid: str = "", key: str = "", **more: Any) -> str:
    """Return a good token."""
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})
    return forge(header, claims(**more), signer(algorithm, key))


def verify_key(algorithm: str = "HS256", kid: str = "") -> VerifyKey:
    """Return the key that verifies what `make` makes."""
    material = SECRET if algorithm.startswith("HS") else public_pem(kind_of(algorithm))
    return import_key(algorithm, kid, material)


def jwk(kind: str, **more: object) -> Mapping[str, object]:
    """Return a public key as a JWK (RFC 7517)."""
    algorithm = {"rsa": "RS256", "p-2": "ES256", "p-3": "ES384", "p-5": "ES512"}.get(kind[:3], "EdDSA")
    return {**import_key(algorithm, "", public_pem(kind)).material.as_dict(private=False), **more}
