from collections.abc import Callable, Sequence
from typing import Final

from ...message.publication import Publication
from ..interface import ChannelOptions, Publisher, PublishResult
from .names import ChannelKeys

MOST_AT_ONCE: Final[int]
ENTRY_BYTES: Final[int]

class Piece:
    key: str
    count: int
    counted_bytes: int
    def __init__(self, publication: Publication | None, key: str = "") -> None: ...
    @property
    def packed(self) -> bytes: ...

class Group:
    keys: ChannelKeys
    options: ChannelOptions
    pieces: list[Piece]
    def __init__(self, keys: ChannelKeys, options: ChannelOptions) -> None: ...
    def add(
        self, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> bool: ...
    def place(self, epoch: str, first: int) -> None: ...
    def settle(self, outcomes: Sequence[PublishResult] | Exception) -> None: ...

class Gatherer:
    def __init__(self, keys_of: Callable[[str], ChannelKeys], on_first: Callable[[], None]) -> None: ...
    def begin_publish(
        self, channel: str, publication: Publication, options: ChannelOptions, key: str, publisher: Publisher
    ) -> None: ...
    def take_groups(self) -> list[Group]: ...
