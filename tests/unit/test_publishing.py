"""Publishes to channels that a node knows already: what they do is what the first one does."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway._publishing import Buckets, Numbering, wall_ms
from gateway.broker import ChannelOptions, PublishResult
from gateway.errors import BrokerUnavailableError, CommandError
from gateway.message.publication import Draft
from gateway.options import Namespace
from gateway.publish_times import BUCKETS_S
from gateway.publishing import MOST_ROUTES, YIELD_EVERY, publish_all
from tests.support.sessions import KEPT, Event, world
from tests.support.simulated import settle

GOOD: Event = {"type": "publish", "id": 1, "channel": "n", "data": "good"}
DEEP = b"[" * 65 + b"]" * 65
COMMANDS = {
    "number": b'"data":1',
    "text": b'"data":"\xc3\xa4 \\u00e4"',
    "longest that is not counted": b'"data":"%b"' % (b"x" * 126),
    "longer": b'"data":"%b"' % (b"x" * 127),
    "as deep as may be": b'"data":%b' % DEEP[1:-1],
    "too deep": b'"data":%b' % DEEP,
    "half a pair": b'"data":"\\ud800"',
    "half a pair, long": b'"data":"\\ud800%b"' % (b"x" * 200),
    "largest": b'"data":"%b"' % (b"x" * 998),
    "too large": b'"data":"%b"' % (b"x" * 999),
    "nothing": b'"id":7',
    "bytes": b'"data64":"AAEC"',
    "too many bytes": b'"data64":"%b"' % (b"AAEC" * 500),
    "two": b'"data":1,"data64":"AAEC"',
    "key": b'"data":1,"key":"k"',
    "key and bytes": b'"data64":"AAEC","key":"k"',
}


async def heard_of(command: bytes, *, before: int) -> list[Event]:
    """Publish so often to the channel, then what is asked, twice; return what was heard of the latter."""
    async with world(max_publish_bytes=1000) as w:
        client = w.connect()
        await client.subscribe("n")
        for _ in range(before):
            await client.ask(GOOD)
        first = w.broker.memory.stats()["publications"]
        for _ in range(2):
            client.say_bytes(b'{"type":"publish","id":5,"channel":"n",%b}' % command)
        heard = await client.ask()
        for event in heard:
            if "offset" in event:
                event["offset"] -= first
            event.pop("id" if event["type"] == "message" else "", None)
        return heard


@pytest.mark.parametrize("name", COMMANDS)
async def test_publish_to_a_known_channel_does_what_the_first_does(name: str) -> None:
    first = await heard_of(COMMANDS[name], before=0)
    assert len(first) >= 2, "each is answered"
    assert await heard_of(COMMANDS[name], before=1) == first
    assert await heard_of(COMMANDS[name], before=3) == first


@pytest.mark.parametrize(
    "namespace",
    [
        Namespace(broker=KEPT, may_publish=False),
        Namespace(broker=KEPT, publish_rate=0.001),
        Namespace(broker=ChannelOptions(max_state_bytes=1000, state_ttl_s=60.0)),
    ],
    ids=["nobody", "rate", "state"],
)
async def test_changed_options_hold_for_channels_that_were_known(namespace: Namespace) -> None:
    async with world() as w:
        client = w.connect()
        await client.ask(GOOD, GOOD)
        assert w.node.routes.find("n") is not None
        before = w.node.options
        w.node.options = msgspec.structs.replace(before, default=namespace)
        heard = [event for _ in range(3) for event in await client.ask(GOOD)]
        assert heard[-1]["type"] == "error", heard
        w.node.options = before
        assert (await client.ask(GOOD))[0]["type"] == "reply"


async def test_smaller_limit_holds_for_channels_that_were_known() -> None:
    async with world() as w:
        client = w.connect()
        await client.ask(GOOD, GOOD)
        w.node.options = msgspec.structs.replace(w.node.options, max_publish_bytes=3)
        for _ in range(2):
            assert [event.get("code") for event in await client.ask(GOOD)] == ["limit_exceeded"]


@pytest.mark.parametrize("channel", ["closed:n", "doc:n", "@alice"])
async def test_channels_with_rules_are_never_known(channel: str) -> None:
    async with world() as w:
        client = w.connect("alice")
        for _ in range(2):
            await client.ask({**GOOD, "channel": channel})
        assert w.node.routes.find(channel) is None


async def test_what_a_broker_raises_at_once_is_told_and_the_next_publish_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        client = w.connect()
        await client.ask(GOOD)

        def broken(*_: object) -> None:
            raise RuntimeError("secret detail")

        with monkeypatch.context() as patched:
            patched.setattr(w.node.broker, "begin_publish", broken)
            assert [event.get("code") for event in await client.ask(GOOD)] == ["internal"]
        assert [event["offset"] for event in await client.ask(GOOD)] == [2]


async def test_as_many_channels_are_known_as_there_is_room_for() -> None:
    async with world() as w:
        for n in range(MOST_ROUTES + 10):
            w.node.routes.learn(f"c{n}")
        known = [n for n in range(MOST_ROUTES + 10) if w.node.routes.find(f"c{n}") is not None]
        assert known == list(range(MOST_ROUTES, MOST_ROUTES + 10))


async def test_times_of_publishes_to_known_channels_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        seen: list[float] = []
        w.node.observe_publish = seen.append
        client = w.connect()
        w.broker.slow = True
        for _ in range(3):
            client.say(GOOD)
        w.time.advance(0.5)
        w.broker.slow = False
        await w.broker.flow()
        await client.ask()
        assert seen == [0.5, 0.5, 0.5]


def test_numbering_counts_in_hexadecimal() -> None:
    numbering = Numbering("node")
    assert [numbering.next() for _ in range(5000)] == [f"node-{n:x}" for n in range(1, 5001)]


def test_wall_clock_is_milliseconds() -> None:
    import time

    before: Any = time.time_ns() // 1_000_000
    assert before <= wall_ms() <= time.time_ns() // 1_000_000


# -- of app services, several at once ----------------------------------------------------------------------


def drafts(*channels: str) -> list[Draft]:
    return [Draft(channel, b"%d" % number) for number, channel in enumerate(channels)]


def places(results: Sequence[PublishResult | Exception]) -> list[int | str]:
    return [result.offset if isinstance(result, PublishResult) else str(result) for result in results]


async def test_all_begin_in_order_before_the_first_ends_and_results_are_in_order() -> None:
    async with world() as w:
        listener = w.connect()
        await listener.subscribe("n")
        w.broker.slow = True
        asked = asyncio.ensure_future(publish_all(w.node, drafts("n", "m", "n", "n")))
        await settle()
        assert len(w.broker.sent) == 4
        assert not asked.done()
        await w.broker.flow()
        assert places(await asked) == [1, 1, 2, 3]
        assert [event["data"] for event in listener.heard()] == [0, 2, 3]


async def test_one_that_cannot_be_published_stops_no_other() -> None:
    async with world(max_publish_bytes=10) as w:
        wanted = [
            Draft("n", b"1"), Draft("no such name", b"2"), Draft("n", b"3"), Draft("n", b"4" * 11),
            Draft("doc:a", b"5"), Draft("n", b"6", key="k"), Draft("n", b"7", key="k"), Draft("m", b"8"),
        ]  # fmt: skip
        results = await publish_all(w.node, wanted)
        assert [type(result) is PublishResult for result in results] == [1, 0, 1, 0, 0, 1, 1, 1]
        assert places(results[:1] + results[2:3] + results[5:]) == [1, 2, 3, 3, 1]
        assert [result.duplicate for result in results if isinstance(result, PublishResult)][-3:] == [0, 1, 0]
        assert [problem.code for problem in results if isinstance(problem, CommandError)] == [
            "bad_request", "limit_exceeded", "bad_request",
        ]  # fmt: skip
        w.broker.faults["publish"] = BrokerUnavailableError("away")
        assert places(await publish_all(w.node, drafts("n", "n"))) == ["away", "away"]


async def test_options_that_change_between_two_hold_for_the_second() -> None:
    async with world() as w:

        def changing() -> Iterator[Draft]:
            yield Draft("n", b"1")
            state = Namespace(broker=ChannelOptions(max_state_bytes=1000, state_ttl_s=60.0))
            w.node.options = msgspec.structs.replace(w.node.options, default=state)
            yield Draft("n", b"2")

        first, second = await publish_all(w.node, changing())
        assert isinstance(first, PublishResult)
        assert isinstance(second, CommandError)


async def test_the_payload_comes_as_it_is_and_not_to_whom_it_excludes() -> None:
    async with world() as w:
        one, other = w.connect(), w.connect()
        for client in (one, other):
            await client.subscribe("n")
        await publish_all(w.node, [Draft("n", b"\0\xff", binary=True, exclude=one.id), Draft("n", b" 1")])
        await settle()
        assert [event.get("data64") for event in other.heard()] == ["AP8=", None]
        assert [event["data"] for event in one.heard()] == [1]


async def test_each_counts_in_the_times_unless_it_failed() -> None:
    async with world() as w:
        seconds: list[float] = []
        w.node.observe_publish = seconds.append
        w.broker.slow = True
        asked = asyncio.ensure_future(publish_all(w.node, drafts("n", "no such name", "m")))
        await settle()
        w.time.advance(0.25)
        await w.broker.flow()
        await asked
        assert seconds == [0.25, 0.25]


async def test_many_leave_the_loop_its_turns_and_what_is_cancelled_begins_no_more() -> None:
    async with world() as w:
        turns = made = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            w.node.loop.call_soon(turn)

        def many() -> Iterator[Draft]:
            nonlocal made
            for _ in range(4 * YIELD_EVERY):
                made += 1
                yield Draft("n", b"1")

        turn()
        results = await publish_all(w.node, many())
        assert places(results) == list(range(1, 4 * YIELD_EVERY + 1))
        assert turns >= 4
        made = 0
        asked = asyncio.ensure_future(publish_all(w.node, many()))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert made == YIELD_EVERY


async def test_what_began_goes_on_when_nobody_waits_for_it_any_more() -> None:
    async with world() as w:
        w.broker.slow = True
        asked = asyncio.ensure_future(publish_all(w.node, drafts("n", "n")))
        await settle()
        asked.cancel()
        await w.broker.flow()
        assert asked.cancelled()
        w.broker.slow = False
        assert places(await publish_all(w.node, drafts("n"))) == [3]


@given(st.lists(st.floats(0, 100) | st.sampled_from(BUCKETS_S)))
def test_times_are_counted_in_the_first_bucket_that_holds_them(seconds: list[float]) -> None:
    buckets = Buckets(BUCKETS_S)
    for each in seconds:
        buckets.observe(each)
    found = Counter(bisect_left(BUCKETS_S, each) for each in seconds)
    assert buckets.counts == [found[at] for at in range(len(BUCKETS_S) + 1)]
    assert buckets.sum == pytest.approx(sum(seconds))


def test_there_is_room_for_so_many_buckets_and_no_more() -> None:
    assert len(Buckets([float(n) for n in range(31)]).counts) == 32
    with pytest.raises(ValueError, match="too many"):
        Buckets([float(n) for n in range(32)])
