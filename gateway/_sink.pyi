from collections.abc import Callable
from typing import Any

class Sink:
    fd: int
    blocked: bool
    closed: bool
    corked: bool
    cursors: list[Any]

class ScriptedSink(Sink):
    take: Callable[[int], int] | None
    received: bytearray
    held_back: bytearray
    slow: list[Any]
    absorbs: bool
    sends: int
    def __init__(self, take: Callable[[int], int] | None = None, *, fd: int = 0) -> None: ...
