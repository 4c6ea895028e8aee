"""A worker as the broker in the supervisor sees it: its link, and what would end with it.

It knows neither the broker nor processes.  What always holds: every question ends, with its answer or, when
the link is lost first, with BrokerUnavailableError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import BrokerUnavailableError
from . import wire
from .interface import Control
from .link import Link


class Peer:
    """One worker.  `on_call` carries out what needs a reply; `on_lost` is told when the link is lost.

    Whoever started it sets `on_notice`, which hears what the worker says of itself, and `on_gone`, which is
    told of its end after `on_lost`.

    `interests` are channels; `members` are pairs of channel and client, in the order in which they joined;
    `held` are by client the session, its record and its time in seconds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_call: Callable[[Peer, wire.Call], None],
        on_lost: Callable[[Peer], None],
    ) -> None:
        self.link = Link(loop, wire.FromWorker, on_record=self._take, on_lost=self._lost)
        self.interests: set[str] = set()
        self.members: dict[tuple[str, str], None] = {}
        self.held: dict[str, tuple[str, bytes, float]] = {}
        self.on_notice: Callable[[str, bytes], None] = lambda what, data: None
        self.on_gone: Callable[[], None] = lambda: None
        self.given_up = False
        self._loop = loop
        self._on_call = on_call
        self._on_lost = on_lost
        self._questions: dict[int, asyncio.Future[wire.Answer]] = {}
        self._asked = 0

    def send(self, packed: bytes) -> None:
        """Send a packed record."""
        self.link.send(packed)

    async def ask(self, what: str, data: bytes = b"") -> bytes:
        """Ask the worker something; return its answer.  Raises BrokerUnavailableError when it is lost."""
        question, future = self._question()
        self.send(wire.pack(wire.Question(question, what, data)))
        return (await future).data

    def control(self, control: Control) -> asyncio.Future[wire.Answer]:
        """Send the worker a control message; the future fails with BrokerUnavailableError when it is lost."""
        question, future = self._question()
        self.send(wire.pack(wire.Controlled(question, control)))
        return future

    def _question(self) -> tuple[int, asyncio.Future[wire.Answer]]:
        self._asked += 1
        number = self._asked
        future: asyncio.Future[wire.Answer] = self._loop.create_future()
        self._questions[number] = future
        future.add_done_callback(lambda _: self._questions.pop(number, None))
        if self.link.lost:
            _fail(future)
        return number, future

    def _take(self, record: wire.FromWorker) -> None:
        if isinstance(record, wire.Call):
            self._on_call(self, record)
        elif isinstance(record, wire.Answer):
            future = self._questions.get(record.question)
            if future is not None and not future.done():
                future.set_result(record)
        elif isinstance(record, wire.HoldSession):
            self.held[record.client] = (record.session, record.record, record.ttl_s)
        elif isinstance(record, wire.ReleaseSession):
            self.held.pop(record.client, None)
        else:
            self.on_notice(record.what, record.data)

    def _lost(self) -> None:
        for future in list(self._questions.values()):
            _fail(future)
        self._on_lost(self)
        self.on_gone()


def _fail(future: asyncio.Future[wire.Answer]) -> None:
    if not future.done():
        future.set_exception(BrokerUnavailableError("the worker is gone"))
        future.exception()  # perhaps nobody waits any more
