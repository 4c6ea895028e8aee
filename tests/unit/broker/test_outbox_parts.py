"""The parts of outboxes: occupancy as a model, the courier's order, and what the memory outbox keeps."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker.courier import Courier, Parcel
from gateway.broker.memory_outbox import MemoryOutbox
from gateway.broker.occupancy import Occupancy
from gateway.broker.outbox import (
    EVERY_ONE,
    DeadLetter,
    Did,
    NotDeliveredError,
    Notice,
    OutboxOptions,
    Told,
    Wanted,
)
from gateway.broker.redis.lanes import LANES, _pack, _unpack, lane_of
from gateway.errors import CommandError
from tests.support.waiting import until

QUICK = OutboxOptions(
    first_wait_s=0.005, most_wait_s=0.01, give_up_s=60.0, grace_s=0.05, most=20, most_dead=3
)


def notice(number: int, key: str = "news", kind: str = "subscribed") -> Notice:
    return Notice(f"n{number}", kind, key, number, b"{}")


# -- occupancy ------------------------------------------------------------------------------------

_STEP = st.one_of(
    st.tuples(st.sampled_from(["occupy", "vacate"]), st.sampled_from("ab"), st.sampled_from("xyz")),
    st.tuples(st.just("forget"), st.just(""), st.sampled_from("xyz")),
    st.floats(0.0, 3.0),
)


@given(st.lists(_STEP, max_size=60))
def test_occupied_and_vacated_take_turns_and_are_true(steps: list[tuple[str, str, str] | float]) -> None:
    occupancy, now, held = Occupancy(1.0), 0.0, set[tuple[str, str]]()
    said = dict.fromkeys("ab", "channel_vacated")
    empty_since = dict.fromkeys("ab", float("-inf"))
    for step in steps:
        if isinstance(step, float):
            now += step
        elif step[0] == "occupy":
            news = occupancy.occupy(step[1], step[2])
            assert news == (said[step[1]] == "channel_vacated")
            said[step[1]] = "channel_occupied"
            held.add((step[1], step[2]))
        else:
            before = {channel for channel, _ in held}
            if step[0] == "vacate":
                occupancy.vacate(step[1], step[2], now)
                held.discard((step[1], step[2]))
            else:
                occupancy.forget(step[2], now)
                held = {place for place in held if place[1] != step[2]}
            for channel in before - {channel for channel, _ in held}:
                empty_since[channel] = now
        for channel in occupancy.vacated(now):
            assert said[channel] == "channel_occupied"
            assert all(place[0] != channel for place in held)
            assert now - empty_since[channel] >= 1.0 - 1e-9
            said[channel] = "channel_vacated"
    assert len(occupancy) == sum(word == "channel_occupied" for word in said.values())


# -- the courier ----------------------------------------------------------------------------------


class Service:
    """Takes notices, but not those that it refuses, so often as it is told."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.tries: Counter[str] = Counter()
        self.refuses: dict[str, int] = {}
        self.at_once = self.most_at_once = 0
        self.keys_at_once: Counter[str] = Counter()

    async def deliver(self, notice: Notice) -> None:
        self.at_once += 1
        self.keys_at_once[notice.key] += 1
        assert self.keys_at_once[notice.key] == 1, "of a key only one is under way"
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            self.tries[notice.id] += 1
            if self.tries[notice.id] <= self.refuses.get(notice.id, 0):
                raise NotDeliveredError("status 500")
            self.taken.append(notice.id)
        finally:
            self.at_once -= 1
            self.keys_at_once[notice.key] -= 1


def courier_for(service: Service, dead: list[DeadLetter], options: OutboxOptions = QUICK) -> Courier:
    return Courier(
        service.deliver, options,
        loop=asyncio.get_running_loop(), random=Random(1), wall_ms=lambda: 7,  # noqa: S311
        on_taken=lambda parcel: None, on_given_up=lambda parcel, letter: dead.append(letter),
        counts=Counter(),
    )  # fmt: skip


