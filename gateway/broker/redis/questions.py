"""What nodes ask each other: control messages with a count of the connections they reached, and what there
is.

Knows nothing of connections or of what a question means.  How it works: a question goes to all nodes at once,
the one that asks among them; each answers to the asking node, which waits for as many answers as there are
nodes with a lease, but not for long: one that is stopped or gone is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from .commands import Commands
from .messages import Answered, Asked, pack, unpack

MOST_ANSWER_BYTES: Final = 4 << 20
"""A larger answer would burst the buffers of Redis' pub/sub (client-output-buffer-limit)."""

_logger = logging.getLogger(__name__)


class _Question:
    def __init__(self, done: asyncio.Future[None]) -> None:
        self.done = done
        self.wanted: int | None = None
        self.answers: dict[str, bytes] = {}

    def look(self) -> None:
        if self.wanted is not None and len(self.answers) >= self.wanted and not self.done.done():
            self.done.set_result(None)


class Questions:
    """One node's questions and answers.  `answer` carries out a question and returns what to say."""

    def __init__(
        self,
        commands: Commands,
        *,
        node: str,
        loop: asyncio.AbstractEventLoop,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        answer: Callable[[str, bytes], bytes],
        timeout_s: float,
    ) -> None:
        self._commands = commands
        self._node = node
        self._loop = loop
        self._spawn = spawn
        self._answer = answer
        self._timeout_s = timeout_s
        self._asked = 0
        self._open: dict[int, _Question] = {}

    async def ask(self, what: str, data: bytes = b"") -> dict[str, bytes]:
        """Ask all nodes; return the answers that came in time, by node.  Raises BrokerError."""
        self._asked += 1
        number = self._asked
        question = self._open[number] = _Question(self._loop.create_future())
        try:
            live = await self._commands.ask(pack(Asked(self._node, number, what, data)))
            question.wanted = max(1, live)
            question.look()
            await asyncio.wait((question.done,), timeout=self._timeout_s)
        finally:
            del self._open[number]
        return question.answers

    def take_question(self, payload: bytes) -> None:
        """Answer a question of some node."""
        asked = unpack(payload)
        if not isinstance(asked, Asked):
            return
        data = self._answer(asked.what, asked.data)
        if asked.node == self._node:
            self._take(self._node, asked.number, data)
            return
        if len(data) > MOST_ANSWER_BYTES:
            _logger.error("an answer to %r is too large for Redis: %d bytes", asked.what, len(data))
            data = b""
        channel = self._commands.names.answers(asked.node)
        self._spawn(self._commands.tell(channel, pack(Answered(self._node, asked.number, data))))

    def take_answer(self, payload: bytes) -> None:
        """Take an answer to a question of this node."""
        answered = unpack(payload)
        if isinstance(answered, Answered):
            self._take(answered.node, answered.number, answered.data)

    def _take(self, node: str, number: int, data: bytes) -> None:
        question = self._open.get(number)
        if question is not None:
            question.answers[node] = data
            question.look()
