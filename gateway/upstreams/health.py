"""Active health: whether a target works, from checks that were made for nothing else.

Pure.  A target counts as healthy until checks say otherwise; it takes several that agree to change that, so
that one lost packet does not move traffic.
"""

from __future__ import annotations

from .options import HealthOptions


class Health:
    """What the checks of one target said."""

    __slots__ = ("_contrary", "_options", "healthy")

    def __init__(self, options: HealthOptions) -> None:
        self._options = options
        self._contrary = 0
        self.healthy = True

    def change(self, options: HealthOptions) -> None:
        """Take other options; where nothing is checked any more, nothing is held against the target."""
        self._options = options
        if not options.path:
            self.healthy, self._contrary = True, 0

    def checked(self, *, ok: bool) -> bool:
        """Take the result of a check; tell whether `healthy` changed."""
        if ok == self.healthy:
            self._contrary = 0
            return False
        self._contrary += 1
        needed = self._options.unhealthy_after if self.healthy else self._options.healthy_after
        if self._contrary < needed:
            return False
        self.healthy, self._contrary = ok, 0
        return True
