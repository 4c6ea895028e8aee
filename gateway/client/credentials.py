"""The token, and when the next one is needed.  It knows neither the connection nor how the application
makes one.

What always holds: the application is asked only when a token is needed that is not at hand: at first, shortly
before the present one ends, and once after the gateway refused it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from .timers import Alarm, Timers

TokenSource = str | Callable[[], "str | Awaitable[str | None] | None"]
"""A token, or how to get one; None from there means that there is none to be had, and that the client
should stop."""

_MARGIN_S: Final = 60.0
_LEAST_S: Final = 1.0


class Credentials:
    """`renew` is called when it is time for a new token while the connection stands."""

    def __init__(
        self,
        source: TokenSource | None,
        timers: Timers,
        wall: Callable[[], float],
        renew: Callable[[], None],
    ) -> None:
        self._asks = callable(source)
        self._token = source if isinstance(source, str) else ""
        self._wall = wall
        self._ends_at = float("inf")
        self._margin_s = _MARGIN_S
        self._is_fresh = False  # it came from the application, and the gateway has not taken it yet
        self._alarm = Alarm(timers, renew)

    @property
    def at_hand(self) -> str | None:
        """The token to show; "" where none is used, None where the application has to be asked."""
        if not self._asks or (self._token and self._wall() < self._ends_at - self._margin_s):
            return self._token
        return None

    def came(self, token: str) -> None:
        """The application gave a token."""
        self._token = token
        self._ends_at = float("inf")
        self._is_fresh = True

    def accepted(self, expires: int) -> None:
        """The gateway took the token, which ends at `expires` (seconds since 1970; 0: never)."""
        self._is_fresh = False
        self._alarm.stop()
        if not expires or not self._asks:
            return
        left_s = expires - self._wall()
        self._ends_at = float(expires)
        self._margin_s = min(_MARGIN_S, max(left_s, 0.0) / 4)
        self._alarm.set(max(_LEAST_S, left_s - self._margin_s))

    def refused(self) -> bool:
        """The gateway did not take it.  Return whether another one may help."""
        another = self._asks and not self._is_fresh
        if self._asks:
            self._token = ""
        return another

    def rest(self) -> None:
        """There is no connection any more that would have to be renewed."""
        self._alarm.stop()
