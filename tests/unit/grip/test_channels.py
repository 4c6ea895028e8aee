"""Clients of a GRIP service in channels: subscribing, bare frames, closing, what is shared with others."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway.bare import close_channel
from gateway.grip.events import Event, Kind
from gateway.message.bare import payload_of_text
from gateway.message.filters import FILTERS, Terms
from tests.support.grip import GRIP, OPEN, GripService, Rig, control, rig, text
from tests.support.waiting import until


def subscriber(channel: str = "room") -> GripService:
    """A service that subscribes everybody, and does what a client tells it to by control messages."""
    service = GripService(lambda events: [event for event in events if event.kind is Kind.TEXT])
    service.headers = GRIP
    service.opens = (control(json.dumps({"type": "subscribe", "channel": channel})), text("m:hello"))
    return service


async def say(r: Rig, data: bytes, *, binary: bool = False, channel: str = "grip:room") -> None:
    await r.node.publish(channel, data, binary=binary)


async def test_what_is_published_arrives_bare_and_in_order() -> None:
    async with rig(subscriber()) as r, r.connect() as one, r.connect() as two:
        assert [await one.recv(), await two.recv()] == ["hello", "hello"]
        assert r.counts.subscriptions == 2
        for data, binary in (
            (b'"h\\u00e9"', False),
            (b' {"n": 1.0}', False),
            (b"\x00\xff", True),
            (b'""', False),
        ):
            await say(r, data, binary=binary)
        for client in (one, two):
            assert [await client.recv() for _ in range(4)] == ["hé", ' {"n": 1.0}', b"\x00\xff", ""]
        ring_count = len(r.node.hub.get("grip:room").rings)  # type: ignore[union-attr]
        assert ring_count == 1


async def test_clients_with_and_without_compression_share_a_channel() -> None:
    async with (
        rig(subscriber(), edge={"compression": True}) as r,
        r.connect(compression="deflate") as one,
        r.connect() as two,
    ):
        assert [await one.recv(), await two.recv()] == ["hello", "hello"]
        for number in range(3):
            await say(r, payload_of_text("long and boring " * 50 + str(number)))
        for number in range(3):
            heard = [await one.recv(), await two.recv()]
            assert heard == ["long and boring " * 50 + str(number)] * 2


async def test_other_channels_are_out_of_reach() -> None:
    async with rig(subscriber("@ada")) as r, r.connect() as client:
        assert await client.recv() == "hello"  # it hears grip:@ada, and not what is ada's
        await say(r, b'"secret"', channel="@ada")
        await say(r, b'"open"', channel="grip:@ada")
        assert await client.recv() == "open"
    async with rig(subscriber("@ada"), prefix="") as r, r.connect() as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1011


async def test_unsubscribed_and_detached_clients() -> None:
    service = subscriber()
    async with rig(service) as r, r.connect() as client:
        assert await client.recv() == "hello"
        await client.send('c:{"type":"unsubscribe","channel":"room"}')
        await until(lambda: r.counts.subscriptions == 0)
        await say(r, b'"missed"')
        await client.send('c:{"type":"subscribe","channel":"room"}')
        await until(lambda: r.counts.subscriptions == 1)
        await say(r, b'"heard"')
        assert await client.recv() == "heard"
        await client.send('c:{"type":"detach"}')
        await until(lambda: len(service.events) == 4)
        await asyncio.sleep(0.05)
        for _ in range(100):
            await client.send("nobody hears this" * 1000)
        await say(r, b'"still here"')
        assert await client.recv() == "still here"
    assert service.told[-1] == text('c:{"type":"detach"}')


async def test_a_channel_is_closed_behind_what_was_published() -> None:
    async with rig(subscriber()) as r:
        clients = [await r.connect() for _ in range(3)]
        other = await r.connect()
        for client in (*clients, other):
            assert await client.recv() == "hello"
        await other.send('c:{"type":"unsubscribe","channel":"room"}')
        await until(lambda: r.counts.subscriptions == 3)
        await say(r, b'"last"')
        assert await close_channel(r.node, "grip:room", 4000, "over") == 3
        for client in clients:
            assert await client.recv() == "last"
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (4000, "over")
        await other.send("m:not me")
        assert await other.recv() == "not me"
        await other.close()


async def filtered(r: Rig, user: str, *channels: str, filters: tuple[str, ...] = FILTERS) -> ClientConnection:
    """A client that hears `room` through filters, and other channels."""
    client: ClientConnection = await r.connect()
    assert await client.recv() == "hello"
    for wanted in ("room", *channels):
        told = {"type": "subscribe", "channel": wanted, "filters": filters if wanted == "room" else []}
        await client.send("c:" + json.dumps(told))
    if user:
        await client.send("c:" + json.dumps({"type": "set-meta", "name": "user", "value": user}))
    await client.send("m:ready")
    assert await client.recv() == "ready"
    return client


async def test_filters_keep_messages_from_some_and_leave_no_trace() -> None:
    async with rig(subscriber()) as r:
        ada, bob = await filtered(r, "ada", "vip"), await filtered(r, "bob")
        nobody, free = await filtered(r, ""), await filtered(r, "ada", filters=())
        for number, terms in enumerate(
            (Terms(sender="ada"), Terms(skip_users=("ada", "bob")), Terms(require_sub="grip:vip"), Terms())
        ):
            await r.node.publish("grip:room", b"%d" % number, exclude=terms.written())
        assert [await ada.recv() for _ in range(2)] == ["2", "3"]
        assert [await bob.recv() for _ in range(2)] == ["0", "3"]
        assert [await nobody.recv() for _ in range(3)] == ["0", "1", "3"]
        assert [await free.recv() for _ in range(4)] == ["0", "1", "2", "3"]
        await ada.send('c:{"type":"set-meta","name":"user"}')
        await bob.send('c:{"type":"unsubscribe","channel":"room"}')
        await nobody.send('c:{"type":"subscribe","channel":"room","filters":["skip-users"]}')
        await until(lambda: len(r.node.bare._filtered["grip:room"]) == 2)
        for client in (ada, nobody):
            await client.send("m:so far")
            assert await client.recv() == "so far"
        await r.node.publish("grip:room", b"4", exclude=Terms("ada", (), "grip:other").written())
        await r.node.publish("grip:room", b"5", exclude=Terms("ada").written())
        assert [await ada.recv(), await nobody.recv(), await nobody.recv()] == ["5", "4", "5"]
        for client in (ada, bob, nobody, free):
            await client.close()
        await r.gone()
        assert not r.node.bare._filtered


async def test_a_filtered_client_that_reads_late_gets_what_is_for_it_and_nothing_else() -> None:
    async with rig(subscriber(), most_queued_bytes=1 << 20) as r:
        ada = await filtered(r, "ada")
        terms = Terms(sender="ada").written()
        for number in range(300):
            data = payload_of_text(f"{number} " + "x" * 3000)
            await r.node.publish("grip:room", data, exclude=terms if number % 3 else "")
        heard = [str(await ada.recv()).partition(" ")[0] for _ in range(100)]
        assert heard == [str(number) for number in range(0, 300, 3)]
        await ada.close()


async def test_a_close_spares_those_whose_filters_keep_it_from_them() -> None:
    async with rig(subscriber()) as r:
        ada, bob = await filtered(r, "ada"), await filtered(r, "bob")
        terms = Terms(sender="ada").written()
        assert await close_channel(r.node, "grip:room", 4000, "over", terms) == 1
        with pytest.raises(ConnectionClosed):
            await bob.recv()
        assert bob.close_code == 4000
        await r.node.publish("grip:room", b'"still here"')
        assert await ada.recv() == "still here"
        await ada.close()


async def test_pings_keep_a_client_company_and_a_delayed_message_comes() -> None:
    async with rig(subscriber()) as r, r.connect() as client:
        assert await client.recv() == "hello"
        await client.send('c:{"type":"send-delayed","content":"later","timeout":1}')
        await client.send('c:{"type":"keep-alive","content":"x","message-type":"ping","timeout":1}')
        await client.send("m:first")
        assert [await client.recv(), await client.recv()] == ["first", "later"]
        await client.send('c:{"type":"send-delayed","content":"now","timeout":999}')
        await client.send('c:{"type":"flush-delayed"}')
        assert await client.recv() == "now"


async def test_whoever_cannot_be_told_of_a_loss_is_closed() -> None:
    async with rig(subscriber()) as r:
        client = await r.connect()
        assert await client.recv() == "hello"
        here = r.node.hub.get("grip:room")
        assert here is not None
        r.node.on_position("grip:room", here.position.epoch, here.position.offset + 5)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012


async def test_events_of_the_protocol_are_kept_from_bare_clients() -> None:
    from gateway.message.publication import Member

    async with rig(subscriber()) as r, r.connect() as client:
        assert await client.recv() == "hello"
        here = r.node.hub.get("grip:room")
        assert here is not None
        here.deliver_presence(Member(client="x", user="ada"), joined=True, now=0.0)
        await say(r, b'"next"')
        assert await client.recv() == "next"


async def test_too_many_channels_and_subscribing_twice() -> None:
    async with rig(subscriber()) as r, r.connect() as client:
        assert await client.recv() == "hello"
        await client.send('c:{"type":"subscribe","channel":"room"}')
        for number in range(255):
            await client.send(f'c:{{"type":"subscribe","channel":"n{number}"}}')
        await until(lambda: r.counts.subscriptions == 256)
        await client.send('c:{"type":"subscribe","channel":"one-too-many"}')
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1011


async def test_keep_alive_messages_come_when_nothing_else_does() -> None:
    async with rig(subscriber()) as r, r.connect() as client:
        assert await client.recv() == "hello"
        await client.send('c:{"type":"keep-alive","content":"still there?","timeout":1}')
        await asyncio.sleep(0.6)
        await say(r, b'"news"')
        begun = r.node.loop.time()
        assert [await client.recv(), await client.recv()] == ["news", "still there?"]
        assert r.node.loop.time() - begun > 0.9


async def test_a_message_behind_a_subscription_comes_when_it_holds() -> None:
    service = GripService(lambda events: ())
    service.headers = GRIP
    service.opens = (control('{"type":"subscribe","channel":"room"}'), Event(Kind.TEXT, b"m:ready"))
    async with rig(service) as r, r.connect() as client:
        assert await client.recv() == "ready"
        await say(r, b'"at once"')
        assert await client.recv() == "at once"
    assert service.events[0] == [OPEN]
