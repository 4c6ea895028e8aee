"""Every broker, each operation cancelled at every point at which it waits, under load: nobody else notices.

The canaries are operations whose answers are known: were a reply taken by somebody whose command was another,
one of them would hear what is not its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.broker.interface import Broker, Control, ControlKind
from gateway.message.publication import Member, Position
from tests.support.cancelling import every_wait
from tests.unit.broker.harness import KEPT, STATE, Harness, message, patch

CANARIES = 6
ROUNDS = 8

OPERATIONS: dict[str, Callable[[Broker], Awaitable[Any]]] = {
    "publish": lambda b: b.publish("c:it", message("it"), KEPT),
    "publish with a key": lambda b: b.publish("c:keyed", message("it"), KEPT, key="k"),
    "update": lambda b: b.update("s:it", patch('{"n":1}'), STATE, base=Position("", 0)),
    "state": lambda b: b.state("s:read", STATE),
    "history": lambda b: b.history_before("c:it", KEPT, before=0, limit=10),
    "subscribe": lambda b: b.subscribe("c:heard", KEPT),
    "unsubscribe": lambda b: b.unsubscribe("c:heard"),
    "join": lambda b: b.join("c:room", Member(client="c9", user="eve"), KEPT),
    "leave": lambda b: b.leave("c:room", "c9", KEPT),
    "presence": lambda b: b.presence("c:room", KEPT),
    "control": lambda b: b.control(
        Control(kind=ControlKind.DISCONNECT, user="x", close_code=4004, reason="")
    ),
    "save": lambda b: b.save_session("s9", b"nine", 60.0),
    "take": lambda b: b.take_session("s9"),
    "probe": lambda b: b.probe(),
}


class Canary:
    """Somebody else, who knows what each answer has to be."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self._name = name
        self._published = 0

    async def sing(self) -> None:
        broker, name = self._broker, self._name
        self._published += 1
        told = await broker.publish(f"canary:{name}", message(f"{name}{self._published}"), KEPT)
        assert told.offset == self._published
        await broker.save_session(f"session-{name}", name.encode(), 60.0)
        assert await broker.take_session(f"session-{name}") == name.encode()
        page = await broker.history_before(f"canary:{name}", KEPT, before=0, limit=1)
        assert page.publications[-1].id == f"{name}{self._published}"
        await broker.join(f"canary:{name}", Member(client=name), KEPT)
        assert [member.client for member in await broker.presence(f"canary:{name}", KEPT)] == [name]
        await broker.leave(f"canary:{name}", name, KEPT)


def is_already_known(problem: BaseException) -> bool:
    """Tell whether an operation could not be repeated since it happened in spite of being cancelled."""
    return getattr(problem, "code", "") == "stale_version"


@pytest.mark.parametrize("name", OPERATIONS)
async def test_operation_cancelled_wherever_it_waits_puts_nothing_out_of_step(
    harness: Harness, name: str
) -> None:
    broker, operation = harness.broker, OPERATIONS[name]
    canaries = [Canary(broker, f"n{number}") for number in range(CANARIES)]
    if name == "unsubscribe":
        await broker.subscribe("c:heard", KEPT)
    await asyncio.gather(*(canary.sing() for canary in canaries))
    before = len(asyncio.all_tasks())
    for _ in range(ROUNDS):
        singing = asyncio.gather(*(canary.sing() for canary in canaries))
        try:
            async for _ in every_wait(lambda: operation(broker)):
                await asyncio.sleep(0)
        except Exception as problem:
            if not is_already_known(problem):
                raise
        await singing
    for _ in range(100):
        if len(asyncio.all_tasks()) <= before:
            break
        await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) <= before, "somebody still waits"


async def test_what_was_cancelled_happened_whole_or_not_at_all(harness: Harness) -> None:
    broker = harness.broker
    tries = 0

    def publish() -> Awaitable[Any]:
        return broker.publish("c:whole", message(f"m{tries}"), KEPT, key=f"k{tries}")

    async for _ in every_wait(publish):
        tries += 1
    again = [await broker.publish("c:whole", message(f"m{n}"), KEPT, key=f"k{n}") for n in range(tries)]
    page = await broker.history_before("c:whole", KEPT, before=0, limit=100)
    counted = Counter(publication.id for publication in page.publications)
    assert counted == Counter({f"m{n}": 1 for n in range(tries)}), "each once, whether cancelled or not"
    assert sorted(told.offset for told in again) == list(range(1, tries + 1))


async def test_subscriptions_that_were_cancelled_can_be_made_and_ended(harness: Harness) -> None:
    broker = harness.broker
    async for _ in every_wait(lambda: broker.subscribe("c:heard", KEPT)):
        await broker.unsubscribe("c:heard")
    await broker.subscribe("c:heard", KEPT)
    await broker.publish("c:heard", message("once"), KEPT)
    await harness.settle()
    assert harness.relay.ids("c:heard") == ["once"]
    await broker.unsubscribe("c:heard")
    await broker.publish("c:heard", message("not heard"), KEPT)
    await harness.settle()
    assert harness.relay.ids("c:heard") == ["once"]
