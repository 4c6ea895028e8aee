"""The broker between processes: what is lost with a worker, with the supervisor, and with the link."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from gateway.broker import wire
from gateway.broker.interface import Control, ControlKind, PresenceChange
from gateway.broker.link import Link
from gateway.broker.memory import MemoryBroker
from gateway.broker.remote import RemoteBroker
from gateway.broker.service import BrokerService
from gateway.errors import BrokerUnavailableError, OutcomeUnknownError, UsageError
from gateway.message.publication import Member, Position
from tests.unit.broker.harness import KEPT, RecordingRelay, RemoteHarness, message, remote_harness

ANN, BOB = Member(client="a", user="ann"), Member(client="b", user="bob")


@pytest_asyncio.fixture
async def two() -> AsyncIterator[RemoteHarness]:
    async with remote_harness() as harness:
        yield harness


async def lose(harness: RemoteHarness, broker: RemoteBroker) -> None:
    """End a worker without a word."""
    link = broker._link
    assert link is not None
    link.abort()
    await asyncio.sleep(0.01)
    await harness.settle()


# -- a worker is lost ----------------------------------------------------------------------


async def test_members_of_a_lost_worker_leave_once_and_others_stay(two: RemoteHarness) -> None:
    await two.first.subscribe("c", KEPT)
    await two.first.join("c", BOB, KEPT)
    await two.other.join("c", ANN, KEPT)
    await two.settle()
    two.relay.changes.clear()
    await lose(two, two.other)
    assert two.relay.changes == [("c", PresenceChange(joined=False, member=ANN))]
    assert await two.first.presence("c", KEPT) == [BOB]


async def test_member_that_joined_again_elsewhere_stays_when_its_first_worker_is_lost(
    two: RemoteHarness,
) -> None:
    await two.other.join("c", ANN, KEPT)
    await two.first.join("c", ANN, KEPT)
    await lose(two, two.other)
    assert await two.first.presence("c", KEPT) == [ANN]


async def test_member_that_left_before_is_not_announced_again(two: RemoteHarness) -> None:
    await two.first.subscribe("c", KEPT)
    await two.other.join("c", ANN, KEPT)
    await two.other.leave("c", "a", KEPT)
    await two.settle()
    two.relay.changes.clear()
    await lose(two, two.other)
    assert two.relay.changes == []


async def test_interest_of_a_lost_worker_ends_and_others_hear_on(two: RemoteHarness) -> None:
    for broker in (two.first, two.other):
        await broker.subscribe("both", KEPT)
    await two.other.subscribe("mine", KEPT)
    await lose(two, two.other)
    await two.first.publish("both", message(), KEPT)
    await two.settle()
    assert two.relay.offsets("both") == [1]
    two.now_s += 1_000.0
    while two.service.sweep():
        pass
    assert two.stats()["channels"] == 1, "nobody is interested in the other one"


async def test_history_and_numbering_outlive_every_worker(two: RemoteHarness) -> None:
    epoch = (await two.other.publish("c", message("m1"), KEPT)).epoch
    await lose(two, two.other)
    await two.first.stop()
    await two.first.start(two.relay)
    assert await two.first.publish("c", message("m2"), KEPT) == (epoch, 2, False)
    page = await two.first.history("c", KEPT, since=Position(epoch, 0), limit=9)
    assert ([p.id for p in page.publications], page.complete) == (["m1", "m2"], True)


async def test_sessions_that_a_lost_worker_held_can_be_taken_for_their_time(two: RemoteHarness) -> None:
    two.other.tell(wire.HoldSession("a", "s1", b"old", 60.0))
    two.other.tell(wire.HoldSession("a", "s1", b"new", 60.0))
    two.other.tell(wire.HoldSession("b", "s2", b"gone", 60.0))
    two.other.tell(wire.ReleaseSession("b"))
    two.other.tell(wire.HoldSession("c", "s3", b"late", 60.0))
    await two.settle()
    assert await two.first.take_session("s1") is None, "its worker is alive"
    await lose(two, two.other)
    assert await two.first.take_session("s1") == b"new"
    assert await two.first.take_session("s1") is None
    assert await two.first.take_session("s2") is None
    two.now_s += 60.0
    assert await two.first.take_session("s3") is None


async def test_control_counts_every_worker_and_not_the_lost_or_silent(two: RemoteHarness) -> None:
    two.relay.reached, two.other_relay.reached = 2, 3
    control = Control(kind=ControlKind.DISCONNECT, user="ann", close_code=4004)
    assert await two.first.control(control) == 5
    assert await two.service.control(control) == 5
    ours, theirs = socket.socketpair()
    await two.service.attach(ours)
    two.service._control_timeout_s = 0.05
    assert await two.service.control(control) == 5, "the third one never answers"
    asking = asyncio.ensure_future(two.service.control(control))
    await asyncio.sleep(0)
    theirs.close()
    assert await asking == 5
    await lose(two, two.other)
    assert await two.service.control(control) == 2


async def test_worker_that_does_not_read_is_given_up_and_nobody_else_suffers(
    two: RemoteHarness, caplog: pytest.LogCaptureFixture
) -> None:
    two.service._peer_bytes = 200_000
    await two.first.subscribe("c", KEPT)
    ours, theirs = socket.socketpair()
    peer = await two.service.attach(ours)
    gone: list[bool] = []
    peer.on_gone = lambda: gone.append(True)
    theirs.send(wire.pack(wire.Subscribe(1, "c", KEPT)))
    await two.settle()
    large = message("x" * 50_000)
    with caplog.at_level(logging.ERROR):
        for _ in range(40):
            await two.first.publish("c", large, KEPT)
    await asyncio.sleep(0.01)
    await two.settle()
    assert gone == [True]
    assert [record.message for record in caplog.records].count(
        "a worker does not read what it is sent, and is given up"
    ) == 1
    assert two.relay.offsets("c") == list(range(1, 41))
    theirs.close()


async def test_worker_that_sends_what_is_no_record_is_cut(two: RemoteHarness) -> None:
    ours, theirs = socket.socketpair()
    peer = await two.service.attach(ours)
    theirs.send(b"\0\0\0\1\xc1")
    await asyncio.sleep(0.01)
    assert peer.link.lost
    assert theirs.recv(1) == b""
    theirs.close()
    assert await two.first.probe() >= 0.0


async def test_question_ends_with_the_worker(two: RemoteHarness) -> None:
    (peer, _) = two.service.peers
    assert await peer.ask("anything") == b""
    asking = asyncio.ensure_future(peer.ask("anything"))
    await asyncio.sleep(0)
    peer.link.abort()
    with pytest.raises(BrokerUnavailableError):
        await asking
    with pytest.raises(BrokerUnavailableError):
        await peer.ask("too late")


# -- the supervisor is lost ------------------------------------------------------------------


class Supervisor:
    """The other end of a broker's link, in the hands of the test: it answers what it is told to."""

    def __init__(self, **options: float) -> None:
        self.ours, self._theirs = socket.socketpair()
        self.lost = 0
        self.relay = RecordingRelay()

        async def connect() -> socket.socket:
            return self._theirs

        def on_lost() -> None:
            self.lost += 1

        loop = asyncio.get_running_loop()
        self.broker = RemoteBroker(loop=loop, connect=connect, on_lost=on_lost, **options)  # type: ignore[arg-type]

    async def begin(self) -> None:
        await self.broker.start(self.relay)


