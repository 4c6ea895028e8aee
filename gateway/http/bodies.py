"""What services may say: the request bodies, decoded and checked before anything is done.

Knows nothing of HTTP.  A body is a msgspec Struct that refuses unknown fields; `data` stays the
raw JSON text, byte for byte, but is proved to be something that every client can parse: UTF-8,
strict JSON (no NaN, no lone surrogates), nested at most `MAX_DEPTH` levels.
Whatever is wrong ends in a CommandError `bad_request`; no other exception leaves `decode_body`.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ..broker.outbox import Wanted
from ..closecodes import MAX_REASON_BYTES, is_for_services
from ..errors import CommandError
from ..message.commands import MAX_NUMBER
from ..message.json import MAX_DEPTH, check_json
from ..message.names import MAX_CHANNEL_CHARS

MAX_BATCH: Final = 1000

Channel = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_CHANNEL_CHARS,
        description="1 to 200 characters of A-Z a-z 0-9 _ - = @ , . ; : / #",
    ),
]
User = Annotated[str, Meta(max_length=MAX_CHANNEL_CHARS - 1, description="all connections of this user")]
Client = Annotated[str, Meta(max_length=200, description="the one connection with this client id")]
Key = Annotated[
    str, Meta(max_length=200, description="idempotency key: a second publication with it is not published")
]
Exclude = Annotated[str, Meta(max_length=200, description="the client id that is not sent this publication")]
Data = Annotated[Raw | UnsetType, Meta(description="any JSON value; goes out byte for byte as it came")]
Data64 = Annotated[
    str | UnsetType, Meta(description="bytes in base64 (RFC 4648 section 4), instead of `data`")
]

S = TypeVar("S", bound=Struct)


class Payload(Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be sent: exactly one of `data` and `data64`."""

    data: Data = UNSET
    data64: Data64 = UNSET

    def __post_init__(self) -> None:
        if (self.data is UNSET) == (self.data64 is UNSET):
            raise ValueError("exactly one of `data` and `data64` is required")
        if isinstance(self.data, Raw):
            _check_json(bytes(self.data))
        elif isinstance(self.data64, str):
            decode_base64(self.data64)

    @property
    def binary(self) -> bool:
        """Whether the payload is bytes and not JSON text."""
        return self.data is UNSET

    def payload(self) -> bytes:
        """Return the JSON text as it came, or the decoded bytes."""
        if isinstance(self.data64, str):
            return decode_base64(self.data64)
        return bytes(self.data) if isinstance(self.data, Raw) else b""


