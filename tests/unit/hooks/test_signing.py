"""Signatures of Standard Webhooks: the known example, and everything that must not pass."""

from __future__ import annotations

import pytest

from gateway.hooks.signing import ID, SIGNATURE, TIMESTAMP, key_of, sign, verify
from gateway.hooks.tracing import child_of

# The example of the specification's reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 public
EXAMPLE_ID, STAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(**changes: str) -> dict[str, str]:
    return {ID: EXAMPLE_ID, TIMESTAMP: str(STAMP), SIGNATURE: SIGNED} | {
        name.replace("_", "-"): value for name, value in changes.items()
    }


def test_signature_is_that_of_the_specification() -> None:
    assert sign([key_of(SECRET)], EXAMPLE_ID, STAMP, BODY) == SIGNED
    assert verify([key_of(SECRET)], headers(), BODY, STAMP)


def test_key_is_base64_after_the_prefix_and_text_without() -> None:
    assert key_of("whsec_AP8=") == b"\0\xff"
    assert key_of("whsec_no base64!") == b"whsec_no base64!"
    assert key_of("hush") == b"hush"


def test_several_keys_sign_so_that_they_can_be_changed_without_a_gap() -> None:
    old, new = key_of("old"), key_of("new")
    both = headers(webhook_signature=sign([new, old], EXAMPLE_ID, STAMP, BODY))
    assert len(both[SIGNATURE].split()) == 2
    assert verify([old], both, BODY, STAMP)
    assert verify([new], both, BODY, STAMP)
    assert verify([b"other", old], both, BODY, STAMP)
    assert not verify([b"other"], both, BODY, STAMP)


@pytest.mark.parametrize(
    ("changes", "body", "now"),
    [
        ({}, BODY + b" ", STAMP),
        ({"webhook_id": "msg_other"}, BODY, STAMP),
        ({"webhook_timestamp": str(STAMP + 1)}, BODY, STAMP),
        ({"webhook_timestamp": ""}, BODY, STAMP),
        ({"webhook_timestamp": "1e9"}, BODY, STAMP),
        ({"webhook_timestamp": "9" * 400}, BODY, STAMP),
        ({"webhook_signature": ""}, BODY, STAMP),
        ({"webhook_signature": SIGNED.replace("v1,", "v2,")}, BODY, STAMP),
        ({"webhook_signature": "v1,"}, BODY, STAMP),
        ({"webhook_signature": "ü"}, BODY, STAMP),
        ({}, BODY, STAMP + 301),
        ({}, BODY, STAMP - 301),
        # what is signed cannot be cut elsewhere
        ({"webhook_id": f"{EXAMPLE_ID}.{STAMP}", "webhook_timestamp": ""}, BODY, STAMP),
    ],
)
def test_what_is_not_signed_so_does_not_pass(changes: dict[str, str], body: bytes, now: float) -> None:
    assert not verify([key_of(SECRET)], headers(**changes), body, now)


def test_window_is_five_minutes_on_both_sides() -> None:
    assert verify([key_of(SECRET)], headers(), BODY, STAMP + 300)
    assert verify([key_of(SECRET)], headers(), BODY, STAMP - 300)


def random_bytes(count: int) -> bytes:
    return bytes(range(1, count + 1))


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_trace_of_a_client_goes_on_with_a_span_of_its_own() -> None:
    assert child_of(f"00-{TRACE}-00f067aa0ba902b7-00", random_bytes) == f"00-{TRACE}-0102030405060708-00"
    assert child_of(f"cc-{TRACE}-00f067aa0ba902b7-01-later", random_bytes).startswith(f"00-{TRACE}-")


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01\r\nx: y",
    ],
)
def test_what_is_no_trace_begins_one(wrong: str) -> None:
    assert child_of(wrong, random_bytes) == "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"


def test_random_zeros_are_still_a_valid_trace() -> None:
    assert child_of("", bytes) == f"00-{'0' * 31}1-{'0' * 15}1-01"
