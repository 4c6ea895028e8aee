from gateway.bench._load import Load

class EchoLoad(Load):
    @property
    def wrong(self) -> int: ...
    @property
    def outstanding(self) -> int: ...
    def __init__(
        self,
        mark: bytes,
        *,
        payload_bytes: int,
        binary: bool = False,
        confirmation: bytes = b"",
        close_when_ready: bool = False,
    ) -> None: ...
