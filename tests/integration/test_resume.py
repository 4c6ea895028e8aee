"""Clients that are cut and come back: they get all that they missed, or are told that they do not."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from gateway import Gateway
from tests.support.peers import ANY_PORT, Peer, hang_up, metric, publish, since, until

LONG = {"history_size": 10_000, "history_bytes": "64MiB", "presence": False}
NAMESPACES: dict[str, dict[str, object]] = {
    "default": {"presence": False},
    "count": {"presence": False, "history_size": 5},
    "bytes": {"presence": False, "history_bytes": "8KiB"},
    "age": {"presence": False, "history_ttl": "300ms"},
    "none": {"presence": False, "history_size": 0},
    "idle": LONG | {"ring_idle": "50ms"},
    "tight": LONG | {"ring_bytes": "16KiB"},
    "long": LONG,
}


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with gateway_with() as running:
        yield running
        await hang_up()


def gateway_with(**sections: dict[str, object]) -> Gateway:
    session = {"max_publish_bytes": "8KiB", **sections.pop("session", {})}
    return Gateway({"server": ANY_PORT, "session": session, "namespace": NAMESPACES, **sections})


@contextlib.asynccontextmanager
async def publishing(gateway: Gateway, channel: str, pause_s: float) -> AsyncIterator[Callable[[], int]]:
    """Publish all the time until the end of the block; gives a function that tells the newest offset."""
    newest = 0

    async def work() -> None:
        nonlocal newest
        while True:
            newest = (await gateway.publish(channel, {"n": newest + 1})).offset
            await asyncio.sleep(pause_s)

    working = asyncio.ensure_future(work())
    try:
        yield lambda: newest
    finally:
        working.cancel()


# -- exactly what was missed --------------------------------------------------------------


@pytest.mark.parametrize("channel", ["news", "long:a", "tight:a", "idle:a"])
async def test_cut_client_gets_what_it_missed_before_anything_new(channel: str, gateway: Gateway) -> None:
    client = await Peer.connect(gateway)
    epoch = (await client.ask("subscribe", channel=channel))["epoch"]
    await publish(gateway, channel, 5)
    assert await client.messages(5) == [1, 2, 3, 4, 5]
    client.cut()
    await publish(gateway, channel, 40, size=1000)

    back = await Peer.connect(gateway)
    reply = await back.ask("subscribe", channel=channel, since=since(epoch, 5))
    assert (reply["recovered"], reply["epoch"], reply["offset"]) == (True, epoch, 45)
    await publish(gateway, channel, 5)
    assert await back.messages(45) == list(range(6, 51))
    await back.expect_nothing()


@pytest.mark.parametrize("channel", ["long:a", "tight:a"])
async def test_client_cut_again_and_again_misses_nothing_while_messages_flow(
    channel: str, gateway: Gateway
) -> None:
    dice = random.Random(20)  # noqa: S311
    witness = await Peer.connect(gateway)
    epoch = (await witness.ask("subscribe", channel=channel))["epoch"]
    heard: list[int] = []
    async with publishing(gateway, channel, 0.002) as newest:
        for _ in range(25):
            client = await Peer.connect(gateway)
            place = since(epoch, heard[-1] if heard else 0)
            assert (await client.ask("subscribe", channel=channel, since=place))["recovered"] is True
            heard += await client.messages(dice.randrange(1, 30))
            client.cut()
            await asyncio.sleep(dice.choice([0, 0.01, 0.03]))
        assert newest() > 100
    assert heard == list(range(1, len(heard) + 1))
    assert await witness.messages(len(heard)) == heard


@pytest.mark.parametrize("stays", [True, False], ids=["with another subscriber", "alone"])
async def test_history_of_the_broker_steps_in_where_the_ring_gave_its_memory_back(
    stays: bool, gateway: Gateway
) -> None:
    clients = [await Peer.connect(gateway) for _ in range(1 + stays)]
    for client in clients:
        epoch = (await client.ask("subscribe", channel="idle:a"))["epoch"]
    await publish(gateway, "idle:a", 10)
    assert await clients[0].messages(10) == list(range(1, 11))
    clients[0].cut()
    await publish(gateway, "idle:a", 10)

    async def is_given_back() -> bool:
        channels = await metric(gateway, "ringgate_channels")
        return await metric(gateway, "ringgate_ring_bytes") == 0 and channels == stays

    await until(is_given_back)
    back = await Peer.connect(gateway)
    reply = await back.ask("subscribe", channel="idle:a", since=since(epoch, 10))
    assert (reply["recovered"], reply["offset"]) == (True, 20)
    await publish(gateway, "idle:a", 3)
    assert await back.messages(13) == list(range(11, 24))
    later = await Peer.connect(gateway)  # some from the broker, the newest from the ring
    assert (await later.ask("subscribe", channel="idle:a", since=since(epoch, 2)))["recovered"] is True
    assert await later.messages(21) == list(range(3, 24))
    if stays:
        assert await clients[1].messages(23) == list(range(1, 24))


async def test_300_clients_that_come_back_at_once_get_each_what_it_missed(gateway: Gateway) -> None:
    clients = await asyncio.gather(*(Peer.connect(gateway) for _ in range(300)))
    replies = await asyncio.gather(*(client.ask("subscribe", channel="long:a") for client in clients))
    epoch = replies[0]["epoch"]
    await publish(gateway, "long:a", 20)
    for client in clients:
        assert await client.messages(20) == list(range(1, 21))
        client.cut()
    await publish(gateway, "long:a", 20)

    async def come_back(place: int) -> None:
        client = await Peer.connect(gateway)
        reply = await client.ask("subscribe", channel="long:a", since=since(epoch, place))
        assert reply["recovered"] is True
        missed = list(range(place + 1, reply["offset"] + 11))
        assert await client.messages(len(missed)) == missed
        client.cut()

    async with publishing(gateway, "long:a", 0.002):
        await asyncio.gather(*(come_back(place % 21) for place in range(300)))


async def test_binary_payloads_are_recovered_too(gateway: Gateway) -> None:
    epoch = (await gateway.publish("long:b", b"\x00\x01")).epoch
    client = await Peer.connect(gateway)
    assert (await client.ask("subscribe", channel="long:b", since=since(epoch, 0)))["recovered"] is True
    assert (await client.event())["data64"] == "AAE="


# -- where it cannot be done --------------------------------------------------------------


@pytest.mark.parametrize(("channel", "size"), [("count:a", 1), ("bytes:a", 1500)])
async def test_recovered_is_true_exactly_as_far_as_the_history_reaches(
    channel: str, size: int, gateway: Gateway
) -> None:
    top = await publish(gateway, channel, 12, size)
    client = await Peer.connect(gateway)
    page = await client.ask("history", channel=channel, limit=100)
    oldest = page["publications"][0]["offset"]
    assert 3 < oldest < 12
    reply = await client.ask("subscribe", channel=channel, since=since(top["epoch"], oldest - 1))
    assert (reply["recovered"], reply["offset"]) == (True, 12)
    assert await client.messages(13 - oldest) == list(range(oldest, 13))

    too_late = await Peer.connect(gateway)
    reply = await too_late.ask("subscribe", channel=channel, since=since(top["epoch"], 0))
    assert (reply["recovered"], reply["offset"]) == (False, 12)
    await too_late.expect_nothing()
    await publish(gateway, channel, 1)
    assert await too_late.messages(1) == [13]


async def test_first_publication_out_of_reach_is_not_recovered(gateway: Gateway) -> None:
    epoch = (await publish(gateway, "count:a", 12))["epoch"]
    client = await Peer.connect(gateway)
    assert (await client.ask("subscribe", channel="count:a", since=since(epoch, 6)))["recovered"] is False
    await client.expect_nothing()


async def test_recovered_is_false_once_a_missed_publication_is_too_old(gateway: Gateway) -> None:
    epoch = (await publish(gateway, "age:a", 3))["epoch"]
    await asyncio.sleep(0.4)
    await publish(gateway, "age:a", 2)
    for place, expected in ((3, True), (2, False)):
        client = await Peer.connect(gateway)
        reply = await client.ask("subscribe", channel="age:a", since=since(epoch, place))
        assert (reply["recovered"], reply["offset"]) == (expected, 5)
        if expected:
            assert await client.messages(2) == [4, 5]
            assert await client.ask("unsubscribe", channel="age:a")
        client.cut()
        await forgotten(gateway, client)


async def forgotten(gateway: Gateway, client: Peer) -> None:
    """Wait until the gateway has noticed that a client is gone."""

    async def is_gone() -> bool:
        async with httpx.AsyncClient() as http:
            return client.hello["client"] not in (await http.get(f"{gateway.api_url}/api/connections")).text

    await until(is_gone)


@pytest.mark.parametrize("channel", ["news", "none:a"])
async def test_position_that_never_was_is_not_recovered(channel: str, gateway: Gateway) -> None:
    epoch = (await publish(gateway, channel, 4))["epoch"]
    for place in (since("another-life", 2), since("", 0), since(epoch, 5), since(epoch, 1 << 40)):
        client = await Peer.connect(gateway)
        reply = await client.ask("subscribe", channel=channel, since=place)
        assert (reply["recovered"], reply["epoch"], reply["offset"]) == (False, epoch, 4), place
        await client.expect_nothing()
        client.cut()
    client = await Peer.connect(gateway)
    reply = await client.ask("subscribe", channel=channel, since=since(epoch, 4))
    assert reply["recovered"] is True, "nothing was missed"
    await client.expect_nothing()


async def test_channel_without_history_recovers_nothing_that_is_gone(gateway: Gateway) -> None:
    epoch = (await publish(gateway, "none:a", 4))["epoch"]
    client = await Peer.connect(gateway)
    assert (await client.ask("subscribe", channel="none:a", since=since(epoch, 3)))["recovered"] is False
    await publish(gateway, "none:a", 2)
    assert await client.messages(2) == [5, 6]


async def test_restarted_gateway_has_other_epochs_and_says_so() -> None:
    gateway = gateway_with()
    async with gateway:
        position = await publish(gateway, "news", 3)
    async with gateway:
        await publish(gateway, "news", 5)
        client = await Peer.connect(gateway)
        reply = await client.ask("subscribe", channel="news", since=position)
        assert reply["recovered"] is False
        assert reply["epoch"] != position["epoch"]
        await client.expect_nothing()
        await hang_up()


# -- sessions -----------------------------------------------------------------------------


async def test_session_brings_its_subscriptions_back_with_what_was_missed(gateway: Gateway) -> None:
    client = await Peer.connect(gateway, user="ann")
    places = {}
    for channel in ("a", "b", "c"):
        reply = await client.ask("subscribe", channel=channel)
        places[channel] = since(reply["epoch"], reply["offset"])
    await client.ask("unsubscribe", channel="c")
    client.cut()
    await forgotten(gateway, client)
    await publish(gateway, "a", 3)
    await publish(gateway, "b", 2)

    back = await Peer.connect(gateway, user="ann")
    reply = await back.ask("connect", session=client.hello["session"], since={"a": places["a"]})
    assert reply["session"] == client.hello["session"]
    assert sorted(reply["subscriptions"], key=lambda s: str(s["channel"])) == [
        {"channel": "a", **places["a"], "offset": 3, "recovered": True},
        {"channel": "b", **places["b"], "offset": 2},
    ]
    assert await back.messages(3) == [1, 2, 3]
    await publish(gateway, "b", 1)
    event = await back.event()
    assert (event["channel"], event["offset"]) == ("b", 3)
    await publish(gateway, "c", 1)
    await gateway.publish("@ann", "to her")
    assert (await back.event())["data"] == "to her"
    await back.expect_nothing()


async def test_session_is_taken_up_once_and_by_its_user_only(gateway: Gateway) -> None:
    client = await Peer.connect(gateway, user="ann")
    await client.ask("subscribe", channel="a")
    early = await Peer.connect(gateway, user="ann")
    session = client.hello["session"]
    assert (await early.ask("connect", session=session))["code"] == "unauthorized", "it is not lost yet"
    client.cut()
    await forgotten(gateway, client)
    other = await Peer.connect(gateway, user="bob")
    assert (await other.ask("connect", session=session))["code"] == "permission_denied"
    assert (await early.ask("connect", session=session))["subscriptions"][0]["channel"] == "a"
    late = await Peer.connect(gateway, user="ann")
    assert (await late.ask("connect", session=session))["code"] == "unauthorized"
    early.cut()  # the session has the same name as before, and can be taken up again
    await forgotten(gateway, early)
    assert (await late.ask("connect", session=session))["subscriptions"][0]["channel"] == "a"


async def test_session_ends_when_a_service_disconnects_the_client_and_with_its_time() -> None:
    async with gateway_with(session={"resume_ttl": "200ms"}) as gateway, httpx.AsyncClient() as http:
        gone, old = await Peer.connect(gateway), await Peer.connect(gateway)
        for client in (gone, old):
            await client.ask("subscribe", channel="a")
        body = {"client": gone.hello["client"]}
        assert (await http.post(f"{gateway.api_url}/api/disconnect", json=body)).status_code == 200
        await gone.connection.wait_closed()
        old.cut()
        await forgotten(gateway, old)
        client = await Peer.connect(gateway)
        assert (await client.ask("connect", session=gone.hello["session"]))["code"] == "unauthorized"
        await asyncio.sleep(0.3)
        assert (await client.ask("connect", session=old.hello["session"]))["code"] == "unauthorized"
        await hang_up()


# -- keys and exclusion -------------------------------------------------------------------


async def test_same_key_is_published_once_whoever_repeats_it(gateway: Gateway) -> None:
    client = await Peer.connect(gateway)
    await client.ask("subscribe", channel="long:k")
    first = await client.ask("publish", channel="long:k", data={"n": 1}, key="order-17")
    assert "duplicate" not in first
    again = await client.ask("publish", channel="long:k", data={"n": 2}, key="order-17")
    assert (again["offset"], again["epoch"], again["duplicate"]) == (1, first["epoch"], True)
    async with httpx.AsyncClient() as http:
        body = {"channel": "long:k", "data": 3, "key": "order-17"}
        answer = (await http.post(f"{gateway.api_url}/api/publish", json=body)).json()
        assert answer == {"epoch": first["epoch"], "offset": 1, "duplicate": True}
        elsewhere = (await http.post(f"{gateway.api_url}/api/publish", json={**body, "channel": "x"})).json()
        assert "duplicate" not in elsewhere
    event = await client.event()
    assert (event["offset"], event["data"]) == (1, {"n": 1})
    await client.expect_nothing()


async def test_excluded_client_is_spared_and_everybody_else_is_not(gateway: Gateway) -> None:
    author, reader = await Peer.connect(gateway), await Peer.connect(gateway)
    for client in (author, reader):
        epoch = (await client.ask("subscribe", channel="long:x"))["epoch"]
    async with httpx.AsyncClient() as http:
        for number in range(1, 7):
            exclude = author.hello["client"] if number in {2, 3, 6} else ""
            body = {"channel": "long:x", "data": number, "exclude": exclude}
            assert (await http.post(f"{gateway.api_url}/api/publish", json=body)).status_code == 200
    assert await reader.messages(6) == [1, 2, 3, 4, 5, 6]
    assert await author.messages(3) == [1, 4, 5]
    await author.expect_nothing()
    author.cut()
    back = await Peer.connect(gateway)  # a new client id: it has to learn what it may have missed
    assert (await back.ask("subscribe", channel="long:x", since=since(epoch, 5)))["recovered"] is True
    assert await back.messages(1) == [6]
