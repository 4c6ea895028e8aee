"""One connection, against a server that says whatever the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio

from gateway.broker.redis.connection import Connection
from gateway.broker.redis.dialing import Dialer
from gateway.broker.redis.options import Address, Login, RedisOptions
from gateway.broker.redis.replies import LostReplyError
from gateway.broker.redis.resp import pack
from gateway.errors import BrokerUnavailableError
from tests.support.fake_redis import FakeRedis, array, bulk
from tests.support.redis_shards import until
from tests.support.simulated import SimulatedTime

Connect = Callable[..., Awaitable[Connection]]


@pytest_asyncio.fixture
async def connect(fake: FakeRedis) -> Connect:
    """Connect to the fake server; by the fixture's end the server has hung up."""

    async def connected(**options: float) -> Connection:
        dialer = Dialer(asyncio.get_running_loop(), RedisOptions(**options), Login(), None)  # type: ignore[arg-type]
        connection = await dialer.connect(Address("127.0.0.1", fake.port))
        fake.commands.clear()
        fake.reads.clear()
        return connection

    return connected


def echo(connection: Connection, number: int) -> asyncio.Future[object]:
    return connection.call(pack(("EVAL", number)))


async def test_connection_replies_meet_their_commands_in_order(fake: FakeRedis, connect: Connect) -> None:
    connection = await connect()
    assert await asyncio.gather(*(echo(connection, number) for number in range(500))) == [
        b"%d" % number for number in range(500)
    ]
    assert connection.in_flight == connection.queued_bytes == 0


async def test_connection_one_turn_of_the_loop_is_one_write(fake: FakeRedis, connect: Connect) -> None:
    connection = await connect()
    await asyncio.gather(*(echo(connection, number) for number in range(50)))
    assert [len(batch) for batch in fake.reads] == [50]


async def test_connection_reply_nobody_waits_for_any_more_is_skipped(
    fake: FakeRedis, connect: Connect
) -> None:
    connection = await connect()
    connection.tell(pack(("EVAL", 1)))
    given_up, wanted = echo(connection, 2), echo(connection, 3)
    given_up.cancel()
    assert await wanted == b"3"


REPLIES = [
    (b"+OK\r\n", b"OK"),
    (b":-7\r\n", -7),
    (b"$-1\r\n", None),
    (bulk(b"a\r\nb"), b"a\r\nb"),
    (array(bulk(b"x"), b":1\r\n", array(b"$-1\r\n")), [b"x", 1, [None]]),
    (b"*0\r\n", []),
]


@pytest.mark.parametrize(("encoded", "decoded"), REPLIES)
async def test_connection_reply_byte_by_byte(
    fake: FakeRedis, connect: Connect, encoded: bytes, decoded: object
) -> None:
    connection = await connect()
    fake.answer = lambda command: None
    first, second = echo(connection, 1), echo(connection, 2)
    await until(lambda: len(fake.commands) == 2, "both commands")
    for byte in encoded:
        assert not first.done()
        connection.data_received(bytes([byte]))
    assert first.done()
    assert first.result() == decoded
    connection.data_received(encoded)
    assert second.done()
    assert second.result() == decoded


@pytest.mark.parametrize("encoded", [encoded for encoded, _ in REPLIES])
async def test_connection_cut_at_every_byte_of_a_reply_is_unknown(
    fake: FakeRedis, connect: Connect, encoded: bytes
) -> None:
    for end in range(len(encoded)):
        connection = await connect()
        fake.answer = lambda command: None
        reply = echo(connection, 1)
        await until(lambda: fake.commands, "the command")
        connection.data_received(encoded[:end])
        fake.cut()
        with pytest.raises(LostReplyError):
            await reply
        assert connection.lost
        fake.answer = fake.agree


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x01\x00",
        b"$x\r\n",
        b"$-2\r\n",
        b"*-5\r\n",
        b":abc\r\n",
        b"+OK\r\n+one too many\r\n",
        b"-ERR \xff\xfe\r\nhello",
        b"\0" * 100,
    ],
)
async def test_connection_nonsense_drops_it_and_nothing_is_believed(
    fake: FakeRedis, connect: Connect, nonsense: bytes
) -> None:
    connection = await connect()
    reasons: list[str] = []
    connection.on_lost = reasons.append
    fake.answer = lambda command: nonsense if command[-1] == b"1" else None
    first = echo(connection, 1)
    await until(lambda: connection.lost, "the connection to be dropped")
    await asyncio.gather(first, return_exceptions=True)
    assert len(reasons) == 1
    with pytest.raises(BrokerUnavailableError, match="not connected"):
        echo(connection, 2)
    connection.data_received(b"+late\r\n")
    assert fake.commands == [(b"EVAL", b"1")]


