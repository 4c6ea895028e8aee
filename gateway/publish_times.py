"""How long publications took, in buckets, as samples that can be added up over processes.

It knows nothing of who shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from ._publishing import Buckets

Sample = tuple[str, str, str, Mapping[str, str], float]
"""Name, kind ("counter", "gauge" or "histogram"), help text, labels, value.

A histogram is several samples: for each bucket one that is labelled `le`, the bucket's bound or "+Inf", with
the number of observations up to it; and one without that label, with their sum.
"""

BUCKETS_S: Final = (
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
_NAME: Final = "ringgate_publish_seconds"
_HELP: Final = "Time from a publication's arrival at the node to its acknowledgement by the broker"


class PublishTimes(Buckets):
    """A histogram of seconds."""

    def __init__(self) -> None:
        super().__init__(BUCKETS_S)

    def samples(self) -> Iterator[Sample]:
        """Yield the buckets, and the sum."""
        bounds = [*(repr(bound) for bound in BUCKETS_S), "+Inf"]
        for bound, count in zip(bounds, accumulate(self.counts), strict=True):
            yield _NAME, "histogram", _HELP, {"le": bound}, count
        yield _NAME, "histogram", _HELP, {}, self.sum
