"""Who the client is behind trusted proxies; addresses, and how they are written."""

from __future__ import annotations

import ipaddress
import time

import pytest

from gateway.connection.addresses import TrustedNetworks, limit_key, parse_ip, parse_node, shown
from gateway.connection.forwarded import ENTRIES, client_of
from tests.support.forwarded_table import PEER, ROWS, TRUSTED, Row

PROXY = (ipaddress.ip_address("127.0.0.9"), 999)
NETWORKS = TrustedNetworks(TRUSTED)


def test_there_are_at_least_80_different_rows() -> None:
    assert len(set(ROWS)) >= 80


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row.lines)[:50])
def test_rightmost_address_that_is_not_trusted_is_the_clients(row: Row) -> None:
    lines = [line.encode("latin-1").strip() for line in row.lines]
    found = client_of(lines, PROXY, NETWORKS, ENTRIES[row.header])
    assert found is not None
    assert shown(*found) == ("127.0.0.9:999" if row.client == PEER else row.client)


def test_behind_a_unix_socket_a_header_says_who_and_without_one_nobody_is_known() -> None:
    networks = TrustedNetworks(["unix"])
    assert client_of([], None, networks, ENTRIES["forwarded"]) is None
    found = client_of([b"203.0.113.7"], None, networks, ENTRIES["x-forwarded-for"])
    assert found == (ipaddress.ip_address("203.0.113.7"), 0)


@pytest.mark.parametrize(
    "line",
    [
        b"a=b;" * 8000,
        b'for="' + b"\\\\" * 16_000,
        b"10.0.0.1," * 3600,
        b" ," * 16_000,
        b"for=10.0.0.1, " * 2300,
        b"\t" * 32_000,
    ],
    ids=lambda line: repr(line[:8]),
)
@pytest.mark.parametrize("header", list(ENTRIES))
def test_longest_header_there_can_be_takes_little_time(header: str, line: bytes) -> None:
    started = time.process_time()
    for _ in range(10):
        client_of([line], PROXY, NETWORKS, ENTRIES[header])
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_limits_count_an_ipv6_customer_once(text: str, expected: str) -> None:
    ip = parse_ip(text)
    assert ip is not None
    assert limit_key(ip) == expected


def test_addresses_with_zones_and_text_are_none() -> None:
    for text in ("fe80::1%lo", "", " 1.2.3.4", "1.2.3.4\n", "x" * 1000):
        assert parse_ip(text) is None
        assert parse_node(text) is None


def test_trusted_networks_hold_addresses_of_both_families_and_unix_peers() -> None:
    networks = TrustedNetworks(["10.0.0.0/8", "2001:db8::/32"])
    assert parse_ip("10.1.2.3") in networks
    assert parse_ip("2001:db8::5") in networks
    assert parse_ip("11.1.2.3") not in networks
    assert None not in networks
    assert None in TrustedNetworks(["unix"])
    assert not TrustedNetworks([])
