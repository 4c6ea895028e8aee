"""Planted bugs: each takes the logs of a correct run and breaks one promise in them.

A bug has a name, the rules of which at least one has to be named, and a function that plants it at a place
drawn by a seed.  The function returns False where the run offers no place for it, and has changed nothing.
What always holds: planting the same bug with the same seed gives the same logs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from .records import (
    Acknowledged,
    AnyRecord,
    Delivered,
    Failed,
    Gap,
    Healed,
    Intent,
    Left,
    Logs,
    Sample,
    Subscribed,
    Unsubscribed,
)
from .walk import Position, is_personal, walk

Plant = Callable[[Logs, random.Random], bool]


class Bug(NamedTuple):
    """A planted bug: `rules` are those of which one has to find it."""

    name: str
    rules: frozenset[int]
    plant: Plant


BUGS: Final[list[Bug]] = []


def bug(*rules: int) -> Callable[[Plant], Plant]:
    """Enter a function into BUGS, by its name."""

    def enter(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__, frozenset(rules), plant))
        return plant

    return enter


Place = tuple[list[AnyRecord], int]


def places(logs: Logs, kind: type[AnyRecord], *, personal: bool = False) -> Iterator[tuple[Place, Any]]:
    """Yield where clients wrote down records of a kind, but for those of personal channels."""
    for log in logs.clients.values():
        for index, record in enumerate(log):
            if isinstance(record, kind) and is_personal(getattr(record, "channel", "")) == personal:
                yield (log, index), record


def changed(record: Any, **fields: object) -> Any:
    """Return a record with other fields."""
    return msgspec.structs.replace(record, **fields)


def pick(dice: random.Random, found: Iterator[tuple[Place, Any]]) -> tuple[list[AnyRecord], int, Any] | None:
    """Draw one of the places."""
    all_of_them = list(found)
    if not all_of_them:
        return None
    (log, index), record = dice.choice(all_of_them)
    return log, index, record


def followed(logs: Logs, more: int = 1) -> Iterator[tuple[Place, Any]]:
    """Yield messages after which at least so many more of the channel come in the same subscription."""
    for (log, index), record in places(logs, Delivered):
        count = 0
        for later in log[index + 1 :]:
            if isinstance(later, Delivered) and later.channel == record.channel:
                count += 1
            elif getattr(later, "channel", record.channel) == record.channel and not isinstance(
                later, Delivered
            ):
                break
        if count >= more:
            yield (log, index), record


@bug(3)
def skip_one(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, followed(logs))
    if found:
        log, index, _ = found
        del log[index]
    return bool(found)


@bug(3)
def double_one(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, places(logs, Delivered))
    if found:
        log, index, record = found
        log.insert(index + 1, record)
    return bool(found)


@bug(3)
def swap_two(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, followed(logs))
    if not found:
        return False
    log, index, record = found
    other = next(
        i for i, r in enumerate(log) if i > index and isinstance(r, Delivered) and r.channel == record.channel
    )
    log[index], log[other] = log[other], record
    return True


@bug(4)
def wrong_channel(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, places(logs, Delivered))
    if found:
        log, index, record = found
        log[index] = changed(record, channel="long:a" if record.channel != "long:a" else "long:b")
    return bool(found)


@bug(3)
def silent_gap(logs: Logs, dice: random.Random) -> bool:
    """A gap is not told, and messages follow it."""
    sites = (((log, i), r) for (log, i), r in places(logs, Gap) if _next_is_message(log[i + 1 :], r.channel))
    found = pick(dice, sites)
    if found:
        log, index, _ = found
        del log[index]
    return bool(found)


def _next_is_message(records: list[AnyRecord], channel: str) -> bool:
    following = (r for r in records if getattr(r, "channel", channel) == channel)
    return isinstance(next(following, None), Delivered)


@bug(3)
def gap_too_short(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, places(logs, Gap))
    if found and found[2].last:
        log, index, record = found
        log[index] = changed(record, first=record.first + 1)
        return True
    return False


def resumed(logs: Logs, least: int = 0) -> Iterator[tuple[Place, Any]]:
    """Yield replies that recovered, and at least so many messages followed."""
    for (log, index), record in places(logs, Subscribed):
        later = [r for r in log[index + 1 :] if getattr(r, "channel", "") == record.channel]
        count = next((n for n, r in enumerate(later) if not isinstance(r, Delivered)), len(later))
        if record.recovered and count >= least:
            yield (log, index), record


def first_after(log: list[AnyRecord], index: int, channel: str) -> int:
    """Return the place of the first message of a channel after a place."""
    return next(
        i
        for i, r in enumerate(log[index + 1 :], index + 1)
        if isinstance(r, Delivered) and r.channel == channel
    )


@bug(3)
def off_by_one_on_resume(logs: Logs, dice: random.Random) -> bool:
    """What the client has already comes again."""
    found = pick(dice, resumed(logs, 1))
    if not found:
        return False
    log, index, record = found
    before = [r for r in log[:index] if isinstance(r, Delivered) and r.channel == record.channel]
    if not before:
        return False
    log.insert(first_after(log, index, record.channel), before[-1])
    return True


@bug(2)
def recovered_though_partial(logs: Logs, dice: random.Random) -> bool:
    """The first of the recovered messages is missing."""
    acknowledged = {r.message for log in logs.publishers.values() for r in log if isinstance(r, Acknowledged)}
    for (log, index), record in dice.sample(sites := list(resumed(logs, 2)), len(sites)):
        first = first_after(log, index, record.channel)
        message = log[first]
        assert isinstance(message, Delivered)
        if message.message in acknowledged:
            del log[first]
            return True
    return False


@bug(2)
def recovered_from_another_epoch(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, resumed(logs))
    if found:
        log, index, record = found
        log[index] = changed(record, epoch="e-other")
    return bool(found)


@bug(2)
def not_recovered_though_kept(logs: Logs, dice: random.Random) -> bool:
    sites = (site for site in resumed(logs) if logs.history[site[1].channel])
    found = pick(dice, sites)
    if found:
        log, index, record = found
        log[index] = changed(record, recovered=False)
    return bool(found)


@bug(3)
def wrong_epoch(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, places(logs, Delivered))
    if found:
        log, index, record = found
        log[index] = changed(record, epoch="e-other")
    return bool(found)


@bug(2)
def another_message_at_the_offset(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, places(logs, Delivered))
    if not found:
        return False
    log, index, record = found
    sightings = sum(
        (r.channel, r.epoch, r.offset) == (record.channel, record.epoch, record.offset)
        for _, r in places(logs, Delivered)
    )
    known = any(
        isinstance(r, Acknowledged) and r.message == record.message
        for publisher in logs.publishers.values()
        for r in publisher
    )
    others = [r.message for _, r in places(logs, Delivered) if r.message != record.message]
    if (sightings < 2 and not known) or not others:
        return False
    log[index] = changed(record, message=dice.choice(others))
    return True


@bug(2, 3, 6)
def acknowledged_but_lost(logs: Logs, dice: random.Random) -> bool:
    """A message that was acknowledged reaches nobody."""
    seen = [r.message for _, r in followed(logs)]
    sure = [
        r.message
        for log in logs.publishers.values()
        for r in log
        if isinstance(r, Acknowledged) and r.message in seen
    ]
    if not sure:
        return False
    lost = dice.choice(sure)
    for log in logs.clients.values():
        log[:] = [r for r in log if not (isinstance(r, Delivered) and r.message == lost)]
    return True


@bug(6)
def last_one_lost(logs: Logs, dice: random.Random) -> bool:
    """The last message of a channel, though acknowledged, reaches nobody."""
    meant = (r for log in logs.publishers.values() for r in log if isinstance(r, Intent))
    last = {r.channel: r.message for r in sorted(meant, key=lambda r: r.at)}
    messages = {r.message for _, r in places(logs, Delivered)}
    marked = [text for channel, text in last.items() if text in messages and not is_personal(channel)]
    newest = max(marked, key=lambda text: int(text[1:]), default="")
    if not newest:
        return False
    for log in logs.clients.values():
        log[:] = [r for r in log if not (isinstance(r, Delivered) and r.message == newest)]
    return True


@bug(4)
def failed_but_delivered(logs: Logs, dice: random.Random) -> bool:
    """A publisher was told that nothing happened, and it did."""
    found = pick(dice, places(logs, Delivered))
    if not found:
        return False
    text = found[2].message
    for log in logs.publishers.values():
        meant = next((r for r in log if isinstance(r, Intent) and r.message == text), None)
        if meant is not None:
            log[:] = [r for r in log if getattr(r, "message", "") != text]
            log += [meant, Failed(at=meant.at, message=text, code="unavailable")]
    return True


@bug(5)
def private_to_another(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, places(logs, Delivered, personal=True))
    if not found:
        return False
    _, _, record = found
    strangers = [n for n, log in logs.clients.items() if getattr(log[0], "user", "") != record.channel[1:]]
    log = logs.clients[dice.choice(strangers)]
    log.insert(len(log) - 1, changed(record, at=log[-1].at))
    return True


@bug(4)
def duplicated_with_a_key(logs: Logs, dice: random.Random) -> bool:
    """A publication that was sent again with its key is published again: later ones count one more."""
    found = pick(dice, followed(logs))
    if not found:
        return False
    _, _, twin = found
    for log in logs.clients.values():
        place = None
        for index, r in enumerate(log):
            if isinstance(r, Delivered) and r.channel == twin.channel and r.epoch == twin.epoch:
                if r.offset > twin.offset:
                    log[index] = changed(r, offset=r.offset + 1)
                elif r.offset == twin.offset:
                    place = index
        if place is not None:
            log.insert(place + 1, changed(log[place], offset=twin.offset + 1, id="i-twin"))
    return True


@bug(4)
def out_of_nowhere(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, places(logs, Delivered))
    if found:
        log, index, record = found
        log[index] = changed(record, message="never published")
    return bool(found)


@bug(3)
def late_after_unsubscribe(logs: Logs, dice: random.Random) -> bool:
    found = pick(dice, places(logs, Unsubscribed))
    if not found:
        return False
    log, index, record = found
    had = [r for r in log[:index] if isinstance(r, Delivered) and r.channel == record.channel]
    if not had:
        return False
    log.insert(index + 1, changed(had[-1], at=record.at))
    return True


@bug(6)
def never_healed(logs: Logs, dice: random.Random) -> bool:
    """A client hears nothing any more, on a connection that seems well."""
    stranded = [log for log in logs.clients.values() if _subscribed_at_the_end(log)]
    if not stranded:
        return False
    log = dice.choice(stranded)
    healed = next(r.at for r in logs.run if isinstance(r, Healed))
    log[:] = [r for r in log if r.at < healed or not isinstance(r, (Delivered, Gap))]
    return True


def _subscribed_at_the_end(log: list[AnyRecord]) -> bool:
    stands: dict[str, Position] = {}
    for _ in walk((r for r in log if not isinstance(r, Left)), stands):
        pass
    return any(not is_personal(channel) for channel in stands)


@bug(1)
def position_answered_twice(logs: Logs, dice: random.Random) -> bool:
    """Asked again with the key, the gateway answers another position."""
    log = logs.publishers["p0"]
    answers = [r for r in log if isinstance(r, Acknowledged)]
    if not answers:
        return False
    answer = dice.choice(answers)
    log.append(changed(answer, offset=answer.offset + 1, duplicate=True))
    return True


def _in_sample(logs: Logs, phase: str, name: str, by: float) -> bool:
    for index, r in enumerate(logs.run):
        if isinstance(r, Sample) and r.phase == phase:
            logs.run[index] = changed(r, values={**r.values, name: r.values.get(name, 0.0) + by})
    return True


@bug(7)
def gaps_counted_wrong(logs: Logs, dice: random.Random) -> bool:
    return _in_sample(logs, "end", "ringgate_gaps_total", dice.choice([-1.0, 1.0]))


@bug(7)
def drops_not_counted(logs: Logs, dice: random.Random) -> bool:
    return _in_sample(logs, "end", 'ringgate_frames_dropped_total{reason="slow_latest"}', -1.0)


@bug(8)
def leak_of_descriptors(logs: Logs, dice: random.Random) -> bool:
    return _in_sample(logs, "end", "rig_descriptors", float(dice.randint(1, 9)))


@bug(8)
def channel_left_open(logs: Logs, dice: random.Random) -> bool:
    return _in_sample(logs, "end", "ringgate_channels", 1.0)


@bug(8)
def nobody_looked(logs: Logs, dice: random.Random) -> bool:
    logs.run[:] = [r for r in logs.run if not isinstance(r, Sample)]
    return True
