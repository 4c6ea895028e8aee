"""The origin policy: over 60 origins against the same-host rule, and what lists and `*` do."""

from __future__ import annotations

import pytest

from gateway.connection.handshake import RouteOptions
from gateway.errors import UsageError

from .handshake_requests import judged_every_way, label_of, request, status_of

SAME_HOST = (
    # host, origin, status
    (b"example.com", b"http://example.com", 101),
    (b"example.com", b"https://example.com", 101),
    (b"example.com", b"http://example.com:80", 101),
    (b"example.com", b"https://example.com:443", 101),
    (b"example.com:80", b"http://example.com", 101),
    (b"example.com:443", b"https://example.com", 101),
    (b"example.com:8000", b"http://example.com:8000", 101),
    (b"EXAMPLE.com", b"http://example.COM", 101),
    (b"example.com", b"HTTP://example.com", 101),
    (b"example.com.", b"http://example.com.", 101),
    (b"localhost:3000", b"http://localhost:3000", 101),
    (b"127.0.0.1:8000", b"http://127.0.0.1:8000", 101),
    (b"[::1]:8000", b"http://[::1]:8000", 101),
    (b"[2001:db8::1]", b"https://[2001:DB8::1]", 101),
    (b"xn--bcher-kva.example", b"https://xn--bcher-kva.example", 101),
    (b"example.com", None, 101),
    (b"example.com", b"null", 403),
    (b"example.com", b"NULL", 403),
    (b"null", b"null", 403),
    (b"example.com", b"", 403),
    (b"example.com", b"*", 403),
    (b"example.com", b"example.com", 403),
    (b"example.com", b"//example.com", 403),
    (b"example.com", b"http:example.com", 403),
    (b"example.com", b"http:/example.com", 403),
    (b"example.com", b"http://", 403),
    (b"example.com", b"http:///example.com", 403),
    (b"example.com", b"http://example.com/", 403),
    (b"example.com", b"http://example.com/page", 403),
    (b"example.com", b"http://example.com?", 403),
    (b"example.com", b"http://example.com#", 403),
    (b"example.com", b"http://example.com:", 403),
    (b"example.com", b"http://example.com.", 403),
    (b"example.com.", b"http://example.com", 403),
    (b"example.com", b"http://example.com:8000", 403),
    (b"example.com:8000", b"http://example.com", 403),
    (b"example.com:8000", b"http://example.com:8001", 403),
    (b"example.com", b"https://example.com:80", 403),
    (b"example.com", b"http://example.com:443", 403),
    (b"example.com:80", b"https://example.com", 403),
    (b"example.com", b"http://example.com:080080", 403),
    (b"example.com", b"http://evil.com", 403),
    (b"example.com", b"http://evilexample.com", 403),
    (b"example.com", b"http://example.com.evil.com", 403),
    (b"example.com", b"http://sub.example.com", 403),
    (b"sub.example.com", b"http://example.com", 403),
    (b"example.com", b"http://example.co", 403),
    (b"example.com", b"http://example.comm", 403),
    (b"example.com", b"http://examplescom", 403),
    (b"example.com", b"http://example.com@evil.com", 403),
    (b"example.com", b"http://evil.com@example.com", 403),
    (b"example.com", b"http://user:pass@example.com", 403),
    (b"example.com", b"http://evil.com#example.com", 403),
    (b"example.com", b"http://evil.com?example.com", 403),
    (b"example.com", b"http://evil.com/example.com", 403),
    (b"example.com", b"http://evil.com\\example.com", 403),
    (b"example.com", b"http://evil.com\\@example.com", 403),
    (b"example.com", b"http://evil.com http://example.com", 403),
    (b"example.com", b"http://example.com http://evil.com", 403),
    (b"example.com", b"http://example.com, http://evil.com", 403),
    (b"example.com", b"http://ex\xc3\xa4mple.com", 403),
    (b"xn--bcher-kva.example", b"https://b\xc3\xbccher.example", 403),
    (b"example.com", b"http://xn--example-.com", 403),
    (b"[::1]:8000", b"http://[::1]:8001", 403),
    (b"[::1]", b"http://[0:0:0:0:0:0:0:1]", 403),
    (b"[::1]", b"http://::1", 403),
    (b"127.0.0.1", b"http://localhost", 403),
    (b"localhost", b"http://127.0.0.1", 403),
    (b"127.0.0.1", b"http://2130706433", 403),
    (b"example.com", b"ws://example.com", 403),
    (b"example.com", b"file://example.com", 403),
    (b"example.com", b"file://", 403),
    (b"example.com", b"chrome-extension://example.com", 403),
    (b"example.com", b"data:text/html,x", 403),
    (b"example.com", b"about:blank", 403),
    (b"example.com", b"javascript://example.com", 403),
    (b"example.com", b"blob:http://example.com", 403),
    (b"example.com", b"\xff", 403),
    (b"example.com", b"http://" + b"a." * 2000 + b"example.com", 403),
)
LIST = (
    "https://app.example.com",
    "http://localhost:3000",
    "capacitor://localhost",
    "https://other.example:8443",
)
LISTED = (
    (b"https://app.example.com", 101),
    (b"https://app.example.com:443", 101),
    (b"HTTPS://APP.EXAMPLE.COM", 101),
    (b"http://localhost:3000", 101),
    (b"capacitor://localhost", 101),
    (b"https://other.example:8443", 101),
    (None, 101),
    (b"http://app.example.com", 403),
    (b"https://app.example.com:444", 403),
    (b"https://app.example.com.", 403),
    (b"https://example.com", 403),
    (b"https://x.app.example.com", 403),
    (b"https://app.example.com.evil.com", 403),
    (b"http://localhost", 403),
    (b"https://other.example", 403),
    (b"http://gateway.example", 403),  # the same host is not allowed beside a list that does not name it
    (b"null", 403),
    (b"", 403),
    (b"*", 403),
)


