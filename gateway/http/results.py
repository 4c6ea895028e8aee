"""What services are told: the answers of the API as records, from which OpenAPI is generated too.

Knows nothing of HTTP.  Payloads go out byte for byte as they were published (`Raw`), binary
ones as `data64`; publications and members look as they do to WebSocket clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ..broker.interface import HistoryPage, PublishResult, State
from ..broker.outbox import DeadPage
from ..errors import CommandError, StaleVersionError
from ..message.events import MemberView, PublicationView
from ..message.publication import Member
from ..message.views import view_member, view_publication


class ErrorBody(Struct, omit_defaults=True):
    """A code from the table of error codes, and a message for a person.

    With `stale_version` come `epoch`, `version` and `data` of the current state.
    """

    code: str
    message: str
    epoch: str | UnsetType = UNSET
    version: int | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class ErrorAnswer(Struct):
    """What every refusal looks like."""

    error: ErrorBody


class Published(Struct, omit_defaults=True):
    """Where the publication stands.  `duplicate`: its key was known, and nothing was published now."""

    epoch: str
    offset: int
    duplicate: bool = False


class Updated(Struct, omit_defaults=True):
    """The version that the patch made.  `duplicate`: its key was known, and nothing was changed now."""

    epoch: str
    version: int
    duplicate: bool = False


class ChannelState(Struct):
    """A channel's state.  Version 0 is what the life of the channel, named by `epoch`, began with."""

    epoch: str
    version: int
    data: Raw


class ChannelResult(Struct, omit_defaults=True):
    """One channel of a broadcast: `epoch` and `offset`, or `error`."""

    channel: str
    epoch: str | UnsetType = UNSET
    offset: int | UnsetType = UNSET
    duplicate: bool = False
    error: ErrorBody | UnsetType = UNSET


class Broadcasted(Struct):
    """One result for each channel, in the order of the request."""

    results: list[ChannelResult]


class Sent(Struct, omit_defaults=True):
    """To a user: the position in the personal channel.  To a client: the number of connections reached."""

    epoch: str | UnsetType = UNSET
    offset: int | UnsetType = UNSET
    duplicate: bool = False
    connections: int | UnsetType = UNSET


class Reached(Struct):
    """How many connections were reached; 0 is no error."""

    connections: int


_ONE_RESULT: Final = {
    "items": {
        "anyOf": [
            {"$ref": f"#/components/schemas/{kind}"}
            for kind in ("Published", "Updated", "Broadcasted", "Sent", "Reached", "ErrorAnswer")
        ]
    }
}


class BatchAnswer(Struct):
    """One result for each command, in order: what the command's own endpoint answers, or `error`."""

    results: Annotated[list[Any], Meta(extra_json_schema=_ONE_RESULT)]


class ChannelInfo(Struct):
    """A channel with subscribers on this node."""

    name: str
    subscribers: int
    epoch: str
    offset: int


class ChannelList(Struct):
    """Channels of this node; `total` counts those that match, shown or not."""

    channels: list[ChannelInfo]
    total: int


class ConnectionInfo(Struct):
    """A client of this node.  `channels` is a number, `since_ms` wall-clock milliseconds since 1970."""

    client: str
    user: str
    channels: int
    remote: str
    since_ms: int


class ConnectionList(Struct):
    """Connections of this node; `total` counts all."""

    connections: list[ConnectionInfo]
    total: int


class NodeList(Struct):
    """The nodes of the cluster, each as it describes itself."""

    nodes: list[dict[str, str | int | float | bool | None]]


class ConfigInfo(Struct):
    """The configuration that holds.  `hash` is of all but its secrets; `needs_restart` names what differs."""

    hash: str = ""
    loaded_ms: int = 0
    reloads: int = 0
    failed_reloads: int = 0
    needs_restart: list[str] = []


class Info(Struct):
    """The gateway that answers."""

    version: str
    config: ConfigInfo


