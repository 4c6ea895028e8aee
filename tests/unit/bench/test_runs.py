"""Scenarios against servers that do wrong on purpose: the account has to tell exactly what they did."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from websockets.asyncio.server import ServerConnection, broadcast, serve

from gateway.bench.runs import Plan, Result, Subscribing, run_connect, run_echo, run_fanout, run_idle
from gateway.bench.target import BenchError

SHORT = Plan(seconds=5.0, messages=20, in_flight=20, warm_up_s=0, drain_s=0.3, open_timeout_s=5.0)
Handler = Callable[[ServerConnection], Awaitable[None]]


def quiet(what: str, part: float) -> None:
    pass


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, compression=None, max_size=None) as listener:
        yield f"ws://127.0.0.1:{next(iter(listener.sockets)).getsockname()[1]}"


def path_of(connection: ServerConnection) -> str:
    assert connection.request is not None
    return connection.request.path


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def echo_run(handler: Handler, plan: Plan = SHORT, *, connections: int = 2, size: int = 64) -> Result:
    async with server(handler) as url:
        run = partial(run_echo, connections=connections, size=size, binary=False, progress=quiet)
        return await asyncio.to_thread(run, url, plan)


class Hub:
    """Sends what is published to all subscribers; `deliver` says what each message becomes."""

    def __init__(self, deliver: Callable[[int, str], list[str]]) -> None:
        self.deliver = deliver
        self.subscribers: set[ServerConnection] = set()

    async def __call__(self, connection: ServerConnection) -> None:
        if path_of(connection) != "/publish":
            self.subscribers.add(connection)
            await connection.wait_closed()
            return
        number = 0
        async for message in connection:
            for text in self.deliver(number, str(message)):
                broadcast(self.subscribers, text)
            number += 1


async def fanout_run(hub: Handler, plan: Plan = SHORT, *, subscribers: int = 3) -> Result:
    async with server(hub) as url:
        how = Subscribing(
            subscribe="", confirmation="", publish='{"x":"{payload}"}', publish_url=f"{url}/publish"
        )
        run = partial(run_fanout, subscribers=subscribers, size=32, progress=quiet)
        return await asyncio.to_thread(run, url, plan, how)


def account(result: Result) -> tuple[int, ...]:
    return tuple(result.counts[name] for name in ("expected", "delivered", "lost", "doubled", "reordered"))


async def test_fanout_counts_every_delivery_of_a_good_server() -> None:
    result = await fanout_run(Hub(lambda number, text: [text]))
    assert account(result) == (60, 60, 0, 0, 0)
    assert (result.messages, result.latencies.total) == (20, 60)


async def test_fanout_tells_messages_that_never_came() -> None:
    result = await fanout_run(Hub(lambda number, text: [] if number in {3, 4, 19} else [text]))
    assert account(result) == (60, 51, 9, 0, 0)
    assert result.messages == 17


async def test_fanout_tells_messages_that_came_twice() -> None:
    result = await fanout_run(Hub(lambda number, text: [text, text] if number == 5 else [text]))
    assert account(result) == (60, 60, 0, 3, 0)


async def test_fanout_tells_messages_that_came_late() -> None:
    held: list[str] = []

    def swap(number: int, text: str) -> list[str]:
        held.append(text)
        return [] if number == 7 else [held[8], held[7]] if number == 8 else [text]

    assert account(await fanout_run(Hub(swap))) == (60, 60, 0, 0, 3)


async def test_fanout_does_not_wait_for_a_subscriber_that_is_gone() -> None:
    hub = Hub(lambda number, text: [text])

    async def leaving(connection: ServerConnection) -> None:
        if path_of(connection) == "/publish" and hub.subscribers:
            await next(iter(hub.subscribers)).close(4000)
        await hub(connection)

    plan = Plan(seconds=0.5, in_flight=1, warm_up_s=0, drain_s=0.1)
    result = await fanout_run(leaving, plan)
    assert result.counts["closed"] == 1
    assert "4000" in result.problem
    assert result.messages > 10


async def test_fanout_finds_payloads_in_any_envelope_and_leaves_out_what_is_none() -> None:
    result = await fanout_run(Hub(lambda number, text: ["{}", f"[{'.' * number}{text}]"]))
    assert account(result) == (60, 60, 0, 0, 0)
    assert result.counts["others"] == 60
    assert result.other == "{}"


async def test_fanout_checks_again_after_warming_up() -> None:
    plan = Plan(seconds=0.2, in_flight=4, warm_up_s=0.2, drain_s=1.0)
    result = await fanout_run(Hub(lambda number, text: [text]), plan)
    expected, delivered, *wrong = account(result)
    assert expected == delivered == 3 * result.messages > 0
    assert wrong == [0, 0, 0]


@pytest.mark.parametrize("size", [16, 125, 126, 65_535, 65_536, 300_000])
async def test_echo_counts_messages_of_any_size(size: int) -> None:
    result = await echo_run(echo, size=size)
    assert [result.counts[name] for name in ("sent", "echoed", "missing", "wrong")] == [20, 20, 0, 0]


async def test_echo_tells_what_came_back_changed() -> None:
    async def changing(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(str(message)[:-1] + "!")

    result = await echo_run(changing)
    assert (result.counts["echoed"], result.counts["wrong"]) == (20, 20)


async def test_echo_tells_what_did_not_come_back() -> None:
    async def forgetting(connection: ServerConnection) -> None:
        count = 0
        async for message in connection:
            count += 1
            if count != 4:
                await connection.send(message)

    result = await echo_run(forgetting, connections=1)
    assert (result.counts["missing"], result.counts["wrong"]) == (1, 1)


async def test_echo_answers_pings_and_reads_fragments() -> None:
    async def fragmenting(connection: ServerConnection) -> None:
        async for message in connection:
            await (await connection.ping())
            await connection.send([str(message)[:5], str(message)[5:]])

    plan = Plan(messages=20, in_flight=4, warm_up_s=0)  # more would fill the server's queue before the pong
    result = await echo_run(fragmenting, plan)
    assert (result.counts["echoed"], result.counts["wrong"]) == (20, 0)


async def test_echo_tells_that_the_server_closed() -> None:
    async def closing(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(1013, "later")

    result = await echo_run(closing, Plan(seconds=0.3, warm_up_s=0))
    assert result.counts["closed"] == 2
    assert result.problem == "the server closed with 1013 b'later'"


async def test_an_open_loop_measures_from_when_a_message_was_due() -> None:
    async def stalling(connection: ServerConnection) -> None:
        count = 0
        async for message in connection:
            count += 1
            if count == 100:
                time.sleep(0.3)  # noqa: ASYNC251 - the whole server stands still
            await connection.send(message)

    plan = Plan(seconds=1.0, rate=400, warm_up_s=0, drain_s=2.0)
    result = await echo_run(stalling, plan, connections=1)
    assert result.counts["echoed"] == result.counts["sent"] == 400
    assert result.counts["unsent"] == 0
    late = sum(count for low_ns, count in result.latencies.sparse() if low_ns > 50_000_000)
    assert 80 <= late <= 200  # 250 ms of 400 a second: closed loops would show one


async def test_connect_measures_every_handshake_and_keeps_no_connection() -> None:
    opened = 0

    async def count(connection: ServerConnection) -> None:
        nonlocal opened
        opened += 1
        await connection.wait_closed()

    async with server(count) as url:
        how = Subscribing(subscribe="", confirmation="")
        run = partial(run_connect, connections=30, progress=quiet)
        result = await asyncio.to_thread(run, url, Plan(at_once=4), how)
    assert (result.counts["opened"], result.counts["failed"], opened) == (30, 0, 30)
    assert result.latencies.total == 30


async def test_connect_waits_for_the_confirmation_of_each_subscription() -> None:
    asked = []

    async def confirm(connection: ServerConnection) -> None:
        asked.append(await connection.recv())
        await connection.send("welcome")
        await asyncio.sleep(0.05)
        await connection.send("you are subscribed")
        await connection.wait_closed()

    async with server(confirm) as url:
        how = Subscribing(
            subscribe="join {channel}", confirmation="subscribed", channel_prefix="c", channels=2
        )
        result = await asyncio.to_thread(
            partial(run_connect, connections=4, progress=quiet), url, Plan(at_once=4), how
        )
    assert sorted(asked) == ["join c-0", "join c-0", "join c-1", "join c-1"]
    assert result.latencies.percentile_ns(0.1) >= 50_000_000


async def test_idle_answers_pings_while_it_holds_connections() -> None:
    answered = []

    async def pinging(connection: ServerConnection) -> None:
        await (await connection.ping())
        answered.append(connection)
        await connection.wait_closed()

    async with server(pinging) as url:
        how = Subscribing(subscribe="", confirmation="")
        run = partial(run_idle, connections=5, progress=quiet)
        result = await asyncio.to_thread(run, url, Plan(seconds=0.3), how)
    assert len(answered) == 5
    assert result.counts["opened"] == 5


async def test_a_server_that_refuses_is_told_with_its_answer() -> None:
    async with server(echo) as url:
        bad = url.replace("ws://127.0.0.1", "ws://localhost")
        plan = Plan(headers=("Sec-WebSocket-Version: 99",))
        with pytest.raises(BenchError, match=r"2 of 2 connections failed; .* refused: HTTP/1.1 4\d\d"):
            await asyncio.to_thread(
                partial(run_echo, connections=2, size=64, binary=False, progress=quiet), bad, plan
            )


async def raw_answer(answer: bytes) -> str:
    """Return why a server that says this was not accepted."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in answer:
            writer.write(bytes([byte]))
            await writer.drain()
        writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listener:
        url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        run = partial(run_echo, connections=1, size=64, binary=False, progress=quiet)
        with pytest.raises(BenchError) as caught:
            await asyncio.to_thread(run, url, SHORT)
    return str(caught.value)


async def test_an_accept_header_of_another_key_is_refused() -> None:
    told = await raw_answer(
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    assert "the upgrade was refused: HTTP/1.1 101" in told


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Switching"])
async def test_an_answer_that_ends_early_is_told(answer: bytes) -> None:
    assert "the server ended the connection" in await raw_answer(answer)


async def test_a_server_that_never_confirms_is_told_with_what_it_said() -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"error":"no"}')
        await connection.wait_closed()

    async with server(refuse) as url:
        run = partial(run_fanout, subscribers=1, size=32, progress=quiet)
        with pytest.raises(BenchError, match=r'the server said: \{"error":"no"\}'):
            await asyncio.to_thread(run, url, Plan(open_timeout_s=0.3), Subscribing())


def test_a_publish_message_without_a_payload_is_refused() -> None:
    how = Subscribing(publish="hello")
    with pytest.raises(BenchError, match=r"no \{payload\}"):
        run_fanout("ws://127.0.0.1:1/", SHORT, how, subscribers=1, size=32, progress=quiet)
