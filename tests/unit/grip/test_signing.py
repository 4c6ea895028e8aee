"""`Grip-Sig`, and the tokens of publishers: by the library that services use."""

from __future__ import annotations

import time

import jwt
import pytest
from gripcontrol import validate_sig

from gateway.grip.signing import GripKeys

OLD, NEW = b"o" * 32, b"n" * 40


def keys(*secrets: bytes, now_s: float | None = None) -> GripKeys:
    return GripKeys(secrets, issuer="ringgate", now_s=lambda: time.time() if now_s is None else now_s)


def token(secret: bytes = NEW, algorithm: str = "HS256", **claims: object) -> str:
    return jwt.encode({"iss": "chat", "exp": int(time.time()) + 60, **claims}, secret, algorithm)


def test_services_verify_what_the_first_key_signs() -> None:
    signature = keys(NEW, OLD).signature()
    assert validate_sig(signature, NEW)
    assert validate_sig(signature, NEW, iss="ringgate")
    assert not validate_sig(signature, OLD)
    assert keys().signature() == ""


def test_a_signature_is_made_anew_before_it_ends() -> None:
    now_s = 1_000_000.0
    made = GripKeys([NEW], issuer="a", now_s=lambda: now_s)
    first = made.signature()
    assert made.signature() == first
    now_s += 3001
    ends = jwt.decode(made.signature(), NEW, ["HS256"], options={"verify_exp": False})["exp"]
    assert ends == 1_000_000 + 3001 + 3600


def test_publishers_need_a_token_that_is_signed_and_has_an_end() -> None:
    made = keys(NEW, OLD)
    assert made.verifies(token())
    assert made.verifies(token(OLD))
    assert made.verifies(token(exp=int(time.time()) - 30))  # clocks differ


REFUSED = {
    "nothing": "",
    "a letter": "x",
    "no token": "a.b.c",
    "not ASCII": "é",
    "another key": token(b"x" * 32),
    "ended": token(exp=int(time.time()) - 300),
    "an end in words": token(exp="soon"),
    "an end that is true": token(exp=True),
    "no end": jwt.encode({"iss": "chat"}, NEW, "HS256"),
    "another algorithm": token(algorithm="HS512", secret=NEW + b"n" * 24),
    "no algorithm": jwt.encode({"exp": 9999999999}, "", "none"),
    "a letter more": token() + "x",
    "no signature": ".".join(token().split(".")[:2]) + ".",
    "too long": token(more="x" * 4096),
}


@pytest.mark.parametrize("why", REFUSED)
def test_other_tokens_are_refused(why: str) -> None:
    assert not keys(NEW, OLD).verifies(REFUSED[why])


def test_a_signature_for_services_is_no_publishers_token() -> None:
    made = keys(NEW)
    assert not made.verifies(made.signature())
