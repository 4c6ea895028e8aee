"""What an application shows of the connection: one value, told anew whenever it changes.

It knows the states of the machine, and no socket.  While the client waits, it is told once a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from .results import Status
from .timers import Alarm, Timers

_LEAST_S: Final = 0.05


class StatusStream:
    """`tell` is called with every new status."""

    def __init__(self, timers: Timers, tell: Callable[[Status], None]) -> None:
        self._timers = timers
        self._tell = tell
        self._alarm = Alarm(timers, self._again)
        self._state = "idle"
        self._retry_at = 0.0
        self._client = ""
        self._user = ""
        self._code = 0
        self._reason = ""
        self.status = Status("offline")

    def online(self, client: str, user: str) -> None:
        """The gateway said who we are."""
        self._client, self._user = client, user
        self.forget()

    def ended(self, code: int, reason: str) -> None:
        """An attempt or a connection ended."""
        self._code, self._reason = code, reason

    def forget(self) -> None:
        """Why the last one ended is of no interest any more."""
        self._code, self._reason = 0, ""

    def retry_at(self, time: float) -> None:
        """Set when the next attempt is."""
        self._retry_at = time

    def show(self, state: str) -> None:
        """The machine has come to a state."""
        self._state = state
        self._again()

    def _again(self) -> None:
        self._alarm.stop()
        status = self._read()
        if status.state == "reconnecting":
            self._alarm.set(max(self._retry_at - self._timers.time() - (status.seconds - 1), _LEAST_S))
        if status != self.status:
            self.status = status
            self._tell(status)

    def _read(self) -> Status:
        code, reason = self._code, self._reason
        if self._state == "online":
            return Status("online", client=self._client, user=self._user)
        if self._state == "waiting":
            seconds = max(0, math.ceil(self._retry_at - self._timers.time()))
            return Status("reconnecting", seconds, code=code, reason=reason)
        if self._state in {"asking", "opening"}:
            return Status("connecting", code=code, reason=reason)
        return Status("offline", code=code, reason=reason)
