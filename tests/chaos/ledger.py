"""What was published, put together from the logs of all publishers.

Knows the records of publishers, nothing of clients.  A message is known by the text that its publisher
put into it.  What always holds: a message is `acknowledged` if one of its attempts was; otherwise it
is `unknown` if one of them was, or if its publisher said nothing more of it; otherwise it `failed`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from .records import Acknowledged, Failed, Intent, Logs, Unknown


@dataclass
class Message:
    """One message: what was meant, and every answer to it."""

    intent: Intent
    publisher: str
    acknowledged: list[Acknowledged] = field(default_factory=list)
    unknown: int = 0
    failed: int = 0

    @property
    def never(self) -> bool:
        """Every attempt was answered, and each of them did nothing."""
        return not self.acknowledged and not self.unknown and self.failed > 0


@dataclass
class Ledger:
    """All messages by their text, and the acknowledged offsets of each channel and epoch."""

    messages: dict[str, Message] = field(default_factory=dict)
    offsets: dict[tuple[str, str], dict[int, str]] = field(default_factory=lambda: defaultdict(dict))

    def head(self, channel: str) -> tuple[str, int] | None:
        """Where a channel stands: the last acknowledged message's epoch, and the newest offset of it."""
        newest = max(
            (m for m in self.messages.values() if m.intent.channel == channel and m.acknowledged),
            key=lambda m: m.intent.at,
            default=None,
        )
        if newest is None:
            return None
        epoch = newest.acknowledged[-1].epoch
        return epoch, max(self.offsets[channel, epoch])


def ledger_of(logs: Logs) -> Ledger:
    """Put together what the publishers wrote."""
    ledger = Ledger()
    for name, records in logs.publishers.items():
        for record in records:
            if isinstance(record, Intent):
                ledger.messages[record.message] = Message(record, name)
            elif isinstance(record, Acknowledged):
                message = ledger.messages[record.message]
                message.acknowledged.append(record)
                ledger.offsets[message.intent.channel, record.epoch].setdefault(record.offset, record.message)
            elif isinstance(record, Failed):
                ledger.messages[record.message].failed += 1
            elif isinstance(record, Unknown):
                ledger.messages[record.message].unknown += 1
    return ledger