def test_there_are_at_least_60_different_origins() -> None:
    assert len({(host, origin) for host, origin, _ in SAME_HOST}) >= 60


@pytest.mark.parametrize(("host", "origin", "status"), SAME_HOST)
def test_without_a_list_only_pages_of_the_same_host_may_connect(
    host: bytes, origin: bytes | None, status: int
) -> None:
    outcome = judged_every_way(request(changed={b"Host": host, b"Origin": origin}))
    assert (status_of(outcome), label_of(outcome)) == (status, "origin" if status == 403 else None)


@pytest.mark.parametrize(("origin", "status"), LISTED)
def test_with_a_list_only_the_pages_listed_may_connect(origin: bytes | None, status: int) -> None:
    routes = {"/ws": RouteOptions(origins=LIST)}
    data = request(changed={b"Host": b"gateway.example", b"Origin": origin})
    assert status_of(judged_every_way(data, routes)) == status


@pytest.mark.parametrize("origin", [origin for _, origin, _ in SAME_HOST])
def test_with_a_star_every_page_may_connect(origin: bytes | None) -> None:
    data = request(b"GET /any HTTP/1.1", changed={b"Origin": origin})
    assert status_of(judged_every_way(data)) == 101


def test_the_policy_holds_on_the_path_through_wsproto_too() -> None:
    unusual = [b"Connection: Upgrade"]
    assert status_of(judged_every_way(request(extra=unusual))) == 101
    assert status_of(judged_every_way(request(changed={b"Origin": b"http://evil.com"}, extra=unusual))) == 403


@pytest.mark.parametrize(
    "entry",
    ["null", "", "example.com", "https://example.com/", "https://*.example.com", "https://", "https://ä.de"],
)
def test_a_malformed_entry_of_the_list_is_refused_at_once(entry: str) -> None:
    with pytest.raises(UsageError):
        RouteOptions(origins=(entry,))


SIBLINGS = (
    (b"http://gateway.example:8001", 101),
    (b"https://GATEWAY.example:8001", 101),
    (b"http://gateway.example:8002", 403),
    (b"http://gateway.example", 403),
    (b"http://other.example:8001", 403),
    (b"http://sub.gateway.example:8001", 403),
    (b"http://gateway.example.evil.com:8001", 403),
    (b"http://gateway.example:80010", 403),
    (b"ws://gateway.example:8001", 403),
    (b"capacitor://gateway.example:8001", 403),
    (b"null", 403),
)


@pytest.mark.parametrize("origins", [(), ("https://app.example.com",)])
@pytest.mark.parametrize(("origin", "status"), SIBLINGS)
def test_pages_of_a_sibling_port_of_the_same_host_may_connect(
    origin: bytes, status: int, origins: tuple[str, ...]
) -> None:
    routes = {"/ws": RouteOptions(origins=origins, sibling_ports=(8001,))}
    data = request(changed={b"Host": b"gateway.example:8000", b"Origin": origin})
    assert status_of(judged_every_way(data, routes)) == status
