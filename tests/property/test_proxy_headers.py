"""Whatever a client writes into headers that its proxy adds to, it cannot choose its address."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from gateway.connection.addresses import TrustedNetworks
from gateway.connection.forwarded import ENTRIES, client_of
from gateway.connection.proxy_protocol import SIGNATURE, BadHeaderError, header_end, source_of

TRUSTED = TrustedNetworks(["10.0.0.0/8"])
PROXY = (ipaddress.ip_address("10.0.0.1"), 999)
CLIENT = "203.0.113.7"
PIECES = st.sampled_from(
    (*'"\\;, =\t:', "for=", "by=", "6.6.6.6", '"[2001:db8::6]:1"', "10.0.0.9", "unknown")
)
CLAIMS = st.one_of(
    st.lists(PIECES, max_size=20).map("".join),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60),
)


def found(header: str, lines: list[str]) -> str:
    values = [line.strip().encode("latin-1") for line in lines]
    client = client_of(values, PROXY, TRUSTED, ENTRIES[header])
    assert client is not None
    return str(client[0])


@given(CLAIMS, st.booleans())
def test_x_forwarded_for_that_a_proxy_adds_to_names_the_client(claim: str, apart: bool) -> None:
    lines = [claim, CLIENT] if apart or not claim.isascii() else [f"{claim}, {CLIENT}"]
    assert found("x-forwarded-for", lines) == CLIENT


@given(
    CLAIMS, st.sampled_from([f"for={CLIENT}", f'for="{CLIENT}:4711";proto=http', f'by="[::1]";for={CLIENT}'])
)
def test_forwarded_that_a_proxy_adds_to_names_the_client_or_nobody(claim: str, added: str) -> None:
    assert found("forwarded", [f"{claim}, {added}"]) in (CLIENT, str(PROXY[0]))
    assert found("forwarded", [claim, added]) == CLIENT


def verdict(data: bytes) -> object:
    try:
        end = header_end(data)
        return end if end is None else (end, source_of(data[:end]))
    except BadHeaderError:
        return "bad"


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 1.2.3.4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00"]),
    st.binary(max_size=150),
)
def test_proxy_header_is_judged_once_and_for_all(start: bytes, rest: bytes) -> None:
    data = start + rest
    verdicts = [verdict(data[:n]) for n in range(1, len(data) + 1)]
    decided = [one for one in verdicts if one is not None]
    assert all(one == decided[0] for one in decided)
    assert verdicts == [None] * (len(verdicts) - len(decided)) + decided
