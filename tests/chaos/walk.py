"""Where a client stood each time when it was told something, by its own log and nothing else.

A subscription stands at a position (epoch and offset).  It begins at that of the reply or, when it was
recovered, at the one from which the client asked; messages and gaps move it.  What always holds: after
a step the position is what the client was told, right or not, so that one fault is one finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .records import AnyRecord, Connected, Delivered, Gap, Left, Lost, Subscribed, Subscribing, Unsubscribed


class Position(NamedTuple):
    """Everything of `epoch` up to `offset`."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.offset} of epoch {self.epoch or '(unknown)'}"


class Step(NamedTuple):
    """A record of a client, and where its subscription stood before it; None: it had none.

    `since` is, for a Subscribed, the position from which the client had asked.
    """

    before: Position | None
    record: AnyRecord
    since: Position | None = None


def is_personal(channel: str) -> bool:
    """Tell whether the gateway itself subscribes a client to this channel, without a position."""
    return channel.startswith("@")


def walk(records: Iterable[AnyRecord], stands: dict[str, Position] | None = None) -> Iterator[Step]:
    """Yield every record with the position of its channel before it.

    `stands`, if given, is where the position of each subscribed channel is kept meanwhile.
    """
    stands = {} if stands is None else stands
    asked: dict[str, Position | None] = {}
    for record in records:
        if isinstance(record, Delivered):
            yield Step(stands.get(record.channel), record)
            if record.channel in stands or is_personal(record.channel):
                stands[record.channel] = Position(record.epoch, record.offset)
        elif isinstance(record, Subscribing):
            since = Position(record.epoch, record.offset) if record.offset >= 0 else None
            asked[record.channel] = since
            yield Step(stands.get(record.channel), record)
        elif isinstance(record, Subscribed):
            since = asked.pop(record.channel, None)
            yield Step(stands.get(record.channel), record, since)
            told = Position(record.epoch, record.offset)
            stands[record.channel] = since if record.recovered and since else told
        elif isinstance(record, Gap):
            before = stands.get(record.channel)
            yield Step(before, record)
            if is_personal(record.channel):
                stands[record.channel] = after_gap(before or Position("", 0), record)._replace(epoch="")
            elif before is not None:
                stands[record.channel] = after_gap(before, record)
        else:
            yield Step(stands.get(record.channel) if isinstance(record, Unsubscribed) else None, record)
            if isinstance(record, Unsubscribed):
                stands.pop(record.channel, None)
            elif isinstance(record, (Lost, Left, Connected)):
                stands.clear()
                asked.clear()


def after_gap(before: Position, gap: Gap) -> Position:
    """Where a client stands that was told of a gap (docs/protocol.md, "Resume")."""
    if gap.epoch:
        return Position(gap.epoch, gap.last)
    return Position(before.epoch, gap.last or before.offset)
