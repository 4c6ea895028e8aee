"""Clients that stop reading, under each policy: what they are told, and what they can have later."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest
import websockets

from gateway import Gateway
from tests.support.peers import ANY_PORT, Peer, hang_up, metric, publish, since

SLOW = {"history_size": 10_000, "history_bytes": "64MiB", "presence": False, "ring_bytes": "64KiB"}
CONFIG: dict[str, dict[str, object]] = {
    "server": ANY_PORT,
    "namespace": {policy: SLOW | {"slow": policy} for policy in ("disconnect", "skip", "latest")},
}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway(CONFIG) as running:
        yield running
        await hang_up()


async def connect_slow(gateway: Gateway) -> Peer:
    """A client with small buffers; it reads only when it is asked for the next event."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port_of(gateway)))
    return await Peer.connect(gateway, sock=sock, max_queue=1, close_timeout=1)


def port_of(gateway: Gateway) -> int:
    return int(gateway.ws_url.removesuffix("/ws").rpartition(":")[2])


async def overrun(gateway: Gateway, channel: str, bystander: Peer) -> int:
    """Publish until a slow client lost something, and a little more; the bystander gets everything.

    Returns the newest offset.
    """
    for newest in range(1, 3001):
        await gateway.publish(channel, "x" * 8000)
        assert await bystander.messages(1) == [newest]
        if newest % 20 == 0 and await metric(gateway, "ringgate_frames_dropped_total"):
            break
    else:
        raise AssertionError("nothing was ever dropped")
    await publish(gateway, channel, 3, 8000)
    assert await bystander.messages(3) == [newest + 1, newest + 2, newest + 3]
    return newest + 3


async def ended(client: Peer) -> AsyncIterator[str | bytes]:
    """What comes until the end of the connection."""
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            yield await client.connection.recv()


async def test_slow_client_is_disconnected_with_4200_and_resumes_without_a_loss(gateway: Gateway) -> None:
    bystander, slow = await Peer.connect(gateway), await connect_slow(gateway)
    for client in (bystander, slow):
        epoch = (await client.ask("subscribe", channel="disconnect:a"))["epoch"]
    newest = await overrun(gateway, "disconnect:a", bystander)
    offsets = [json.loads(text)["offset"] async for text in ended(slow)]
    heard = len(offsets)
    assert offsets == list(range(1, heard + 1))
    assert (slow.connection.close_code, slow.connection.close_reason) == (4200, "slow consumer")
    assert 0 < heard < newest
    assert await metric(gateway, "ringgate_slow_disconnects_total") == 1

    back = await Peer.connect(gateway)
    reply = await back.ask("subscribe", channel="disconnect:a", since=since(epoch, heard))
    assert reply["recovered"] is True
    assert await back.messages(newest - heard) == list(range(heard + 1, newest + 1))


async def test_every_frame_that_a_disconnected_client_does_not_get_is_counted(gateway: Gateway) -> None:
    slow = await connect_slow(gateway)
    await slow.ask("subscribe", channel="disconnect:counted")
    for newest in range(1, 3001):
        await gateway.publish("disconnect:counted", "x" * 8000)
        await asyncio.sleep(0)
        if newest % 10 == 0 and await metric(gateway, "ringgate_slow_disconnects_total"):
            break
    dropped = await metric(gateway, "ringgate_frames_dropped_total")
    heard = len([text async for text in ended(slow)])
    # It was closed at one of the last ten, for which room was made: that one was not in the ring yet.
    assert newest - 10 <= heard + dropped < newest
    assert await metric(gateway, "ringgate_frames_dropped_total") == dropped


@pytest.mark.parametrize("policy", ["skip", "latest"])
async def test_slow_client_is_told_exactly_what_it_lost_and_goes_on(policy: str, gateway: Gateway) -> None:
    channel = f"{policy}:a"
    bystander, slow = await Peer.connect(gateway), await connect_slow(gateway)
    for client in (bystander, slow):
        epoch = (await client.ask("subscribe", channel=channel))["epoch"]
    newest = await overrun(gateway, channel, bystander)
    place, lost, gaps = 0, 0, []
    while place < newest:
        event = await slow.event()
        if event["type"] == "gap":
            assert (event["channel"], event["reason"], event["from"]) == (channel, "slow", place + 1)
            gaps.append((event["from"], event["to"]))
            lost += event["to"] - place
            place = event["to"]
        else:
            assert (event["type"], event["offset"]) == ("message", place + 1)
            place += 1
    assert place == newest
    assert gaps
    assert lost == await metric(gateway, "ringgate_frames_dropped_total")
    assert len(gaps) == await metric(gateway, "ringgate_gaps_total")

    await publish(gateway, channel, 2)
    assert await slow.messages(2) == await bystander.messages(2) == [newest + 1, newest + 2]
    # What it lost can be had: from the position before the gap everything comes again.
    back = await Peer.connect(gateway)
    before = gaps[0][0] - 1
    assert (await back.ask("subscribe", channel=channel, since=since(epoch, before)))["recovered"] is True
    assert await back.messages(newest + 2 - before) == list(range(before + 1, newest + 3))


async def test_client_that_is_merely_late_loses_nothing(gateway: Gateway) -> None:
    late = await connect_slow(gateway)
    await late.ask("subscribe", channel="skip:late")
    await publish(gateway, "skip:late", 90, 8000)
    assert await late.messages(90) == list(range(1, 91))
    assert await metric(gateway, "ringgate_frames_dropped_total") == 0
