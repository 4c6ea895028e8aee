"""A worker as its supervisor sees it: a child process, and the link to it.

It knows how to start, ask and end one worker, and nothing of the others.  What always holds: the process does
not outlive the link by more than two seconds, nor the link the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Any, Final

import msgspec

from .broker.peer import Peer
from .broker.service import BrokerService
from .errors import BrokerError, GatewayError
from .worker import WorkerSettings

START_TIMEOUT_S: Final = 30.0
_LINGER_S: Final = 2.0

_log = logging.getLogger("gateway.supervisor")


class WorkerFailedError(GatewayError):
    """A worker ended, or took too long, before it served clients."""


class WorkerProcess:
    """One life of one worker; made by `start`."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, peer: Peer) -> None:
        self.number = number
        self.listening_since: float | None = None
        self.on_notice: Callable[[str, bytes], None] = lambda what, data: None
        self.on_gone: Callable[[], None] = lambda: None
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._peer = peer
        peer.on_notice = self._hear
        peer.on_gone = self._lose
        self._unanswered_since: float | None = None
        self._problem = ""

    @classmethod
    async def start(cls, settings: WorkerSettings, service: BrokerService) -> WorkerProcess:
        """Start a worker's process.  Raises OSError."""
        ours, theirs = socket.socketpair()
        # A file and no pipe: nothing has to be written while the process may be ending already.
        with theirs, contextlib.ExitStack() as undo, _file_of(msgspec.json.encode(settings)) as stdin:
            undo.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "gateway.worker", str(theirs.fileno()),
                stdin=stdin,
                pass_fds=(theirs.fileno(), settings.census, *settings.sockets),
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )  # fmt: skip
            undo.pop_all()
        return cls(settings.number, process, await service.attach(ours))

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    async def wait_until_listening(self) -> None:
        """Return when it serves clients.  Raises WorkerFailedError; the process is over then, or will be."""
        ended = asyncio.ensure_future(self._process.wait())
        both: list[asyncio.Future[Any]] = [ended, self._started]
        await asyncio.wait(both, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if self._started.done():
            ended.cancel()
            return
        if ended.done():
            why = self._problem or f"it ended: {describe_status(ended.result())}"
        else:
            ended.cancel()
            self.kill()
            why = f"it did not begin within {START_TIMEOUT_S:g} s"
        raise WorkerFailedError(why)

    async def wait(self) -> str:
        """Wait for the end of the process; return how it ended."""
        status = await self._process.wait()
        self.listening_since = None
        return describe_status(status)

    async def ask(self, what: str, data: bytes = b"") -> bytes:
        """Ask the worker.  Raises BrokerUnavailableError when it is lost."""
        return await self._peer.ask(what, data)

    async def check(self, patience_s: float) -> None:
        """Ask for a sign of life, unless an earlier question is open; kill who owes one for so long."""
        now = self._loop.time()
        if self._unanswered_since is not None:
            if now - self._unanswered_since > patience_s:
                _log.error("worker %d does not answer, and is killed", self.number)
                self.kill()
            return
        self._unanswered_since = now
        try:
            await self.ask("ping")
        except BrokerError:
            return
        self._unanswered_since = None

    def terminate(self) -> None:
        """Have it let its clients go, and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    def _hear(self, what: str, data: bytes) -> None:
        if what == "listening":
            self.listening_since = self._loop.time()
            if not self._started.done():
                self._started.set_result(None)
        elif what == "failed":
            self._problem = data.decode()
        else:
            self.on_notice(what, data)

    def _lose(self) -> None:
        self.listening_since = None
        self.on_gone()
        self._loop.call_later(_LINGER_S, self.kill)


def _file_of(data: bytes) -> IO[bytes]:
    """Return a file without a name that can be read from its beginning."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 the caller closes it
    file.write(data)
    file.seek(0)
    return file


def describe_status(status: int) -> str:
    """Return an exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