async def test_notices_of_a_key_wait_for_the_one_that_fails_and_others_do_not() -> None:
    service = Service()
    service.refuses["n0"] = 3
    courier = courier_for(service, [])
    for number in range(3):
        courier.add(Parcel(notice(number)))
    courier.add(Parcel(notice(9, key="chat")))
    await until(lambda: not courier.waiting)
    assert service.taken == ["n9", "n0", "n1", "n2"]
    assert service.tries["n0"] == 4


async def test_notice_is_given_up_in_the_end_and_the_next_follows() -> None:
    service, dead = Service(), list[DeadLetter]()
    service.refuses["n0"] = 10**6
    courier = courier_for(service, dead, OutboxOptions(first_wait_s=0.01, most_wait_s=0.02, give_up_s=0.1))
    courier.add(Parcel(notice(0)))
    courier.add(Parcel(notice(1)))
    await until(lambda: not courier.waiting)
    assert service.taken == ["n1"]
    assert [(d.notice.id, d.time_ms, d.tries, d.problem) for d in dead] == [
        ("n0", 7, service.tries["n0"], "status 500")
    ]
    assert dead[0].tries > 3


async def test_only_so_many_are_under_way() -> None:
    service = Service()
    courier = courier_for(service, [], OutboxOptions(at_once=3))
    for number in range(30):
        courier.add(Parcel(notice(number, key=f"c{number}")))
    await until(lambda: not courier.waiting)
    assert (len(service.taken), service.most_at_once) == (30, 3)


# -- the memory outbox ----------------------------------------------------------------------------


class FakeMaker:
    """Makes n99 of everything, and of losses n98."""

    def about(self, kind: str, channel: str, since_ms: int = 0) -> Notice:
        return notice(99, key=channel, kind=kind)

    def lost(self, reason: str, count: int) -> Notice:
        return Notice("n98", "notices_lost", "/ringgate", 0, f"{reason} {count}".encode())


def outbox_for(service: Service, options: OutboxOptions = QUICK) -> MemoryOutbox:
    return MemoryOutbox(
        service.deliver, FakeMaker(), options,
        loop=asyncio.get_running_loop(), random=Random(1), wall_ms=lambda: 7,  # noqa: S311
    )  # fmt: skip


async def test_channel_is_occupied_by_the_first_owner_and_vacated_after_the_last() -> None:
    service = Service()
    outbox = outbox_for(service)
    outbox.tell_of("w1", Told(Did.OCCUPY, "news", notice(1).encode()))
    outbox.tell_of("w2", Told(Did.OCCUPY, "news", notice(2).encode()))
    outbox.tell_of("w1", Told(Did.VACATE, "news"))
    await asyncio.sleep(0.1)
    assert service.taken == ["n1"]
    outbox.forget("w2")
    await until(lambda: service.taken == ["n1", "n99"])
    await outbox.stop()


async def test_clients_of_an_owner_that_is_gone_are_told_to_be() -> None:
    service = Service()
    outbox = outbox_for(service)
    for number in (1, 2):
        outbox.tell_of("w1", Told(Did.ENTER, f"c{number}", notice(number, key=f"c{number}").encode()))
    outbox.tell_of("w1", Told(Did.EXIT, "c1", notice(1, key="c1").encode()))
    outbox.forget("w1")
    await until(lambda: sorted(service.taken) == ["n1", "n2"])
    await outbox.stop()


async def test_what_there_is_no_room_for_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    service.refuses = {"n0": 10**6, "n98": 10**6}
    outbox = outbox_for(service)
    with caplog.at_level(logging.ERROR):
        for number in range(25):
            outbox.tell(Told(Did.NOTICE, "news", notice(number).encode()))
        assert (outbox.stats()["dropped"], outbox.stats()["waiting"]) == (5, 21)
        assert [record.message for record in caplog.records] == ["notices are dropped: too many wait"]
        caplog.clear()
        await outbox.stop()
    assert outbox.stats()["dropped"] == 26  # with the notice of the loss itself
    assert "lost with the process" in caplog.text


