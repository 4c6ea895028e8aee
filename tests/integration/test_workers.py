"""Two workers on one port: for clients and services they are one gateway."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.api import metrics, post, request
from tests.support.peers import Peer, hang_up, since
from tests.support.process import GatewayProcess, StartGateway
from tests.support.workers import (
    ask,
    connect_to,
    eventually,
    is_running,
    kill,
    nodes,
    pids,
    waits_ms,
)

TWO = (
    *("--workers", "2"),
    *("--namespace", "default.presence=false", "--namespace", "room.presence=true"),
)


@pytest.fixture
async def gateway(gateway_process: StartGateway) -> AsyncIterator[GatewayProcess]:
    yield gateway_process(*TWO)
    await hang_up()


async def publish(gateway: GatewayProcess, channel: str, data: object, **more: object) -> dict[str, object]:
    body = {"channel": channel, "data": data, **more}
    return dict(await asyncio.to_thread(post, gateway, "/api/publish", body))


def children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


# -- one gateway ---------------------------------------------------------------------------


async def test_client_that_says_thousands_of_things_at_once_is_heard_out(gateway: GatewayProcess) -> None:
    """Many more than may wait at a time: they are read as the earlier ones are done."""
    peer, count = await Peer.connect(gateway), 6_000
    await peer.ask("subscribe", channel="flood")
    for number in range(1, count + 1):
        await peer.connection.send(json.dumps({"type": "publish", "channel": "flood", "data": number}))
    heard: list[object] = []
    while len(heard) < count:
        event = await peer.event()
        if event["type"] == "message":
            heard.append(event["data"])
        else:
            assert event["type"] == "join", event
    assert heard == list(range(1, count + 1))


async def test_two_workers_listen_on_one_port_and_both_get_clients(gateway: GatewayProcess) -> None:
    peers = [await Peer.connect(gateway) for _ in range(30)]
    told = await nodes(gateway)
    assert [node["worker"] for node in told] == [0, 1]
    assert len({node["pid"] for node in told} | {gateway.pid}) == 3
    assert sum(node["connections"] for node in told) == len(peers)
    assert all(node["connections"] for node in told)
    assert (await ask(gateway, "/api/connections"))["total"] == len(peers)
    assert (await ask(gateway, "/health/ready"))["details"]["workers"] == "2 of 2"


async def test_subscribers_everywhere_hear_clients_and_services_in_one_order(gateway: GatewayProcess) -> None:
    first, second = await connect_to(gateway, 0), await connect_to(gateway, 1)
    for peer in (first, second):
        assert (await peer.ask("subscribe", channel="news"))["offset"] == 0

    async def client_publishes(peer: Peer, name: str) -> None:
        for n in range(50):
            await peer.connection.send(
                json.dumps({"type": "publish", "channel": "news", "data": f"{name}{n}"})
            )

    async def service_publishes() -> None:
        for n in range(20):
            await publish(gateway, "news", f"s{n}")

    await asyncio.gather(client_publishes(first, "a"), client_publishes(second, "b"), service_publishes())
    heard = []
    for peer in (first, second):
        events = [await peer.event() for _ in range(120)]
        assert [event["offset"] for event in events] == list(range(1, 121))
        heard.append([event["data"] for event in events])
        await peer.expect_nothing()
    assert heard[0] == heard[1]
    for name in "abs":
        mine = [data for data in heard[0] if data[0] == name]
        assert mine == sorted(mine, key=lambda data: int(data[1:])), "each publisher's order is kept"


async def test_excluded_client_is_left_out_on_whatever_worker(gateway: GatewayProcess) -> None:
    first, second = await connect_to(gateway, 0), await connect_to(gateway, 1)
    for peer in (first, second):
        await peer.ask("subscribe", channel="news")
    await publish(gateway, "news", "not for the first", exclude=first.hello["client"])
    await publish(gateway, "news", "for both")
    assert await second.messages(2) == [1, 2]
    assert await first.messages(1) == [2]


async def test_key_is_known_on_every_worker_and_to_services(gateway: GatewayProcess) -> None:
    first, second = await connect_to(gateway, 0), await connect_to(gateway, 1)
    reply = await first.ask("publish", channel="news", data=1, key="order-17")
    again = await second.ask("publish", channel="news", data=1, key="order-17")
    service = await publish(gateway, "news", 1, key="order-17")
    assert (reply["offset"], again["offset"], again["duplicate"]) == (1, 1, True)
    assert (service["offset"], service["duplicate"]) == (1, True)


async def test_presence_is_one_over_all_workers(gateway: GatewayProcess) -> None:
    first, second = await connect_to(gateway, 0, "ann"), await connect_to(gateway, 1, "bob")
    await first.ask("subscribe", channel="room:1")
    await second.ask("subscribe", channel="room:1")
    joined = [event for event in [await first.event(), await first.event()] if event["type"] == "join"]
    assert [event.get("user") for event in joined] == ["ann", "bob"]
    for peer in (first, second):
        members = (await peer.ask("presence", channel="room:1"))["members"]
        assert [member["user"] for member in members] == ["ann", "bob"]
    second.cut()
    event = await first.event()
    assert (event["type"], event["user"]) == ("leave", "bob")


async def test_history_and_resume_work_on_the_other_worker(gateway: GatewayProcess) -> None:
    first = await connect_to(gateway, 0)
    epoch = (await first.ask("subscribe", channel="news"))["epoch"]
    for n in range(5):
        await publish(gateway, "news", n)
    assert await first.messages(5) == [1, 2, 3, 4, 5]
    first.cut()
    second = await connect_to(gateway, 1)
    page = await second.ask("history", channel="news", limit=2)
    assert [p["offset"] for p in page["publications"]] == [4, 5]
    reply = await second.ask("subscribe", channel="news", since=since(epoch, 2))
    assert (reply["recovered"], reply["offset"]) == (True, 5)
    assert await second.messages(3) == [3, 4, 5]


async def test_session_is_resumed_on_the_other_worker(gateway: GatewayProcess) -> None:
    first = await connect_to(gateway, 0)
    epoch = (await first.ask("subscribe", channel="news"))["epoch"]
    await first.connection.close()
    second = await connect_to(gateway, 1)
    reply = await second.ask("connect", session=first.hello["session"], since={"news": since(epoch, 0)})
    assert [(s["channel"], s["recovered"]) for s in reply["subscriptions"]] == [("news", True)]


async def test_user_with_connections_on_both_workers_is_reached_on_both(gateway: GatewayProcess) -> None:
    first, second = await connect_to(gateway, 0, "ann"), await connect_to(gateway, 1, "ann")
    assert (await asyncio.to_thread(post, gateway, "/api/send", {"user": "ann", "data": "hi"}))["offset"] == 1
    for peer in (first, second):
        event = await peer.event()
        assert (event["channel"], event["data"]) == ("@ann", "hi")
    body = {"user": "ann", "channel": "news"}
    assert await asyncio.to_thread(post, gateway, "/api/subscribe", body) == {"connections": 2}
    for peer in (first, second):
        assert (await peer.event())["type"] == "subscribed"
    (channel,) = (await ask(gateway, "/api/channels?prefix=news"))["channels"]
    assert channel["subscribers"] == 2
    one = {"client": second.hello["client"], "data": "you"}
    assert await asyncio.to_thread(post, gateway, "/api/send", one) == {"connections": 1}
    body = {"user": "ann"}
    assert await asyncio.to_thread(post, gateway, "/api/disconnect", body) == {"connections": 2}
    for peer in (first, second):
        await peer.connection.wait_closed()
        assert peer.connection.close_code == 4004


async def test_metrics_are_sums_and_never_go_back(gateway: GatewayProcess) -> None:
    first, second = await connect_to(gateway, 0), await connect_to(gateway, 1)
    for peer in (first, second):
        await peer.ask("subscribe", channel="news")
        await peer.ask("publish", channel="news", data=1)
    await publish(gateway, "news", 1)
    before = await asyncio.to_thread(metrics, gateway)
    assert before["ringgate_connections"] == before["ringgate_sessions"] == 2
    assert before["ringgate_publish_seconds_count"] == before["ringgate_broker_publications"] == 3
    assert before["ringgate_channels"] == 2, "the channel is open in both workers"
    assert before["ringgate_workers"] == before["ringgate_workers_wanted"] == 2
    victim = (await pids(gateway))[0]
    kill(victim)
    await eventually(lambda: "a worker was replaced" in gateway.log, "it is replaced")
    after = await asyncio.to_thread(metrics, gateway)
    assert after["ringgate_worker_restarts_total"] == 1
    assert after["ringgate_connections"] == 1
    assert after["ringgate_publish_seconds_count"] == 3
    for name in before:
        if name.startswith("ringgate_") and "_total" in name:
            assert after[name] >= before[name], name


# -- ends ----------------------------------------------------------------------------------


async def test_worker_that_is_killed_leaves_nobody_behind_and_is_replaced(gateway: GatewayProcess) -> None:
    lost, stays = await connect_to(gateway, 0, "ann"), await connect_to(gateway, 1, "bob")
    await stays.ask("subscribe", channel="room:1")
    await stays.event()
    epoch = (await lost.ask("subscribe", channel="room:1"))["epoch"]
    assert (await stays.event())["type"] == "join"
    victim = (await pids(gateway))[0]
    kill(victim)
    event = await stays.event()
    assert (event["type"], event["user"]) == ("leave", "ann")
    await eventually(lambda: "a worker was replaced" in gateway.log, "it is replaced")
    assert waits_ms(gateway) == [0]
    members = (await stays.ask("presence", channel="room:1"))["members"]
    assert [member["user"] for member in members] == ["bob"]
    assert victim not in await pids(gateway)
    assert (await ask(gateway, "/health/ready"))["details"]["workers"] == "2 of 2"
    await publish(gateway, "room:1", "missed")
    assert (await stays.event())["data"] == "missed"
    await stays.expect_nothing()
    back = await connect_to(gateway, 0, "ann")
    reply = await back.ask("connect", session=lost.hello["session"], since={"room:1": since(epoch, 0)})
    assert [(s["channel"], s["recovered"]) for s in reply["subscriptions"]] == [("room:1", True)]
    assert await back.messages(1) == [1]


async def test_supervisor_that_is_killed_takes_its_workers_with_it(gateway_process: StartGateway) -> None:
    gateway = gateway_process(*TWO, unclean=True)
    peer = await Peer.connect(gateway)
    workers = await pids(gateway)
    os.kill(gateway.pid, signal.SIGKILL)
    await eventually(lambda: not any(map(is_running, workers)), "the workers end", within_s=5)
    await peer.connection.wait_closed()
    assert peer.connection.close_code == 4202
    await hang_up()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_signal_drains_all_workers(gateway_process: StartGateway, number: int) -> None:
    gateway = gateway_process(*TWO)
    peers = [await connect_to(gateway, 0), await connect_to(gateway, 1)]
    workers = await pids(gateway)
    os.kill(gateway.pid, number)
    for peer in peers:
        event = await peer.event()
        assert (event["type"], event["reason"]) == ("reconnect", "drain")
        await peer.connection.wait_closed()
        assert peer.connection.close_code == 4202
    assert await asyncio.to_thread(gateway.popen.wait, 8) == 0
    assert not any(map(is_running, workers))


async def test_clients_that_do_not_close_hold_the_end_up_no_longer_than_allowed(
    gateway_process: StartGateway,
) -> None:
    gateway = gateway_process(*TWO, "--shutdown-timeout", "300ms")
    peer = await Peer.connect(gateway)
    peer.connection.transport.pause_reading()
    os.kill(gateway.pid, signal.SIGTERM)
    assert await asyncio.to_thread(gateway.popen.wait, 4) == 0
    await hang_up()


async def test_worker_that_gets_sigterm_drains_alone_and_is_replaced(gateway: GatewayProcess) -> None:
    leaves, stays = await connect_to(gateway, 0), await connect_to(gateway, 1)
    os.kill((await pids(gateway))[0], signal.SIGTERM)
    assert (await leaves.event())["type"] == "reconnect"
    await leaves.connection.wait_closed()
    await eventually(lambda: "a worker was replaced" in gateway.log, "it is replaced")
    await stays.expect_nothing()


async def test_worker_that_dies_again_and_again_is_replaced_later_each_time(
    gateway: GatewayProcess,
) -> None:
    for deaths in range(1, 5):
        (victim,) = [n["pid"] for n in await nodes(gateway) if n["worker"] == 0]
        kill(victim)
        await eventually(lambda n=deaths: gateway.log.count("a worker was replaced") == n, "replaced")  # type: ignore[misc]
    waits = waits_ms(gateway)
    assert waits[-3:] == [100, 200, 400]


async def test_port_that_another_gateway_has_is_refused(gateway: GatewayProcess, tmp_path: Path) -> None:
    from tests.integration.test_serve import run

    other = await asyncio.to_thread(
        run, "serve", "--listen", gateway.edge, "--api-listen", "127.0.0.1:0", *TWO
    )
    assert other.returncode == 1
    assert other.stderr.startswith("ringgate: server.listen: cannot listen on")


async def test_sighup_reloads_what_can_change_everywhere(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    file = tmp_path / "ringgate.toml"
    file.write_text("[session]\nmax_channels = 2\n")
    gateway = gateway_process(*TWO, "--config", str(file))
    peers = [await connect_to(gateway, 0), await connect_to(gateway, 1)]
    file.write_text(
        "[server]\nbacklog = 7\nlog_level = 'warning'\n[api]\nkeys = ['a-key-of-some-length']\n"
        "[session]\nmax_channels = 1\n[namespace.shut]\nsubscribe = 'nobody'\n"
    )
    os.kill(gateway.pid, signal.SIGHUP)
    await eventually(lambda: "configuration reloaded" in gateway.log, "it is reloaded")
    assert "server.backlog cannot change while the gateway runs" in gateway.log
    assert request(gateway.api, "GET", "/api/nodes")[0] == 401
    for peer in peers:
        assert (await peer.ask("subscribe", channel="shut:a"))["code"] == "permission_denied"
        assert (await peer.ask("subscribe", channel="a"))["type"] == "reply"
        assert (await peer.ask("subscribe", channel="b"))["code"] == "limit_exceeded"
    file.write_text("[session]\nmax_channels = 'many'\n")
    os.kill(gateway.pid, signal.SIGHUP)
    await eventually(lambda: "the configuration was not reloaded" in gateway.log, "it says so")
    assert request(gateway.api, "GET", "/api/nodes")[0] == 401
    await hang_up()


async def test_one_worker_is_one_process_and_reloads_too(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    file = tmp_path / "ringgate.toml"
    file.write_text("")
    gateway = gateway_process("--workers", "1", "--config", str(file))
    peer = await Peer.connect(gateway)
    (node,) = await nodes(gateway)
    assert "worker" not in node
    assert not children(gateway.pid)
    file.write_text("[namespace.default]\npublish = 'nobody'\n")
    os.kill(gateway.pid, signal.SIGHUP)
    await eventually(lambda: "namespace.default.publish" in gateway.log, "it is reloaded")
    assert (await peer.ask("publish", channel="a", data=1))["code"] == "permission_denied"
    await peer.connection.close()
    with pytest.raises(ConnectionClosed):
        await peer.event()
