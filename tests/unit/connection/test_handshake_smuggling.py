"""Over 300 attempts to make two parties disagree about where a request ends: all refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from gateway.connection.handshake import Refusal

from .handshake_requests import judged_every_way, label_of, plain, request, status_of

LENGTHS = (b"0", b"5", b"00", b"005", b"+5", b"-1", b"5,5", b"5, 6", b"0x5", b"5 5", b"", b"five",
           b"18446744073709551616",
           b"9" * 40, b"5;", b"5\xa0", b'"5"', b"1e3", b"5.0", b"\xd9\xa5", b"5_0", b" 5 ",
           b"\t5")  # fmt: skip
CODINGS = (b"chunked", b"CHUNKED", b"Chunked", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip",
           b"chunked, chunked", b"",
           b"xchunked", b"chunked;q=1", b'"chunked"', b"chunked\xa0", b"chunke\xf0", b" chunked ",
           b"\tchunked", b"identity, chunked",
           b"chunked,", b",chunked", b"trailers")  # fmt: skip
LENGTH_NAMES = (b"Content-Length", b"content-length", b"CONTENT-LENGTH", b"cOnTeNt-LeNgTh")
CODING_NAMES = (b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING", b"tRaNsFeR-eNcOdInG")
PLAIN_LENGTHS = {b"0": 200, b"00": 200, b"5": 413, b"005": 413, b" 5 ": 413, b"\t5": 413}
PLAIN_CODINGS = {coding: 413 for coding in CODINGS if coding.strip().lower() == b"chunked"}
Smuggle = tuple[
    bytes, bytes, int, int
]  # two header lines (the second may be empty), status on an upgrade, status on a GET


def single_headers() -> Iterator[Smuggle]:
    for name, length in itertools.product(LENGTH_NAMES, LENGTHS):
        yield name + b":" + length, b"", 400, PLAIN_LENGTHS.get(length, 400)
    for name, coding in itertools.product(CODING_NAMES, CODINGS):
        yield name + b":" + coding, b"", 400, PLAIN_CODINGS.get(coding, 400)


def pairs() -> Iterator[Smuggle]:
    for one, other in itertools.product((b"0", b"5", b"6", b"5, 5"), repeat=2):
        yield b"Content-Length: " + one, b"content-length: " + other, 400, 400
    for length, coding in itertools.product(
        (b"0", b"5", b"", b"x"), (b"chunked", b"identity", b"", b"gzip, chunked", b"Chunked")
    ):
        yield b"Content-Length: " + length, b"Transfer-Encoding: " + coding, 400, 400
        yield b"Transfer-Encoding: " + coding, b"Content-Length: " + length, 400, 400
    for one, other in itertools.product((b"chunked", b"identity", b"", b"gzip"), repeat=2):
        yield b"Transfer-Encoding: " + one, b"Transfer-encoding: " + other, 400, 400


def disguises() -> Iterator[Smuggle]:
    for name, value in ((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")):
        for line in (name + b" : " + value, name + b"\t: " + value, b" " + name + b": " + value,
                     name + b"\x0b: " + value,
                     name + b"\x00: " + value, b"\x00" + name + b": " + value, name + b": \x00" + value,
                     name + b": " + value + b"\x00",
                     name + b":\x0b" + value, name + b": " + value + b"\x0c", name + b": \r" + value,
                     name + b":\n " + value,
                     name + b":\r\n " + value, name + b":\r\n\t" + value, b"X: y\n" + name + b": " + value,
                     b"X: y\r" + name + b": " + value,
                     b"X: y\r\r\n" + name + b": " + value, b"X: y\n\r" + name + b": " + value,
                     name + b"\xa0: " + value,
                     b"X: y\r\n\x00" + name + b": " + value, name + b"\r\n: " + value,
                     name[:7] + b"\r\n" + name[7:] + b": " + value,
                     b"(" + name + b"): " + value, name + b";: " + value, b'"' + name + b'": ' + value,
                     name + b"," + name + b": " + value,
                     name + b" " + value, name, name + b"=" + value):  # fmt: skip
            yield line, b"", 400, 400


CASES = [*single_headers(), *pairs(), *disguises()]


def health_or_ws(lines: list[bytes]) -> dict[str, bytes]:
    return {
        "upgrade": request(extra=lines),
        "plain": plain(b"GET /health/live HTTP/1.1", *lines),
        "upgrade of health": request(b"GET /health/live HTTP/1.1", extra=lines),
    }


def test_there_are_at_least_300_different_attempts() -> None:
    assert len({(one, other) for one, other, _, _ in CASES}) >= 300


@pytest.mark.parametrize(("one", "other", "on_upgrade", "on_get"), CASES)
def test_attempt_is_refused_and_the_connection_closed(
    one: bytes, other: bytes, on_upgrade: int, on_get: int
) -> None:
    lines = [one, other] if other else [one]
    expected = {"upgrade": on_upgrade, "plain": on_get, "upgrade of health": on_upgrade}
    for name, data in health_or_ws(lines).items():
        outcome = judged_every_way(data)
        assert (name, status_of(outcome)) == (name, expected[name])
        assert outcome is not None
        assert b"\r\nConnection: close\r\n" in outcome.response


def test_body_headers_on_an_upgrade_have_their_own_label() -> None:
    for line in (b"Content-Length: 0", b"Transfer-Encoding: chunked"):
        assert label_of(judged_every_way(request(extra=[line]))) == "body_on_upgrade"


def test_body_on_a_get_of_a_websocket_path_is_413_and_of_nothing_is_404() -> None:
    assert status_of(judged_every_way(plain(b"GET /ws HTTP/1.1", b"Content-Length: 7"))) == 413
    assert status_of(judged_every_way(plain(b"POST /ws HTTP/1.1", b"Content-Length: 7"))) == 405
    assert status_of(judged_every_way(plain(b"GET /no HTTP/1.1", b"Content-Length: 7"))) == 404
    assert status_of(judged_every_way(plain(b"GET /ws HTTP/1.0", b"Transfer-Encoding: chunked"))) == 400


def test_a_second_request_behind_a_refused_one_is_never_answered() -> None:
    outcome = judged_every_way(plain(b"GET /ws HTTP/1.1") + plain())
    assert isinstance(outcome, Refusal)
    assert outcome.response.count(b"HTTP/1.1 ") == 1
