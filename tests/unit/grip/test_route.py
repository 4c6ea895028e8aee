"""Clients of a GRIP service on real sockets: what the service hears, what the clients get, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from gateway.grip.events import CONTENT_TYPE, Event, Kind, close_event, serialise
from gateway.passthrough.guard import GuestRefusedError
from tests.support.app_service import (
    Heard,
    declares_much,
    floods,
    hangs,
    redirects,
    resets,
    says,
    talks_nonsense,
)
from tests.support.grip import GRIP, OPEN, GripService, control, echo, reply, rig, text
from tests.support.waiting import until

DISCONNECT = Event(Kind.DISCONNECT)


async def closed(client: ClientConnection) -> tuple[int | None, str | None]:
    """Wait until a client was closed; return how."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(20):
            while True:
                await client.recv()
    return client.close_code, client.close_reason


# -- letting in ----------------------------------------------------------------------------------


async def test_service_hears_the_handshake_messages_and_the_end_in_order() -> None:
    service = GripService(echo)
    async with rig(service) as r:
        async with r.connect("/chat/room?x=1") as client:
            await client.send("one")
            assert await client.recv() == "one"
            await client.send(b"\x00\xff")
            assert await client.recv() == b"\x00\xff"
            await client.close(4321, "bye")
        await r.gone()
    assert service.told == [OPEN, text("one"), Event(Kind.BINARY, b"\x00\xff"), close_event(4321, b"bye")]
    assert {heard.request.path_qs for heard in service.heard} == {"/chat/room?x=1"}
    assert {heard.request.method for heard in service.heard} == {"POST"}
    assert {heard.headers["Content-Type"] for heard in service.heard} == {CONTENT_TYPE}
    assert len({heard.headers["Connection-Id"] for heard in service.heard}) == 1


async def test_headers_that_only_the_gateway_may_say_are_dropped() -> None:
    service = GripService()
    said = {
        "Meta-User": "root", "Grip-Sig": "forged", "Connection-Id": "other", "X-Ringgate-User": "root",
        "X-Forwarded-For": "1.2.3.4", "Content-Type": "text/html", "Accept": "x", "Cookie": "a=b",
        "X-Mine": "y",
    }  # fmt: skip
    async with rig(service, signature=lambda: "signed") as r, r.connect(additional_headers=said):
        pass
    heard = service.heard[0].headers
    assert {name: heard.get(name) for name in ("Cookie", "X-Mine")} == {"Cookie": "a=b", "X-Mine": "y"}
    assert heard["Grip-Sig"] == "signed"
    assert heard["X-Forwarded-For"] == "127.0.0.1"
    assert heard["X-Forwarded-Proto"] == "ws"
    assert heard["Host"] == heard["X-Forwarded-Host"] == f"127.0.0.1:{r.port}"
    assert heard["Sec-WebSocket-Extensions"] == "grip"
    assert heard["Content-Type"] == heard["Accept"] == CONTENT_TYPE
    assert heard["Connection-Id"] != "other"
    assert not {"Meta-User", "X-Ringgate-User", "Upgrade", "Sec-WebSocket-Key"} & {*heard}


@pytest.mark.parametrize(
    ("status", "told"),
    [(403, 403), (401, 401), (404, 404), (429, 429), (503, 503), (500, 502), (302, 502), (204, 502)],
)
async def test_a_refused_open_is_a_refused_handshake(status: int, told: int) -> None:
    service = GripService()
    service.answer = says({}, status)
    async with rig(service) as r:
        with pytest.raises(InvalidStatus) as refused:
            await r.connect()
        assert refused.value.response.status_code == told
        assert r.counts.refused == {str(told): 1}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (hangs, 504), (redirects, 502), (talks_nonsense, 502), (resets, 502), (floods, 502),
        (declares_much, 502), (None, 503),
    ],
)  # fmt: skip
async def test_a_service_that_gives_no_answer_to_open(answer: Any, told: int) -> None:
    service = GripService()
    async with rig(service, upstream={"timeout_s": 0.3, "max_answer_bytes": 1000}) as r:
        if answer is None:
            await service.stop()
        else:
            service.answer = answer
        with pytest.raises(InvalidStatus) as refused:
            await r.connect()
        assert refused.value.response.status_code == told


