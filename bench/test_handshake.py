"""What an opening handshake costs: ours directly, ours by way of wsproto, wsproto alone, and a refusal."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection
from wsproto.events import Request as WsprotoRequest

from gateway.connection.handshake import Accepted, DeflateOptions, Refusal, RouteOptions, respond

BROWSER = (
    b"GET /ws HTTP/1.1\r\n"
    b"Host: example.com:8000\r\n"
    b"Connection: Upgrade\r\n"
    b"Pragma: no-cache\r\n"
    b"Cache-Control: no-cache\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0\r\n"
    b"Upgrade: websocket\r\n"
    b"Origin: http://example.com:8000\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    b"\r\n"
)
ROUTES = {"/ws": RouteOptions(("ringgate.v1.json",))}
DEFLATE_ROUTES = {"/ws": RouteOptions(("ringgate.v1.json",), deflate=DeflateOptions())}
UNUSUAL = BROWSER.replace(b"Pragma: no-cache", b"connection: Upgrade")
OTHER_ORIGIN = BROWSER.replace(b"Origin: http://example", b"Origin: http://another")


@pytest.mark.benchmark(group="handshake")
def test_browser_upgrade(benchmark: BenchmarkFixture) -> None:
    assert isinstance(benchmark(respond, BROWSER, ROUTES), Accepted)


@pytest.mark.benchmark(group="handshake")
def test_browser_upgrade_with_deflate(benchmark: BenchmarkFixture) -> None:
    outcome = benchmark(respond, BROWSER, DEFLATE_ROUTES)
    assert isinstance(outcome, Accepted)
    assert outcome.deflate is not None


@pytest.mark.benchmark(group="handshake")
def test_unusual_upgrade_through_wsproto(benchmark: BenchmarkFixture) -> None:
    assert isinstance(benchmark(respond, UNUSUAL, ROUTES), Accepted)


@pytest.mark.benchmark(group="handshake")
def test_refused_origin(benchmark: BenchmarkFixture) -> None:
    assert isinstance(benchmark(respond, OTHER_ORIGIN, ROUTES), Refusal)


@pytest.mark.benchmark(group="handshake")
def test_wsproto_alone(benchmark: BenchmarkFixture) -> None:
    def handshake() -> bytes:
        connection = WSConnection(ConnectionType.SERVER)
        connection.receive_data(BROWSER)
        assert isinstance(next(connection.events()), WsprotoRequest)
        return connection.send(AcceptConnection())

    assert benchmark(handshake).startswith(b"HTTP/1.1 101 ")
