"""Every broker: who is present, and who hears of it."""

from __future__ import annotations

import asyncio

from gateway.broker.interface import ChannelOptions, PresenceChange
from gateway.message.publication import Member
from tests.unit.broker.harness import KEPT, Harness

ALICE = Member(client="c1", user="alice", info=b'{"name":"Alice"}')
BOB = Member(client="c2", user="bob")
BY_USER = ChannelOptions(history_size=10, presence=True, presence_by_user=True)
NO_PRESENCE = ChannelOptions(history_size=10, presence=False)


async def test_join_enters_members_in_order(harness: Harness) -> None:
    for n in (3, 1, 2):
        await harness.broker.join("c", Member(client=f"c{n}"), KEPT)
    present = await harness.broker.presence("c", KEPT)
    assert [member.client for member in present] == ["c3", "c1", "c2"]
    assert await harness.broker.presence("other", KEPT) == []


async def test_join_keeps_user_and_info(harness: Harness) -> None:
    await harness.broker.join("c", ALICE, KEPT)
    assert await harness.broker.presence("c", KEPT) == [ALICE]


async def test_join_and_leave_are_heard_once_where_there_is_interest(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    await harness.broker.join("c", ALICE, KEPT)
    await harness.broker.join("c", ALICE, KEPT)
    await harness.broker.leave("c", "c1", KEPT)
    await harness.broker.leave("c", "c1", KEPT)
    await harness.settle()
    assert harness.relay.changes == [
        ("c", PresenceChange(joined=True, member=ALICE)),
        ("c", PresenceChange(joined=False, member=ALICE)),
    ]


async def test_join_and_leave_are_not_heard_without_interest(harness: Harness) -> None:
    await harness.broker.subscribe("other", KEPT)
    await harness.broker.join("c", ALICE, KEPT)
    await harness.broker.leave("c", "c1", KEPT)
    await harness.settle()
    assert harness.relay.changes == []


async def test_join_again_replaces_info_in_place_silently(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    await harness.broker.join("c", ALICE, KEPT)
    await harness.broker.join("c", BOB, KEPT)
    renamed = Member(client="c1", user="alice", info=b'"new"')
    await harness.broker.join("c", renamed, KEPT)
    await harness.settle()
    assert await harness.broker.presence("c", KEPT) == [renamed, BOB]
    assert len(harness.relay.changes) == 2


async def test_join_of_one_client_many_times_at_once_is_heard_once(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    await asyncio.gather(*(harness.broker.join("c", ALICE, KEPT) for _ in range(20)))
    await harness.settle()
    assert len(harness.relay.changes) == 1
    await asyncio.gather(*(harness.broker.leave("c", "c1", KEPT) for _ in range(20)))
    await harness.settle()
    assert len(harness.relay.changes) == 2


async def test_leave_removes_only_that_member(harness: Harness) -> None:
    await harness.broker.join("c", ALICE, KEPT)
    await harness.broker.join("c", BOB, KEPT)
    await harness.broker.leave("c", "c1", KEPT)
    await harness.broker.leave("c", "nobody", KEPT)
    await harness.broker.leave("unheard of", "c2", KEPT)
    assert await harness.broker.presence("c", KEPT) == [BOB]


async def test_join_after_leave_goes_to_the_end_and_is_heard(harness: Harness) -> None:
    await harness.broker.join("c", ALICE, KEPT)
    await harness.broker.join("c", BOB, KEPT)
    await harness.broker.subscribe("c", KEPT)
    await harness.broker.leave("c", "c1", KEPT)
    await harness.broker.join("c", ALICE, KEPT)
    await harness.settle()
    assert await harness.broker.presence("c", KEPT) == [BOB, ALICE]
    assert [change.joined for _, change in harness.relay.changes] == [False, True]


async def test_presence_off_keeps_nobody_and_says_nothing(harness: Harness) -> None:
    await harness.broker.subscribe("c", NO_PRESENCE)
    await harness.broker.join("c", ALICE, NO_PRESENCE)
    await harness.broker.leave("c", "c1", NO_PRESENCE)
    await harness.settle()
    assert await harness.broker.presence("c", NO_PRESENCE) == []
    assert await harness.broker.presence("c", KEPT) == []
    assert harness.relay.changes == []


async def test_presence_asked_for_where_it_was_switched_off_shows_nobody(harness: Harness) -> None:
    await harness.broker.join("c", ALICE, KEPT)
    assert await harness.broker.presence("c", NO_PRESENCE) == []


async def test_leave_after_presence_was_switched_off_still_removes(harness: Harness) -> None:
    await harness.broker.join("c", ALICE, KEPT)
    await harness.broker.leave("c", "c1", NO_PRESENCE)
    assert await harness.broker.presence("c", KEPT) == []


async def test_presence_list_belongs_to_the_caller(harness: Harness) -> None:
    await harness.broker.join("c", ALICE, KEPT)
    (await harness.broker.presence("c", KEPT)).clear()
    assert await harness.broker.presence("c", KEPT) == [ALICE]


async def test_relay_that_raises_leaves_presence_right(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    harness.relay.fault = RuntimeError("planted")
    await harness.broker.join("c", ALICE, KEPT)
    await harness.broker.join("c", BOB, KEPT)
    await harness.broker.leave("c", "c1", KEPT)
    await harness.settle()
    assert await harness.broker.presence("c", KEPT) == [BOB]
    assert harness.stats()["members"] == 1


async def test_stats_count_members_of_all_channels(harness: Harness) -> None:
    for channel in ("a", "b"):
        await harness.broker.join(channel, ALICE, KEPT)
        await harness.broker.join(channel, BOB, KEPT)
    await harness.broker.leave("a", "c1", KEPT)
    assert harness.stats()["members"] == 3


async def test_by_user_the_first_client_is_heard_to_join_and_the_last_to_leave(harness: Harness) -> None:
    await harness.broker.subscribe("c", BY_USER)
    for client in ("a1", "a2", "a3"):
        await harness.broker.join("c", Member(client=client, user="alice"), BY_USER)
    await harness.broker.join("c", BOB, BY_USER)
    await harness.broker.join("c", Member(client="a2", user="alice", info=b"1"), BY_USER)
    for client in ("a1", "c2", "a3", "a3", "a2"):
        await harness.broker.leave("c", client, BY_USER)
    await harness.settle()
    assert [(change.joined, change.member.client) for _, change in harness.relay.changes] == [
        (True, "a1"),
        (True, "c2"),
        (False, "c2"),
        (False, "a2"),
    ]
    assert harness.stats()["members"] == 0


async def test_by_user_who_comes_back_is_heard_again(harness: Harness) -> None:
    await harness.broker.subscribe("c", BY_USER)
    for _ in range(2):
        for client in ("a1", "a2"):
            await harness.broker.join("c", Member(client=client, user="alice"), BY_USER)
        for client in ("a1", "a2"):
            await harness.broker.leave("c", client, BY_USER)
    await harness.settle()
    assert [change.joined for _, change in harness.relay.changes] == [True, False, True, False]


async def test_by_user_clients_of_nobody_in_particular_count_for_themselves(harness: Harness) -> None:
    await harness.broker.subscribe("c", BY_USER)
    for client in ("x1", "x2"):
        await harness.broker.join("c", Member(client=client), BY_USER)
        await harness.broker.leave("c", client, BY_USER)
    await harness.settle()
    assert [change.member.client for _, change in harness.relay.changes] == ["x1", "x1", "x2", "x2"]


async def test_by_user_whoever_joined_by_client_leaves_by_client(harness: Harness) -> None:
    await harness.broker.subscribe("c", KEPT)
    for client in ("a1", "a2"):
        await harness.broker.join("c", Member(client=client, user="alice"), KEPT)
    await harness.broker.join("c", Member(client="a3", user="alice"), BY_USER)
    for client in ("a1", "a2", "a3"):
        await harness.broker.leave("c", client, BY_USER)
    await harness.settle()
    assert [change.joined for _, change in harness.relay.changes] == [True] * 3 + [False] * 3
    assert [member.client for member in await harness.broker.presence("c", BY_USER)] == []


async def test_by_user_many_at_once_are_heard_once(harness: Harness) -> None:
    await harness.broker.subscribe("c", BY_USER)
    members = [Member(client=f"a{n}", user="alice") for n in range(20)]
    await asyncio.gather(*(harness.broker.join("c", member, BY_USER) for member in members))
    assert len(await harness.broker.presence("c", BY_USER)) == 20
    await asyncio.gather(*(harness.broker.leave("c", member.client, BY_USER) for member in members))
    await harness.settle()
    assert [change.joined for _, change in harness.relay.changes] == [True, False]
