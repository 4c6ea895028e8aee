"""The AsyncAPI document of the WebSocket side, generated from the records of commands and events.

Nothing in it is written twice: names, fields, bounds and descriptions are those of the records.  It describes
JSON; docs/protocol.md says what is different in the other encodings.  docs/asyncapi.yaml is the
same as a file; a test compares.
"""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from ..errors import ERROR_CODES
from ..message.commands import AnyCommand, Command, Publish, Send
from ..message.events import Error, Event, Message, Pong, PublicationView, Reply
from .asyncapi_examples import examples_of

_REF: Final = "#/components/schemas/{name}"
_BASE64: Final = frozenset({"data64", "payload64"})
_COMMANDS: Final[tuple[type[Command], ...]] = get_args(AnyCommand)
_INFO: Final = {
    "title": "Ringgate, the client side",
    "version": "1",
    "description": "What clients and the gateway say to each other over WebSocket, as `ringgate.v1.json`: "
    "each message of a client is one command, or a list of commands; each of the gateway is one event.  "
    "The subprotocols `ringgate.v1.msgpack` and `ringgate.v1.protobuf` carry the same records.",
}


def build_asyncapi() -> dict[str, Any]:
    """Return the document as AsyncAPI 3.0, as the gateway sees it: it receives commands, and sends events."""
    events = Event.__subclasses__()
    kinds = [*(_writable(command) for command in _COMMANDS), *events]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    for name, schema in schemas.items():
        _finish(name, schema)
    messages = {_name(kind): _message(kind) for kind in (*_COMMANDS, *events)}
    return {
        "asyncapi": "3.0.0",
        "info": dict(_INFO),
        "defaultContentType": "application/json",
        "servers": {"gateway": {"host": "127.0.0.1:8000", "protocol": "ws"}},
        "channels": {"ws": _channel(messages)},
        "operations": _operations(events),
        "components": {"messages": messages, "schemas": schemas},
    }


def _name(kind: type[msgspec.Struct]) -> str:
    """Return the type of a command or an event, as it stands in its field `type`."""
    return str(kind.__struct_config__.tag)


def _writable(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return a record, or one like it where a default is a payload, for which msgspec has no schema."""
    fields = msgspec.structs.fields(kind)
    if not any(isinstance(field.default, msgspec.Raw) for field in fields):
        return kind
    like: list[Any] = []
    for field in fields:
        default = None if isinstance(field.default, msgspec.Raw) else field.default
        like.append((field.name, field.type, msgspec.field(default=default, name=field.encode_name)))
    twin = msgspec.defstruct(kind.__name__, like, tag_field="type", tag=_name(kind), kw_only=True)
    twin.__doc__ = kind.__doc__
    return twin


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    summary = (kind.__doc__ or "").split("\n", 1)[0]
    payload = {"$ref": _REF.format(name=kind.__name__)}
    examples = [{"payload": example} for example in examples_of(kind)]
    return {"name": _name(kind), "summary": summary, "payload": payload, "examples": examples}


def _channel(messages: dict[str, Any]) -> dict[str, Any]:
    texts = {
        "token": "who the client is, where it cannot set headers",
        "user": "in development mode: who it is",
    }
    query = {name: {"type": "string", "description": text} for name, text in texts.items()}
    return {
        "address": "/ws",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": {"type": "object", "properties": query}}},
    }


def _operations(events: list[type[Event]]) -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for command in _COMMANDS:
        answers: list[type[Event]] = [Reply, Error]
        if _name(command) == "ping":
            answers.append(Pong)
        operations[f"on_{_name(command)}"] = {
            "action": "receive",
            "channel": {"$ref": "#/channels/ws"},
            "summary": (command.__doc__ or "").split("\n", 1)[0],
            "messages": [_of_channel(command)],
            "reply": {
                "channel": {"$ref": "#/channels/ws"},
                "messages": [_of_channel(answer) for answer in answers],
            },
        }
    operations["tell"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/ws"},
        "summary": "Tell a client what happens",
        "messages": [_of_channel(event) for event in events],
    }
    return operations


def _of_channel(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/channels/ws/messages/{_name(kind)}"}


def _finish(name: str, schema: dict[str, Any]) -> None:
    """Say what the records leave to their readers: null is never sent, one payload, codes of a table."""
    for field, told in schema.get("properties", {}).items():
        if {"type": "null"} in told.get("anyOf", ()):
            (kind,) = (one for one in told.pop("anyOf") if one != {"type": "null"})
            told.update(kind)
        if told.get("default", ...) is None:
            del told["default"]
        if field in _BASE64:
            told |= {"type": "string", "contentEncoding": "base64"}
    if name == Error.__name__:
        schema["properties"]["code"]["examples"] = list(ERROR_CODES)
    if name in {Message.__name__, Publish.__name__, Send.__name__}:
        schema["oneOf"] = [{"required": ["data"]}, {"required": ["data64"]}]
    if name == PublicationView.__name__:
        schema["oneOf"] = [{"required": [one]} for one in ("data", "data64", "patch")]
