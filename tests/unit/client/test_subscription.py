"""A subscription as the application has it: iterated or with callbacks, bounded, ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.client.errors import RinggateError
from gateway.client.results import Ended, Message, Subscribed
from gateway.client.subscription import Callbacks, Subscription
from tests.support.client_engine import ClientWorld, message


def subscribe(w: ClientWorld, max_unread: int = 1000, **callbacks: Any) -> Subscription:
    def guard(callback: Callable[[Any], object], event: object) -> None:
        callback(event)

    given: Callbacks = callbacks  # type: ignore[assignment]
    return Subscription(
        w.engine.channels, "news", since=None, max_unread=max_unread, guard=guard, callbacks=given
    )


async def test_iterating_gives_messages_in_order_and_waits_for_more() -> None:
    w = ClientWorld()
    w.come_online()
    subscription = subscribe(w)
    w.grant()
    await subscription.ready()
    w.say(message(1), message(2))
    assert [(await anext(subscription)).data for _ in range(2)] == [1, 2]
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    w.say(message(3))
    assert (await waiting).data == 3


async def test_events_are_told_beside_messages() -> None:
    w = ClientWorld()
    w.come_online()
    subscription = subscribe(w)
    w.grant()
    w.say(message(1), {"type": "unsubscribed", "channel": "news", "code": "permission_revoked"})
    assert [type(event) async for event in subscription.events()] == [Subscribed, Message, Ended]


async def test_iterator_of_a_subscription_that_was_ended_raises_why() -> None:
    w = ClientWorld()
    w.come_online()
    subscription = subscribe(w)
    w.grant()
    w.say(message(1), {"type": "unsubscribed", "channel": "news", "code": "permission_revoked"})
    assert (await anext(subscription)).data == 1
    with pytest.raises(RinggateError, match="permission_revoked"):
        await anext(subscription)
    assert [item async for item in subscription] == []


async def test_refused_subscription_is_never_ready() -> None:
    w = ClientWorld()
    w.come_online()
    subscription = subscribe(w)
    (command,) = w.sent()
    w.say({"type": "error", "id": command["id"], "code": "permission_denied", "message": "", "retry": False})
    with pytest.raises(RinggateError, match="permission_denied"):
        await subscription.ready()


async def test_callbacks_are_called_and_nothing_is_kept() -> None:
    w = ClientWorld()
    w.come_online()
    heard: list[Any] = []
    subscription = subscribe(w, max_unread=3, on_message=heard.append, on_lost=heard.append)
    w.grant()
    w.say(*(message(number) for number in range(1, 20)))
    w.say({"type": "gap", "channel": "news", "from": 20, "to": 30, "reason": "slow"})
    assert [item.data for item in heard[:-1]] == list(range(1, 20))
    assert heard[-1].last == 30
    assert not subscription._unread
    assert w.sent() == []


async def test_closed_subscription_is_told_nothing_and_its_iterator_ends() -> None:
    w = ClientWorld()
    w.come_online()
    with subscribe(w) as subscription:
        w.grant()
        waiting = asyncio.ensure_future(anext(subscription))
        w.say(message(1))
        await waiting
        waiting = asyncio.ensure_future(anext(subscription))
        await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await waiting
    w.say(message(2))
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_iterator_that_is_behind_is_bounded_and_gets_everything() -> None:
    w = ClientWorld()
    w.come_online()
    subscription = subscribe(w, max_unread=4)
    w.grant()
    heard: list[int] = []
    top = unread = let_go = 0
    while len(heard) < 40:
        if w.engine.channels._channels["news"].state == "live" and top < 40:
            top += 1
            w.say(message(top))
        unread = max(unread, len(subscription._unread))
        for command in w.sent():
            reply = {"type": "reply", "id": command["id"], "epoch": "e1", "offset": top}
            if command["type"] == "subscribe":
                assert command["since"]["offset"] <= top
                w.say(reply | {"recovered": True})
                w.say(*(message(n) for n in range(command["since"]["offset"] + 1, top + 1)))
            else:
                let_go += 1
                top = min(top + 2, 40)  # published while nobody hears it
                w.say(reply)
        if subscription._is_parked or top >= 40:
            heard.append((await anext(subscription)).data)
    assert heard == list(range(1, 41))
    assert let_go > 3
    assert unread <= 4 + 3, "the bound, and what was on its way when it was reached"
