"""A gateway behind proxies: PROXY headers before plain and TLS handshakes, and who is not believed."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest

from tests.support.api import metrics, request
from tests.support.forwarded_table import PEER, ROWS, TRUSTED
from tests.support.process import GatewayProcess, StartGateway
from tests.support.proxies import KINDS, Proxy, proxy
from tests.support.tls import Authority

V1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + bytes([203, 0, 113, 7, 10, 0, 0, 1])
    + struct.pack("!HH", 4711, 443)
)
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
PROXIED = ("--edge-trusted-proxies", ",".join(TRUSTED), "--edge-proxy-protocol")
STRANGER = "127.0.1.1"


def upgrade(*lines: str, path: str = "/ws") -> bytes:
    head = (
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1")


def dial(gateway: GatewayProcess, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.edge_port), timeout=10, source_address=(source, 0))


def answer(sock: socket.socket) -> bytes:
    """Return what comes first; empty at the end."""
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b""


def remotes(gateway: GatewayProcess) -> list[str]:
    status, body = request(gateway.api, "GET", "/api/connections")
    assert status == 200
    return [connection["remote"] for connection in json.loads(body)["connections"]]


def remote_of(gateway: GatewayProcess, first: bytes, source: str = "127.0.0.1") -> str:
    """Connect, send, be let in; return where the gateway believes the client is."""
    with dial(gateway, source) as sock:
        sock.sendall(first)
        got = answer(sock)
        assert got.startswith(b"HTTP/1.1 101 "), got
        (remote,) = remotes(gateway)
        own = "{}:{}".format(*sock.getsockname())
    give_up = time.monotonic() + 10
    while remotes(gateway):
        assert time.monotonic() < give_up
    return PEER if remote == own else remote


@pytest.fixture
def proxied(gateway_process: StartGateway) -> GatewayProcess:
    return gateway_process(*PROXIED, "--websocket-handshake-timeout", "1s")


def test_proxy_header_says_who_the_client_is_however_it_arrives(proxied: GatewayProcess) -> None:
    for header, client in ((V1, "203.0.113.7:4711"), (V2, "203.0.113.7:4711"), (LOCAL, PEER)):
        assert remote_of(proxied, header + upgrade()) == client
        with dial(proxied) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header + upgrade()[:5]:
                sock.sendall(bytes([byte]))
                time.sleep(0.001)
            sock.sendall(upgrade()[5:])
            assert answer(sock).startswith(b"HTTP/1.1 101 ")


def test_trusted_peer_without_a_proxy_header_is_cut_and_counted(proxied: GatewayProcess) -> None:
    for first in (
        upgrade(),
        b"PROXY TCP4 nonsense\r\n" + upgrade(),
        b"\x16\x03\x01",
        V2[:12] + b"\x31" + V2[13:],
    ):
        with dial(proxied) as sock:
            sock.sendall(first)
            assert answer(sock) == b""
    assert metrics(proxied)['ringgate_handshakes_refused_total{reason="bad_proxy_header"}'] == 4


def test_header_that_does_not_come_is_waited_for_until_the_deadline(proxied: GatewayProcess) -> None:
    started = time.monotonic()
    silent, slow = dial(proxied), dial(proxied)
    with silent, slow:
        slow.sendall(V1[:-1])
        assert remote_of(proxied, V1 + upgrade()) == "203.0.113.7:4711"
        assert answer(silent) == answer(slow) == b""
    assert 0.9 < time.monotonic() - started < 5
    assert metrics(proxied)['ringgate_handshakes_refused_total{reason="timeout"}'] == 2


def test_peer_that_is_not_trusted_is_an_ordinary_client_whose_proxy_header_is_no_request(
    proxied: GatewayProcess,
) -> None:
    assert remote_of(proxied, upgrade(), STRANGER) == PEER
    for header in (V1, V2):
        with dial(proxied, STRANGER) as sock:
            sock.sendall(header + upgrade())
            assert answer(sock).startswith(b"HTTP/1.1 400 ")


def test_without_the_option_a_proxy_header_is_no_request(gateway_process: StartGateway) -> None:
    gateway = gateway_process("--edge-trusted-proxies", "127.0.0.1")
    with dial(gateway) as sock:
        sock.sendall(V1 + upgrade())
        assert answer(sock).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_proxy_header_comes_before_tls(gateway_process: StartGateway, tmp_path: Path, workers: str) -> None:
    authority = Authority(tmp_path)
    gateway = gateway_process(*PROXIED, *authority.flags, "--workers", workers)
    with dial(gateway) as sock:
        sock.sendall(V1)
        with authority.client().wrap_socket(sock, server_hostname="127.0.0.1") as secure:
            secure.sendall(upgrade())
            assert secure.recv(65536).startswith(b"HTTP/1.1 101 ")
            assert remotes(gateway) == ["203.0.113.7:4711"]
    with dial(gateway) as sock, pytest.raises((ssl.SSLError, OSError)):
        authority.client().wrap_socket(sock, server_hostname="127.0.0.1")


def test_gateway_with_headers_under_way_stops(proxied: GatewayProcess) -> None:
    with dial(proxied) as sock:
        sock.sendall(V1[:10])
        time.sleep(0.1)
        assert proxied.stop() == 0


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
@pytest.mark.parametrize("source", ["127.0.0.1", STRANGER], ids=["trusted", "stranger"])
def test_forwarded_headers_are_believed_from_trusted_peers_alone(
    gateway_process: StartGateway, header: str, source: str
) -> None:
    flags = ("--edge-trusted-proxies", ",".join(TRUSTED), "--edge-forwarded-header", header)
    gateway = gateway_process(*flags)
    rows = [row for row in ROWS if row.header == header]
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(gateway, source)) for _ in rows]
        for number, (sock, row) in enumerate(zip(socks, rows, strict=True)):
            lines = [f"{header}: {line}" for line in row.lines]
            sock.sendall(upgrade(*lines, path=f"/ws?user=row{number}"))
        for sock in socks:
            assert answer(sock).startswith(b"HTTP/1.1 101 ")
        _, body = request(gateway.api, "GET", "/api/connections")
        found = {c["user"]: c["remote"] for c in json.loads(body)["connections"]}
        for number, (sock, row) in enumerate(zip(socks, rows, strict=True)):
            own = "{}:{}".format(*sock.getsockname())
            expected = own if row.client == PEER or source == STRANGER else row.client
            assert found[f"row{number}"] == expected, row


def test_header_that_is_not_the_configured_one_is_not_looked_at(gateway_process: StartGateway) -> None:
    gateway = gateway_process("--edge-trusted-proxies", "127.0.0.1", "--edge-forwarded-header", "forwarded")
    assert remote_of(gateway, upgrade("X-Forwarded-For: 203.0.113.7", "X-Real-IP: 203.0.113.7")) == PEER


# -- the real ones ------------------------------------------------------------------------------


def through(front: Proxy, *lines: str) -> socket.socket:
    """Return a client of a proxy, which connects from STRANGER and is let in."""
    sock = socket.create_connection(("127.0.0.1", front.port), timeout=10, source_address=(STRANGER, 0))
    sock.sendall(upgrade(*lines))
    assert answer(sock).startswith(b"HTTP/1.1 101 ")
    return sock


@pytest.mark.parametrize("kind", KINDS)
def test_clients_address_comes_through_the_real_proxy_and_what_a_client_claims_does_not(
    gateway_process: StartGateway, tmp_path: Path, kind: str
) -> None:
    """With the files of `deploy/` as they are shipped."""
    flags = ("--edge-trusted-proxies", "127.0.0.1", "--edge-forwarded-header", "x-forwarded-for")
    gateways = [gateway_process(*flags) for _ in range(2)]
    with proxy(kind, gateways, tmp_path) as front:
        claim = "X-Forwarded-For: 6.6.6.6"
        with through(front), through(front, claim), through(front, claim, claim):
            found = [*remotes(gateways[0]), *remotes(gateways[1])]
        assert found == [STRANGER] * 3


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_haproxys_proxy_header_says_who_the_client_is(
    gateway_process: StartGateway, tmp_path: Path, option: str
) -> None:
    gateways = [
        gateway_process("--edge-trusted-proxies", "127.0.0.1", "--edge-proxy-protocol") for _ in range(2)
    ]
    with proxy("haproxy", gateways, tmp_path, server_options=option) as front:
        first, second = through(front), through(front, "X-Forwarded-For: 6.6.6.6")
        with first, second:
            found = {*remotes(gateways[0]), *remotes(gateways[1])}
            assert found == {f"{STRANGER}:{sock.getsockname()[1]}" for sock in (first, second)}
