"""The command `call`: what the service hears, and what of its answer the client hears, in every encoding."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.asking import Caller, CallVerdict, Refusal
from gateway.calling import CallsAtOnce
from gateway.errors import CommandError
from tests.support.sessions import World, world


class Service:
    """Answers calls as it is told; anything else is not asked here."""

    forwards: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.heard: list[tuple[Caller, str, bytes, bool, float]] = []
        self.answer: CallVerdict | Refusal | Exception = CallVerdict()
        self.waits: asyncio.Future[None] | None = None

    async def call(
        self, caller: Caller, method: str, data: bytes, *, binary: bool, timeout_s: float
    ) -> CallVerdict | Refusal:
        self.heard.append((caller, method, data, binary, timeout_s))
        if self.waits is not None:
            await self.waits
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def turns() -> None:
    """Let the loop turn some times."""
    for _ in range(8):
        await asyncio.sleep(0)


def with_service(w: World) -> Service:
    service = Service()
    w.node.app_service = service  # type: ignore[assignment]
    return service


async def test_call_goes_to_the_service_and_its_answer_back() -> None:
    async with world() as w:
        service = with_service(w)
        alice = w.connect("alice")
        alice.heard()
        service.answer = CallVerdict(data=b'{"n": 3}')
        alice.say({"type": "call", "id": 2, "method": "cart.add", "payload": {"n": 1}, "timeout": 1500})
        assert alice.heard() == [{"type": "reply", "id": 2, "payload": {"n": 3}}]
        ((caller, method, data, binary, timeout_s),) = service.heard
        assert (caller.user, caller.client, caller.session) == (
            "alice", alice.session.client, alice.session.session,
        )  # fmt: skip
        assert (method, data, binary, timeout_s) == ("cart.add", b'{"n":1}', False, 1.5)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (CallVerdict(), {"type": "reply", "id": 1}),
        (CallVerdict(data=b"\0", binary=True), {"type": "reply", "id": 1, "payload64": "AA=="}),
        (
            Refusal(code="rate_limited", message="slowly"),
            {"type": "error", "id": 1, "code": "rate_limited", "message": "slowly", "retry": True},
        ),
        (
            CommandError("timeout", "late"),
            {"type": "error", "id": 1, "code": "timeout", "message": "late", "retry": True},
        ),
    ],
)
async def test_whatever_the_service_answers_is_told(answer: Any, told: dict[str, Any]) -> None:
    async with world() as w:
        with_service(w).answer = answer
        alice = w.connect("alice")
        alice.heard()
        alice.say({"type": "call", "id": 1, "method": "m"})
        assert alice.heard() == [told]


async def test_call_without_an_id_is_carried_and_not_answered() -> None:
    async with world() as w:
        service = with_service(w)
        alice = w.connect("alice")
        alice.heard()
        alice.say({"type": "call", "method": "m", "payload64": "AP8="})
        assert alice.heard() == []
        assert service.heard[0][2:4] == (b"\0\xff", True)


async def test_call_without_a_service_is_refused() -> None:
    async with world() as w:
        alice = w.connect("alice")
        alice.heard()
        alice.say({"type": "call", "id": 1, "method": "m"})
        (told,) = alice.heard()
        assert told["code"] == "permission_denied"


async def test_what_follows_a_call_waits_for_it() -> None:
    async with world() as w:
        service = with_service(w)
        service.waits = asyncio.get_running_loop().create_future()
        alice = w.connect("alice")
        alice.heard()
        alice.say([{"type": "call", "id": 1, "method": "m"}, {"type": "ping", "id": 2}])
        await asyncio.sleep(0)
        assert alice.heard() == []
        service.waits.set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert [told["id"] for told in alice.heard()] == [1, 2]


async def test_call_of_a_client_that_goes_is_given_up() -> None:
    async with world() as w:
        service = with_service(w)
        service.waits = asyncio.get_running_loop().create_future()
        alice = w.connect("alice")
        alice.say({"type": "call", "id": 1, "method": "m"})
        alice.session.on_close(1001, "")
        for _ in range(5):
            await asyncio.sleep(0)
        assert service.waits.cancelled()


async def test_ping_and_deliveries_do_not_wait_for_a_call_and_publishes_do() -> None:
    async with world() as w:
        service = with_service(w)
        alice, bob = w.connect("alice"), w.connect("bob")
        alice.say({"type": "subscribe", "channel": "news"})
        alice.heard()
        service.waits = asyncio.get_running_loop().create_future()
        alice.say({"type": "call", "id": 1, "method": "slow"})
        alice.say({"type": "publish", "id": 2, "channel": "news", "data": 1})
        alice.say({"type": "ping"})
        assert alice.heard() == [{"type": "pong"}]
        alice.say([{"type": "ping"}, {"type": "ping", "id": 3}])
        assert alice.heard() == []
        bob.say({"type": "publish", "channel": "news", "data": 2})
        await turns()
        assert [event["data"] for event in alice.heard()] == [2]
        service.waits.set_result(None)
        await turns()
        told = [(event["type"], event.get("id")) for event in alice.heard() if event["type"] != "message"]
        assert told == [("reply", 1), ("reply", 2), ("pong", None), ("reply", 3)]


async def test_calls_overlap_where_they_may_and_nothing_waits_for_them() -> None:
    async with world() as w:
        service = with_service(w)
        w.node.calls = CallsAtOnce(2, asyncio.get_running_loop())
        alice = w.connect("alice")
        alice.heard()
        first = service.waits = asyncio.get_running_loop().create_future()
        alice.say({"type": "call", "id": 1, "method": "a"})
        service.waits = asyncio.get_running_loop().create_future()
        alice.say({"type": "call", "id": 2, "method": "b"})
        alice.say({"type": "publish", "id": 3, "channel": "news", "data": 1})
        assert [event["id"] for event in alice.heard()] == [3]
        alice.say({"type": "call", "id": 4, "method": "c"})
        alice.say({"type": "publish", "id": 5, "channel": "news", "data": 1})
        assert alice.heard() == [], "a third call waits for room, and what is behind it"
        second, service.waits = service.waits, None
        second.set_result(None)
        await turns()
        assert [event["id"] for event in alice.heard()] == [2, 4, 5]
        first.set_result(None)
        await turns()
        assert [event["id"] for event in alice.heard()] == [1]
        assert [method for _, method, *_ in service.heard] == ["a", "b", "c"]


async def test_calls_that_overlap_are_given_up_with_their_client() -> None:
    async with world() as w:
        service = with_service(w)
        w.node.calls = CallsAtOnce(3, asyncio.get_running_loop())
        alice = w.connect("alice")
        service.waits = asyncio.get_running_loop().create_future()
        for number in (1, 2):
            alice.say({"type": "call", "id": number, "method": "m"})
        alice.session.on_close(1001, "")
        await turns()
        assert service.waits.cancelled()
        assert not w.node.calls._under_way
