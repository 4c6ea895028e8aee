"""The live list of members: asked at every subscription, kept up to date by what joins and leaves."""

from __future__ import annotations

import asyncio

import pytest

from gateway.client.errors import RinggateError
from gateway.client.incoming import Reply
from gateway.client.outbox import Terms
from gateway.client.presence import Ask, Presence
from gateway.client.results import Member
from gateway.message.commands import Presence as PresenceCommand
from tests.support.client_engine import ClientWorld, Event

ANN, BOB, CY = Member("a", "ann"), Member("b", "bob"), Member("c", "cy")


def asking(w: ClientWorld) -> Ask:
    def ask(channel: str, tell: object) -> None:
        def answer(result: Reply | RinggateError) -> None:
            assert callable(tell)
            if isinstance(result, RinggateError):
                tell(result)
            else:
                tell([w.engine.channels.member(view) for view in result.members or ()])

        w.engine.ask(PresenceCommand(channel=channel), "", Terms(10.0, repeat=True), answer)

    return ask


async def following(w: ClientWorld) -> tuple[Presence, list[list[Member]]]:
    """Return a presence whose channel is subscribed, and what it told."""
    told: list[list[Member]] = []
    presence = Presence(w.engine.channels, "chat", ask=asking(w), tell=told.append)
    w.come_online()
    w.grant()
    return presence, told


def there(w: ClientWorld, *members: Member) -> None:
    """Answer the question that was sent."""
    (command,) = w.sent()
    assert command["type"] == "presence"
    w.say({"type": "reply", "id": command["id"], "members": [_view(member) for member in members]})


def _view(member: Member) -> Event:
    return {"client": member.client, "user": member.user}


def moves(kind: str, member: Member) -> Event:
    return {"type": kind, "channel": "chat", **_view(member)}


async def test_list_follows_who_comes_and_goes_and_is_told_once_for_each_change() -> None:
    w = ClientWorld()
    presence, told = await following(w)
    there(w, ANN)
    await presence.ready()
    w.say(moves("join", BOB), moves("join", BOB), moves("leave", ANN), moves("leave", CY))
    assert told == [[ANN], [ANN, BOB], [BOB]]
    assert presence.members == [BOB]


async def test_what_happens_while_the_answer_is_on_its_way_is_laid_over_it() -> None:
    w = ClientWorld()
    presence, told = await following(w)
    w.say(moves("join", BOB), moves("leave", ANN))
    there(w, ANN, CY)
    assert (sorted(presence.members), told) == ([BOB, CY], [[CY, BOB]])


async def test_user_who_leaves_by_another_client_than_is_listed_is_asked_about() -> None:
    w = ClientWorld()
    presence, told = await following(w)
    other_ann = Member("a2", "ann")
    w.say(moves("leave", other_ann))
    there(w, ANN, BOB)
    assert presence.members == [ANN, BOB]
    there(w, ANN, BOB)  # one of her clients is still there
    w.say(moves("leave", other_ann))
    there(w, BOB)  # now she is gone
    assert (presence.members, told) == ([BOB], [[ANN, BOB], [BOB]])
    w.say(moves("leave", Member("x", "nobody")), moves("leave", Member("y")))
    assert w.sent() == []


async def test_list_is_asked_anew_after_a_break_and_stays_meanwhile() -> None:
    w = ClientWorld()
    presence, told = await following(w)
    there(w, ANN, BOB)
    w.come_back()
    assert presence.members == [ANN, BOB]
    w.grant(recovered=True)
    there(w, BOB, CY)
    assert (presence.members, len(told)) == ([BOB, CY], 2)
    w.come_back()
    w.grant(recovered=True)
    there(w, BOB, CY)
    assert len(told) == 2, "nothing changed"


async def test_answer_to_an_earlier_question_is_not_taken() -> None:
    w = ClientWorld()
    presence, _ = await following(w)
    (old,) = w.sent()
    w.come_back()
    subscribe, _ = w.sent()
    w.say({"type": "reply", "id": subscribe["id"], "epoch": "e1", "offset": 0, "recovered": True})
    (new,) = w.sent()
    w.say({"type": "reply", "id": new["id"], "members": [_view(CY)]})
    w.say({"type": "reply", "id": old["id"], "members": [_view(ANN)]})
    assert presence.members == [CY]


async def test_channel_without_presence_says_so() -> None:
    w = ClientWorld()
    presence, _ = await following(w)
    (command,) = w.sent()
    w.say({"type": "error", "id": command["id"], "code": "bad_request", "message": "none", "retry": False})
    with pytest.raises(RinggateError, match="bad_request"):
        await presence.ready()
    with pytest.raises(RinggateError, match="bad_request"):
        await anext(presence)


async def test_iterating_gives_the_newest_list_and_ends_when_it_is_closed() -> None:
    w = ClientWorld()
    presence, _ = await following(w)
    there(w, ANN)
    w.say(moves("join", BOB))
    seen = []

    async def follow() -> None:
        seen.extend([members async for members in presence])

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    w.say(moves("leave", ANN))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    presence.close()
    presence.close()
    await task
    assert seen == [[ANN, BOB], [BOB]]
    assert [command["type"] for command in w.sent()] == ["unsubscribe"]
