"""Limits of a real gateway: of one process, of workers, and of two gateways on a Redis; real clients."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.security.client import CLOSE, Client, wait_for
from tests.support.api import get, metrics
from tests.support.frames import frame
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


def test_bounds_that_are_always_there_have_their_counter_and_a_line_of_the_log_too(
    gateway_process: StartGateway,
) -> None:
    gateway = gateway_process(
        "--max-connections", "2", "--websocket-max-message-bytes", "1KiB", "--websocket-max-fragments", "3"
    )
    for _ in range(2):
        with Client(gateway.edge_port) as client:
            client.text("x" * 1025)
            assert client.closed_with() == 1009
        with Client(gateway.edge_port) as client:
            client.send(frame(1, fin=False) + frame(0, fin=False) * 3)
            assert client.closed_with() == 1008
    wait_for(lambda: metrics(gateway)["ringgate_connections"] == 0, "they are gone")
    with Client(gateway.edge_port), Client(gateway.edge_port):
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError, match="503"):
                Client(gateway.edge_port)
    for limit in ("message_bytes", "fragments", "connections"):
        assert limited(gateway, limit) == 2, limit
    assert gateway.log.count("a limit was reached") == 3


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


def come(stack: contextlib.ExitStack, gateway: GatewayProcess, size: int) -> tuple[list[Client], list[str]]:
    """Have clients come; return those that are let in, and with which status the others were refused."""
    clients, refused = [], []
    for _ in range(size):
        try:
            clients.append(stack.enter_context(Client(gateway.edge_port)))
        except ConnectionRefusedError as problem:
            refused.append(re.sub(r"(?s).*HTTP/1.1 (\d+).*", r"\1", str(problem)))
        except OSError:  # it was dropped: the worker is gone
            refused.append("")
    return clients, refused


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
        clients, refused = come(stack, gateway, 12)
        assert (len(clients), set(refused)) == (4, {"429"})
        assert limited(gateway, "connections_per_address") == 8
        clients.pop().reset()
        wait_for(lambda: bool(come(stack, gateway, 1)[0]), "one has left, so there is room for one")
        assert not come(stack, gateway, 3)[0]


@pytest.mark.parametrize("flag", ["--limits-connections-per-address", "--max-connections"])
def test_worker_that_is_killed_counts_no_more(gateway_process: StartGateway, flag: str) -> None:
    gateway = gateway_process(flag, "12", "--workers", "2")
    with contextlib.ExitStack() as stack:
        clients, refused = come(stack, gateway, 30)
        assert (len(clients), set(refused)) == (12, {"429" if "address" in flag else "503"})
        nodes = [node for node in get(gateway, "/api/nodes")["nodes"] if node["connections"]]
        gone = nodes[0]["connections"]
        os.kill(nodes[0]["pid"], signal.SIGKILL)
        more: list[Client] = []

        def all_came() -> bool:
            more.extend(come(stack, gateway, 12)[0])
            return len(more) >= int(gone)

        wait_for(all_came, "there is room for as many as were in the worker that was killed")
        assert len(more) == gone


def test_workers_share_what_an_address_may_spend(gateway_process: StartGateway) -> None:
    gateway = gateway_process("--limits-address-messages", "20", "--limits-burst", "1s", "--workers", "2")
    with crowd([gateway], 8) as clients:
        accepted, took_s = accepted_of(clients, 2.0)
    assert 40 <= accepted <= 2 * 20 + 20 * (took_s + 0.5)


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
