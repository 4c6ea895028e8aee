from gateway.bench._load import Load
from gateway.bench._payload import Template

class FanoutLoad(Load):
    @property
    def expected(self) -> int: ...
    @property
    def delivered(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def doubled(self) -> int: ...
    @property
    def reordered(self) -> int: ...
    @property
    def outstanding(self) -> int: ...
    def __init__(
        self,
        mark: bytes,
        templates: list[Template],
        *,
        raw: bool = False,
        binary: bool = False,
        groups: int = 0,
        confirmation: bytes = b"",
        close_when_ready: bool = False,
    ) -> None: ...
    def publish_over(self, index: int) -> None: ...
