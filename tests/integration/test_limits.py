"""Limits of a real gateway: of one process, of workers, and of two gateways on a Redis; real clients."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.security.client import CLOSE, Client, wait_for
from tests.support.api import metrics
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer

LIMITED = 'ringgate_limited_total{{limit="{}"}}'


def limited(gateway: GatewayProcess, limit: str) -> float:
    """How often a limit was reached."""
    return metrics(gateway).get(LIMITED.format(limit), 0.0)


@contextlib.contextmanager
def crowd(gateways: Sequence[GatewayProcess], size: int, user: str = "") -> Iterator[list[Client]]:
    """Clients of gateways in turn, that are let in."""
    with contextlib.ExitStack() as stack:
        path = f"/ws?user={user}" if user else "/ws"
        ports = [gateway.edge_port for gateway in gateways]
        yield [stack.enter_context(Client(ports[n % len(ports)], path)) for n in range(size)]


def is_closed(client: Client, code: int) -> bool:
    """Tell, after a moment at most, whether a client was closed, and expect this code."""
    client.command("ping", id=77)
    try:
        while (frame := client.frame()).opcode != CLOSE:
            if json.loads(frame.payload).get("id") == 77:
                return False
    except (ConnectionError, OSError):
        return True
    assert frame.close_code == code
    return True


def accepted_of(clients: Sequence[Client], seconds: float) -> tuple[int, float]:
    """Have clients ask for a while; return how many of the answers were no errors, and the time it took."""
    accepted, started, number = 0, time.monotonic(), 0
    while time.monotonic() < started + seconds:
        number += 1
        for client in clients:
            client.command("ping", id=number)
        answers = [client.answer(number) for client in clients]
        accepted += sum(answer["type"] == "reply" for answer in answers)
        assert {answer.get("code", "rate_limited") for answer in answers} == {"rate_limited"}
        time.sleep(0.05)
    return accepted, time.monotonic() - started


def test_one_connection_is_limited_others_are_not_and_the_log_says_so_once(
    gateway_process: StartGateway,
) -> None:
    gateway = gateway_process("--limits-connection-messages", "10", "--limits-burst", "1s")
    with crowd([gateway], 2) as (loud, quiet):
        answers = [loud.ask("ping", id=number) for number in range(1, 61)]
        assert [answer["type"] for answer in answers[:10]] == ["reply"] * 10
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert {(answer["code"], answer["retry"]) for answer in refused} == {("rate_limited", True)}
        assert len(refused) >= 40
        assert quiet.ask("ping", id=1)["type"] == "reply"
        assert limited(gateway, "connection_messages") == len(refused)
        for number in range(200):
            loud.command("ping", id=100 + number)
        assert loud.closed_with() == 4102
        assert quiet.ask("ping", id=2)["type"] == "reply"
    assert gateway.log.count("a limit was reached") == 2  # of two limits


def test_address_with_enough_connections_gets_429_and_others_come_in(gateway_process: StartGateway) -> None:
    gateway = gateway_process(
        "--limits-connections-per-address", "3",
        "--edge-trusted-proxies", "127.0.0.1", "--edge-forwarded-header", "x-forwarded-for",
    )  # fmt: skip

    def come(address: str) -> Client:
        return Client(gateway.edge_port, headers={"X-Forwarded-For": f"6.6.6.6, {address}"})

    with contextlib.ExitStack() as stack:
        for address in ("203.0.113.7", "203.0.113.8", "2001:db8::1"):
            first, *_ = [stack.enter_context(come(address)) for _ in range(3)]
            other = "2001:db8::2" if ":" in address else address
            with pytest.raises(ConnectionRefusedError, match=r"429 Too Many Requests\r\nRetry-After: 5\r\n"):
                come(other)
            first.reset()
            wait_for(lambda: _comes_in(stack, come, other), "one has left, so there is room")  # noqa: B023
        assert limited(gateway, "connections_per_address") >= 3
        refused = metrics(gateway)['ringgate_handshakes_refused_total{reason="address_limit"}']
        assert refused == limited(gateway, "connections_per_address")


def _comes_in(stack: contextlib.ExitStack, come: object, address: str) -> bool:
    assert callable(come)
    try:
        stack.enter_context(come(address))
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("workers", ["1", "2"])
def test_user_and_address_have_so_many_connections_over_all_workers(
    gateway_process: StartGateway, workers: str
) -> None:
    gateway = gateway_process("--limits-connections-per-user", "3", "--workers", workers)
    with crowd([gateway], 9, "alice") as clients, crowd([gateway], 4, "bob") as others:
        assert sum(is_closed(client, 4100) for client in clients) == 6
        assert sum(is_closed(client, 4100) for client in others) == 1
        assert limited(gateway, "connections_per_user") == 7
    wait_for(lambda: metrics(gateway)["ringgate_sessions"] == 0, "all are gone")
    with crowd([gateway], 3, "alice") as clients:
        assert not any(is_closed(client, 4100) for client in clients)


def test_address_has_so_many_connections_over_all_workers(gateway_process: StartGateway) -> None:
    gateway = gateway_process("--limits-connections-per-address", "4", "--workers", "2")
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(12):
            with contextlib.suppress(ConnectionRefusedError):  # 429, where four are in the same worker
                clients.append(stack.enter_context(Client(gateway.edge_port)))
        assert sum(not is_closed(client, 4100) for client in clients) == 4


def test_workers_share_what_a_user_may_spend(gateway_process: StartGateway) -> None:
    gateway = gateway_process("--limits-user-messages", "20", "--limits-burst", "1s", "--workers", "2")
    with crowd([gateway], 8, "alice") as clients, crowd([gateway], 1, "bob") as (bystander,):
        accepted, took_s = accepted_of(clients, 2.0)
        assert bystander.ask("ping", id=1)["type"] == "reply"
    # A burst for each worker, and the rate for all: unshared it would be twice 20 x (1 + 2).
    assert 40 <= accepted <= 2 * 20 + 20 * (took_s + 0.5)


def test_gateways_on_a_redis_share_what_a_user_may_spend_and_go_on_without_it(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        flags = ("--broker", redis.url, "--limits-user-messages", "20", "--limits-burst", "1s")
        gateways = [gateway_process(*flags, unclean=True) for _ in range(3)]
        with crowd(gateways, 6, "alice") as clients:
            accepted, took_s = accepted_of(clients, 2.0)
            assert 40 <= accepted <= 3 * 20 + 20 * (took_s + 0.5)  # unshared: 180
            redis.kill()
            assert accepted_of(clients, 0.5)[0] > 0


def test_limits_can_be_changed_while_the_gateway_runs(gateway_process: StartGateway, tmp_path: Path) -> None:
    file = tmp_path / "ringgate.toml"
    file.write_text("")
    gateway = gateway_process("--config", str(file))
    with crowd([gateway], 1) as (client,):
        assert all(client.ask("ping", id=n)["type"] == "reply" for n in range(1, 30))
        file.write_text('[limits]\nconnection_messages = 5\nburst = "1s"\n')
        gateway.popen.send_signal(signal.SIGHUP)
        wait_for(lambda: "limits.connection_messages" in gateway.log, "it was read again")
        answers = [client.ask("ping", id=n).get("code", "") for n in range(1, 30)]
        assert answers[:5] == [""] * 5
        assert "rate_limited" in answers