async def test_publish_whose_link_breaks_may_have_happened_and_other_calls_have_not() -> None:
    supervisor = Supervisor()
    await supervisor.begin()
    calls = [
        asyncio.ensure_future(supervisor.broker.publish("c", message(), KEPT)),
        asyncio.ensure_future(supervisor.broker.subscribe("c", KEPT)),
    ]
    await asyncio.sleep(0.01)
    supervisor.ours.close()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [OutcomeUnknownError, BrokerUnavailableError]
    assert supervisor.lost == 1
    with pytest.raises(BrokerUnavailableError):
        await supervisor.broker.publish("c", message(), KEPT)


async def test_publish_that_had_not_left_when_the_link_broke_has_not_happened() -> None:
    supervisor = Supervisor()
    await supervisor.begin()
    publishing = asyncio.ensure_future(supervisor.broker.publish("c", message(), KEPT))
    link = supervisor.broker._link
    assert link is not None
    asyncio.get_running_loop().call_soon(link.abort)
    # The publish queues its record in this turn, and the link is cut before the turn in which it leaves.
    with pytest.raises(BrokerUnavailableError):
        await publishing
    supervisor.ours.close()


async def test_supervisor_that_answers_nothing_for_too_long_counts_as_lost() -> None:
    supervisor = Supervisor(silence_s=0.05)
    await supervisor.begin()
    assert supervisor.broker.sweep() is False
    call = asyncio.ensure_future(supervisor.broker.subscribe("c", KEPT))
    await asyncio.sleep(0)
    supervisor.broker.sweep()
    assert not call.done()
    await asyncio.sleep(0.06)
    supervisor.broker.sweep()
    with pytest.raises(BrokerUnavailableError):
        await call
    assert supervisor.lost == 1
    supervisor.ours.close()


