"""What happened in a simulated run, as the logs that the judge of fault runs reads (tests/chaos/judge.py).

A node's relay stands for a client that hears everything there is: what it is told becomes the events that
the hub makes of it.  It knows the records and nothing of brokers.  Rules about the metrics of whole gateways
do not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from gateway.broker.interface import PublishResult
from gateway.errors import OutcomeUnknownError
from gateway.message.publication import Position, Publication
from tests.chaos.judge import RULES
from tests.chaos.ledger import ledger_of
from tests.chaos.records import (
    Acknowledged,
    AnyRecord,
    Connected,
    Delivered,
    Failed,
    Gap,
    Healed,
    Intent,
    Kind,
    Left,
    Logs,
    Setting,
    Subscribed,
    Subscribing,
    Unknown,
)
from tests.chaos.violations import Violation

RULES_THAT_APPLY = RULES[:6]


class SimulatedLogs:
    """The logs of one run; `clock` tells its time."""

    def __init__(self, seed: int, channels: Mapping[str, int], clock: Callable[[], float]) -> None:
        self.logs = Logs()
        self.epochs_change = False
        self._seed = seed
        self._clock = clock
        self._published: list[AnyRecord] = self.logs.publishers.setdefault("p", [])
        self.logs.run += [Kind(at=clock(), channel=name, history=keeps) for name, keeps in channels.items()]

    def intent(self, channel: str, message: str) -> None:
        """Note that a message is about to be published, with its own name as key."""
        self._published.append(Intent(at=self._clock(), message=message, channel=channel, key=message))

    def outcome(self, message: str, result: PublishResult | BaseException) -> None:
        """Note what became of it."""
        at = self._clock()
        if isinstance(result, OutcomeUnknownError):
            self._published.append(Unknown(at=at, message=message, code="timeout"))
        elif isinstance(result, BaseException):
            self._published.append(Failed(at=at, message=message, code="unavailable"))
        else:
            self._published.append(
                Acknowledged(
                    at=at,
                    message=message,
                    epoch=result.epoch,
                    offset=result.offset,
                    duplicate=result.duplicate,
                )
            )

    def connected(self, who: str, subscribed: Iterable[tuple[str, Position]]) -> None:
        """Note a node, and from where on it hears each channel."""
        log = self.logs.clients.setdefault(who, [Connected(at=self._clock(), client=who)])
        for channel, position in subscribed:
            log.append(Subscribing(at=self._clock(), channel=channel))
            log.append(
                Subscribed(at=self._clock(), channel=channel, epoch=position.epoch, offset=position.offset)
            )

    def left(self, who: str) -> None:
        """Note that a node is gone."""
        self.logs.clients[who].append(Left(at=self._clock()))

    def heard(self, who: str, channel: str, before: Position, epoch: str, publication: Publication) -> None:
        """Note a publication, and the gap that a client would be told of before it."""
        if epoch != before.epoch or publication.offset > before.offset + 1:
            self.lost(who, channel, before, Position(epoch, publication.offset - 1))
        record = Delivered(
            at=self._clock(),
            channel=channel,
            epoch=epoch,
            offset=publication.offset,
            message=publication.id,
            id=publication.id,
        )
        self.logs.clients[who].append(record)

    def lost(self, who: str, channel: str, before: Position, to: Position) -> None:
        """Note that everything up to a position is announced as lost."""
        renewed = to.epoch != before.epoch
        first = 1 if renewed else before.offset + 1
        span = (first, to.offset) if first <= to.offset else (0, 0)
        epoch = to.epoch if renewed else ""
        gap = Gap(at=self._clock(), channel=channel, first=span[0], last=span[1], epoch=epoch, reason="lost")
        self.logs.clients[who].append(gap)

    def healed(self) -> None:
        """Note that nothing is broken any more."""
        self.logs.run.append(Healed(at=self._clock()))

    def judge(self) -> list[Violation]:
        """Return every broken promise."""
        setting = Setting(
            at=0.0, row="simulated", seed=self._seed, epochs_change=self.epochs_change, killed=False
        )
        self.logs.run.insert(0, setting)
        ledger = ledger_of(self.logs)
        return [violation for rule in RULES_THAT_APPLY for violation in rule(self.logs, ledger)]
