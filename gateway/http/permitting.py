"""Whether an API key may do what a request asks: its scope, and the channels that it concerns.

It knows the table of operations and the records of requests.  What always holds: a batch of which one command
is beyond the key is refused as a whole, before anything of it is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..errors import CommandError
from ..message.names import personal_channel
from ..seldom import Seldom
from . import bodies
from .api import OPERATIONS, Operation
from .scopes import EVERYTHING, ApiCaller

_log = logging.getLogger("gateway.http")
_BY_NAME: Final = {row.name: row for row in OPERATIONS}


class Permits:
    """Whether one operation is allowed.  `count` counts by the name of the key; `clock` gives seconds."""

    def __init__(
        self,
        row: Operation,
        count: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._row = row
        self._count = count
        self._seldom = Seldom(clock)

    def begin(self, caller: ApiCaller) -> None:
        """Raise CommandError where the key is not for the operation at all; before its body is read."""
        if caller is not EVERYTHING:
            self._held_to(caller, lambda: check_scope(caller, self._row))

    def carry_out(self, caller: ApiCaller, asked: Any, channel: str = "") -> None:
        """Raise CommandError where the key is not for what is asked; `channel` is that of the path."""
        if caller is not EVERYTHING:
            self._held_to(caller, lambda: check_permitted(caller, self._row, asked, channel))

    def _held_to(self, caller: ApiCaller, check: Callable[[], None]) -> None:
        try:
            check()
        except CommandError as problem:
            self._tell(caller.name, problem.message)
            raise

    def _tell(self, key: str, problem: str) -> None:
        self._count(key, "denied")
        if times := self._seldom.times(key):
            extra = {"key": key, "operation": self._row.name, "problem": problem, "times": times}
            _log.warning("an API key is not for what was asked", extra=extra)


def check_scope(caller: ApiCaller, row: Operation) -> None:
    """Raise CommandError unless a caller's key is for an operation."""
    if row.needs is not None:
        caller.check_scope(row.needs)


def check_permitted(caller: ApiCaller, row: Operation, asked: Any, channel: str = "") -> None:
    """Raise CommandError unless a caller may have just this; `channel` is that of the path."""
    if isinstance(asked, bodies.BatchBody):
        _check_batch(caller, asked)
        return
    check_scope(caller, row)
    if isinstance(asked, bodies.ChannelsQuery):
        caller.check_prefix(asked.prefix)
    elif caller.patterns:
        caller.check_channels(_channels_of(asked, channel))


def _check_batch(caller: ApiCaller, batch: bodies.BatchBody) -> None:
    for number, command in enumerate(batch.commands):
        row = _BY_NAME[str(command.__struct_config__.tag)]
        try:
            check_permitted(caller, row, command)
        except CommandError as problem:
            raise CommandError(problem.code, f"{problem.message} - at `$.commands[{number}]`") from None


def _channels_of(asked: Any, channel: str) -> Iterable[str] | None:
    """Return the channels that a request concerns, None where it concerns none."""
    if channel:
        return (channel,)
    if isinstance(asked, bodies.BroadcastBody):
        return asked.channels
    if isinstance(asked, bodies.SendBody):
        return (personal_channel(asked.user or f"#{asked.client}"),)
    named = getattr(asked, "channel", "")
    return (named,) if named else None