async def test_calls_are_refused_while_too_much_waits_to_leave() -> None:
    supervisor = Supervisor(queue_bytes=10_000)
    await supervisor.begin()
    supervisor.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    large = message("x" * 400_000)
    first = asyncio.ensure_future(supervisor.broker.publish("c", large, KEPT))
    await asyncio.sleep(0.01)
    with pytest.raises(BrokerUnavailableError, match="too much waits"):
        await supervisor.broker.publish("c", message(), KEPT)
    assert not first.done()
    await supervisor.broker.stop()
    with pytest.raises(OutcomeUnknownError):
        await first
    assert supervisor.lost == 0, "it was stopped"
    supervisor.ours.close()


async def test_call_that_nobody_waits_for_any_more_mixes_up_no_other(two: RemoteHarness) -> None:
    calls = [asyncio.ensure_future(two.first.publish("c", message(f"m{n}"), KEPT)) for n in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    offsets = [result.offset for result in results if not isinstance(result, BaseException)]
    assert offsets == [2 * n for n in range(1, 11)]
    assert (await two.first.publish("c", message(), KEPT)).offset == 21


async def test_everything_of_one_turn_leaves_in_one_write(two: RemoteHarness) -> None:
    link = two.first._link
    assert link is not None
    writes: list[int] = []
    transport = cast(asyncio.Transport, link._transport)

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(transport, name)

        def write(self, data: bytes) -> None:
            writes.append(len(data))
            transport.write(data)

    link._transport = Counting()  # type: ignore[assignment]
    await asyncio.gather(*(two.first.publish("c", message(), KEPT) for _ in range(100)))
    assert len(writes) == 1


# -- the service itself --------------------------------------------------------------------


async def test_supervisor_has_no_subscribers_and_starts_once(two: RemoteHarness) -> None:
    with pytest.raises(UsageError):
        await two.service.subscribe("c", KEPT)
    await two.service.unsubscribe("c")
    with pytest.raises(UsageError):
        await two.service.start(RecordingRelay())
    with pytest.raises(UsageError):
        await two.first.start(two.relay)


async def test_what_the_supervisor_publishes_reaches_workers_in_the_one_order(two: RemoteHarness) -> None:
    for broker in (two.first, two.other):
        await broker.subscribe("c", KEPT)
    for n in range(30):
        await (two.service, two.first, two.other)[n % 3].publish("c", message(f"m{n}"), KEPT)
    await two.settle()
    assert two.relay.ids("c") == two.other_relay.ids("c") == [f"m{n}" for n in range(30)]


async def test_worker_is_sent_only_what_it_is_interested_in(two: RemoteHarness) -> None:
    await two.first.subscribe("a", KEPT)
    await two.other.subscribe("b", KEPT)
    for channel in ("a", "b", "c"):
        await two.first.publish(channel, message(channel), KEPT)
        await two.first.join(channel, ANN, KEPT)
    await two.settle()
    assert [name for name, _, _ in two.relay.publications] == ["a"]
    assert [name for name, _, _ in two.other_relay.publications] == ["b"]
    assert [name for name, _ in two.relay.changes + two.other_relay.changes] == ["a", "b"]


async def test_memory_that_waits_would_be_a_mistake_that_shows() -> None:
    class Waiting(MemoryBroker):
        async def probe(self) -> float:
            await asyncio.sleep(0)
            return 0.0

    loop = asyncio.get_running_loop()
    service = BrokerService(Waiting(clock=loop.time, random_id=lambda: "x"), loop=loop)
    await service.start(RecordingRelay())
    ours, theirs = socket.socketpair()
    await service.attach(ours)
    lost = asyncio.Event()
    link = Link(loop, wire.FromSupervisor, on_record=lambda r: None, on_lost=lost.set)
    await link.connect(theirs)
    link.send(wire.pack(wire.Probe(1)))
    async with asyncio.timeout(20):
        await lost.wait()
    await service.stop()
