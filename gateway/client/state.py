"""A state channel as the application has it: a value that many share, and that can be changed at once.

It knows channels and edits, and no connection.  What always holds: the position of the channel is the
version that the copy has, so that a resumed channel brings exactly the patches that are missing, or the
whole state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, Self

from .channels import Channel, Channels
from .credentials import TokenSource
from .edits import Conflict, Edit, Edits
from .errors import RinggateError
from .results import ChannelEvent, Ended, Patched, Position, StateSet

Answered = Callable[["Position | RinggateError", Any], None]


class Ask(Protocol):
    """Sends an update; `answered` is called with what `Edits.answered` wants to know."""

    def __call__(self, channel: str, edit: Edit, base: Position, answered: Answered) -> None:
        """Send."""


Guard = Callable[[Callable[[Any], object], Any], None]


class State:
    """A shared value; made by `Client.state`.  Iterate over it to get the value whenever it changes.

    What it gives must not be changed in place: `update` changes it.
    """

    def __init__(
        self,
        channels: Channels,
        name: str,
        *,
        ask: Ask,
        new_key: Callable[[], str],
        is_mine: Callable[[str], bool],
        guard: Guard,
        max_pending: int,
        token: TokenSource = "",
    ) -> None:
        self.channel = name
        self.on_close: Callable[[State], None] = _nobody
        self._channels = channels
        self._ask = ask
        self._new_key = new_key
        self._is_mine = is_mine
        self._guard = guard
        self._max_pending = max_pending
        self._edits = Edits(self._send, self._changed, self._conflict)
        self._change_callbacks: list[Callable[[Any], object]] = []
        self._conflict_callbacks: list[Callable[[Conflict], object]] = []
        self._error: RinggateError | None = None
        self._is_closed = False
        self._ready = asyncio.Event()
        self._news = asyncio.Event()
        self._inner: Channel = channels.add(name, self, is_state=True, token=token)

    # -- what it is ---------------------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """The state with this client's pending edits; None before it came."""
        return self._edits.value

    @property
    def confirmed(self) -> Any:
        """The state as the gateway has it, as far as is known here."""
        return self._edits.confirmed

    @property
    def position(self) -> Position | None:
        """Epoch and version of `confirmed`; None before it came."""
        return self._edits.at

    @property
    def pending(self) -> int:
        """How many edits the gateway has not carried out yet, as far as is known here."""
        return len(self._edits.pending)

    async def ready(self) -> Self:
        """Wait until the state came.  Raises RinggateError when it is not to be had, or `closed`."""
        await self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Wait until the value changes (at first: until it is there), and return it."""
        await self._news.wait()
        if self._is_closed:
            raise StopAsyncIteration
        if self._error is not None:
            raise self._error
        self._news.clear()
        return self.value

    def on_change(self, callback: Callable[[Any], object]) -> None:
        """Call a function with the value whenever it is another."""
        self._change_callbacks.append(callback)

    def on_conflict(self, callback: Callable[[Conflict], object]) -> None:
        """Call a function when somebody else changed what a pending edit changes, too; see Conflict."""
        self._conflict_callbacks.append(callback)

    # -- changing it -----------------------------------------------------------------------------------

    def update(self, change: Any) -> asyncio.Future[int]:
        """Change the state by a JSON Merge Patch (RFC 7396): it is seen here at once, and carried out in
        its turn.

        A function instead makes the patch of the value that it will be applied to, and makes it anew if
        somebody else was faster.  Await it for the version that it made.  Whatever was changed elsewhere
        meanwhile, it is applied on top.  Raises RinggateError: `closed`, `queue_full` at once; later what
        the gateway answers, or `aborted` where the function fails then; and at once what the function raises.
        """
        if self._is_closed or self._error is not None:
            raise self._error or RinggateError("closed", "the state was closed")
        if self.pending >= self._max_pending:
            raise RinggateError("queue_full", f"{self._max_pending} edits wait already")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def done(result: int | RinggateError) -> None:
            if future.done():
                return
            if isinstance(result, RinggateError):
                future.set_exception(result)
            else:
                future.set_result(result)

        self._edits.add(Edit(change, self._new_key(), done))
        return future

    def close(self) -> None:
        """Follow it no longer; edits that are pending end with `closed`, and may be carried out or
        not.  Idempotent.
        """
        if not self._is_closed:
            self._is_closed = True
            self._channels.remove(self._inner, self)
            self.on_close(self)
            self._fail(self._error or RinggateError("closed", "the state was closed"))

    def abandon(self, error: RinggateError) -> None:
        """For the client: it is closed."""
        self._error = self._error or error
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what happens ------------------------------------------------------------------------------------

    def tell(self, event: ChannelEvent) -> None:
        """For the channel: something happened."""
        if isinstance(event, StateSet):
            self._edits.set(event.position, event.value)
            if not self._ready.is_set():
                self._ready.set()
                self._news.set()
        elif isinstance(event, Patched):
            self._edits.patched(event.position, event.patch, mine=self._is_mine(event.client))
        elif isinstance(event, Ended):
            self._fail(event.error)

    def _send(self, edit: Edit, base: Position) -> None:
        def answered(answer: Position | RinggateError, current: Any) -> None:
            self._edits.answered(edit, answer, current)
            # What was learnt from an answer is where the channel goes on after a break.
            if self._inner.position is not None and self._edits.at is not None:
                self._inner.position = self._edits.at

        self._ask(self.channel, edit, base, answered)

    def _changed(self) -> None:
        if self._is_closed:
            return
        self._news.set()
        for callback in list(self._change_callbacks):
            self._guard(callback, self.value)

    def _conflict(self, conflict: Conflict) -> None:
        for callback in list(self._conflict_callbacks):
            self._guard(callback, conflict)

    def _fail(self, error: RinggateError) -> None:
        self._error = error
        self._edits.clear(error)
        self._ready.set()
        self._news.set()


def _nobody(_: object) -> None:
    pass
