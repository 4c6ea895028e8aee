"""A table of tokens, good and hostile, and what becomes of each: 250 and more of them.

The hostile ones are modelled on what was found elsewhere: CVE-2015-9235 and CVE-2022-29217 (the public key
as an HMAC secret), CVE-2018-1000531 (`none`), CVE-2026-32301 (keys from where the token says), invalid
curve and all-zero ECDSA signatures (CVE-2022-21449), `crit` (CVE-2025-59420), and others of RFC 8725.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from gateway.auth.algorithms import ALGORITHMS, ASYMMETRIC
from gateway.auth.claims import ClaimRules
from gateway.auth.refusals import REASONS, TokenRefusedError
from gateway.auth.revocations import Revocations
from gateway.auth.tokens import TokenVerifier, VerifierOptions
from tests.support.tokens import NOW, SECRET, b64, claims, forge, jwk, make, public_pem, signer, verify_key

RULES = ClaimRules(
    issuers=frozenset({"https://issuer.example/"}), audiences=frozenset({"ringgate"}), leeway_s=5.0
)
OK = "ok"


class Vector(NamedTuple):
    """A token, and the reason of its refusal, or OK."""

    name: str
    token: str
    outcome: str


def good(**more: Any) -> dict[str, Any]:
    return claims(**{"iss": "https://issuer.example/", "aud": "ringgate", **more})


def signed(payload: object, **header: Any) -> str:
    """Return a token with a good HS256 signature over whatever it holds."""
    return forge({"alg": "HS256", "typ": "JWT", **header}, payload, signer("HS256"))


def algorithms() -> Iterator[Vector]:
    for algorithm in ALGORITHMS:
        header = {"alg": algorithm, "kid": algorithm}
        sign = signer(algorithm)
        token = forge(header, good(), sign)
        yield Vector(f"{algorithm} good", token, OK)
        yield Vector(f"{algorithm} by no kid", forge({"alg": algorithm}, good(), sign), OK)
        head, body, signature = token.split(".")
        flipped = ("A" if signature[5] != "A" else "B").join((signature[:5], signature[6:]))
        yield Vector(
            f"{algorithm} with a bit of the signature flipped", f"{head}.{body}.{flipped}", "signature"
        )
        yield Vector(f"{algorithm} without signature", f"{head}.{body}.", "signature")
        yield Vector(f"{algorithm} with half a signature", f"{head}.{body}.{signature[:20]}", "signature")
        other = b64(json.dumps(good(sub="root")).encode())
        yield Vector(f"{algorithm} with another's payload", f"{head}.{other}.{signature}", "signature")
        zeros = b64(bytes(len(base64.urlsafe_b64decode(signature + "=="))))
        yield Vector(f"{algorithm} with a signature of zeros", f"{head}.{body}.{zeros}", "signature")
        yield Vector(
            f"{algorithm} of another key", forge(header, good(), other_signer(algorithm)), "signature"
        )


def other_signer(algorithm: str) -> Any:
    if algorithm.startswith("HS"):
        return signer(algorithm, secret=b"x" * 64)
    kinds = {"ES256": "p-256-other", "ES384": "p-384-other", "ES512": "p-521-other"}
    usual = "rsa-other" if algorithm[:2] in {"RS", "PS"} else "ed25519-other"
    return signer(algorithm, kinds.get(algorithm, usual))


def confusion() -> Iterator[Vector]:
    """Tokens whose header wants another algorithm than the key is for."""
    for algorithm in ASYMMETRIC:
        for guess in (public_pem(kind(algorithm)), public_pem(kind(algorithm)).strip()):
            for hashing in ("HS256", "HS512"):
                token = forge({"alg": hashing, "kid": algorithm}, good(), signer(hashing, secret=guess))
                yield Vector(
                    f"{hashing} with the public key of {algorithm}, {len(guess)} bytes", token, "algorithm"
                )
    for written in ("none", "None", "NONE", "nOnE", "", " none", "null"):
        for signature in ("", b64(b"x")):
            body = f"{b64(json.dumps({'alg': written}).encode())}.{b64(json.dumps(good()).encode())}."
            yield Vector(f"alg {written!r}, signature {signature!r}", body + signature, "algorithm")
    for written in (
        "hs256",
        "HS256 ",
        "HS1",
        "HMAC",
        "RSA",
        "A128KW",
        "dir",
        "RSA-OAEP",
        "ES256K",
        "HS256,RS256",
    ):
        token = forge({"alg": written}, good(), signer("HS256"))
        yield Vector(f"alg {written!r}", token, "algorithm")
    for wanted, used in (("RS256", "RS512"), ("PS256", "RS256"), ("RS256", "PS256"), ("HS256", "HS512")):
        token = forge({"alg": wanted, "kid": used}, good(), signer(wanted))
        yield Vector(f"{wanted} with the key of {used}", token, "algorithm")
    for other in (None, 256, ["HS256"], {"a": 1}, True):
        yield Vector(f"alg {other!r}", forge({"alg": other}, good(), signer("HS256")), "malformed")
    yield Vector("no alg", forge({"typ": "JWT"}, good(), signer("HS256")), "malformed")


def kind(algorithm: str) -> str:
    from tests.support.tokens import kind_of

    return kind_of(algorithm)


def headers() -> Iterator[Vector]:
    for name, value in (
        ("crit", ["exp"]),
        ("crit", ["b64"]),
        ("crit", []),
        ("crit", ["http://example.com/unknown"]),
        ("crit", "exp"),
        ("crit", None),
        ("b64", False),
        ("b64", True),
        ("kid", 7),
        ("kid", None),
        ("kid", ["HS256"]),
        ("kid", "k" * 257),
        ("typ", 7),
        ("typ", None),
    ):
        yield Vector(f"{name} {str(value)[:30]!r}", signed(good(), **{name: value}), "malformed")
    unread: list[tuple[str, object]] = [
        ("jku", "https://attacker.example/jwks"),
        ("x5u", "https://attacker.example/cert"),
        ("jwk", dict(jwk("rsa-other"))),
        ("x5c", ["MIIB"]),
        ("x5t", "abc"),
        ("unknown", {"a": [1]}),
        ("cty", "JWT"),
    ]
    for name, content in unread:
        yield Vector(f"{name} is not looked at", signed(good(), **{name: content}), OK)
    for name in ("jwk", "jku"):
        header = {
            "alg": "RS256",
            name: dict(jwk("rsa-other")) if name == "jwk" else "https://attacker.example/",
        }
        yield Vector(
            f"signed by its own {name}", forge(header, good(), signer("RS256", "rsa-other")), "signature"
        )
    for kid in ("../../dev/null", "' OR 1=1 --", "/etc/passwd", "unknown", "HS256\n", "☃"):
        yield Vector(f"kid {kid!r}", signed(good(), kid=kid), OK if kid == "never" else "unknown_key")
    for typ in ("JWT", "jwt", "at+jwt", "application/at+jwt", ""):
        yield Vector(f"typ {typ!r}", signed(good(), typ=typ), OK)
    for typ in ("logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "JWE", "token-introspection+jwt"):
        yield Vector(f"typ {typ!r}", signed(good(), typ=typ), "purpose")


def forms() -> Iterator[Vector]:
    token = signed(good())
    head, body, signature = token.split(".")
    for name, text in (
        ("empty", ""),
        ("a word", "token"),
        ("dots", ".."),
        ("three dots", "..."),
        ("one part", head),
        ("two parts", f"{head}.{body}"),
        ("four parts", f"{token}.{signature}"),
        ("five parts, as a JWE", f"{head}.{body}.{signature}.{body}.{signature}"),
        ("no header", f".{body}.{signature}"),
        ("a space before", f" {token}"),
        ("a line feed inside", f"{head}\n.{body}.{signature}"),
        ("a NUL inside", f"{head}\0.{body}.{signature}"),
        ("not ASCII", f"{head}é.{body}.{signature}"),
        ("a lone surrogate", f"{head}\ud800.{body}.{signature}"),
        ("padding in the header", f"{head}=.{body}.{signature}"),
        ("standard base64", f"{head}+/.{body}.{signature}"),
        ("a header that is no JSON", forge(b"{alg:HS256}", good(), signer("HS256"))),
        ("a header that is a list", forge(b"[1]", good(), signer("HS256"))),
        ("a header that is a text", forge(b'"alg"', good(), signer("HS256"))),
        ("a header that is not UTF-8", forge(b"\xff", good(), signer("HS256"))),
        ("a header a thousand levels deep", forge(b"[" * 1500, good(), signer("HS256"))),
        ("a header larger than 4 KiB", signed(good(), pad="x" * 4096)),
        ("JSON serialization", json.dumps({"protected": head, "payload": body, "signature": signature})),
        ("Bearer before it", f"Bearer {token}"),
        ("quotes around it", f'"{token}"'),
    ):
        yield Vector(name, text, "malformed")
    yield Vector("a signature in standard base64", f"{head}.{body}.{'+/' * 21}+", "signature")
    yield Vector("a signature with padding", f"{token}=", "signature")
    yield Vector("a megabyte", "a" * (1 << 20), "too_large")
    yield Vector("just too large", f"{head}.{'A' * 8200}.{signature}", "too_large")
    yield Vector("large, but not too large", signed(good(pad="x" * 5000)), OK)
    for name, payload in (
        ("no JSON", b"exp"),
        ("a list", [good()]),
        ("a text", "exp"),
        ("null", None),
        ("a number", 1),
        ("empty", b""),
        ("not UTF-8", b'{"sub":"\xff"}'),
        ("NaN", b'{"exp":NaN}'),
        ("deep", b'{"a":' + b"[" * 3000),
        ("a comma too many", b'{"exp":1,}'),
        ("two objects", b"{}{}"),
    ):
        yield Vector(f"payload {name}", signed(payload), "malformed")


def times() -> Iterator[Vector]:
    for exp, outcome in (
        (NOW + 1, OK),
        (NOW, OK),
        (NOW - 4, OK),
        (NOW - 5, "expired"),
        (NOW - 6, "expired"),
        (NOW - 3600, "expired"),
        (0, "expired"),
        (NOW + 0.5, OK),
        (NOW - 5.5, "expired"),
        (2**53 - 1, OK),
        (2**53, "claims"),
        (1e300, "claims"),
        (-1, "claims"),
        (-(2**70), "claims"),
        ("soon", "claims"),
        (str(NOW + 60), "claims"),
        (True, "claims"),
        ([NOW + 60], "claims"),
        ({}, "claims"),
    ):
        yield Vector(f"exp {exp!r}", signed(good(exp=exp)), outcome)
    payload = json.dumps(good()).replace(str(NOW + 3600), "null").encode()
    yield Vector("exp null", signed(payload), "claims")
    yield Vector("no exp", signed(good(exp=None)), "claims")
    huge = json.dumps(good()).replace(str(NOW + 3600), "1e400").encode()
    yield Vector("exp 1e400", signed(huge), "malformed")
    for name in ("nbf", "iat"):
        for value, outcome in (
            (NOW, OK),
            (NOW + 5, OK),
            (NOW + 6, "not_yet"),
            (NOW + 3600, "not_yet"),
            (0, OK),
            (NOW + 5.5, "not_yet"),
            ("now", "claims"),
            (True, "claims"),
            (-1, "claims"),
            ([], "claims"),
        ):
            yield Vector(f"{name} {value!r}", signed(good(**{name: value})), outcome)
    yield Vector("no iat", signed(good(iat=None)), OK)


def parties() -> Iterator[Vector]:
    for iss, outcome in (
        ("https://issuer.example/", OK),
        ("https://issuer.example", "issuer"),
        ("https://issuer.example/.evil.example", "issuer"),
        ("HTTPS://ISSUER.EXAMPLE/", "issuer"),
        ("", "issuer"),
        (None, "issuer"),
        (["https://issuer.example/"], "claims"),
        (7, "claims"),
        ("x" * 300, "claims"),
    ):
        yield Vector(f"iss {str(iss)[:40]!r}", signed(good(iss=iss)), outcome)
    for aud, outcome in (
        ("ringgate", OK),
        (["ringgate"], OK),
        (["other", "ringgate"], OK),
        ("Ringgate", "audience"),
        ("ringgate2", "audience"),
        ("ring", "audience"),
        ("", "audience"),
        ([], "audience"),
        (["other"], "audience"),
        (None, "audience"),
        (["ringgate", 7], "claims"),
        ({"ringgate": 1}, "claims"),
        (7, "claims"),
        (True, "claims"),
    ):
        yield Vector(f"aud {aud!r}", signed(good(aud=aud)), outcome)


def meanings() -> Iterator[Vector]:
    for name, value, outcome in (
        ("sub", "bob", OK),
        ("sub", "", OK),
        ("sub", "a" * 199, OK),
        ("sub", "a" * 200, "claims"),
        ("sub", "two words", "claims"),
        ("sub", "auth0|5f7c8ec7", "claims"),
        ("sub", "#client", "claims"),
        ("sub", "line\nfeed", "claims"),
        ("sub", 7, "claims"),
        ("sub", ["ada"], "claims"),
        ("sub", {"a": 1}, "claims"),
        ("info", {"name": "Ada", "n": [1, 2.5, None]}, OK),
        ("info", "text", OK),
        ("channels", [], OK),
        ("channels", ["news", "chat:1"], OK),
        ("channels", "news", "claims"),
        ("channels", ["news", 7], "claims"),
        ("channels", ["@bob"], "claims"),
        ("channels", [""], "claims"),
        ("channels", ["not a channel"], "claims"),
        ("channels", ["n"] * 257, "claims"),
        ("channels", {"news": 1}, "claims"),
        ("permissions", {}, OK),
        ("permissions", {"subscribe": ["news:*"], "publish": []}, OK),
        ("permissions", ["news:*"], "claims"),
        ("permissions", {"subscribe": "news:*"}, "claims"),
        ("permissions", {"subscribe": [7]}, "claims"),
        ("permissions", {"everything": ["*"]}, "claims"),
        ("permissions", {"subscribe": [""]}, "claims"),
        ("permissions", {"subscribe": ["(a+)+$"]}, "claims"),
        ("permissions", {"subscribe": ["*"] * 257}, "claims"),
        ("jti", "abc", OK),
        ("jti", 7, "claims"),
        ("jti", "x" * 257, "claims"),
        ("sid", "abc", OK),
        ("sid", ["abc"], "claims"),
        ("channel", "room:7", "purpose"),
        ("channel", 7, "purpose"),
        ("anything", {"else": True}, OK),
    ):
        yield Vector(f"{name} {str(value)[:40]!r}", signed(good(**{name: value})), outcome)
    deep = b'{"exp":%d,"iss":"https://issuer.example/","aud":"ringgate","info":%s}'
    yield Vector("info 64 deep", signed(deep % (NOW + 9, b"[" * 64 + b"]" * 64)), OK)
    yield Vector("info 65 deep", signed(deep % (NOW + 9, b"[" * 65 + b"]" * 65)), "claims")


VECTORS = [
    *algorithms(),
    *confusion(),
    *headers(),
    *forms(),
    *times(),
    *parties(),
    *meanings(),
]


@pytest.fixture(scope="module")
def verifier() -> TokenVerifier:
    """Return what verifies by a key of every algorithm, each named as its algorithm."""
    keys = [verify_key(algorithm, kid=algorithm) for algorithm in ALGORITHMS]
    return TokenVerifier(
        keys, [], VerifierOptions(rules=RULES), revocations=Revocations(), now_s=lambda: float(NOW)
    )


def test_there_are_as_many_vectors_as_are_promised_and_no_two_are_the_same() -> None:
    assert len({vector.token for vector in VECTORS}) >= 250
    assert {vector.outcome for vector in VECTORS} == {OK, *REASONS} - {"missing", "revoked"}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_token_has_the_outcome_of_the_table_also_when_it_comes_again(
    verifier: TokenVerifier, vector: Vector
) -> None:
    for _ in range(2):
        if vector.outcome == OK:
            assert verifier.verify(vector.token).authenticated
        else:
            with pytest.raises(TokenRefusedError) as caught:
                verifier.verify(vector.token)
            assert caught.value.reason == vector.outcome, str(caught.value)
            for part in vector.token.split("."):
                assert len(part) < 12 or part not in str(caught.value)


def test_what_is_granted_is_what_the_claims_say(verifier: TokenVerifier) -> None:
    token = signed(
        good(
            info={"n": 1},
            channels=["news", "news", "chat:1"],
            permissions={"subscribe": ["a*"]},
            jti="j",
            sid="s",
            role="admin",
        )
    )
    grant = verifier.verify(token)
    assert (grant.user, grant.info, grant.channels) == ("ada", b'{"n":1}', ("news", "chat:1"))
    assert (grant.expires, grant.issued, grant.token, grant.login) == (NOW + 3600, NOW - 10, "j", "s")
    assert [p.text for p in grant.permissions["subscribe"]] == ["a*"]
    assert grant.claims["role"] == "admin"


def test_without_issuer_and_audience_any_is_taken() -> None:
    verifier = TokenVerifier(
        [verify_key()], [], VerifierOptions(), revocations=Revocations(), now_s=lambda: float(NOW)
    )
    assert verifier.verify(make(iss="https://anybody.example/", aud=["else"])).user == "ada"


def test_secret_is_that_of_the_tests() -> None:
    assert len(SECRET) == 64
