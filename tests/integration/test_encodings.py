"""Three clients of three encodings in one channel of a real gateway, and an app service beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets

from gateway import Gateway
from tests.support.codecs import CASES
from tests.support.peers import ANY_PORT, Event, Peer, hang_up

VALUE = {"text": "grüße\0", "n": [1, 2.5, 2**53, None], "": {}}
CHANNEL = "room:1"


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    options: dict[str, Any] = {"join_leave": True, "presence": True}
    async with Gateway({"server": ANY_PORT, "namespace": {"room": options}}) as running:
        yield running
        await hang_up()


async def service(gateway: Gateway, body: dict[str, Any]) -> None:
    """Publish as an app service does."""
    async with httpx.AsyncClient() as http:
        (
            await http.post(f"{gateway.api_url}/api/publish", json={"channel": CHANNEL, **body})
        ).raise_for_status()


def payload(event: Event) -> object:
    return event["data"] if "data" in event else event["data64"]


async def messages(peer: Peer, count: int) -> list[Event]:
    """The next messages, joins and leaves passed over."""
    heard: list[Event] = []
    while len(heard) < count:
        event = await peer.event()
        if event["type"] == "message":
            heard.append(event)
        else:
            assert event["type"] in {"join", "leave"}, event
    return heard


async def test_three_encodings_share_a_channel_its_history_and_its_presence(gateway: Gateway) -> None:
    peers = {name: await Peer.connect(gateway, name, encoding=name) for name in CASES}
    for name, peer in peers.items():
        assert peer.connection.subprotocol == (CASES[name].codec.subprotocol if name != "json" else None)
        assert peer.hello["user"] == name
        start = await peer.ask("subscribe", channel=CHANNEL)

    for number, peer in enumerate(peers.values()):
        await peer.ask("publish", channel=CHANNEL, data=[number, VALUE])
        await peer.ask("publish", channel=CHANNEL, data64="AP8=", key=f"key-{number}")
        assert (await peer.ask("publish", channel=CHANNEL, data64="AP8=", key=f"key-{number}"))[
            "duplicate"
        ] is True
    await service(gateway, {"data": VALUE})
    await service(gateway, {"data64": "/wA="})

    said = [[0, VALUE], "AP8=", [1, VALUE], "AP8=", [2, VALUE], "AP8=", VALUE, "/wA="]
    for peer in peers.values():
        heard = await messages(peer, 8)
        assert [payload(event) for event in heard] == said
        assert [event["offset"] for event in heard] == list(range(1, 9))
        users = [event["from"]["user"] if "from" in event else "" for event in heard]
        assert users == ["json", "json", "msgpack", "msgpack", "protobuf", "protobuf", "", ""]
        history = await peer.ask("history", channel=CHANNEL)
        assert [payload(view) for view in history["publications"]] == said
        assert history["complete"] is True
        presence = await peer.ask("presence", channel=CHANNEL)
        assert {member["user"] for member in presence["members"]} == set(peers)

    for name, peer in peers.items():
        peer.cut()
        back = await Peer.connect(gateway, name, encoding=name)
        since = {"epoch": start["epoch"], "offset": 2}
        reply = await back.ask("subscribe", channel=CHANNEL, since=since)
        assert (reply["recovered"], reply["offset"]) == (True, 8)
        assert [payload(event) for event in await messages(back, 6)] == said[2:]


@pytest.mark.parametrize("name", ["msgpack", "protobuf"])
async def test_client_that_offers_two_gets_the_one_that_it_likes_better(gateway: Gateway, name: str) -> None:
    offered: list[Any] = ["ringgate.v9.other", CASES[name].codec.subprotocol, "ringgate.v1.json"]
    async with websockets.connect(gateway.ws_url, proxy=None, subprotocols=offered) as client:
        assert client.subprotocol == CASES[name].codec.subprotocol
        assert CASES[name].read(await client.recv(decode=False))["type"] == "hello"


async def test_broadcasts_are_compressed_in_every_encoding() -> None:
    text = "the same again and again, " * 100
    options: dict[str, Any] = {"server": ANY_PORT, "websocket": {"compression": True}}
    async with Gateway(options) as gateway:
        for name, case in CASES.items():
            offered: list[Any] = [case.codec.subprotocol]
            async with websockets.connect(gateway.ws_url, proxy=None, subprotocols=offered) as client:
                assert client.protocol.extensions
                message = case.write({"type": "subscribe", "id": 1, "channel": name})
                await client.send(message.decode() if name == "json" else message)
                while case.read(await client.recv(decode=False))["type"] != "reply":
                    pass
                await gateway.publish(name, text)
                while (heard := case.read(await client.recv(decode=False)))["type"] != "message":
                    pass
                assert heard["data"] == text
