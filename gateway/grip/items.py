"""What publishers of GRIP say: items, each for a channel, in the formats of several transports.

Pure.  Only `ws-message` means anything here; the formats of other transports beside it are passed over, as
everybody does who has no such clients, and an item that is for others alone is refused.  What always holds:
`read_items` returns what to do or raises CommandError, and then nothing was done; the OpenAPI document shows
the records as they stand here.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from .. import closecodes
from ..closecodes import MAX_REASON_BYTES
from ..errors import CommandError
from ..message.bare import payload_of_text
from ..message.filters import Terms
from ..message.names import check_channel_name

MOST_ITEMS: Final = 1000
_NEEDS_CONTENT: Final = {
    "anyOf": [
        {"required": ["action"], "properties": {"action": {"enum": ["close", "hint"]}}},
        {"required": ["content"]},
        {"required": ["content-bin"]},
    ]
}
_NEEDS_MESSAGE: Final = {"anyOf": [{"required": ["formats"]}, {"required": ["ws-message"]}]}

_Id = Annotated[str, Meta(max_length=190)]


class WsMessage(Struct, rename="kebab"):
    """What clients of WebSocket are sent, or that they are closed (with `code` and `reason`)."""

    content: Annotated[str | UnsetType, Meta(description="a text message")] = UNSET
    content_bin: Annotated[
        str | UnsetType, Meta(description="a binary message in base64 (RFC 4648 section 4)")
    ] = UNSET
    action: Literal["send", "close", "hint"] = "send"
    type: Annotated[
        Literal["text", "binary"] | UnsetType, Meta(description="if not what the content says")
    ] = UNSET
    code: Annotated[int, Meta(description="a close code")] = closecodes.NORMAL
    reason: Annotated[str, Meta(max_length=MAX_REASON_BYTES)] = ""
    content_filters: Annotated[
        list[Any], Meta(max_length=0, description="of those that change contents none is known here")
    ] = []

    def __post_init__(self) -> None:
        if self.action == "send":
            if self.content is UNSET and self.content_bin is UNSET:
                raise ValueError("`content` or `content-bin` is required")
            self.payload()
        elif self.action == "close" and not (
            closecodes.may_receive(self.code) and len(self.reason.encode()) <= MAX_REASON_BYTES
        ):
            raise ValueError(f"`code` is a close code, and `reason` at most {MAX_REASON_BYTES} bytes")

    def payload(self) -> tuple[bool, bytes]:
        """Return whether the publication is bytes, and its payload."""
        binary = self.type == "binary" or (self.type is UNSET and self.content_bin is not UNSET)
        if isinstance(self.content_bin, str):
            try:
                data = base64.b64decode(self.content_bin, validate=True)
                return binary, data if binary else payload_of_text(data.decode())
            except (binascii.Error, ValueError):
                raise ValueError("`content-bin` is not base64, or is to be text and is none") from None
        text = self.content if isinstance(self.content, str) else ""
        return binary, text.encode() if binary else payload_of_text(text)


_WsMessage = Annotated[WsMessage, Meta(extra_json_schema=_NEEDS_CONTENT)]
_Passed = Annotated[Raw | UnsetType, Meta(description="of another transport: passed over")]


class ItemFormats(Struct, rename="kebab"):
    """An item's message, for each transport."""

    ws_message: _WsMessage
    http_response: _Passed = UNSET
    http_stream: _Passed = UNSET


class ItemMeta(Struct):
    """What the filters of subscriptions compare."""

    sender: Annotated[str, Meta(max_length=200, description="skip-self: not for this user")] = ""
    skip_users: Annotated[
        str, Meta(max_length=4096, description="skip-users: not for these, joined by commas")
    ] = ""
    require_sub: Annotated[
        str, Meta(max_length=200, description="require-sub: only for those who hear this channel, too")
    ] = ""

    def terms(self, prefix: str) -> str:
        """Return them as filters get them; channels begin with the prefix."""
        users = tuple(name for user in self.skip_users.split(",") if (name := user.strip()))
        return Terms(self.sender, users, self.require_sub and prefix + self.require_sub).written()


class PublishItem(Struct, rename="kebab"):
    """One message for one channel; `ws-message` is in `formats`, or beside the rest."""

    channel: Annotated[str, Meta(min_length=1, max_length=200)]
    id: Annotated[_Id, Meta(description="a second item with it is not published")] = ""
    prev_id: Annotated[_Id, Meta(description="not looked at")] = ""
    formats: ItemFormats | UnsetType = UNSET
    ws_message: _WsMessage | UnsetType = UNSET
    meta: ItemMeta | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.formats is UNSET and self.ws_message is UNSET:
            raise ValueError("an item without `ws-message` is for nobody here: only WebSocket is spoken")


_Item = Annotated[PublishItem, Meta(extra_json_schema=_NEEDS_MESSAGE)]


class ItemsBody(Struct):
    """What is published at once: nothing of it, if one item makes no sense."""

    items: Annotated[list[_Item], Meta(max_length=MOST_ITEMS)]


class Publish(NamedTuple):
    """Publish to a channel; `key` is an idempotency key, or empty; `exclude` terms of filters."""

    channel: str
    binary: bool
    data: bytes
    key: str
    exclude: str = ""


class Close(NamedTuple):
    """Close the connections of a channel, but for those that terms of filters keep it from."""

    channel: str
    code: int
    reason: str
    exclude: str = ""


_decoder: Final = msgspec.json.Decoder(ItemsBody)


def read_items(body: bytes, prefix: str) -> list[Publish | Close]:
    """Return what to do, in order, in channels that begin with a prefix.  Raises CommandError."""
    try:
        items = _decoder.decode(body).items
    except (msgspec.DecodeError, ValueError) as problem:
        raise CommandError("bad_request", str(problem)) from None
    except RecursionError:
        raise CommandError("bad_request", "JSON is nested too deeply") from None
    found = [_to_do(item, prefix) for item in items]
    return [what for what in found if what is not None]


def _to_do(item: PublishItem, prefix: str) -> Publish | Close | None:
    channel = check_channel_name(prefix + item.channel)
    if channel.startswith("@"):
        raise CommandError("bad_request", "personal channels are not published to so")
    message = item.formats.ws_message if isinstance(item.formats, ItemFormats) else item.ws_message
    if not isinstance(message, WsMessage) or message.action == "hint":
        return None
    exclude = item.meta.terms(prefix) if isinstance(item.meta, ItemMeta) else ""
    if message.action == "close":
        return Close(channel, message.code, message.reason, exclude)
    binary, data = message.payload()
    return Publish(channel, binary, data, f"grip:{item.id}" if item.id else "", exclude)