class RevocationInfo(Struct):
    """Something that is refused: `kind` is user, login or token; times in milliseconds since 1970."""

    kind: str
    value: str
    revoked_ms: int
    until_ms: int


class RevocationList(Struct):
    """What is refused, the newest first."""

    revocations: list[RevocationInfo]


class TargetInfo(Struct):
    """An address of an upstream.

    `weight` is its share now; `breaker` is closed, open or half_open; `requests` counts by outcome.
    `draining`: it gets nothing new, and what `pending` counts is about to leave.
    """

    address: str
    ip: str
    weight: float
    healthy: bool
    draining: bool
    breaker: str
    retry_in_ms: int
    pending: int
    requests: dict[str, int]


class UpstreamInfo(Struct, omit_defaults=True):
    """A group of addresses as one process sees it; `worker` is its number where there are several."""

    name: str
    balance: str
    pending: int
    waiting: int
    turned_away: int
    targets: list[TargetInfo]
    worker: int | UnsetType = UNSET


class UpstreamList(Struct):
    """The groups of this gateway."""

    upstreams: list[UpstreamInfo]


class Drained(Struct):
    """How many targets an address stands for, and what is under way there: requests and connections."""

    targets: int
    pending: int


class DeadLetterInfo(Struct):
    """A notice that no app service took; times are wall-clock milliseconds since 1970."""

    id: str
    kind: str
    key: str
    happened_ms: int
    given_up_ms: int
    tries: int
    problem: str
    body: Annotated[msgspec.Raw, Meta(extra_json_schema={"description": "what was sent"})]


class DeadLetterList(Struct):
    """Dead letters, the oldest first.  `next` is the `after` of the page behind, where there may be one."""

    dead_letters: list[DeadLetterInfo]
    next: str | UnsetType = UNSET


class DeadLetters(Struct):
    """How many dead letters were replayed or dropped; those that were not there are not counted."""

    dead_letters: int


class Presence(Struct):
    """Who is present, in the order in which they joined."""

    members: list[MemberView]


class History(Struct):
    """Oldest first.  `offset` is the channel's newest; `complete`: nothing older is kept."""

    epoch: str
    offset: int
    complete: bool
    publications: list[PublicationView]


class HealthAnswer(Struct):
    """`status` is ok, ready or not_ready; `details` says why."""

    status: str
    details: dict[str, str | int | float | bool | None] | UnsetType = UNSET


def published(result: PublishResult) -> Published:
    """Return a broker's result as an answer."""
    return Published(result.epoch, result.offset, result.duplicate)


def updated(result: PublishResult) -> Updated:
    """Return what an update did as an answer."""
    return Updated(result.epoch, result.offset, result.duplicate)


def state(current: State) -> ChannelState:
    """Return a state as an answer."""
    return ChannelState(current.epoch, current.version, Raw(current.data))


def refused(error: CommandError) -> ErrorBody:
    """Return an error as the caller sees it."""
    if isinstance(error, StaleVersionError):
        return ErrorBody(error.code, error.message, error.epoch, error.version, Raw(error.data))
    return ErrorBody(error.code, error.message)


def dead_letters(page: DeadPage) -> DeadLetterList:
    """Return a page of dead letters as an answer."""
    return DeadLetterList(
        [
            DeadLetterInfo(
                d.notice.id, d.notice.kind, d.notice.key, d.notice.time_ms, d.time_ms, d.tries, d.problem,
                msgspec.Raw(d.notice.body),
            )
            for d in page.letters
        ],
        page.next or UNSET,
    )  # fmt: skip


def presence(members: Sequence[Member]) -> Presence:
    """Return the members of a channel as an answer."""
    return Presence([view_member(member) for member in members])


def history(page: HistoryPage) -> History:
    """Return a page of history as an answer."""
    return History(
        page.top.epoch, page.top.offset, page.complete, [view_publication(item) for item in page.publications]
    )
