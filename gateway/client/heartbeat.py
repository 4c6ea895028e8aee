"""Signs of life: the command `ping` when nothing was heard for a while, and the end when nothing answers.

It knows no socket.  What always holds: a gateway from which nothing came for twice the period is called
silent, and none is from which something came.
"""

from __future__ import annotations

from collections.abc import Callable

from .timers import Alarm, Timers


class Heartbeat:
    """`ping` sends one; `silent` is called when nothing was heard in time."""

    def __init__(self, timers: Timers, ping: Callable[[], None], silent: Callable[[], None]) -> None:
        self._timers = timers
        self._ping = ping
        self._silent = silent
        self._period_s = 0.0
        self._heard_at = 0.0
        self._has_asked = False
        self._alarm = Alarm(timers, self._look)

    def start(self, period_s: float) -> None:
        """Begin with a connection; the gateway says what the period is."""
        self._period_s = period_s
        self.heard()
        self._alarm.set(period_s)

    def stop(self) -> None:
        """The connection is over."""
        self._alarm.stop()

    def heard(self) -> None:
        """Something came, also a WebSocket ping."""
        self._heard_at = self._timers.time()
        self._has_asked = False

    def _look(self) -> None:
        quiet_s = self._timers.time() - self._heard_at
        if quiet_s < self._period_s:
            self._alarm.set(self._period_s - quiet_s)
        elif not self._has_asked:
            # Only what was asked for and did not come is silence: the whole process may have slept.
            self._has_asked = True
            self._alarm.set(self._period_s)
            self._ping()
        else:
            self._silent()
