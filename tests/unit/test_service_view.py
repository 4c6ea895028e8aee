"""What app services may ask of the gateway, and the figures it gives."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import closecodes
from gateway.connection._edge import EdgeStats
from gateway.errors import BrokerUnavailableError, CommandError
from gateway.listing import Asked
from gateway.service_view import ServiceView
from tests.support.sessions import World, world


def view(w: World) -> ServiceView:
    return ServiceView(w.node, EdgeStats())


async def test_send_to_a_user_is_a_publication_in_the_personal_channel() -> None:
    async with world() as w:
        alices, bob = [w.connect("alice"), w.connect("alice")], w.connect("bob")
        result = await view(w).send(user="alice", data=b'"hi"')
        assert result["offset"] == 1
        for alice in alices:
            (message,) = await alice.ask()
            assert (message["channel"], message["data"], message["offset"]) == ("@alice", "hi", 1)
            assert "from" not in message
        assert await bob.ask() == []
        assert (await view(w).send(user="nobody yet".replace(" ", "-"), data=b"1"))["offset"] == 1


async def test_send_to_a_client_tells_how_many_it_reached() -> None:
    async with world() as w:
        client = w.connect()
        assert await view(w).send(client=client.id, data=b"\x00\xff", binary=True) == {"connections": 1}
        (message,) = await client.ask()
        assert message["data64"] == "AP8="
        assert await view(w).send(client="gone", data=b"1") == {"connections": 0}


async def test_subscribe_and_unsubscribe_reach_namespaces_closed_to_clients() -> None:
    async with world() as w:
        alice = w.connect("alice")
        assert await view(w).subscribe(user="alice", channel="closed:1") == 1
        await view(w).publish("closed:1", b'"for the chosen"')
        assert [e["type"] for e in await alice.ask()] == ["subscribed", "message"]
        assert [m.client for m in await view(w).presence("closed:1")] == [alice.id]
        assert await view(w).unsubscribe(client=alice.id, channel="closed:1") == 1
        await view(w).publish("closed:1", b'"for others"')
        assert [e["type"] for e in await alice.ask()] == ["unsubscribed"]
        assert await view(w).presence("closed:1") == []


@pytest.mark.parametrize(
    ("given", "sent"), [(0, closecodes.DISCONNECTED), (1000, 1000), (3000, 3000), (4999, 4999)]
)
async def test_disconnect_closes_with_the_code(given: int, sent: int) -> None:
    async with world() as w:
        client = w.connect("alice")
        assert await view(w).disconnect(user="alice", code=given) == 1
        assert client.connection.closes == [sent]
        assert await view(w).disconnect(user="alice") == 0


@pytest.mark.parametrize("code", [-1, 1, 999, 1001, 1005, 1006, 2999, 5000, 70_000])
async def test_disconnect_with_a_code_that_may_not_be_sent_is_refused(code: int) -> None:
    async with world() as w:
        client = w.connect()
        with pytest.raises(CommandError, match="bad_request"):
            await view(w).disconnect(client=client.id, code=code)
        assert client.connection.closes == []


async def test_disconnect_bounds_the_reason_in_bytes() -> None:
    async with world() as w:
        assert await view(w).disconnect(client="x", reason="ü" * 61) == 0
        with pytest.raises(CommandError, match="bad_request"):
            await view(w).disconnect(client="x", reason="ü" * 62)


async def test_target_must_be_exactly_one() -> None:
    async with world() as w:
        v = view(w)
        targets: tuple[dict[str, Any], ...] = ({}, {"user": "a", "client": "b"})
        for target in targets:
            for ask in (
                v.send(data=b"1", **target),
                v.subscribe(channel="x", **target),
                v.disconnect(**target),
            ):
                with pytest.raises(CommandError, match="exactly one"):
                    await ask
            with pytest.raises(CommandError, match="exactly one"):
                await v.unsubscribe(channel="x", **target)


@pytest.mark.parametrize("channel", ["", "a b", "x" * 201])
async def test_names_are_checked(channel: str) -> None:
    async with world() as w:
        v = view(w)
        for ask in (
            v.publish(channel, b"1"),
            v.subscribe(user="a", channel=channel),
            v.unsubscribe(user="a", channel=channel),
            v.history(channel, limit=1, before=0),
            v.presence(channel),
        ):
            with pytest.raises(CommandError, match="bad_request"):
                await ask
        with pytest.raises(CommandError, match="bad_request"):
            await v.send(user=channel or "x" * 200, data=b"1")


async def test_payloads_are_bounded_on_every_way() -> None:
    async with world(max_publish_bytes=4) as w:
        v = view(w)
        client = w.connect("alice")
        for ask in (
            v.publish("news", b"12345"),
            v.send(user="alice", data=b"12345"),
            v.send(client=client.id, data=b"12345"),
        ):
            with pytest.raises(CommandError, match="limit_exceeded"):
                await ask
        assert (await v.publish("news", b"1234")).offset == 1


async def test_lists_tell_what_there_is() -> None:
    async with world() as w:
        alice = w.connect("alice")
        await alice.subscribe("news")
        await w.publish("news", 1)
        w.time.advance(2.0)
        gone = w.connect()
        await gone.subscribe("left")
        gone.lose()
        v = view(w)
        assert [(c["name"], c["subscribers"], c["offset"]) for c in (await v.channels(Asked())).items] == [
            ("@alice", 1, 0),
            ("news", 1, 1),
        ]
        assert (await v.connections(Asked())).items == [
            {
                "client": alice.id,
                "user": "alice",
                "channels": 2,
                "remote": "192.0.2.1:1234",
                "since_ms": 1_764_000_000_000 - 2000,
            }
        ]
        (node,) = await v.nodes()
        assert (node["connections"], node["channels"], node["draining"]) == (1, 3, False)
        page = await v.history("news", limit=5, before=0)
        assert [p.data for p in page.publications] == [b"1"]


async def test_ready_asks_the_broker_and_says_why_not() -> None:
    async with world() as w:
        v = view(w)
        assert (await v.ready())[0] is True
        w.broker.faults["probe"] = BrokerUnavailableError("down")
        assert await v.ready() == (False, {"broker": "unavailable"})
        w.broker.faults.clear()
        w.node.draining = True
        assert await v.ready() == (False, {"draining": True})
        assert (await v.nodes())[0]["draining"] is True


async def test_metrics_count_what_happened() -> None:
    async with world() as w:
        client, slow = w.connect("alice"), w.connect()
        await client.subscribe("news")
        await slow.subscribe("tiny:x")
        slow.connection.blocked = True
        await w.publish("news", 1, 2)
        for number in range(40):
            await w.publish("tiny:x", number)
        await client.ask()
        samples: dict[str, Any] = {
            " ".join((name, *labels.values())): (kind, value)
            for name, kind, _, labels, value in await view(w).metrics()
        }
        assert samples["ringgate_sessions"] == ("gauge", 2)
        assert samples["ringgate_channels"] == ("gauge", 3)
        assert samples["ringgate_rings"] == ("gauge", 3)
        assert samples["ringgate_tasks"] == ("gauge", 0)  # of the simulated loop, which runs none
        assert samples["ringgate_messages_out ring"] == ("counter", 2)
        assert samples["ringgate_ring_frames"] == ("counter", 42)
        assert samples["ringgate_frames_dropped slow_skip"][1] > 0
        assert samples["ringgate_frames_dropped slow_disconnect"] == ("counter", 0)
        assert samples["ringgate_ring_lagging"] == ("gauge", 1)
        assert 0 < samples["ringgate_ring_lag_bytes"][1] <= 1024
        assert samples["ringgate_ring_bytes"][1] >= 1024
        assert samples["ringgate_broker_publications"] == ("gauge", 42)
        assert samples["ringgate_connections"] == ("gauge", 0)


async def test_metric_names_and_labels_are_unique() -> None:
    async with world() as w:
        w.connect()
        samples = await view(w).metrics()
        keys = [(name, tuple(sorted(labels.items()))) for name, _, _, labels, _ in samples]
        assert len(set(keys)) == len(keys)
        assert all(name.startswith("ringgate_") and text for name, _, text, _, _ in samples)
        assert all(kind in {"counter", "gauge", "histogram"} for _, kind, _, _, _ in samples)
        help_of = {name: text for name, _, text, _, _ in samples}
        assert all(help_of[name] == text for name, _, text, _, _ in samples)