async def test_connection_reply_before_its_command_left_is_nonsense(
    fake: FakeRedis, connect: Connect
) -> None:
    connection = await connect()
    connection.pause_writing()
    reply = echo(connection, 1)
    connection.data_received(b"+OK\r\n")
    with pytest.raises(BrokerUnavailableError) as caught:
        await reply
    assert not isinstance(caught.value, LostReplyError)


async def test_connection_what_never_left_is_told_from_what_may_have_arrived(
    fake: FakeRedis, connect: Connect
) -> None:
    connection = await connect()
    fake.answer = lambda command: None
    sent = echo(connection, 1)
    await until(lambda: fake.commands, "the command")
    connection.pause_writing()
    waiting = echo(connection, 2)
    fake.cut()
    problems = await asyncio.gather(sent, waiting, return_exceptions=True)
    assert [type(problem) for problem in problems] == [LostReplyError, BrokerUnavailableError]


async def test_connection_that_does_not_take_more_holds_commands_back_and_sends_them_later(
    fake: FakeRedis, connect: Connect
) -> None:
    connection = await connect()
    connection.pause_writing()
    size = 100_000
    replies = [connection.call(pack(("EVAL", b"%d" % number * size))) for number in range(9)]
    await asyncio.sleep(0)
    assert connection.queued_bytes > 9 * size
    connection.resume_writing()
    assert await asyncio.gather(*replies) == [b"%d" % number * size for number in range(9)]
    assert connection.queued_bytes == 0


async def test_connection_queue_is_bounded_in_bytes_and_number(fake: FakeRedis, connect: Connect) -> None:
    connection = await connect(max_queued_bytes=1000, max_commands=10)
    connection.pause_writing()
    connection.call(pack(("EVAL", b"x" * 800)))
    with pytest.raises(BrokerUnavailableError, match="too many commands wait"):
        connection.call(pack(("EVAL", b"x" * 200)))
    for _ in range(9):
        connection.call(pack(("P",)))
    with pytest.raises(BrokerUnavailableError, match="too many commands wait"):
        connection.call(pack(("P",)))
    assert connection.in_flight == 10
    connection.resume_writing()
    await until(lambda: not connection.in_flight, "the answers")
    assert await connection.call(pack(("EVAL", 5))) == b"5"


# -- deadlines, in simulated time -----------------------------------------------------------


class Deaf(asyncio.Transport):
    """A transport that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self._aborted = False

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        self._aborted = True

    def is_closing(self) -> bool:
        return self._aborted

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


def deaf_connection(time: SimulatedTime) -> tuple[Connection, Deaf]:
    connection = Connection(time.loop, RedisOptions(command_timeout_s=2.0), "deaf")
    transport = Deaf()
    connection.connection_made(transport)
    return connection, transport


async def test_connection_oldest_command_misses_its_deadline_and_all_are_lost() -> None:
    time = SimulatedTime()
    connection, transport = deaf_connection(time)
    replies = [connection.call(pack(("PING",)))]
    time.advance(1.9)
    replies.append(connection.call(pack(("PING",))))
    await asyncio.sleep(0)
    assert not transport.is_closing()
    time.advance(1.1)
    assert (transport.is_closing(), connection.lost) == (True, True)
    problems = await asyncio.gather(*replies, return_exceptions=True)
    assert [type(problem) for problem in problems] == [LostReplyError] * 2


async def test_connection_deadline_is_each_command_s_own() -> None:
    time = SimulatedTime()
    connection, transport = deaf_connection(time)
    for _ in range(50):  # always two in flight, none for longer than 1.8 s
        connection.call(pack(("PING",)))
        await asyncio.sleep(0)
        time.advance(0.9)
        if connection.in_flight == 2:
            connection.data_received(b"+PONG\r\n")
    assert not transport.is_closing()
    connection.data_received(b"+PONG\r\n" * connection.in_flight)
    time.advance(60.0)
    assert (transport.is_closing(), time.timers) == (False, 0), "no timer while nothing waits"


async def test_connection_whose_process_did_not_run_gives_replies_another_chance() -> None:
    time = SimulatedTime()
    connection, transport = deaf_connection(time)
    reply = connection.call(pack(("PING",)))
    await asyncio.sleep(0)
    time.now += 60.0
    time.advance(0.0)
    time.advance(1.0)
    assert not transport.is_closing()
    connection.data_received(b"+PONG\r\n")
    assert await reply == b"PONG"
    connection.call(pack(("PING",)))
    await asyncio.sleep(0)
    time.now += 60.0
    time.advance(3.0)
    assert transport.is_closing(), "but not for ever"
