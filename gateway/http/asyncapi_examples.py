"""One example of each command and event for the AsyncAPI document: records, as they are said in JSON.

It knows the records and nothing of the document.  What always holds: there is one of each kind (a test
counts), and each is what the codec reads or writes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..message import commands, events
from ..message.json import JsonCodec

_DATA: Final = msgspec.Raw(b'{"text":"hello"}')
_PATCH: Final = msgspec.Raw(b'{"title":"Plan","cards":{"b":null}}')
_STATE: Final = msgspec.Raw(b'{"title":"Plan","cards":{"a":{"text":"one"}}}')
_EPOCH: Final = "c592f021bcf156a5"
_CLIENT: Final = "nXoqO_AS0OHOIfRc"
_SESSION: Final = "nNZMHN62xb2aBBU-"
_SINCE: Final = commands.Since(_EPOCH, 1)
_TIME: Final = 1_795_426_675_119
_FROM: Final = events.From(_CLIENT, "ada")

_COMMANDS: Final[tuple[commands.Command, ...]] = (
    commands.Connect(id=1, session=_SESSION, since={"news": _SINCE}),
    commands.Subscribe(id=2, channel="news", since=_SINCE),
    commands.Unsubscribe(id=3, channel="news"),
    commands.Publish(id=4, channel="chat:1", data=_DATA, key="order-17"),
    commands.Publish(channel="chat:1", data64=b"\x00\x01\x02"),
    commands.Update(id=5, channel="board:1", base=1, patch=_PATCH, epoch=_EPOCH),
    commands.Presence(id=6, channel="chat:1"),
    commands.History(id=7, channel="news", limit=20),
    commands.Call(id=8, method="cart.add", payload=msgspec.Raw(b'{"n":1}'), timeout=5000),
    commands.Send(id=9, data=_DATA),
    commands.Ping(),
)
_EVENTS: Final[tuple[events.Event, ...]] = (
    events.Hello(client=_CLIENT, session=_SESSION, user="ada", ping=30.0),
    events.Reply(id=2, channel="news", epoch=_EPOCH, offset=3, recovered=True),
    events.Error(id=4, code="permission_denied", message="this client may not publish", retry=False),
    events.Error(
        id=5, code="stale_version", message="the current version is 2", retry=False,
        epoch=_EPOCH, version=2, data=_STATE,
    ),
    events.Message(channel="chat:1", offset=1, id="UOlpxzDk-1", data=_DATA, from_=_FROM, time=_TIME),
    events.State(channel="board:1", epoch=_EPOCH, version=2, data=_STATE),
    events.Patch(channel="board:1", version=3, id="UOlpxzDk-2", patch=_PATCH, from_=_FROM, time=_TIME),
    events.Join(channel="chat:1", client=_CLIENT, user="ada", info=msgspec.Raw(b'{"name":"Ada"}')),
    events.Leave(channel="chat:1", client=_CLIENT, user="ada"),
    events.Gap(channel="ticks", from_=17, to=40, reason="slow"),
    events.Subscribed(channel="room#7", epoch=_EPOCH, offset=0),
    events.Unsubscribed(channel="room#7", code="permission_revoked"),
    events.Pong(),
    events.Reconnect(after=(0, 2000), reason="drain"),
)  # fmt: skip


def examples_of(kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """Return the examples of a command or an event, as objects of JSON."""
    codec = JsonCodec()
    said = [msgspec.json.encode(record) for record in _COMMANDS if type(record) is kind]
    said += [codec.encode(record) for record in _EVENTS if type(record) is kind]
    return [msgspec.json.decode(text) for text in said]
