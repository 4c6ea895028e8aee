"""The timers of a GRIP connection: an empty request when nothing happens, and something for the client.

It knows times, and nothing of connections or services.  How it works: `Keep-Alive-Interval` asks for a
request when that long there was none; the control message `keep-alive` for a message to a client to which
nothing else was sent.  After `stop` nothing is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .control import KeepAlive, SendDelayed


class Tending:
    """Timers of one connection.

    `ask` is called when a request is due.  `say(opcode, payload)` sends something to the client;
    `heard_at` returns when it was last sent something that did not come by `say` or `spoke`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        ask: Callable[[], None],
        say: Callable[[int, bytes], None],
        heard_at: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._ask = ask
        self._say = say
        self._heard_at = heard_at
        self._interval_s = 0.0
        self._asking: asyncio.TimerHandle | None = None
        self._saying: asyncio.TimerHandle | None = None
        self._wanted: KeepAlive | None = None
        self._later: SendDelayed | None = None
        self._delaying: asyncio.TimerHandle | None = None
        self._spoke_at = loop.time()
        self._stopped = False

    def every(self, interval_s: float | None) -> None:
        """Ask so often from now on: 0 for never, None for as before."""
        if interval_s is not None:
            self._interval_s = interval_s

    def busy(self) -> None:
        """A request is under way."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def rest(self) -> None:
        """No request is under way from now on."""
        self.busy()
        if self._interval_s and not self._stopped:
            self._asking = self._loop.call_later(self._interval_s, self._ask)

    def spoke(self) -> None:
        """Something was sent to the client."""
        self._spoke_at = self._loop.time()

    def tend(self, wanted: KeepAlive) -> None:
        """Keep the client company as a service wants it from now on."""
        self._wanted = wanted if wanted.payload() is not None else None
        if self._saying is not None:
            self._saying.cancel()
            self._saying = None
        if self._wanted is not None and not self._stopped:
            self._saying = self._loop.call_later(wanted.timeout_s, self._look)

    def _look(self) -> None:
        """Send what is wanted if its time has come, and look again."""
        wanted = self._wanted
        if wanted is None or self._stopped:
            return
        now = self._loop.time()
        due = max(self._spoke_at, self._heard_at()) + wanted.timeout_s
        if wanted.mode == "interval" or due <= now:
            self._say(wanted.opcode, wanted.payload() or b"")
            self._spoke_at = now
            due = now + wanted.timeout_s
        self._saying = self._loop.call_later(due - now, self._look)

    def delay(self, wanted: SendDelayed) -> None:
        """Send something to the client later, and now what was to be sent so before."""
        self.flush()
        if wanted.payload() is not None and not self._stopped:
            self._later = wanted
            self._delaying = self._loop.call_later(wanted.timeout_s, self.flush)

    def flush(self) -> None:
        """Send now what was to be sent later.  Idempotent."""
        wanted, self._later = self._later, None
        if self._delaying is not None:
            self._delaying.cancel()
            self._delaying = None
        if wanted is not None and not self._stopped:
            self._say(wanted.opcode, wanted.payload() or b"")

    def forget_service(self) -> None:
        """Ask nothing more; the client is kept company all the same."""
        self._interval_s = 0.0
        self.busy()

    def stop(self) -> None:
        """Call nothing any more.  Idempotent."""
        self._stopped = True
        self.busy()
        if self._saying is not None:
            self._saying.cancel()
            self._saying = None
        self.flush()
