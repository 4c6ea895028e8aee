"""Negotiation of permessage-deflate (RFC 7692 section 7.1): good offers, and over 200 bad ones."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

import pytest

from gateway.connection.handshake import Accepted, DeflateOptions, DeflateParameters, RouteOptions
from gateway.errors import UsageError

from .handshake_requests import judged_every_way, label_of, request, status_of

FULL = DeflateOptions(window_bits=15, takeover=True)
SMALL = DeflateOptions(window_bits=11, takeover=False)
NAME = b"permessage-deflate"
NO_TAKEOVER = b"; server_no_context_takeover; client_no_context_takeover"


def negotiated(
    offer: bytes, options: DeflateOptions | None, *extra: bytes
) -> tuple[DeflateParameters | None, bytes]:
    data = request(changed={b"Sec-WebSocket-Extensions": offer}, extra=extra)
    outcome = judged_every_way(data, {"/ws": RouteOptions(deflate=options)})
    assert isinstance(outcome, Accepted)
    lines = [
        line
        for line in outcome.response.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-extensions: ")
    ]
    assert len(lines) == (outcome.deflate is not None)
    return outcome.deflate, lines[0].partition(b": ")[2] if lines else b""


GOOD = (
    # the offer after the name, options, server and client bits, server and client no takeover, answer
    (b"", FULL, 15, 15, False, False, b""),
    (b"; client_max_window_bits", FULL, 15, 15, False, False, b""),
    (b";client_max_window_bits=10", FULL, 15, 10, False, False, b"; client_max_window_bits=10"),
    (b"; client_max_window_bits = 9 ", FULL, 15, 9, False, False, b"; client_max_window_bits=9"),
    (b'; client_max_window_bits="12"', FULL, 15, 12, False, False, b"; client_max_window_bits=12"),
    (b'; client_max_window_bits="1\\2"', FULL, 15, 12, False, False, b"; client_max_window_bits=12"),
    (b"; server_max_window_bits=10", FULL, 10, 15, False, False, b"; server_max_window_bits=10"),
    (b"; server_max_window_bits=15", FULL, 15, 15, False, False, b""),
    (b"; server_no_context_takeover", FULL, 15, 15, True, False, b"; server_no_context_takeover"),
    (b"; client_no_context_takeover", FULL, 15, 15, False, True, b"; client_no_context_takeover"),
    (b"", SMALL, 11, 15, True, True,
    b"; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11"),
    (b"; client_max_window_bits", SMALL, 11, 11, True, True,
     NO_TAKEOVER + b"; server_max_window_bits=11; client_max_window_bits=11"),
    (b"; client_max_window_bits=9; server_max_window_bits=10", SMALL, 10, 9, True, True,
     NO_TAKEOVER + b"; server_max_window_bits=10; client_max_window_bits=9"),
    (b"; server_max_window_bits=15; client_max_window_bits=15", SMALL, 11, 11, True, True,
     NO_TAKEOVER + b"; server_max_window_bits=11; client_max_window_bits=11"),
)  # fmt: skip


@pytest.mark.parametrize(("rest", "options", "server", "client", "server_off", "client_off", "answer"), GOOD)
def test_good_offer_is_answered_within_what_both_sides_can(
    rest: bytes,
    options: DeflateOptions,
    server: int,
    client: int,
    server_off: bool,
    client_off: bool,
    answer: bytes,
) -> None:
    parameters, header = negotiated(NAME + rest, options)
    assert parameters == DeflateParameters(server, client, server_off, client_off)
    assert header == NAME + answer


def declined() -> Iterator[bytes]:
    """Well-formed offers that cannot be accepted; each list stands for one offer after the name."""
    bits = (b"", b"=0", b"=1", b"=7", b"=8", b"=16", b"=08", b"=09", b"=015", b"=+9", b"=-9", b"=9.0",
            b"=0x9", b"=1e1", b"=abc", b"=99",
            b"=150", b"=999999999999999999999999", b"=true", b'="8"', b'="16"', b'="09"', b"=9_", b"=1_0",
            b"=*")  # fmt: skip
    for value in bits:
        yield b"server_max_window_bits" + value
        if value:
            yield b"client_max_window_bits" + value
    for value in (b"=1", b"=true", b"=0", b'="x"', b"=15", b"=server_no_context_takeover"):
        yield b"server_no_context_takeover" + value
        yield b"client_no_context_takeover" + value
    yield from (b"unknown", b"max_window_bits", b"SERVER_NO_CONTEXT_TAKEOVER",
                b"Client_max_window_bits", b"server_no_context_takeoverx", b"client_max_window_bitsx",
                b"server_max_window_bits_=9", b"client-max-window-bits", b"no_context_takeover",
                b"level=9", b"mux", b"permessage-deflate", b"x=y", b'x="y"', b"server_max_window_bits9",
                b"*", b"!", b"9")  # fmt: skip
    known = (b"server_max_window_bits=10", b"client_max_window_bits=10", b"client_max_window_bits",
             b"server_no_context_takeover",
             b"client_no_context_takeover")  # fmt: skip
    for parameter in known:
        yield parameter + b"; " + parameter
    yield b"client_max_window_bits; client_max_window_bits=10"
    yield b"client_max_window_bits=10; client_max_window_bits"
    yield b"server_max_window_bits=10; server_max_window_bits=11"


BAD_WITHIN = (b"%s", b"server_no_context_takeover; %s", b"%s; client_max_window_bits=12")
DECLINED = sorted({NAME + b"; " + frame.replace(b"%s", bad) for bad in declined() for frame in BAD_WITHIN})
MALFORMED = sorted(
    {
        frame.replace(b"%s", NAME)
        for frame in (
            b"%s;", b"%s; ;", b"%s;;server_no_context_takeover", b"; %s", b"=%s", b"%s=", b"%s=1",
            b"%s; =9", b"%s; a=", b"%s; a==b",
            b"%s; a=b=c", b"%s; a b", b"%s a", b"%s %s", b"%s; a=,x", b'%s; a="', b'%s; a="x', b'%s; a=x"',
            b'%s; a=""', b'%s; a="x y"',
            b'%s; a="x\\"', b'%s; a="\\""', b'%s; a="x"y', b'%s; a=y"x"', b'"%s"', b"(%s)", b"%s/1",
            b"%s; a=[1]", b"%s; {a}", b"%s: a",
            b"%s; a=b, ;", b"%s, =", b"%s; a=\xff", b"\xff, %s", b"%s;\x80", b"%s; a\\b", b"%s; a=<b>",
            b"@%s", b"%s?", b"%s; a='b' c",
            b'%s; a="b" "c"', b"a; b; %s; c d",
        )
    }
)  # fmt: skip


def test_there_are_at_least_200_different_bad_offers() -> None:
    assert len(DECLINED) >= 200


@pytest.mark.parametrize("offer", DECLINED)
def test_bad_offer_is_declined_and_the_next_one_looked_at(offer: bytes) -> None:
    assert negotiated(offer, FULL) == (None, b"")
    assert negotiated(offer + b", " + NAME, FULL) == (DeflateParameters(), NAME)
    assert negotiated(offer + b", " + NAME + b"; server_max_window_bits=9, " + NAME, FULL)[
        0
    ] == DeflateParameters(9)


@pytest.mark.parametrize("offer", MALFORMED)
@pytest.mark.parametrize("options", [None, FULL])
def test_header_that_breaks_the_grammar_fails_the_handshake(
    offer: bytes, options: DeflateOptions | None
) -> None:
    routes = {"/ws": RouteOptions(deflate=options)}
    for extra in ((), (b"Connection: upgrade",)):  # directly, and by way of wsproto
        outcome = judged_every_way(request(changed={b"Sec-WebSocket-Extensions": offer}, extra=extra), routes)
        assert (status_of(outcome), label_of(outcome)) == (400, "bad_extensions")


@pytest.mark.parametrize("offer", [b"", b",", b" , ,", b"x-webkit-deflate-frame", b"mux; a=b",
b"PERMESSAGE-DEFLATE", b"permessage-bzip2",
                                   b'foo; a="b\\c", bar'])  # fmt: skip
def test_nothing_is_negotiated_when_nothing_known_is_offered(offer: bytes) -> None:
    assert negotiated(offer, FULL) == (None, b"")


@pytest.mark.parametrize(
    "offer", [NAME, NAME + b"; client_max_window_bits", NAME + b"; server_max_window_bits=9", b"mux, " + NAME]
)
def test_nothing_is_negotiated_when_the_server_wants_nothing(offer: bytes) -> None:
    assert negotiated(offer, None) == (None, b"")


def test_first_acceptable_offer_wins_over_later_ones() -> None:
    offer = b"mux, %s; server_max_window_bits=8, %s; server_max_window_bits=10, %s" % (NAME, NAME, NAME)
    assert negotiated(offer, FULL)[0] == DeflateParameters(10)


def test_offers_in_several_headers_are_one_list() -> None:
    second = b"Sec-WebSocket-Extensions: " + NAME + b"; server_max_window_bits=10"
    assert negotiated(b"mux", FULL, second) == (DeflateParameters(10), NAME + b"; server_max_window_bits=10")


def test_a_window_of_8_bits_is_what_zlib_cannot_do() -> None:
    with pytest.raises(ValueError, match="Invalid initialization option"):
        zlib.compressobj(wbits=-8)


@pytest.mark.parametrize("bits", [-15, 0, 8, 16])
def test_window_bits_out_of_range_are_refused_as_options(bits: int) -> None:
    with pytest.raises(UsageError):
        DeflateOptions(window_bits=bits)


def test_every_answer_names_only_what_was_offered_or_may_be_added() -> None:
    choices = itertools.product(
        range(9, 16), (b"", b"; client_max_window_bits"), (b"", b"; server_max_window_bits=12"), (False, True)
    )
    for bits, client, server, takeover in choices:
        parameters, header = negotiated(NAME + client + server, DeflateOptions(bits, takeover))
        assert parameters is not None
        assert parameters.server_max_window_bits == min(bits, 12 if server else 15)
        assert (b"client_max_window_bits" in header) == (bool(client) and bits < 15)
