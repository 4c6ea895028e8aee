"""States of state channels, as clients get them: read for those who subscribe, told to all after a loss.

It knows the node's channels and the broker only by what it is given, and neither sessions nor sockets.  How
it works: who asks for a state while it is being read waits for that read; what was read serves others for
`FRESH_S` seconds, since what came after it is in the channel's rings.  When patches were lost on their way to
this node, subscribers were told so by a `gap`, and cannot apply what follows; then the state is read, and put
into the rings behind it.

What always holds: a state that is told to all is at the version up to which their patches came, or later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from .broker import State
from .errors import BrokerError, BrokerUnavailableError
from .hub.channel import Channel
from .message.views import state_of

FRESH_S: Final = 2.0
_PAUSE_S: Final = 0.5
_MOST_READS: Final = 3


class States:
    """`read_state` asks the broker; `is_open` tells whether a channel is still the node's; `spawn` runs a
    coroutine that nobody waits for.
    """

    def __init__(
        self,
        read_state: Callable[[str], Awaitable[State]],
        *,
        is_open: Callable[[Channel], bool],
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._read_state = read_state
        self._is_open = is_open
        self._loop = loop
        self._spawn = spawn
        self._fresh: dict[str, tuple[float, State]] = {}
        self._reading: dict[str, asyncio.Future[State]] = {}
        self._telling: dict[Channel, bool] = {}  # true: more was lost since its state was asked for

    async def read(self, channel: str, epoch: str, reaching: int) -> State:
        """Return the state of a channel, of `epoch` and at version `reaching` or later if there is such.

        Raises BrokerError.
        """
        known = self._fresh.get(channel)
        if known is not None and _serves(known[1], epoch, reaching):
            return known[1]
        for _ in range(_MOST_READS):
            reading = self._reading.get(channel)
            mine = reading is None
            if reading is None:
                reading = self._reading[channel] = self._loop.create_future()
                self._spawn(self._read(channel, reading))
                if reading.done():  # the broker has it at hand
                    self._fresh.pop(channel, None)
                    return reading.result()
            state = await asyncio.shield(reading)
            if mine or _serves(state, epoch, reaching):
                break
        return state

    async def _read(self, channel: str, reading: asyncio.Future[State]) -> None:
        try:
            state = await self._read_state(channel)
        except BaseException as problem:
            told = problem if isinstance(problem, Exception) else BrokerUnavailableError("stopping")
            reading.set_exception(told)
            reading.exception()  # perhaps nobody waits any more
            if not isinstance(problem, Exception):
                raise
            return
        finally:
            del self._reading[channel]
        self._fresh[channel] = (self._loop.time(), state)
        reading.set_result(state)

    def forget_old(self) -> None:
        """Forget states that are not fresh; to be called about once a second."""
        oldest = self._loop.time() - FRESH_S
        for channel in [name for name, (read_at, _) in self._fresh.items() if read_at < oldest]:
            del self._fresh[channel]

    # -- after a loss -------------------------------------------------------------------------

    def tell(self, here: Channel) -> None:
        """See to it that the subscribers of a channel, who were told of a loss, get its state."""
        begin = here not in self._telling
        self._telling[here] = True
        if begin:
            self._spawn(self._tell(here))

    async def _tell(self, here: Channel) -> None:
        try:
            while self._telling[here] and here.cursors and self._is_open(here):
                self._telling[here] = False
                if not await self._told(here):
                    self._telling[here] = True
                    await self._pause()
        finally:
            del self._telling[here]

    async def _told(self, here: Channel) -> bool:
        for _ in range(_MOST_READS):
            try:
                state = await self._read_state(here.name)
            except BrokerError:
                return False
            if state.epoch == here.position.epoch and state.version >= here.position.offset:
                here.announce(state_of(here.name, state), self._loop.time())
                return True
        return False

    async def _pause(self) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_later(_PAUSE_S, done.set_result, None)
        try:
            await done
        finally:
            timer.cancel()


def _serves(state: State, epoch: str, reaching: int) -> bool:
    return state.epoch == epoch and state.version >= reaching
