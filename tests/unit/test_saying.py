"""The command `send`: what the service hears, and what is done upon what it answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.asking import Announced, Caller, MessageVerdict, Refusal, Said
from gateway.errors import CommandError
from tests.support.sessions import World, world


class Service:
    """Takes messages, and answers as it is told; anything else is not asked here."""

    forwards: frozenset[str] = frozenset()

    def __init__(self, w: World) -> None:
        self.heard: list[tuple[Caller, bytes, bool]] = []
        self.answer: MessageVerdict | Refusal | Exception = MessageVerdict()
        self.waits: asyncio.Future[None] | None = None
        w.node.app_service = self  # type: ignore[assignment]

    async def message(self, caller: Caller, data: bytes, *, binary: bool) -> MessageVerdict | Refusal:
        self.heard.append((caller, data, binary))
        if self.waits is not None:
            await self.waits
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def without(event: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in fields}


async def test_service_hears_who_said_what_byte_for_byte() -> None:
    async with world() as w:
        service = Service(w)
        alice = w.connect("alice")
        alice.heard()
        alice.say({"type": "send", "id": 1, "data": {"n": 1}})
        alice.say({"type": "send", "id": 2, "data64": "AP8="})
        assert alice.heard() == [{"type": "reply", "id": 1}, {"type": "reply", "id": 2}]
        assert [said[1:] for said in service.heard] == [(b'{"n":1}', False), (b"\0\xff", True)]
        assert service.heard[0][0].client == alice.session.client


async def test_what_the_service_wants_is_done_in_order_and_then_answered() -> None:
    async with world() as w:
        service = Service(w)
        alice, bob = w.connect("alice"), w.connect("bob")
        bob.say({"type": "subscribe", "id": 1, "channel": "room"})
        alice.say({"type": "subscribe", "id": 1, "channel": "old"})
        assert alice.heard()
        assert bob.heard()
        service.answer = MessageVerdict(
            publish=(
                Announced(channel="room", said=Said(b"1")),
                Announced(channel="room", said=Said(b"2"), exclude=bob.session.client),
                Announced(channel="@bob", said=Said(b"\0", binary=True)),
            ),
            subscribe=("room",),
            unsubscribe=("old", "never"),
            messages=(Said(b'"psst"'), Said(b"\0", binary=True)),
            answer=Said(b'{"ok": true}'),
        )
        alice.say([{"type": "send", "id": 2, "data": 0}, {"type": "ping", "id": 3}])
        told = [event for event in alice.heard() if event["type"] not in {"join", "leave"}]
        kinds = [(event["type"], event.get("channel")) for event in told]
        own = f"@#{alice.session.client}"
        assert kinds == [
            ("subscribed", "room"), ("unsubscribed", "old"), ("message", own), ("message", own),
            ("reply", None), ("reply", None),
        ]  # fmt: skip
        assert [told[2]["data"], told[3]["data64"]] == ["psst", "AA=="]
        assert told[4] == {"type": "reply", "id": 2, "payload": {"ok": True}}
        await settle()  # the ring is flushed
        heard = [event for event in bob.heard() if event["type"] == "message"]
        assert [(e["channel"], e.get("data", e.get("data64"))) for e in heard] == [
            ("room", 1),
            ("@bob", "AA=="),
        ]
        assert "from" not in heard[0], "it is the service that says it"


async def test_service_can_end_the_connection_with_the_answer_as_the_last_word() -> None:
    async with world() as w:
        service = Service(w)
        service.answer = MessageVerdict(answer=Said(b'"bye"'), close_code=4700, reason="enough")
        alice = w.connect("alice")
        alice.heard()
        alice.say([{"type": "send", "id": 2, "data": 0}, {"type": "ping", "id": 3}])
        assert alice.heard() == [{"type": "reply", "id": 2, "payload": "bye"}]
        assert alice.connection.closes == [4700]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Refusal(code="rate_limited", message="slowly"), "rate_limited"),
        (CommandError("timeout", "late"), "timeout"),
        (CommandError("unavailable", "gone"), "unavailable"),
        (MessageVerdict(publish=(Announced(channel="a", said=Said(b"1" * 100_000)),)), "internal"),
    ],
)
async def test_what_goes_wrong_is_told_and_nothing_more_is_done(answer: Any, code: str) -> None:
    async with world() as w:
        Service(w).answer = answer
        alice = w.connect("alice")
        alice.heard()
        alice.say({"type": "send", "id": 1, "data": 1})
        (told,) = alice.heard()
        assert (told["type"], told["id"], told["code"]) == ("error", 1, code)


@pytest.mark.parametrize("payload", [{}, {"data": 1, "data64": "AA=="}])
async def test_payload_is_exactly_one(payload: dict[str, Any]) -> None:
    async with world() as w:
        service = Service(w)
        alice = w.connect("alice")
        alice.heard()
        alice.say({"type": "send", "id": 1, **payload})
        (told,) = alice.heard()
        assert told["code"] == "bad_request"
        assert not service.heard


async def test_without_a_service_it_is_refused() -> None:
    async with world() as w:
        alice = w.connect("alice")
        alice.heard()
        alice.say({"type": "send", "id": 1, "data": 1})
        (told,) = alice.heard()
        assert told["code"] == "permission_denied"


async def test_messages_of_a_connection_are_carried_one_after_the_other() -> None:
    async with world() as w:
        service = Service(w)
        service.waits = asyncio.get_running_loop().create_future()
        alice = w.connect("alice")
        alice.heard()
        alice.say([{"type": "send", "id": n, "data": n} for n in (1, 2, 3)])
        await settle()
        assert [data for _, data, _ in service.heard] == [b"1"]
        service.waits.set_result(None)
        await settle()
        assert [data for _, data, _ in service.heard] == [b"1", b"2", b"3"]
        assert [told["id"] for told in alice.heard()] == [1, 2, 3]


async def test_message_of_a_client_that_goes_is_given_up_and_nothing_is_done_upon_it() -> None:
    async with world() as w:
        service = Service(w)
        service.waits = asyncio.get_running_loop().create_future()
        service.answer = MessageVerdict(publish=(Announced(channel="@bob", said=Said(b"1")),))
        alice, bob = w.connect("alice"), w.connect("bob")
        bob.heard()
        alice.say({"type": "send", "id": 1, "data": 1})
        alice.session.on_close(1001, "")
        await settle()
        assert service.waits.cancelled()
        assert bob.heard() == []
