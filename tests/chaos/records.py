"""The logs of a run: what publishers and clients write down, one record a line, only ever added to.

A record says what somebody did or was told, never what should have been.  It knows nothing of rules, of
gateways or of sockets.  Every record has `at`, seconds of one clock for the whole run, and who wrote it
is known by the log it is in.  What always holds: the records of one log are in the order in which they
happened to their writer; `write` and `read` are the inverse of each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec


class Record(msgspec.Struct, tag_field="what", kw_only=True, gc=False, omit_defaults=True):
    """What happened, and when (seconds, monotonic)."""

    at: float


class Intent(Record, tag="intent"):
    """A publisher is about to publish `message` for the first time; `user`: for that user alone."""

    message: str
    channel: str
    key: str = ""
    user: str = ""


class Acknowledged(Record, tag="acknowledged"):
    """The gateway said where the message stands.  `duplicate`: it said that it had been there before."""

    message: str
    epoch: str
    offset: int
    duplicate: bool = False


class Failed(Record, tag="failed"):
    """The gateway said that this attempt did nothing, or it never left the publisher."""

    message: str
    code: str


class Unknown(Record, tag="unknown"):
    """Nobody knows whether this attempt did anything."""

    message: str
    code: str


class Connected(Record, tag="connected"):
    """A client was let in, with an id, as a user."""

    client: str
    user: str = ""
    node: str = ""


class Lost(Record, tag="lost"):
    """The connection ended.  `code` is that of the close frame, 1006 without one."""

    code: int


class Left(Record, tag="left"):
    """The client went for good, by its own will."""


class Subscribing(Record, tag="subscribing"):
    """A client asks for a channel: from now on, or from the position that it has (`offset` 0 or more)."""

    channel: str
    epoch: str = ""
    offset: int = -1


class Subscribed(Record, tag="subscribed"):
    """It was told that it is subscribed; `recovered` is None where it named no position."""

    channel: str
    epoch: str
    offset: int
    recovered: bool | None = None


class Unsubscribing(Record, tag="unsubscribing"):
    """A client asks to be told nothing more of a channel."""

    channel: str


class Unsubscribed(Record, tag="unsubscribed"):
    """It was told that nothing of the channel follows."""

    channel: str


class Delivered(Record, tag="delivered"):
    """A message arrived.  `epoch` is the one in which the client counts, `id` the gateway's name for it."""

    channel: str
    epoch: str
    offset: int
    message: str
    id: str = ""


class Gap(Record, tag="gap"):
    """The client was told of a loss: offsets `first` to `last` (0: none had a number), maybe a new epoch."""

    channel: str
    first: int = 0
    last: int = 0
    epoch: str = ""
    reason: str = ""


class Came(Record, tag="came"):
    """A watcher was told that a connection, by the id that it was given, is in a channel now."""

    channel: str
    client: str


class Went(Record, tag="went"):
    """A watcher was told that a connection is not in a channel any more."""

    channel: str
    client: str


class Called(Record, tag="called"):
    """A client asked the app service something, by its own number."""

    number: int


class Answered(Record, tag="answered"):
    """It was answered; `code` is "" for an answer of the service."""

    number: int
    code: str = ""


class Updating(Record, tag="updating"):
    """An editor is about to change a state: `number` is which of its changes this is."""

    message: str
    channel: str
    editor: str
    number: int


class Updated(Record, tag="updated"):
    """What came of it: it made a version, or (`code`) nothing was changed by this attempt."""

    message: str
    channel: str
    epoch: str
    version: int
    code: str = ""


class Had(Record, tag="had"):
    """A copy of a state had this value, or (in the log of the run) a gateway did when all was quiet.

    `last` and `marks` are what the value says: the change that made it, and the newest of each editor.
    """

    channel: str
    epoch: str
    version: int
    text: str
    last: str = ""
    marks: dict[str, int] = {}


class Noticed(Record, tag="noticed"):
    """A notice came to the app service; `taken`: it said so.  `happened`: when, as the notice has it.

    `body` is all that was said, but for what may differ from one time to the next.
    """

    id: str
    kind: str
    key: str
    happened: float
    client: str = ""
    channel: str = ""
    body: str = ""
    taken: bool = True


class Died(Record, tag="died"):
    """A notice was in the list of dead letters."""

    id: str


class Setting(Record, tag="setting"):
    """What the run was, and what may be expected of it.

    `epochs_change`: the fault may cost an acknowledged tail, which a new epoch tells everybody.
    `killed`: processes were killed that count; what they counted last may be missing.
    `notices`: an app service hears of clients, and they are kept in "redis" or in "memory".
    `stays`: nobody may lose a connection.  `opens`: breakers open and close again.
    `dies`: notices become dead letters, and are replayed until none is left.
    """

    row: str
    seed: int
    epochs_change: bool = False
    killed: bool = False
    heal_s: float = 30.0
    notices: str = ""
    stays: bool = False
    opens: bool = False
    dies: bool = False


class Kind(Record, tag="kind"):
    """How many publications a channel keeps: 0 for a plain channel (L0)."""

    channel: str
    history: int


class Fault(Record, tag="fault"):
    """Something was broken, or one step of it."""

    name: str


class Healed(Record, tag="healed"):
    """Nothing is broken any more."""


class Sample(Record, tag="sample"):
    """Figures of one gateway: `phase` is "start", before the first client, or "end", after the last.

    Names are those of /metrics, with labels; a figure that the rig read itself begins with "rig_".
    """

    gateway: str
    phase: str
    values: dict[str, float]


AnyRecord = (
    Intent | Acknowledged | Failed | Unknown
    | Connected | Lost | Left | Subscribing | Subscribed | Unsubscribing | Unsubscribed
    | Delivered | Gap
    | Came | Went | Called | Answered | Updating | Updated | Had | Noticed | Died
    | Setting | Kind | Fault | Healed | Sample
)  # fmt: skip

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(AnyRecord)


@dataclass
class Logs:
    """All that was written down in a run: the rig's own log, and those of each publisher and client."""

    run: list[AnyRecord] = field(default_factory=list)
    publishers: dict[str, list[AnyRecord]] = field(default_factory=dict)
    clients: dict[str, list[AnyRecord]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Put each log into a file of its own, as JSON lines."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.jsonl").write_bytes(_ENCODER.encode_lines(self.run))
        for group, logs in (("publisher", self.publishers), ("client", self.clients)):
            for name, records in logs.items():
                (folder / f"{group}-{name}.jsonl").write_bytes(_ENCODER.encode_lines(records))

    @classmethod
    def read(cls, folder: Path) -> Logs:
        """Read what `write` wrote.  Raises OSError, or msgspec.DecodeError for what is no log."""
        logs = cls(run=_DECODER.decode_lines((folder / "run.jsonl").read_bytes()))
        for path in sorted(folder.glob("*-*.jsonl")):
            group, _, name = path.stem.partition("-")
            target = logs.publishers if group == "publisher" else logs.clients
            target[name] = _DECODER.decode_lines(path.read_bytes())
        return logs

    @property
    def setting(self) -> Setting:
        """What the run was.  Raises ValueError when its log does not say."""
        for record in self.run:
            if isinstance(record, Setting):
                return record
        raise ValueError("the log of the run has no setting")

    @property
    def history(self) -> dict[str, int]:
        """How many publications each channel keeps."""
        return {r.channel: r.history for r in self.run if isinstance(r, Kind)}