async def test_dead_letters_are_bounded_listed_replayed_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    service = Service()
    service.refuses = {f"n{number}": 1 for number in range(5)}
    outbox = outbox_for(service, OutboxOptions(give_up_s=0.0, most_dead=3))
    for number in range(5):
        outbox.tell(Told(Did.NOTICE, f"key{number % 2}", notice(number, f"key{number % 2}").encode()))
    await until(lambda: outbox.stats()["given_up"] == 5 and service.taken == ["n98"])
    everyone = await outbox.dead_letters(EVERY_ONE, limit=10)
    kept = [d.notice.id for d in everyone.letters]
    assert (len(kept), everyone.next, outbox.stats()["dropped"]) == (3, "", 2)
    page = await outbox.dead_letters(EVERY_ONE, limit=2)
    assert [d.notice.id for d in page.letters] == kept[:2]
    page = await outbox.dead_letters(EVERY_ONE, limit=2, after=page.next)
    assert ([d.notice.id for d in page.letters], page.next) == (kept[2:], "")
    with pytest.raises(CommandError, match="what a page said"):
        await outbox.dead_letters(EVERY_ONE, limit=2, after="nonsense")
    service.taken.clear()
    assert await outbox.replay(Wanted(ids=frozenset({kept[1], "nothing"}))) == 1
    await until(lambda: service.taken == [kept[1]])
    keys = {d.notice.id: d.notice.key for d in everyone.letters}
    assert await outbox.drop(Wanted(key=keys[kept[0]], kind="subscribed")) >= 1
    assert await outbox.replay(EVERY_ONE) <= 1
    assert (await outbox.dead_letters(EVERY_ONE, limit=10)).letters == []
    await outbox.stop()


async def test_begins_by_telling_that_what_an_earlier_process_had_is_lost() -> None:
    service = Service()
    outbox = outbox_for(service)
    await outbox.start()
    outbox.tell(Told(Did.NOTICE, "news", notice(1).encode()))
    await until(lambda: sorted(service.taken) == ["n1", "n98"])
    await outbox.stop()


async def test_losses_are_told_to_the_service_as_soon_as_it_listens() -> None:
    service = Service()
    service.refuses["n0"] = 3
    outbox = outbox_for(service)
    for number in range(25):
        outbox.tell(Told(Did.NOTICE, "news", notice(number).encode()))
    await until(lambda: len(service.taken) == 21)
    assert "n98" in service.taken
    await outbox.stop()


async def test_nothing_begins_while_deliveries_are_held_or_after_the_time_until_which_they_may() -> None:
    service, loop = Service(), asyncio.get_running_loop()
    courier = courier_for(service, [])
    courier.hold()
    courier.add(Parcel(notice(0)))
    await asyncio.sleep(0.05)
    assert not service.tries
    courier.allow(loop.time() - 1.0)
    await asyncio.sleep(0.05)
    assert not service.tries
    courier.allow(loop.time() + 60.0)
    await until(lambda: service.taken == ["n0"])
    await courier.stop()


# -- lanes ----------------------------------------------------------------------------------------


def test_keys_are_spread_over_all_lanes_and_stay_in_theirs() -> None:
    lanes = [lane_of(f"room:{number}") for number in range(1000)]
    assert set(lanes) == set(range(LANES))
    assert lanes == [lane_of(f"room:{number}") for number in range(1000)]


def test_dead_letter_survives_being_packed() -> None:
    dead = DeadLetter(Notice("n1", "disconnect", "ü", 5, b"\x00" * 300), 6, 7, "status 500 ü")
    assert _unpack(_pack(dead)) == dead
