"""Questions as JSON, and answers read strictly: what is not understood is no verdict.

It knows no HTTP.  An answer is `{}`, or has only the fields that belong to its question: a misspelt field is
refused rather than ignored, since what it meant might have been no.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Raw, Struct

from .. import closecodes
from ..asking import (
    Admission,
    Announced,
    Caller,
    CallVerdict,
    MessageVerdict,
    PublishVerdict,
    Refusal,
    Said,
    SubscribeVerdict,
)
from ..errors import ERROR_CODES, CommandError
from ..message.commands import MAX_KEY_CHARS
from ..message.json import check_json
from ..message.names import check_channel_name, check_known_name, is_channel_name, personal_channel

_MOST_CHANNELS: Final = 1000
_MOST_THINGS: Final = 100


class NonsenseError(Exception):
    """An answer that is no verdict.  The text says why, for the log."""


def encode_question(kind: str, caller: Caller, fields: dict[str, Any]) -> bytes:
    """Return the body of a question."""
    body: dict[str, Any] = {"type": kind, "client": caller.client, "session": caller.session}
    if caller.user:
        body["user"] = caller.user
    if caller.info:
        body["info"] = Raw(caller.info)
    if caller.remote:
        body["remote"] = caller.remote
    return msgspec.json.encode({**body, **fields})


def payload_fields(data: bytes, name: str, *, binary: bool) -> dict[str, Any]:
    """Return a payload as fields of a question: JSON as it is, or base64."""
    if binary:
        return {f"{name}64": data}
    return {name: Raw(data)} if data else {}


# -- answers --------------------------------------------------------------------------------------


class _Refuse(Struct, forbid_unknown_fields=True):
    code: str = "permission_denied"
    message: Annotated[str, msgspec.Meta(max_length=200)] = "the app service refused"
    close_code: int = 0


class _Answer(Struct, forbid_unknown_fields=True, kw_only=True):
    refuse: _Refuse | None = None


class _Connect(_Answer, forbid_unknown_fields=True, kw_only=True):
    user: str = ""
    info: Raw = Raw()
    channels: Annotated[list[str], msgspec.Meta(max_length=_MOST_CHANNELS)] = []
    expires: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] = 0
    claims: dict[str, Any] = {}


class _Subscribe(_Answer, forbid_unknown_fields=True, kw_only=True):
    info: Raw = Raw()


class _Publish(_Answer, forbid_unknown_fields=True, kw_only=True):
    data: Raw = Raw()
    data64: bytes | None = None


class _Call(_Answer, forbid_unknown_fields=True, kw_only=True):
    payload: Raw = Raw()
    payload64: bytes | None = None


class _Said(Struct, forbid_unknown_fields=True, kw_only=True):
    data: Raw = Raw()
    data64: bytes | None = None


class _Announced(_Said, forbid_unknown_fields=True, kw_only=True):
    channel: str
    key: Annotated[str, msgspec.Meta(max_length=MAX_KEY_CHARS)] = ""
    exclude: str = ""


class _Disconnect(Struct, forbid_unknown_fields=True, kw_only=True):
    code: int = closecodes.DISCONNECTED
    reason: str = "disconnected"


_Channels = Annotated[list[str], msgspec.Meta(max_length=_MOST_THINGS)]


class _Message(_Answer, forbid_unknown_fields=True, kw_only=True):
    payload: Raw = Raw()
    payload64: bytes | None = None
    messages: Annotated[list[_Said], msgspec.Meta(max_length=_MOST_THINGS)] = []
    publish: Annotated[list[_Announced], msgspec.Meta(max_length=_MOST_THINGS)] = []
    subscribe: _Channels = []
    unsubscribe: _Channels = []
    disconnect: _Disconnect | None = None


def _read(kind: type[Any], body: bytes) -> Any:
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise NonsenseError(str(problem)) from None


def _refusal(refuse: _Refuse) -> Refusal:
    if refuse.code not in ERROR_CODES:
        raise NonsenseError("refused with a code that does not exist")
    code = refuse.close_code
    if code and not 4000 <= code <= 4999:
        raise NonsenseError("a close code is 4000 to 4999")
    if len(refuse.message.encode()) > closecodes.MAX_REASON_BYTES:
        raise NonsenseError(f"a message of a refusal has at most {closecodes.MAX_REASON_BYTES} bytes")
    return Refusal(code=refuse.code, message=refuse.message, close_code=code)


def _checked(json: Raw) -> bytes:
    if not bytes(json):
        return b""
    try:
        return check_json(json)
    except CommandError as problem:
        raise NonsenseError(problem.message) from None


def _payload(json: Raw, binary: bytes | None) -> tuple[bytes | None, bool]:
    text = _checked(json)
    if text and binary is not None:
        raise NonsenseError("both a JSON payload and bytes")
    return (text or None, False) if binary is None else (binary, True)


def read_connect(body: bytes) -> Admission | Refusal:
    """Read the answer to `connect`.  Raises NonsenseError, as all of these do."""
    answer = _read(_Connect, body)
    if answer.refuse is not None:
        return _refusal(answer.refuse)
    if answer.user and not is_channel_name(personal_channel(answer.user)):
        raise NonsenseError("a user that cannot be one: see the names of channels")
    return Admission(
        user=answer.user,
        info=_checked(answer.info),
        channels=_common(answer.channels),
        expires=answer.expires,
        claims=answer.claims,
    )


def read_subscribe(body: bytes) -> SubscribeVerdict | Refusal:
    """Read the answer to `subscribe`."""
    answer = _read(_Subscribe, body)
    if answer.refuse is not None:
        return _refusal(answer.refuse)
    return SubscribeVerdict(info=_checked(answer.info))


def read_publish(body: bytes) -> PublishVerdict | Refusal:
    """Read the answer to `publish`."""
    answer = _read(_Publish, body)
    if answer.refuse is not None:
        return _refusal(answer.refuse)
    data, binary = _payload(answer.data, answer.data64)
    return PublishVerdict(data=data, binary=binary)


def read_call(body: bytes) -> CallVerdict | Refusal:
    """Read the answer to `call`."""
    answer = _read(_Call, body)
    if answer.refuse is not None:
        return _refusal(answer.refuse)
    data, binary = _payload(answer.payload, answer.payload64)
    return CallVerdict(data=data, binary=binary)


def read_message(body: bytes) -> MessageVerdict | Refusal:
    """Read the answer to `message`."""
    answer = _read(_Message, body)
    if answer.refuse is not None:
        return _refusal(answer.refuse)
    data, binary = _payload(answer.payload, answer.payload64)
    close_code, reason = _ending(answer.disconnect)
    return MessageVerdict(
        publish=tuple(map(_announced, answer.publish)),
        subscribe=_common(answer.subscribe),
        unsubscribe=_common(answer.unsubscribe),
        messages=tuple(map(_said, answer.messages)),
        answer=None if data is None else Said(data, binary),
        close_code=close_code,
        reason=reason,
    )


def _said(said: _Said) -> Said:
    data, binary = _payload(said.data, said.data64)
    if data is None:
        raise NonsenseError("a message has either data or data64")
    return Said(data, binary)


def _announced(wanted: _Announced) -> Announced:
    try:
        channel = check_known_name(wanted.channel)
    except CommandError as problem:
        raise NonsenseError(problem.message) from None
    return Announced(channel=channel, said=_said(wanted), key=wanted.key, exclude=wanted.exclude)


def _common(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of channels, each once.  None is a personal one: nobody else's can be heard."""
    try:
        channels = tuple(check_channel_name(name) for name in dict.fromkeys(names))
    except CommandError as problem:
        raise NonsenseError(problem.message) from None
    if any(name.startswith("@") for name in channels):
        raise NonsenseError("personal channels are subscribed to by themselves")
    return channels


def _ending(wanted: _Disconnect | None) -> tuple[int, str]:
    """Return the close code and the reason, as `POST /api/disconnect` takes them; 0 to stay."""
    if wanted is None:
        return 0, ""
    if not closecodes.is_for_services(wanted.code):
        raise NonsenseError("a close code is 1000, or 3000 to 4999")
    if len(wanted.reason.encode()) > closecodes.MAX_REASON_BYTES:
        raise NonsenseError(f"a reason has at most {closecodes.MAX_REASON_BYTES} bytes")
    return wanted.code, wanted.reason
