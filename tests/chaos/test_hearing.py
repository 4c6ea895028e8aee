"""Rules 9 and 10 find nothing in correct runs of an app service, and every planted bug."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.chaos.hearing import rule_9, rule_10
from tests.chaos.ledger import Ledger
from tests.chaos.records import (
    Answered,
    AnyRecord,
    Called,
    Connected,
    Died,
    Fault,
    Healed,
    Left,
    Logs,
    Lost,
    Noticed,
    Sample,
    Setting,
    Subscribed,
    Unsubscribed,
)
from tests.chaos.violations import Violation, report

ROOMS = ("plain:a", "plain:b")


class Town:
    """Clients that come and go, and a gateway that tells a service of all of it, as it should."""

    def __init__(self, seed: int, *, notices: str = "redis") -> None:
        self.dice = random.Random(seed)  # noqa: S311
        self.logs = Logs(
            run=[Setting(at=0.0, row="model", seed=seed, notices=notices, stays=True, opens=True)]
        )
        self.at = 0.0
        self.told = 0
        self.here: dict[str, set[str]] = {room: set() for room in ROOMS}
        self.occupied: set[str] = set()
        self.clients: dict[str, tuple[str, set[str]]] = {}
        self.connections = 0

    def now(self) -> float:
        self.at += 0.5
        return self.at

    def notice(self, kind: str, key: str, **fields: Any) -> None:
        self.told += 1
        record = Noticed(
            at=self.at, id=f"n{self.told}", kind=kind, key=key, happened=self.at, body=key, **fields
        )
        self.logs.run += [record] * self.dice.choice([1, 1, 1, 2])

    def log(self, who: str) -> list[AnyRecord]:
        return self.logs.clients.setdefault(who, [])

    def connect(self, who: str) -> None:
        self.connections += 1
        self.clients[who] = (f"{who}#{self.connections}", set())
        self.log(who).append(Connected(at=self.now(), client=self.clients[who][0]))

    def subscribe(self, who: str) -> None:
        client, rooms = self.clients[who]
        room = self.dice.choice(ROOMS)
        if room in rooms:
            rooms.discard(room)
            self.log(who).append(Unsubscribed(at=self.now(), channel=room))
            self.notice("unsubscribed", room, client=client, channel=room)
            self.leave_room(client, room)
            return
        if room not in self.occupied:
            self.occupied.add(room)
            self.notice("channel_occupied", room, channel=room)
        rooms.add(room)
        self.here[room].add(client)
        self.notice("subscribed", room, client=client, channel=room)
        self.log(who).append(Subscribed(at=self.now(), channel=room, epoch="e", offset=0))

    def leave_room(self, client: str, room: str) -> None:
        self.here[room].discard(client)
        if not self.here[room]:
            self.now()
            self.occupied.discard(room)
            self.notice("channel_vacated", room, channel=room)

    def leave(self, who: str) -> None:
        client, rooms = self.clients.pop(who)
        self.log(who).append(Left(at=self.now()))
        self.notice("disconnect", client, client=client)
        for room in rooms:
            self.leave_room(client, room)

    def finish(self) -> Logs:
        self.logs.run.append(Fault(at=self.now(), name="the service hangs"))
        self.logs.run.append(Healed(at=self.now()))
        caller = self.log("caller0")
        caller += [Connected(at=1.0, client="caller"), Called(at=2.0, number=1)]
        caller += [Answered(at=2.5, number=1, code="unavailable"), Called(at=self.now(), number=2)]
        caller += [Answered(at=self.now(), number=2), Left(at=self.now())]
        self.notice("disconnect", "caller", client="caller")
        values = {
            'ringgate_upstream_breaker_opened_total{upstream="app"}': 1.0,
            'ringgate_upstream_target_up{upstream="app"}': 1.0,
        }
        for phase in ("start", "end"):
            self.logs.run.append(Sample(at=self.now(), gateway="g0", phase=phase, values=dict(values)))
        for who in list(self.clients):
            self.leave(who)
        return self.logs


def correct(seed: int) -> Logs:
    town = Town(seed)
    for number in range(3):
        town.connect(f"c{number}")
    for _ in range(40):
        town.subscribe(town.dice.choice(list(town.clients)))
    return town.finish()


def found(logs: Logs) -> list[Violation]:
    ledger = Ledger()
    return [*rule_9(logs, ledger), *rule_10(logs, ledger)]


def places(logs: Logs, *kinds: str) -> list[int]:
    """Where notices of these kinds were told for the first time, and only once."""
    ids = [r.id for r in logs.run if isinstance(r, Noticed)]
    return [
        index
        for index, r in enumerate(logs.run)
        if isinstance(r, Noticed) and r.kind in kinds and ids.count(r.id) == 1
    ]


def changed(record: Any, **fields: object) -> Any:
    return msgspec.structs.replace(record, **fields)


Plant = Callable[[Logs, random.Random], None]


def lose(*kinds: str) -> Plant:
    def plant(logs: Logs, dice: random.Random) -> None:
        del logs.run[dice.choice(places(logs, *kinds))]

    return plant


def not_taken(logs: Logs, dice: random.Random) -> None:
    at = dice.choice(places(logs, "subscribed", "disconnect"))
    logs.run[at] = changed(logs.run[at], taken=False)


def another_id(logs: Logs, dice: random.Random) -> None:
    at = dice.choice(places(logs, "disconnect", "subscribed", "channel_occupied", "channel_vacated"))
    logs.run.insert(at + 1, changed(logs.run[at], id="n-other"))


def another_text(logs: Logs, dice: random.Random) -> None:
    at = dice.choice(places(logs, "subscribed"))
    logs.run.insert(at + 1, changed(logs.run[at], body="other"))


def swapped(logs: Logs, dice: random.Random) -> None:
    first = dice.choice(places(logs, "channel_occupied"))
    room = getattr(logs.run[first], "channel", "")
    later = (i for i in range(first + 1, len(logs.run)) if getattr(logs.run[i], "channel", "") == room)
    second = next(i for i in later if getattr(logs.run[i], "id", "") != getattr(logs.run[first], "id", ""))
    logs.run[first], logs.run[second] = logs.run[second], logs.run[first]


def vacated_too_early(logs: Logs, dice: random.Random) -> None:
    stays = [r for log in logs.clients.values() for r in log if isinstance(r, Subscribed)]
    stay = next(r for r in stays if not _left_soon(logs, r))
    template = next(r for r in logs.run if isinstance(r, Noticed) and r.kind == "channel_vacated")
    at = stay.at + 1.5
    told = [r for r in logs.run if isinstance(r, Noticed) and r.at <= at]
    early = changed(template, id="n-early", channel=stay.channel, key=stay.channel, at=at, happened=at)
    again = changed(early, id="n-again", kind="channel_occupied")
    place = logs.run.index(told[-1]) + 1
    logs.run[place:place] = [early, again]


def _left_soon(logs: Logs, stay: Subscribed) -> bool:
    log = next(log for log in logs.clients.values() if any(r is stay for r in log))
    ends = [r.at for r in log if r.at > stay.at and isinstance(r, (Unsubscribed, Left))]
    return min(ends) < stay.at + 4.0


def cut_off(logs: Logs, dice: random.Random) -> None:
    healed = next(r.at for r in logs.run if isinstance(r, Healed))
    logs.clients["c9"] = [Connected(at=0.1, client="c9#1"), Lost(at=healed - 0.1, code=1006)]
    logs.run.append(Noticed(at=9.0, id="n-c9", kind="disconnect", key="c9#1", client="c9#1", happened=9.0))


def never_answered_again(logs: Logs, dice: random.Random) -> None:
    log = logs.clients["caller0"]
    log[-2] = changed(log[-2], code="unavailable")


def answered_late(logs: Logs, dice: random.Random) -> None:
    log = logs.clients["caller0"]
    log[-2] = changed(log[-2], at=log[-2].at + 60.0)


def answered_twice(logs: Logs, dice: random.Random) -> None:
    log = logs.clients["caller0"]
    log.insert(-1, log[-2])


def in_end(name: str, value: float) -> Plant:
    def plant(logs: Logs, dice: random.Random) -> None:
        at = next(i for i, r in enumerate(logs.run) if isinstance(r, Sample) and r.phase == "end")
        sample = logs.run[at]
        assert isinstance(sample, Sample)
        values = {n: value if n.startswith(name) else v for n, v in sample.values.items()}
        logs.run[at] = changed(sample, values=values)

    return plant


BUGS: dict[str, Plant] = {
    "subscribed lost": lose("subscribed"),
    "unsubscribed lost": lose("unsubscribed"),
    "disconnect lost": lose("disconnect"),
    "occupied lost": lose("channel_occupied"),
    "vacated lost": lose("channel_vacated"),
    "not taken": not_taken,
    "another id": another_id,
    "another text": another_text,
    "swapped": swapped,
    "vacated too early": vacated_too_early,
    "cut off": cut_off,
    "never answered again": never_answered_again,
    "answered late": answered_late,
    "answered twice": answered_twice,
    "no breaker opened": in_end("ringgate_upstream_breaker_opened_total", 0.0),
    "a breaker stays open": in_end("ringgate_upstream_target_up", 0.0),
}


def with_dead_letters(seed: int) -> Logs:
    """A correct run in which a third of the notices died, and came again behind all others."""
    logs, dice = correct(seed), random.Random(seed)  # noqa: S311
    logs.run[0] = changed(logs.run[0], dies=True)
    dead = {r.id for r in logs.run if isinstance(r, Noticed) and dice.random() < 0.3}
    late = [r for r in logs.run if isinstance(r, Noticed) and r.id in dead]
    at = max(r.at for r in logs.run) + 1.0
    logs.run[:] = [r for r in logs.run if r not in late]
    logs.run += [changed(r, at=at, taken=False) for r in late]
    logs.run += [Died(at=at + 1.0, id=one) for one in sorted(dead)]
    dice.shuffle(late)
    logs.run += [changed(r, at=at + 2.0 + index) for index, r in enumerate(late)]
    return logs


def replayed(logs: Logs, *kinds: str) -> list[str]:
    """Ids of dead letters of these kinds."""
    dead = {r.id for r in logs.run if isinstance(r, Died)}
    return sorted({r.id for r in logs.run if isinstance(r, Noticed) and r.id in dead and r.kind in kinds})


EVERY_KIND = ("subscribed", "unsubscribed", "disconnect", "channel_occupied", "channel_vacated")


def never_replayed(logs: Logs, dice: random.Random) -> None:
    one = dice.choice(replayed(logs, *EVERY_KIND))
    logs.run[:] = [r for r in logs.run if not (isinstance(r, Noticed) and r.id == one and r.taken)]


def lost_in_silence(logs: Logs, dice: random.Random) -> None:
    """It was tried, and is neither taken nor a dead letter."""
    one = dice.choice(replayed(logs, *EVERY_KIND))
    never = [r for r in logs.run if getattr(r, "id", "") == one and (isinstance(r, Died) or r.taken)]  # type: ignore[union-attr]
    logs.run[:] = [r for r in logs.run if r not in never]


def replayed_under_another_id(logs: Logs, dice: random.Random) -> None:
    one = dice.choice(replayed(logs, *EVERY_KIND))
    again = next(r for r in logs.run if isinstance(r, Noticed) and r.id == one and r.taken)
    logs.run.append(changed(again, id="n-other"))


def nothing_died(logs: Logs, dice: random.Random) -> None:
    logs.run[:] = [r for r in logs.run if not isinstance(r, Died)]


DEAD_BUGS: dict[str, Plant] = {
    "never replayed": never_replayed,
    "lost in silence": lost_in_silence,
    "replayed under another id": replayed_under_another_id,
    "nothing died": nothing_died,
}


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_found_where_dead_letters_were_replayed(seed: int) -> None:
    violations = found(with_dead_letters(seed))
    assert not violations, report(violations)


@pytest.mark.parametrize("name", DEAD_BUGS)
def test_every_planted_bug_of_dead_letters_is_found(name: str) -> None:
    for seed in range(10):
        logs = with_dead_letters(seed)
        DEAD_BUGS[name](logs, random.Random(seed))  # noqa: S311
        assert found(logs), f"{name}, seed {seed}"


def test_an_answer_on_its_way_to_a_caller_who_left_is_no_answer() -> None:
    logs = correct(1)
    left = logs.clients["caller0"].pop()
    logs.clients["caller0"] += [Called(at=left.at, number=3), left, Answered(at=left.at + 0.1, number=3)]
    assert not found(logs)


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_found_in_a_correct_run(seed: int) -> None:
    violations = found(correct(seed))
    assert not violations, report(violations)


@pytest.mark.parametrize("name", BUGS)
def test_every_planted_bug_is_found(name: str) -> None:
    for seed in range(10):
        logs = correct(seed)
        BUGS[name](logs, random.Random(seed))  # noqa: S311
        assert found(logs), f"{name}, seed {seed}"


def test_what_a_killed_process_took_along_is_excused_only_where_that_was_told() -> None:
    def run(*, told: bool) -> list[Violation]:
        town = Town(1, notices="memory")
        town.connect("c0")
        town.subscribe("c0")
        logs = town.finish()
        logs.run[:] = [r for r in logs.run if not isinstance(r, Noticed) or r.key == "caller"]
        kill = Fault(at=town.now() + 10.0, name="SIGKILL to gateway 0")
        logs.run.insert(1, kill)
        if told:
            logs.run.append(
                Noticed(at=kill.at, id="lost", kind="notices_lost", key="/", happened=kill.at + 1.0)
            )
        return [v for v in rule_9(logs, Ledger()) if "owed" in v.text]

    assert run(told=False)
    assert not run(told=True)
