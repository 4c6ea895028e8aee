"""What an update makes of a channel's state: the same for every broker.

Knows neither where states are kept nor who asks.  What always holds: an update changes a state as a whole,
or raises and changes nothing.
"""

from __future__ import annotations

from ..errors import CommandError, StaleVersionError
from ..message.merge_patch import merge_patch
from ..message.publication import Position
from .interface import ChannelOptions, State

NOTHING = b"null"
"""The state of a channel that was never updated."""


def next_state(now: State, base: Position, patch: bytes, options: ChannelOptions) -> bytes:
    """Return the JSON text of the state that follows `now`.

    Raises StaleVersionError when `base` is another version, or of another epoch than "" or that of `now`;
    CommandError `limit_exceeded` when the new state would be larger than `options.max_state_bytes`.
    """
    if base.offset != now.version or base.epoch not in ("", now.epoch):
        raise StaleVersionError(now.epoch, now.version, now.data)
    data = merge_patch(now.data, patch)
    if len(data) > max(options.max_state_bytes, len(now.data)):  # one that was allowed once may shrink
        raise CommandError("limit_exceeded", f"a state is at most {options.max_state_bytes} bytes")
    return data
