class FrameWalker:
    messages: int
    begun: int
    begun_bytes: int
    pings: int
    owed: int
    closed: bool
    close_code: int
    def __init__(
        self, *, masked: bool, rsv: int = 0, max_message_bytes: int = 0, max_fragments: int = 0
    ) -> None: ...
    def walk_bytes(self, data: bytes) -> tuple[bytes, int]: ...
