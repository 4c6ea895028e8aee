"""TLS on the edge: certificates, their renewal, refusals, and all the rest as it is without."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import websockets

from gateway import Gateway, closecodes
from gateway.config import InvalidConfigError
from gateway.errors import ConfigError
from tests.support.process import GatewayProcess, StartGateway
from tests.support.tls import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def connect(gateway: GatewayProcess, authority: Authority, path: str = "/ws", **options: Any) -> Any:
    url = f"wss://{gateway.edge}{path}"
    return websockets.connect(url, ssl=authority.client(), proxy=None, max_size=None, **options)


async def ask(client: Any, **command: object) -> dict[str, Any]:
    """Send a command; return the first event that has its id."""
    await client.send(json.dumps({"id": 1, **command}))
    while True:
        event = json.loads(await client.recv())
        if event.get("id") == 1:
            return dict(event)


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one process", "two workers"])
async def test_clients_subscribe_and_hear_over_tls(
    gateway_process: StartGateway, authority: Authority, more: tuple[str, ...]
) -> None:
    gateway = gateway_process(*authority.flags, *more)
    async with connect(gateway, authority) as one, connect(gateway, authority) as two:
        for client in (one, two):
            assert json.loads(await client.recv())["type"] == "hello"
            assert (await ask(client, type="subscribe", channel="news"))["type"] == "reply"
        await ask(one, type="publish", channel="news", data={"n": 1})
        while (event := json.loads(await two.recv()))["type"] != "message":
            pass
        assert event["data"] == {"n": 1}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_536, 1 << 20, 8 << 20])
async def test_messages_of_all_sizes_come_back(
    gateway_process: StartGateway, authority: Authority, size: int
) -> None:
    gateway = gateway_process(*authority.flags, "--echo", "--websocket-max-message-bytes", "16MiB")
    async with connect(gateway, authority, "/echo") as client:
        for payload in (os.urandom(size), "x" * size):
            await client.send(payload)
            assert await client.recv() == payload
        await client.close(4321, "enough")
    assert client.close_code == 4321


async def test_close_from_the_gateway_says_why(gateway_process: StartGateway, authority: Authority) -> None:
    gateway = gateway_process(*authority.flags)
    async with connect(gateway, authority) as client:
        await client.recv()
        gateway.popen.send_signal(signal.SIGTERM)
        await _read_to_the_end(client)
    assert client.close_code == closecodes.DRAIN
    assert await asyncio.to_thread(gateway.popen.wait, 15) == 0


async def test_stalled_client_meets_the_policy_and_others_hear_everything(
    gateway_process: StartGateway, authority: Authority
) -> None:
    flags = ("--namespace", "fast.ring_bytes=64KiB", "--namespace", "fast.presence=false")
    gateway = gateway_process(*authority.flags, *flags)
    async with connect(gateway, authority, max_queue=1) as stalled, connect(gateway, authority) as good:
        for client in (stalled, good):
            await ask(client, type="subscribe", channel="fast:a")
        # Nobody reads `stalled`: its queue fills, then the sockets, then the ring goes on without it.
        heard = asyncio.create_task(_offsets(good, 800))
        for n in range(800):
            await good.send(json.dumps({"type": "publish", "channel": "fast:a", "data": "x" * 30_000}))
            if n % 20 == 19:
                await asyncio.sleep(0.01)
        assert await asyncio.wait_for(heard, 60) == list(range(1, 801))
        await _read_to_the_end(stalled)
    assert stalled.close_code == closecodes.SLOW_CONSUMER


async def _read_to_the_end(client: Any) -> None:
    async with asyncio.timeout(20):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for _ in client:
                pass


async def _offsets(client: Any, count: int) -> list[int]:
    offsets: list[int] = []
    while len(offsets) < count:
        event = json.loads(await client.recv())
        if event["type"] == "message":
            offsets.append(event["offset"])
    return offsets


# -- handshakes that are none -------------------------------------------------------------


def test_plain_text_on_the_tls_port_is_hung_up_on(
    gateway_process: StartGateway, authority: Authority
) -> None:
    gateway = gateway_process(*authority.flags)
    with socket.create_connection(("127.0.0.1", gateway.edge_port), timeout=5) as sock:
        sock.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not sock.recv(100).startswith(b"HTTP/1.1 1")


def test_handshake_that_never_ends_is_ended_by_the_deadline(
    gateway_process: StartGateway, authority: Authority
) -> None:
    gateway = gateway_process(*authority.flags, "--websocket-handshake-timeout", "1s")
    with socket.create_connection(("127.0.0.1", gateway.edge_port), timeout=5) as sock:
        begun = time.monotonic()
        sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
        assert 0.5 < time.monotonic() - begun < 3


def test_old_versions_of_tls_are_refused(gateway_process: StartGateway, authority: Authority) -> None:
    gateway = gateway_process(*authority.flags)
    context = authority.client()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", gateway.edge_port), timeout=5) as sock,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(sock, server_hostname="127.0.0.1")


# -- certificates -------------------------------------------------------------------------


def served(gateway: GatewayProcess, authority: Authority) -> bytes:
    """Return the certificate that a new client is shown."""
    with (
        socket.create_connection(("127.0.0.1", gateway.edge_port), timeout=5) as sock,
        authority.client().wrap_socket(sock, server_hostname="127.0.0.1") as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one process", "two workers"])
async def test_certificate_is_renewed_on_sighup_and_nobody_is_cut(
    gateway_process: StartGateway, authority: Authority, more: tuple[str, ...]
) -> None:
    gateway = gateway_process(*authority.flags, *more)
    async with connect(gateway, authority) as client:
        before = served(gateway, authority)
        authority.renew()
        gateway.popen.send_signal(signal.SIGHUP)
        await asyncio.to_thread(eventually, lambda: served(gateway, authority) != before)
        assert (await ask(client, type="ping"))["type"] == "reply"


async def test_certificate_that_cannot_be_used_does_not_replace_the_one_that_can(
    gateway_process: StartGateway, authority: Authority
) -> None:
    gateway = gateway_process(*authority.flags)
    before = served(gateway, authority)
    authority.key.write_text("no key")
    gateway.popen.send_signal(signal.SIGHUP)
    await asyncio.to_thread(eventually, lambda: "the certificate was not renewed" in gateway.log)
    assert served(gateway, authority) == before


def test_half_of_the_pair_is_refused_by_name() -> None:
    with pytest.raises(InvalidConfigError, match=r"server\.tls_key"):
        Gateway({"server": {"tls_cert": "/some/cert.pem"}})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda a: a.cert.unlink(), "server.tls_cert: cannot read"),
        (lambda a: a.key.unlink(), "server.tls_key: cannot read"),
        (lambda a: a.key.write_text("rubbish"), "do not make a certificate"),
        (lambda a: a.key.write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes()), "mismatch"),
    ],
    ids=["no certificate", "no key", "rubbish", "another key"],
)
async def test_files_that_cannot_be_used_are_named(
    authority: Authority, spoil: Callable[[Authority], object], says: str
) -> None:
    spoil(authority)
    listen = {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"}
    gateway = Gateway({"server": {**listen, "tls_cert": str(authority.cert), "tls_key": str(authority.key)}})
    with pytest.raises(ConfigError) as refused:
        await gateway.start()
    assert says in str(refused.value)


def test_command_ends_with_one_line_when_the_certificate_is_missing(authority: Authority) -> None:
    authority.cert.unlink()
    command = [
        sys.executable,
        "-m",
        "gateway",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
    ]
    done = subprocess.run(
        [*command, *authority.flags], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "server.tls_cert: cannot read" in done.stderr