class Target(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which connections are meant: exactly one of `user` and `client`."""

    user: User = ""
    client: Client = ""

    def __post_init__(self) -> None:
        check_target(self.user, self.client)


class PublishBody(Payload, kw_only=True, forbid_unknown_fields=True):
    """Publish to one channel."""

    channel: Channel
    key: Key = ""
    exclude: Exclude = ""


class BroadcastBody(Payload, kw_only=True, forbid_unknown_fields=True):
    """Publish the same payload to several channels."""

    channels: Annotated[list[Channel], Meta(min_length=1, max_length=MAX_BATCH)]
    key: Key = ""
    exclude: Exclude = ""


class UpdateBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Change the state of a channel."""

    channel: Channel
    base: Annotated[int, Meta(ge=0, le=MAX_NUMBER, description="the version to which the patch is applied")]
    patch: Annotated[Raw, Meta(description="JSON Merge Patch (RFC 7396); goes out byte for byte as it came")]
    epoch: Annotated[str, Meta(max_length=200, description="of that version; left out: the current one")] = ""
    key: Key = ""

    def __post_init__(self) -> None:
        _check_json(bytes(self.patch))


class SendBody(Payload, kw_only=True, forbid_unknown_fields=True):
    """Send to all connections of a user, or to one client."""

    user: User = ""
    client: Client = ""

    def __post_init__(self) -> None:
        check_target(self.user, self.client)
        super().__post_init__()


class SubscribeBody(Target, kw_only=True, forbid_unknown_fields=True):
    """Subscribe connections to a channel."""

    channel: Channel


class UnsubscribeBody(Target, kw_only=True, forbid_unknown_fields=True):
    """Unsubscribe connections from a channel."""

    channel: Channel


class DisconnectBody(Target, kw_only=True, forbid_unknown_fields=True):
    """Close connections.  `code`: 0 for the gateway's own 4004, or 1000, or 3000 to 4999."""

    code: int = 0
    reason: Annotated[str, Meta(max_length=MAX_REASON_BYTES, description="at most 123 bytes in UTF-8")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.code and not is_for_services(self.code):
            raise ValueError("`code` is 0, 1000, or 3000 to 4999")
        if len(self.reason.encode()) > MAX_REASON_BYTES:
            raise ValueError(f"`reason` is at most {MAX_REASON_BYTES} bytes in UTF-8")


class RevokeBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Refuse tokens: exactly one of `user`, `login` and `token`."""

    user: Annotated[
        str, Meta(max_length=MAX_CHANNEL_CHARS - 1, description="all tokens of this user issued up to now")
    ] = ""
    login: Annotated[str, Meta(max_length=256, description="all tokens of this login: their claim `sid`")] = (
        ""
    )
    token: Annotated[str, Meta(max_length=256, description="the token with this claim `jti`")] = ""
    ttl: Annotated[
        float, Meta(ge=0, le=31_536_000, description="for so many seconds; 0: `auth.revocation_ttl`")
    ] = 0.0

    def __post_init__(self) -> None:
        if (bool(self.user), bool(self.login), bool(self.token)).count(True) != 1:
            raise ValueError("exactly one of `user`, `login` and `token` is required")

    def target(self) -> tuple[str, str]:
        """Return which of them it is, and its value."""
        named = {"user": self.user, "login": self.login, "token": self.token}
        return next((name, value) for name, value in named.items() if value)


class PublishCommand(PublishBody, tag_field="method", tag="publish"):
    """Publish, in a batch."""


class UpdateCommand(UpdateBody, tag_field="method", tag="update"):
    """Change a state, in a batch."""


class BroadcastCommand(BroadcastBody, tag_field="method", tag="broadcast"):
    """Broadcast, in a batch."""


class SendCommand(SendBody, tag_field="method", tag="send"):
    """Send, in a batch."""


class SubscribeCommand(SubscribeBody, tag_field="method", tag="subscribe"):
    """Subscribe, in a batch."""


class UnsubscribeCommand(UnsubscribeBody, tag_field="method", tag="unsubscribe"):
    """Unsubscribe, in a batch."""


class DisconnectCommand(DisconnectBody, tag_field="method", tag="disconnect"):
    """Disconnect, in a batch."""


Command = (
    PublishCommand
    | UpdateCommand
    | BroadcastCommand
    | SendCommand
    | SubscribeCommand
    | UnsubscribeCommand
    | DisconnectCommand
)


class BatchBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Commands that are carried out one after the other, in order; at most 1000 publications in all."""

    commands: Annotated[list[Command], Meta(min_length=1, max_length=MAX_BATCH)]

    def __post_init__(self) -> None:
        publications = sum(
            len(command.channels) if isinstance(command, BroadcastBody) else 1 for command in self.commands
        )
        if publications > MAX_BATCH:
            raise ValueError(f"a batch has at most {MAX_BATCH} publications, broadcasts counted per channel")


class HistoryQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which part of a channel's history is wanted."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="publications at most")] = 50
    before: Annotated[int, Meta(ge=0, description="only offsets below this one; 0: the newest of all")] = 0


class ListQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """How much of a list is wanted."""

    limit: Annotated[int, Meta(ge=1, le=10_000, description="entries at most")] = 1000
    after: Annotated[str, Meta(max_length=200, description="only entries behind this name")] = ""


class DeadLettersQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters are wanted, and how many."""

    limit: Annotated[int, Meta(ge=1, le=10_000, description="entries at most")] = 1000
    after: Annotated[str, Meta(max_length=100, description="the next of the page before")] = ""
    id: Annotated[str, Meta(max_length=100, description="only this one")] = ""
    kind: Annotated[str, Meta(max_length=100, description="only of this kind, such as disconnect")] = ""
    key: Annotated[str, Meta(max_length=200, description="only about this channel or client")] = ""

    def wanted(self) -> Wanted:
        """Return which are meant."""
        return Wanted(ids=frozenset([self.id] if self.id else ()), kind=self.kind, key=self.key)


class DeadLettersBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters are meant: those of `ids`; of a `kind`, a `key` or both; or `all`."""

    ids: Annotated[list[str], Meta(max_length=1000)] = []
    kind: Annotated[str, Meta(max_length=100)] = ""
    key: Annotated[str, Meta(max_length=200)] = ""
    all: bool = False

    def wanted(self) -> Wanted:
        """Return which are meant.  Raises CommandError unless that is said in exactly one way."""
        if (bool(self.ids), bool(self.kind or self.key), self.all).count(True) != 1:
            raise CommandError("bad_request", "either ids, or kind and key, or all is needed")
        return Wanted(ids=frozenset(self.ids), kind=self.kind, key=self.key)


class LimitQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """How much of a list is wanted that has no pages."""

    limit: Annotated[int, Meta(ge=1, le=10_000, description="entries at most")] = 1000


class ChannelsQuery(ListQuery, kw_only=True, forbid_unknown_fields=True):
    """Which channels are wanted."""

    prefix: Annotated[str, Meta(max_length=200, description="only channels whose name begins so")] = ""


class DrainBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """An address of an upstream, as `GET /api/upstreams` shows it; without `ip` every IP that it leads to."""

    upstream: Annotated[str, Meta(min_length=1, max_length=64)]
    address: Annotated[str, Meta(min_length=1, max_length=1000)]
    ip: Annotated[str, Meta(max_length=64)] = ""


class NoQuery(Struct, forbid_unknown_fields=True):
    """No query parameters are known here."""


def decode_body(body: bytes, kind: type[S]) -> S:
    """Return `body` as a record of `kind`.  Raises CommandError `bad_request`, and nothing else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise CommandError("bad_request", _explain(error)) from None
    except RecursionError:
        raise CommandError("bad_request", f"JSON is nested deeper than {MAX_DEPTH} levels") from None


def decode_query(items: list[tuple[str, str]], kind: type[S]) -> S:
    """Return query parameters as a record of `kind`.  Raises CommandError `bad_request`, and nothing else."""
    values = dict(items)
    if len(values) != len(items):
        raise CommandError("bad_request", "a query parameter is given twice")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise CommandError("bad_request", str(error)) from None


def check_target(user: str, client: str) -> None:
    """Raise ValueError unless exactly one of the two is given."""
    if bool(user) == bool(client):
        raise ValueError("exactly one of `user` and `client` is required")


def _check_json(text: bytes) -> None:
    try:
        check_json(text)
    except CommandError as error:
        raise ValueError(error.message) from None  # msgspec adds where it stands in the body


def decode_base64(text: str) -> bytes:
    """Return the bytes of `text`.  Raises ValueError unless it is canonical base64 with padding."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("`data64` is not base64") from None


def _explain(error: Exception) -> str:
    """Return what to tell the caller: msgspec names the place; a text of ours is passed on."""
    if isinstance(error, UnicodeDecodeError):
        return "the body is not UTF-8"
    return str(error)
