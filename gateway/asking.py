"""What an app service can be asked before something is done, and what it may answer.

The seam between sessions, which ask, and whatever carries the question to a service (HTTP, a test's
fake).  It knows neither HTTP nor how a service is chosen, and holds no state.  How it works: a question
is answered by a verdict, a record; a service that forbids answers `Refusal`.  Where there is no verdict,
because no service could be reached or none answered sense, CommandError `unavailable` or `timeout` is
raised, and what was asked for is not done.

What always holds: a service learns nothing that `Caller` and the question do not say; JSON in these
records is text that every client can read, checked already (`message.json.check_json`) by who made the
record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

NOTHING_FORWARDED: Final[Mapping[str, str]] = {}


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.  `user` and `info` (JSON text) are empty where they are not known.

    `remote` is the address as `Connection.remote` says it.  `forwarded` are those headers of the client's
    handshake that the configuration lets a service see, by their names in lower case.
    """

    client: str
    session: str
    user: str = ""
    info: bytes = b""
    remote: str = ""
    forwarded: Mapping[str, str] = NOTHING_FORWARDED


class ConnectQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """May this client come in?

    The caller's `user` and `info` are those of a token that was verified, else empty.  `path` and `query`
    are the request's, the query without its token.  `token` is the client's credential where the gateway
    has no key to verify it with, else empty.
    """

    path: str
    query: str = ""
    subprotocol: str = ""
    token: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """No.  `code` is of `errors.ERROR_CODES`; `message` is shown to the client.

    `close_code` is for `connect` only, where the connection ends with it (0: `forbidden`), and with
    `message` as its reason (at most 123 bytes).
    """

    code: str = "permission_denied"
    message: str = "the app service refused"
    close_code: int = 0


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """Yes, as this user.

    `info` is JSON text that others see beside the user, or empty.  `channels` are subscribed to by the
    server.  `expires` is in seconds since 1970, 0 for never: by then the client must have shown itself anew.
    `claims` can be asked for by permissions of namespaces, as the claims of a token can.
    """

    user: str = ""
    info: bytes = b""
    channels: tuple[str, ...] = ()
    expires: int = 0
    claims: Mapping[str, object] = msgspec.field(default_factory=dict)


class SubscribeVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Yes.  `info`, where it is not empty, is shown in this channel instead of the client's own."""

    info: bytes = b""


class PublishVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Yes; with `data` (JSON text, or bytes where `binary`), if not None, for what the client sent."""

    data: bytes | None = None
    binary: bool = False


class CallVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The service's answer to a call: JSON text, or bytes where `binary`; None for nothing."""

    data: bytes | None = None
    binary: bool = False


class Said(msgspec.Struct, frozen=True):
    """A payload: JSON text, or bytes where `binary`."""

    data: bytes
    binary: bool = False


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What a service has published; `exclude` is a client that does not get it, `key` lets it happen once."""

    channel: str
    said: Said
    key: str = ""
    exclude: str = ""


class MessageVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a service wants done upon a client's message, in the order of these fields.

    `messages` are for this client alone.  `answer` is for the reply.  `close_code` ends the connection, with
    `reason` (at most 123 bytes), where it is not 0.
    """

    publish: tuple[Announced, ...] = ()
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    messages: tuple[Said, ...] = ()
    answer: Said | None = None
    close_code: int = 0
    reason: str = ""


class AppService(Protocol):
    """Whoever can be asked.  About one connection one question at a time; each may raise CommandError."""

    @property
    def forwards(self) -> frozenset[str]:
        """Names of the headers of a handshake that go into `Caller.forwarded`, in lower case."""

    async def connect(self, caller: Caller, question: ConnectQuestion) -> Admission | Refusal:
        """Ask whether a client may come in, and as whom."""

    async def subscribe(self, caller: Caller, channel: str) -> SubscribeVerdict | Refusal:
        """Ask whether a client may hear a channel."""

    async def publish(
        self, caller: Caller, channel: str, data: bytes, *, binary: bool
    ) -> PublishVerdict | Refusal:
        """Ask whether a client may publish this to a channel."""

    async def call(
        self, caller: Caller, method: str, data: bytes, *, binary: bool, timeout_s: float
    ) -> CallVerdict | Refusal:
        """Carry a call of a client to the service, and its answer back."""

    async def message(self, caller: Caller, data: bytes, *, binary: bool) -> MessageVerdict | Refusal:
        """Carry a message of a client to the service; return what is to be done upon it."""
