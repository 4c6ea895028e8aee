"""URLs and headers that can be measured, and those that cannot."""

import pytest

from gateway.bench.target import BenchError, bare_target, checked, split, upgrade_target


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("ws://127.0.0.1:8000/ws", "127.0.0.1", 8000, "/ws"),
        ("ws://localhost", "localhost", 80, "/"),
        ("ws://[::1]:9/x?token=a", "::1", 9, "/x?token=a"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, path: str) -> None:
    place = split(url)
    assert (place.host, place.port, place.path, place.socket_path) == (host, port, path, "")


def test_a_unix_socket_is_named_by_its_path() -> None:
    place = split("ws+unix:/run/gate.sock:/ws")
    assert (place.socket_path, place.path) == ("/run/gate.sock", "/ws")
    bare_target(place)


def test_the_host_header_has_brackets_around_ipv6() -> None:
    assert split("ws://[::1]:9/").authority == "[::1]:9"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("wss://example.com/", "without TLS"),
        ("http://example.com/", "allowed: ws://"),
        ("ws:///path", "not a URL"),
        ("ws://host:99999/", "not a URL"),
        ("ws://host/\r\nX: y", "not a URL"),
        ("ws://[::1/", "not a URL"),
    ],
)
def test_what_is_no_url_to_measure_is_refused(url: str, reason: str) -> None:
    with pytest.raises(BenchError, match=reason):
        split(url)


@pytest.mark.parametrize("line", ["no colon", ": empty", "A: b\r\nC: d", "A B: c", "Ä: b"])
def test_what_is_no_header_is_refused(line: str) -> None:
    with pytest.raises(BenchError, match="is not a header"):
        checked([line])


def test_a_name_without_an_address_is_told() -> None:
    with pytest.raises(BenchError, match="no address for"):
        upgrade_target(split("ws://name.invalid/"))
