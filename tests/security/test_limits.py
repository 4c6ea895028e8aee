"""Floods by one address and one user, against a gateway that limits both; and what of it is logged."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import time
from collections.abc import Iterator

from tests.security.client import Client, is_over, reset_all, upgrade, wait_for
from tests.security.conftest import Launch, Watch
from tests.security.target import Target

MIB = 1 << 20
ATTACKER = "127.0.1.1"
MOST = 40


def flood(target: Target, count: int) -> list[socket.socket]:
    """Connect `count` times from one address, a few at a time, each with its request."""
    socks = []
    request = upgrade(host=f"127.0.0.1:{target.port}")
    for number in range(count):
        sock = socket.create_connection(("127.0.0.1", target.port), timeout=10, source_address=(ATTACKER, 0))
        socks.append(sock)
        with contextlib.suppress(OSError):
            sock.sendall(request)
        if number % 200 == 199:
            target.http("GET", "/health/live")  # let the gateway accept them
    return socks


def test_a_flood_from_one_address_gets_its_bound_and_the_others_notice_nothing(
    launch: Launch, bystander: Watch
) -> None:
    target = launch("--limits-connections-per-address", str(MOST))
    with bystander(target), target.refuses("flood"), target.refuses("address_limit"):
        reset_all(flood(target, 400))
        wait_for(lambda: target.connections() == 2, "they are gone", timeout_s=15)
        memory = target.memory()
        crowd = flood(target, 2000)
        try:
            wait_for(lambda: sum(map(is_over, crowd)) >= 2000 - 2 * MOST, "most were refused or dropped")
            assert target.connections() <= 2 + 2 * (MOST + 16)
            took = [_timed(target) for _ in range(9)]
            assert statistics.median(took) < 0.05, took
            target.client().reset()  # from another address
        finally:
            reset_all(crowd)
        wait_for(lambda: target.connections() == 2, "they are gone", timeout_s=15)
        assert target.memory() - memory < 4 * MIB
    assert target.process.log.count("a limit was reached") <= 4


def _timed(target: Target) -> float:
    started = time.perf_counter()
    assert target.http("GET", "/health/live")[0] == 200
    return time.perf_counter() - started


def test_who_sends_too_much_is_told_so_and_closed_and_the_others_notice_nothing(
    launch: Launch, bystander: Watch
) -> None:
    flags = ("--limits-connection-messages", "300", "--limits-connection-bytes", "64KiB")
    target = launch(*flags, "--limits-burst", "1s")
    with bystander(target):
        for payload in ('{"type":"ping"}', json.dumps([{"type": "ping"}] * 100), "x" * 30_000):
            with target.client() as client:
                for _ in range(600):
                    client.text(payload)
                assert client.closed_with() in (4000, 4102, 1006)
        counted = [name for name in target.metrics() if name.startswith("ringgate_limited_total")]
        assert len(counted) == 3


def _names() -> Iterator[str]:
    """Yield every character of a byte, in what a client may say of itself."""
    for byte in range(256):
        if byte not in b"\r\n\x00":
            yield chr(byte)


def test_nothing_a_client_says_of_itself_makes_or_breaks_a_line_of_a_limit(launch: Launch) -> None:
    target = launch(
        "--edge-trusted-proxies", "127.0.0.1", "--edge-forwarded-header", "x-forwarded-for",
        "--limits-connections-per-address", "1", "--limits-connections-per-user", "1",
        "--limits-connection-messages", "1", "--limits-burst", "100ms",
        "--namespace", "default.publish_rate=1",
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        for number, char in enumerate(_names()):
            forged = f'{char}{{"forged":1}}'
            own = (f"{forged}, 198.51.100.{number}", f"{forged}, 198.51.101.{number}")
            for value in (f"203.0.113.{number}{char}", forged, *own):
                with contextlib.suppress(ConnectionError):
                    path, headers = f"/ws?user=u%{ord(char):02x}", {"X-Forwarded-For": value}
                    client = stack.enter_context(Client(target.port, path, headers=headers))
                    for command in ("ping", "publish"):
                        client.command(command, channel=f"c{forged}", data=1)
                    client.frame(), client.frame()
    lines = [line for line in target.process.log.splitlines() if line]
    records = [json.loads(line) for line in lines if line.startswith("{")]
    assert {record["message"] for record in records} <= {"listening", "a limit was reached"}
    limits = {record["limit"] for record in records if "limit" in record}
    assert limits >= {"connections_per_address", "connections_per_user", "connection_messages"}
    assert "forged" not in target.process.log
