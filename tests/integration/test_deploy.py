"""What `deploy/` ships, tried: the real nginx and HAProxy in front of two gateways; the compose file."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
import yaml

from gateway.config import load
from tests.support.api import metrics, request
from tests.support.peers import Peer, hang_up
from tests.support.process import GatewayProcess, StartGateway
from tests.support.proxies import DEPLOY, KINDS, Proxy, proxy


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which proxy."""
    return str(request.param)


@pytest.fixture
def gateways(gateway_process: StartGateway) -> list[GatewayProcess]:
    """Two gateways, as they are behind a proxy: their Host is not where they listen."""
    return [gateway_process(unclean=True) for _ in range(2)]


@pytest.fixture
def front(kind: str, gateways: list[GatewayProcess], tmp_path: Path) -> Iterator[Proxy]:
    with proxy(kind, gateways, tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
async def nobody_is_left() -> Any:
    yield
    await hang_up()


def connections(gateway: GatewayProcess) -> int:
    return int(metrics(gateway)["ringgate_connections"])


async def test_clients_are_spread_over_both_gateways(front: Proxy, gateways: list[GatewayProcess]) -> None:
    for _ in range(20):
        await Peer.connect(front)
    counts = [connections(gateway) for gateway in gateways]
    assert sum(counts) == 20
    assert min(counts) >= 8


async def test_messages_pass_both_ways_whatever_their_size(front: Proxy) -> None:
    peer = await Peer.connect(front, user="alice")
    assert peer.hello["user"] == "alice"
    await peer.ask("subscribe", channel="sizes")
    for size in (0, 125, 126, 4096, 30_000):
        await peer.ask("publish", channel="sizes", data="x" * size)
        while (event := await peer.event())["type"] != "message":
            assert event["type"] == "join"
        assert event["data"] == "x" * size


async def test_pages_of_the_same_host_are_let_in_and_no_others(front: Proxy) -> None:
    peer = await Peer.connect(front, origin=f"http://{front.address}")
    assert peer.hello["type"] == "hello"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await Peer.connect(front, origin="http://elsewhere.example")
    assert refused.value.response.status_code == 403


def test_nothing_but_the_clients_way_is_passed_on(front: Proxy) -> None:
    for path in ("/", "/api/publish", "/metrics", "/demo", "/health/ready", "/ws/", "/ws2", "//ws", "/WS"):
        assert request(front.address, "GET", path)[0] == 404, path


async def test_close_codes_and_reasons_pass(front: Proxy) -> None:
    peer = await Peer.connect(front)
    await peer.connection.send(b"\x00 not a command")
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await peer.connection.recv()
    assert closed.value.rcvd is not None
    assert 4000 <= closed.value.rcvd.code < 4100 or closed.value.rcvd.code == 1003


async def test_gateway_that_is_gone_is_not_asked_again(front: Proxy, gateways: list[GatewayProcess]) -> None:
    peers = [await Peer.connect(front) for _ in range(6)]
    gateways[0].popen.kill()
    gateways[0].popen.wait()
    cut = 0
    for peer in peers:
        try:
            await peer.ask("ping")
        except websockets.ConnectionClosed:
            cut += 1
    assert cut == 3
    for _ in range(6):
        started = time.monotonic()
        await Peer.connect(front)
        assert time.monotonic() - started < 5
    assert connections(gateways[1]) == 9


async def test_full_gateway_is_passed_over(kind: str, gateway_process: StartGateway, tmp_path: Path) -> None:
    small = gateway_process("--max-connections", "2")
    large = gateway_process()
    with proxy(kind, [small, large], tmp_path) as front:
        for _ in range(12):
            await Peer.connect(front)
        assert connections(small) == 2
        assert connections(large) == 10
        await hang_up()


async def test_draining_gateways_clients_come_back_to_the_other(
    front: Proxy, gateways: list[GatewayProcess]
) -> None:
    peers = [await Peer.connect(front) for _ in range(4)]
    first = connections(gateways[0])
    assert first == 2
    stopping = asyncio.get_running_loop().run_in_executor(None, gateways[0].stop)
    told = await asyncio.gather(
        *(asyncio.wait_for(peer.event(), 1.5) for peer in peers), return_exceptions=True
    )
    moved = [event for event in told if isinstance(event, dict)]
    assert [(event["type"], event["reason"]) for event in moved] == [("reconnect", "drain")] * 2
    for _ in moved:
        await Peer.connect(front)
    assert await stopping == 0
    assert connections(gateways[1]) == 4


def test_quiet_clients_are_not_cut_between_two_pings(kind: str) -> None:
    """Neither file lets a proxy be less patient than two of the gateway's pings, with something to spare."""
    ping_s = load().config.websocket.ping_interval
    text = (DEPLOY / ("nginx.conf" if kind == "nginx" else "haproxy.cfg")).read_text()
    names = ("proxy_read_timeout", "proxy_send_timeout") if kind == "nginx" else ("timeout tunnel",)
    for name in names:
        found = re.search(rf"^\s*{name}\s+(\d+)s", text, re.MULTILINE)
        assert found, name
        assert int(found[1]) > 2 * ping_s


def test_compose_file_names_options_servers_and_files_that_exist() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name in ("gateway-1", "gateway-2"):
        given = services[name]["environment"]
        config = load(environment={**given, "RINGGATE_API_KEYS": "a-key"}).config
        assert config.server.broker == given["RINGGATE_BROKER"]
        assert f"server {name}:8000 " in (DEPLOY / "nginx.conf").read_text()
        assert f"server {name} {name}:8000" in (DEPLOY / "haproxy.cfg").read_text()
    for mount in services["nginx"]["volumes"]:
        assert (DEPLOY / mount.split(":")[0]).is_file()
