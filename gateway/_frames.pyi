from typing import Final, NamedTuple

from gateway.deflate import Inflater

FAILED: Final = -1
NEED_DATA: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

class Event(NamedTuple):
    kind: int
    payload: bytes = b""
    close_code: int = 0
    close_reason: bytes = b""

class Decoder:
    @property
    def close_code(self) -> int: ...
    @property
    def close_reason(self) -> bytes: ...
    @property
    def in_message(self) -> bool: ...
    @property
    def held_bytes(self) -> int: ...
    def __init__(
        self,
        *,
        client: bool = False,
        max_message_bytes: int,
        max_fragments: int,
        inflater: Inflater | None = None,
    ) -> None: ...
    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]: ...

def count_events(decoder: Decoder, data: bytes, rounds: int = 1) -> int: ...
