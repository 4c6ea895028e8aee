from collections.abc import Callable
from typing import Final

from .._sink import Sink
from ._cursor import Cursor
from ._framelog import FrameLog

POLICIES: Final[dict[str, int]]

class HubStats:
    frames_appended: int
    bytes_appended: int
    frames_delivered: int
    bytes_sent: int
    sends: int
    blocks: int
    dropped_disconnect: int
    dropped_skip: int
    dropped_latest: int
    slow_disconnects: int
    gaps: int

class Flusher:
    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], *, sends_per_turn: int = 1024
    ) -> None: ...
    def run(self) -> None: ...
    @staticmethod
    def catch_up(sink: Sink) -> None: ...

class Ring(FrameLog):
    retain: int
    cursor_count: int
    def __init__(
        self,
        *,
        bound_bytes: int,
        retain_bytes: int,
        policy: str,
        newest: int,
        flusher: Flusher,
        stats: HubStats,
        encode_gap: Callable[[Cursor], tuple[int, bytes]],
    ) -> None: ...
    def attach(self, sink: Sink) -> Cursor: ...
    def detach(self, cursor: Cursor) -> None: ...
    def send_pending(self, cursor: Cursor) -> None: ...
    def seek(self, cursor: Cursor, offset: int) -> bool: ...
    def append(self, opcode: int, payload: bytes, offset: int = 0) -> None: ...
    def tidy(self, idle: bool) -> bool: ...
    def lag(self) -> tuple[int, int]: ...
