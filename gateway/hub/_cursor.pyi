from .._sink import Sink
from ._ring import Ring

class Cursor:
    sink: Sink
    ring: Ring | None
    gapped: bool
    gap_from: int
    gap_to: int
    @property
    def lag_bytes(self) -> int: ...
    @property
    def had_offset(self) -> int: ...
    def skip_newest(self) -> None: ...
    def skip(self, offset: int) -> None: ...
