"""A client's publish on its way to the broker and back, without a coroutine or a task of its own.

It knows its session, and the broker's outcomes as records.  How it works: the session keeps these in the
order of the commands; the broker settles them, in whatever order; the session answers, from the oldest on,
those that are settled.  What always holds: each is settled once, and answered at most once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .broker import PublishResult
from .commands import published
from .errors import BrokerError, CommandError, OutcomeUnknownError
from .message.commands import Publish
from .message.events import Event
from .message.views import error_of

if TYPE_CHECKING:
    from .session import Session

_logger = logging.getLogger(__name__)


class Publishing:
    """One publish command that was given to the broker.  `outcome` is None until it is settled."""

    __slots__ = ("_session", "_started_s", "command", "outcome")

    def __init__(self, session: Session, command: Publish) -> None:
        self.command = command
        self.outcome: PublishResult | Exception | None = None
        self._session = session
        self._started_s = session.node.loop.time()

    def settle(self, outcome: PublishResult | Exception) -> None:
        """Take what came of it."""
        self.outcome = outcome
        if type(outcome) is PublishResult:
            node = self._session.node
            node.observe_publish(node.loop.time() - self._started_s)
        self._session.on_settled(self)

    def answer(self) -> Event | None:
        """Return the answer, or nothing where nothing went wrong and no answer is wanted."""
        outcome = self.outcome
        if type(outcome) is PublishResult:
            return published(self.command, outcome) if self.command.id else None
        return error_of(self.command.id, refusal_of(outcome)) if isinstance(outcome, Exception) else None


def refusal_of(problem: Exception) -> CommandError:
    """Return what to tell a client of what a command raised; what nobody expected is logged."""
    if isinstance(problem, CommandError):
        return problem
    if isinstance(problem, OutcomeUnknownError):
        return CommandError("timeout", "no answer in time; repeat it with the same key")
    if isinstance(problem, BrokerError):
        return CommandError("unavailable", "the broker cannot be reached now")
    _logger.error("a command failed", exc_info=problem)
    return CommandError("internal", "an error inside the gateway")