async def test_subprotocol_and_listed_headers_of_the_answer_reach_the_client() -> None:
    service = GripService(echo)
    service.headers = {
        "Sec-WebSocket-Protocol": "b",
        "Set-Cookie": "a=b",
        "X-Secret": "no",
        "Set-Meta-A": "1",
    }
    async with (
        rig(service, response_headers={"set-cookie"}) as r,
        r.connect(subprotocols=[Subprotocol("a"), Subprotocol("b")]) as client,
    ):
        assert client.subprotocol == "b"
        assert client.response.headers["Set-Cookie"] == "a=b"
        assert not {"X-Secret", "Set-Meta-A", "Content-Type"} & {*client.response.headers}
        assert service.heard[0].headers["Sec-WebSocket-Protocol"] == "a, b"


@pytest.mark.parametrize("status", [200, 403], ids=["let in", "refused"])
async def test_every_cookie_of_the_answer_reaches_the_client(status: int) -> None:
    service = GripService()

    async def answer(heard: Heard) -> web.StreamResponse:
        service.take(heard)
        said = reply(OPEN, status=status, X_Other="no")
        for cookie in ("a=b; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "c=d; Path=/", "e=\u00e9"):
            said.headers.add("Set-Cookie", cookie)
        said.headers.add("Vary", "a")
        said.headers.add("Vary", "b")
        return said

    service.answer = answer
    async with rig(service, response_headers={"set-cookie", "vary"}) as r:
        if status == 200:
            async with r.connect() as client:
                headers = client.response.headers
        else:
            with pytest.raises(InvalidStatus) as refused:
                await r.connect()
            assert refused.value.response.status_code == status
            headers = refused.value.response.headers
    cookies = headers.get_all("Set-Cookie")
    assert cookies[:2] == ["a=b; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "c=d; Path=/"]
    assert headers.get_all("Vary") == ["a, b"]
    assert "X-Other" not in headers


async def test_what_a_client_says_before_it_is_let_in_is_not_lost() -> None:
    service, let_in = GripService(echo), asyncio.Event()
    answer = service.answer

    async def slow(heard: Heard) -> web.StreamResponse:
        await let_in.wait()
        return await answer(heard)

    service.answer = slow
    async with rig(service) as r:
        reader, writer = await asyncio.open_connection("127.0.0.1", r.port)
        head = b"GET /chat/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        writer.write(head + b"\x81\x81\0\0\0\0a")
        await until(lambda: service.under_way == 1)
        writer.write(b"\x81\x81\0\0\0\0b")
        await asyncio.sleep(0.05)
        let_in.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(6) == b"\x81\x01a\x81\x01b"
        writer.close()
        await writer.wait_closed()
    assert service.told == [OPEN, text("a"), text("b"), DISCONNECT]


async def test_a_client_that_does_not_wait_is_told_of_and_its_guest_goes() -> None:
    service, let_in, guests = GripService(), asyncio.Event(), list[object]()
    answer = service.answer

    async def slow(heard: Heard) -> web.StreamResponse:
        await let_in.wait()
        return await answer(heard)

    class Guest:
        user = "ada"

        def leave(self) -> None:
            guests.remove(self)

    class Guard:
        async def admit(self, request: object, connection: object) -> Guest:
            guest = Guest()
            guests.append(guest)
            return guest

        def target_of(self, request: object) -> str:
            return "/elsewhere"

    service.answer = slow
    async with rig(service, guard=Guard()) as r:
        with pytest.raises(TimeoutError):
            await r.connect(open_timeout=0.2)
        await until(lambda: not r.edge.connections)
        let_in.set()
        await until(lambda: service.told == [OPEN, DISCONNECT])
        assert {heard.path for heard in service.heard} == {"/elsewhere"}
        assert service.heard[0].headers["X-Ringgate-User"] == "ada"
        async with r.connect():
            assert len(guests) == 1
    assert guests == []


async def test_a_guard_can_refuse_before_the_service_hears_of_it() -> None:
    class Guard:
        async def admit(self, request: object, connection: object) -> Any:
            raise GuestRefusedError(401, "a token is needed")

        def target_of(self, request: object) -> str:
            return ""

    service = GripService()
    async with rig(service, guard=Guard()) as r:
        with pytest.raises(InvalidStatus) as refused:
            await r.connect()
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"
    assert service.heard == []


# -- requests ------------------------------------------------------------------------------------


async def test_one_request_at_a_time_and_what_comes_meanwhile_goes_together() -> None:
    service, go = GripService(echo), asyncio.Event()
    answer, most = service.answer, 0

    async def slow(heard: Heard) -> web.StreamResponse:
        nonlocal most
        most = max(most, service.under_way)
        if b"TEXT" in heard.body:
            await go.wait()
        return await answer(heard)

    service.answer = slow
    async with rig(service) as r, r.connect() as client:
        await client.send("0")
        await until(lambda: service.under_way == 1)
        for number in range(1, 50):
            await client.send(str(number))
        await asyncio.sleep(0.1)
        go.set()
        assert [await client.recv() for _ in range(50)] == [str(number) for number in range(50)]
        assert len(service.heard) == 3
        assert most == 1


async def test_a_service_that_is_slow_slows_its_client_down_and_nobody_else() -> None:
    service, go = GripService(echo), asyncio.Event()
    answer = service.answer

    async def slow(heard: Heard) -> web.StreamResponse:
        if heard.path == "/chat/slow":
            await go.wait()
        return await answer(heard)

    async with rig(service, upstream={"timeout_s": 60.0}) as r, r.connect() as quick:
        connected = await r.connect("/chat/slow")
        service.answer = slow
        message, sent = "x" * 10_000, 0

        async def flood() -> None:
            nonlocal sent
            for _ in range(2000):
                await connected.send(message)
                sent += 1

        flooding = asyncio.ensure_future(flood())
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 2000  # 20 MB do not fit into the sockets, and the gateway does not read them
        await quick.send("still here")
        assert await quick.recv() == "still here"
        go.set()
        for _ in range(2000):
            assert await connected.recv() == message
        await flooding
        await connected.close()


async def test_nothing_is_asked_while_a_client_does_not_read() -> None:
    service, go = GripService(), asyncio.Event()
    large = 20_000_000  # more than the sockets take

    async def answer(heard: Heard) -> web.StreamResponse:
        if service.take(heard) == [text("large")]:
            await go.wait()
            return reply(Event(Kind.TEXT, b"y" * large))
        return reply(OPEN) if service.events[-1] == [OPEN] else reply(text("seen"))

    service.answer = answer
    bounds = {"timeout_s": 20.0, "max_answer_bytes": 2 * large}
    async with rig(service, upstream=bounds, most_queued_bytes=100_000) as r:
        client = await r.connect(max_size=large, max_queue=1)
        await client.send("large")
        await until(lambda: service.under_way == 1)
        await client.send("more")
        await until(lambda: r.stats.messages_in == 2)  # it waits in the queue
        client.transport.pause_reading()
        go.set()
        (connection,) = r.edge.connections
        await until(lambda: connection.queued_bytes > 100_000)
        await asyncio.sleep(0.3)
        assert service.told == [OPEN, text("large")]
        client.transport.resume_reading()
        assert len(await client.recv()) == large
        assert await client.recv() == "seen"
        assert service.told == [OPEN, text("large"), text("more")]
        await client.close()


async def test_meta_comes_back_until_it_is_forgotten() -> None:
    service = GripService()
    said: list[dict[str, Any]] = [{"Set_Meta_User": "ada"}, {"Set_Meta_User": "", "Set_Meta_Room": "a b"}]

    async def answer(heard: Heard) -> web.StreamResponse:
        return reply(*service.take(heard)[:1], **(said.pop(0) if said else {}))

    service.answer = answer
    async with rig(service) as r, r.connect() as client:
        for _ in range(3):
            await client.send("x")
            await client.recv()
    metas = [{n: v for n, v in h.headers.items() if n.startswith("Meta-")} for h in service.heard]
    assert metas[:4] == [{}, {"Meta-User": "ada"}, {"Meta-Room": "a b"}, {"Meta-Room": "a b"}]


async def test_keep_alives_are_empty_requests_until_they_are_ended() -> None:
    service = GripService()
    service.headers = {"Keep-Alive-Interval": "1"}
    answer = service.answer

    async def at_last(heard: Heard) -> web.StreamResponse:
        response = await answer(heard)
        if len(service.heard) == 2:
            response.headers["Keep-Alive-Interval"] = "0"
        return response

    service.answer = at_last
    async with rig(service) as r, r.connect():
        await until(lambda: len(service.heard) >= 2)
        assert service.events[1:] == [[]]
    assert service.told == [OPEN, close_event(1000)]


async def test_pings_and_pongs() -> None:
    def answer(events: list[Event]) -> list[Event]:
        pongs = [Event(Kind.PONG, event.content) for event in events if event.kind is Kind.PING]
        return pongs + [Event(Kind.PING, b"are you there") for event in echo(events)]

    service = GripService(answer)
    async with rig(service) as r, r.connect() as client:
        pong = await client.ping(b"hello")
        await asyncio.wait_for(pong, 20)
        await until(lambda: Event(Kind.PING, b"hello") in service.told)
        await client.send("ask me")
        await until(lambda: Event(Kind.PONG, b"are you there") in service.told)
        await client.pong(b"are you there")  # nobody asked
        await client.send("last")
        await until(lambda: service.told.count(Event(Kind.PONG, b"are you there")) == 2)
    assert [event.kind for event in service.told].count(Kind.PONG) == 2


# -- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "how"), [(close_event(4000, b"so"), (4000, "so")), (Event(Kind.CLOSE), (1000, ""))]
)
async def test_a_service_closes_and_hears_it_answered(event: Event, how: tuple[int, str]) -> None:
    service = GripService(
        lambda events: [text("first"), event, text("never")] if events[0] == text("go") else ()
    )
    async with rig(service) as r:
        client = await r.connect()
        await client.send("go")
        assert await client.recv() == "first"
        assert await closed(client) == how
        await until(lambda: len(service.told) == 3)
    assert service.told == [OPEN, text("go"), event]


async def test_disconnect_of_the_service_closes_and_nothing_more_is_asked() -> None:
    service = GripService(lambda events: [DISCONNECT])
    async with rig(service) as r:
        client = await r.connect()
        await client.send("who am I")
        assert (await closed(client))[0] == 1012
        assert r.counts.failed == {"gone": 1}
    assert service.told == [OPEN, text("who am I")]


async def test_an_unclean_end_is_a_disconnect_behind_what_was_said() -> None:
    service = GripService(echo)
    async with rig(service) as r:
        client = await r.connect()
        await client.send("last words")
        await client.recv()
        client.transport.abort()
        await until(lambda: len(service.told) == 3)
    assert service.told == [OPEN, text("last words"), DISCONNECT]


async def test_a_client_that_breaks_a_rule_is_closed_by_its_code_and_the_service_told() -> None:
    service = GripService(echo)
    async with rig(service, edge={"max_message_bytes": 1000}) as r:
        client = await r.connect()
        await client.send("x" * 2000)
        assert (await closed(client))[0] == 1009
        await until(lambda: service.told == [OPEN, DISCONNECT])


async def test_a_gateway_that_stops_says_so_in_words_that_others_know() -> None:
    service = GripService(echo)
    async with rig(service) as r:
        client = await r.connect()
        r.edge.drain(4202, "the gateway is stopping")
        assert (await closed(client))[0] == 1012
        await r.route.stop(5.0)
        assert service.told == [OPEN, DISCONNECT]


async def test_a_gateway_that_stops_closes_clients_one_by_one() -> None:
    service = GripService(echo)
    async with rig(service) as r:
        loop = asyncio.get_running_loop()
        clients = [await r.connect() for _ in range(24)]
        ends: list[float] = []

        async def note(client: Any) -> None:
            assert (await closed(client))[0] == 1012
            ends.append(loop.time())

        r.edge.drain(4202, "the gateway is stopping", 1.0)
        await asyncio.gather(*map(note, clients))
        await r.route.stop(5.0)
        assert max(ends) - min(ends) > 0.3
        assert service.told.count(DISCONNECT) == 24


# -- a service that fails ------------------------------------------------------------------------

MUCH_META: dict[str, Any] = {f"Set_Meta_{number}": "x" for number in range(65)}
NONSENSE: dict[str, Any] = {
    "status": lambda heard: reply(status=500),
    "refusal": lambda heard: reply(status=403),
    "content type": lambda heard: web.Response(text="hello"),
    "no events": lambda heard: reply(body=b"hello"),
    "lying size": lambda heard: reply(body=b"TEXT FFFFFF\r\nhello\r\n"),
    "negative size": lambda heard: reply(body=b"TEXT -1\r\nhello\r\n"),
    "not UTF-8": lambda heard: reply(Event(Kind.TEXT, b"\xff")),
    "open again": lambda heard: reply(OPEN),
    "close code": lambda heard: reply(Event(Kind.CLOSE, b"\x03\xed")),
    "unknown event": lambda heard: reply(body=b"HELLO\r\n"),
    "unknown control": lambda heard: reply(control('{"type":"explode"}')),
    "malformed control": lambda heard: reply(control("{")),
    "filters": lambda heard: reply(control('{"type":"subscribe","channel":"a","filters":["var-subst"]}')),
    "bad channel": lambda heard: reply(control('{"type":"subscribe","channel":"no such"}')),
    "interval": lambda heard: reply(Keep_Alive_Interval="never"),
    "much meta": lambda heard: reply(**MUCH_META),
    "many events": lambda heard: reply(body=b"PONG\r\n" * 4097),
    "size without an end": lambda heard: reply(body=b"TEXT 5\r\nhelloTEXT 0\r\n\r\n"),
    "half a close code": lambda heard: reply(body=b"CLOSE 1\r\n\x03\r\n"),
    "large ping": lambda heard: reply(Event(Kind.PING, b"x" * 126)),
    "accepted more": lambda heard: reply(Content_Bytes_Accepted="11"),
    "accepted what": lambda heard: reply(Content_Bytes_Accepted="-1"),
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_nonsense_closes_one_connection_and_nobody_else_notices(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = GripService(echo)
    service.headers = GRIP
    answer = service.answer

    async def sometimes(heard: Heard) -> web.StreamResponse:
        response: web.StreamResponse = (
            NONSENSE[what](heard) if b"nonsense" in heard.body else await answer(heard)
        )
        return response

    service.answer = sometimes
    async with rig(service) as r, r.connect() as bystander:
        victim = await r.connect()
        await victim.send("m:nonsense")
        assert (await closed(victim))[0] == 1011
        assert sum(r.counts.failed.values()) == 1
        await bystander.send("m:all is well")
        assert await bystander.recv() == "all is well"
        await until(lambda: service.told[-1].kind is Kind.TEXT or DISCONNECT in service.told)
    assert "a connection of a GRIP service cannot go on" in caplog.text


async def dribbles(heard: Heard) -> web.StreamResponse:
    """A byte now and then, for ever."""
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
    await response.prepare(heard.request)
    while True:
        await response.write(b"T")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "opening",
    [
        reply(body=b""), reply(text("hi"), OPEN), reply(Event(Kind.CLOSE)), reply(Keep_Alive_Interval="20"),
        reply(DISCONNECT), reply(OPEN, Set_Meta_A="x" * 9000), reply(OPEN, body=b"OPEN"),
    ],
    ids=["nothing", "late", "close", "keep-alive alone", "disconnect", "much meta", "cut off"],
)  # fmt: skip
async def test_an_answer_without_a_good_open_lets_nobody_in(opening: Any) -> None:
    service = GripService()

    async def answer(heard: Heard) -> web.StreamResponse:
        return reply(body=opening.body, **{n.replace("-", "_"): v for n, v in opening.headers.items()})

    service.answer = answer
    async with rig(service) as r:
        with pytest.raises(InvalidStatus) as refused:
            await r.connect()
        assert refused.value.response.status_code == 502


async def test_a_service_that_dribbles_for_ever_is_given_up_before_and_after_open() -> None:
    service = GripService(echo)
    async with rig(service, upstream={"timeout_s": 0.4}) as r:
        client = await r.connect()
        good, service.answer = service.answer, dribbles
        await client.send("hello?")
        with pytest.raises(InvalidStatus) as refused:
            await r.connect()
        assert refused.value.response.status_code == 504
        assert (await closed(client))[0] == 1012
        service.answer = good


async def test_what_a_service_does_not_accept_comes_again_with_what_follows() -> None:
    service = GripService()
    accepted = {b"ab": 1, b"bcd": 0}

    async def answer(heard: Heard) -> web.StreamResponse:
        content = b"".join(event.content for event in service.take(heard))
        if heard.body.startswith(b"OPEN"):
            return reply(OPEN)
        taken = str(accepted.get(content, len(content)))
        answered = [] if content in accepted else [text(content.decode())]
        return reply(*answered, Content_Bytes_Accepted=taken)

    service.answer = answer
    async with rig(service) as r, r.connect() as client:
        for number, said in enumerate(("ab", "cd", "ef")):
            await client.send(said)
            await until(lambda wanted=number + 2: len(service.events) == wanted)  # type: ignore[misc]
        assert await client.recv() == "bcdef"
        await client.send("and more")
        assert await client.recv() == "and more"
    replayed = [heard.headers.get("Content-Bytes-Replayed") for heard in service.heard]
    assert service.events[:5] == [
        [OPEN], [text("ab")], [text("b"), text("cd")], [text("b"), text("cd"), text("ef")],
        [text("and more")],
    ]  # fmt: skip
    assert replayed[:5] == [None, None, "1", "3", None]


async def test_what_is_not_accepted_is_told_again_with_the_end_and_no_more() -> None:
    service = GripService()

    async def answer(heard: Heard) -> web.StreamResponse:
        events = service.take(heard)
        return reply(OPEN) if events == [OPEN] else reply(Content_Bytes_Accepted="0")

    service.answer = answer
    async with rig(service) as r:
        async with r.connect() as client:
            await client.send("never")
            await until(lambda: len(service.events) == 2)
        await r.gone()
    assert service.events[2:] == [[text("never"), close_event(1000)]]


async def test_a_service_that_accepts_nothing_cannot_fill_the_gateway() -> None:
    service = GripService()

    async def answer(heard: Heard) -> web.StreamResponse:
        events = service.take(heard)
        return reply(OPEN) if events == [OPEN] else reply(Content_Bytes_Accepted="0")

    service.answer = answer
    async with rig(service) as r:
        client = await r.connect()
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                await client.send("x" * 2000)
        assert (await closed(client))[0] == 1011
        assert r.counts.failed == {"nonsense": 1}


@pytest.mark.parametrize(
    ("answer", "why"), [(hangs, "timeout"), (resets, "broken"), (floods, "broken"), (declares_much, "broken")]
)
async def test_a_service_that_does_not_answer_closes_with_1012(answer: Any, why: str) -> None:
    service = GripService(echo)
    async with rig(service, upstream={"timeout_s": 0.4, "max_answer_bytes": 1000}) as r:
        client = await r.connect()
        good, service.answer = service.answer, answer
        await client.send("hello?")
        assert (await closed(client))[0] == 1012
        assert r.counts.failed[why] == 1
        service.answer = good


async def test_events_wait_for_a_service_that_comes_back() -> None:
    service = GripService(echo)
    async with rig(service) as r, r.connect() as client:
        await client.send("before")
        assert await client.recv() == "before"
        await service.stop()
        await client.send("while it is away")
        await client.send("and more")
        await asyncio.sleep(0.5)
        await service.start()
        assert [await client.recv(), await client.recv()] == ["while it is away", "and more"]
    assert [event for event in service.told if event.kind is Kind.TEXT] == [
        text("before"), text("while it is away"), text("and more"),
    ]  # fmt: skip


async def test_a_service_that_stays_away_costs_its_clients_their_connections() -> None:
    service = GripService(echo)
    async with rig(service, patience_s=0.3) as r:
        client = await r.connect()
        await service.stop()
        await client.send("anybody?")
        assert (await closed(client))[0] == 1012
        assert r.counts.failed["unreachable"] == 1


async def test_an_answer_in_pieces_of_a_byte_is_understood() -> None:
    async def dribble(heard: Heard) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
        await response.prepare(heard.request)
        body = serialise([OPEN, text("hi")] if heard.body.startswith(b"OPEN") else [text("you said so")])
        for at in range(len(body)):
            await response.write(body[at : at + 1])
        return response

    service = GripService()
    service.answer = dribble
    async with rig(service) as r, r.connect() as client:
        assert await client.recv() == "hi"
        await client.send("x")
        assert await client.recv() == "you said so"


async def test_control_messages_and_prefixes_need_the_extension() -> None:
    service = GripService(echo)  # without the header nothing is a control message, and nothing has a prefix
    async with rig(service) as r, r.connect() as client:
        await client.send('c:{"type":"detach"}')
        assert await client.recv() == 'c:{"type":"detach"}'
        await client.send("m:x")
        assert await client.recv() == "m:x"


async def test_messages_without_the_prefix_are_dropped() -> None:
    service = GripService(echo)
    service.headers = {"Sec-WebSocket-Extensions": 'grip; message-prefix="say:"'}
    async with rig(service) as r, r.connect() as client:
        for message in ("m:no", "say:yes", b"say:\xff", "say:"):
            await client.send(message)
        assert [await client.recv() for _ in range(3)] == ["yes", b"\xff", ""]
