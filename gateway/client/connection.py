"""The connection: it carries out what the table CONNECTION says.

It knows tokens, times and events, no socket and no channel: `Port` does what takes I/O.  What always holds:
at most one attempt or socket is in use, and the port drops it before it is asked for another; `greet` and
`down` of the listener alternate; no input is lost or taken twice while an earlier one is carried out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from ..closecodes import ABNORMAL, INVALID_PAYLOAD, NORMAL, UNAUTHORIZED, UNSUPPORTED_DATA
from ..errors import ProtocolError
from ..message.commands import Connect, Ping
from .backoff import Verdict, advised_s, delay_s, verdict_of
from .codecs import ClientCodec
from .credentials import Credentials, TokenSource
from .errors import RinggateError
from .heartbeat import Heartbeat
from .incoming import Error, Event, Hello, Reconnect, Reply
from .options import Options
from .requests import Requests
from .results import Status
from .status import StatusStream
from .table import CONNECTION, step
from .timers import Alarm, Timers

STABLE_S: Final = 5.0
"""So long a connection has to hold to be worth another attempt at once, and a back-off that begins anew."""

_OURS: Final = frozenset({UNSUPPORTED_DATA, INVALID_PAYLOAD})
"""Codes that a client closes with, because of what the gateway sent."""

_HTTP_UNAUTHORIZED: Final = 401
_HTTP_FORBIDDEN: Final = 403


class Port(Protocol):
    """Whoever does I/O for a connection.  None of these may call back at once."""

    def ask_token(self) -> None:
        """Get a token from the application, and hand it to `token_came`, or what was raised to
        `token_failed`.
        """

    def open(self, token: str) -> None:
        """Connect, with this token unless it is empty; tell `received` and, in the end, `lost`."""

    def send(self, message: bytes) -> None:
        """Send a message over the socket that there is."""

    def drop(self, code: int) -> None:
        """Close the socket, or end the attempt, and tell nothing more of it.  Idempotent."""


class Listener(Protocol):
    """Who is told of what happens."""

    def greet(self, hello: Hello) -> None:
        """The gateway said hello; commands can be sent."""

    def down(self, code: int) -> None:
        """The connection ended with this close code (1006: without one)."""

    def event(self, event: Event) -> None:
        """An event came that is none of the connection's own."""


class Collaborators(msgspec.Struct, frozen=True):
    """What a client needs of the world: a clock, wall-clock time in seconds, and random numbers from 0 to
    1.
    """

    timers: Timers
    wall: Callable[[], float]
    random: Callable[[], float]


class Connection:
    """See the module."""

    def __init__(
        self,
        port: Port,
        listener: Listener,
        world: Collaborators,
        *,
        codec: ClientCodec,
        token: TokenSource | None,
        options: Options,
        on_status: Callable[[Status], None],
    ) -> None:
        self._port = port
        self._listener = listener
        self._codec = codec
        self._options = options
        self._timers = world.timers
        self._random = world.random
        self.requests = Requests(codec, port.send)
        self.state = "idle"
        self.tap: Callable[[bytes], None] | None = None
        """Is given every event as it came, before anything is done with it; for tools."""
        self._status = StatusStream(world.timers, on_status)
        self._credentials = Credentials(token, world.timers, world.wall, port.ask_token)
        self._heartbeat = Heartbeat(world.timers, self._ping, self._silent)
        self._retry = Alarm(world.timers, lambda: self._input("timer"))
        self._deadline = Alarm(world.timers, lambda: self._end("lost", ABNORMAL, "no connection in time"))
        self._attempt = 0
        self._online_at: float | None = None
        self._advice: tuple[int, int] | None = None
        self._wait_at_least_s = 0.0
        self._hello = Hello(client="", session="", ping=0)
        self._end_code = ABNORMAL
        self._inputs: deque[str] = deque()
        self._ping_message = codec.encode(Ping())

    @property
    def status(self) -> Status:
        """How it is."""
        return self._status.status

    @property
    def online(self) -> bool:
        """Commands can be sent."""
        return self.state == "online"

    # -- what the application wants -----------------------------------------------------------

    def connect(self) -> None:
        """Connect, and stay connected; while waiting, or stopped, try at once."""
        if self.state != "online":
            self._attempt = 0
        self._input("connect")

    def close(self) -> None:
        """Be connected no longer."""
        self._end_code = NORMAL
        self._input("close")

    # -- what the port tells ------------------------------------------------------------------

    def token_came(self, token: str | None) -> None:
        """The application gave a token, or None if there is none to be had."""
        if token is None:
            if self.state == "asking":
                self._end("refused", UNAUTHORIZED, "there is no token")
            return  # in a connection that stands, it ends when the gateway says so
        self._credentials.came(token)
        if self.state == "asking":
            self._input("token")
        elif self.online:
            self.requests.send(Connect(token=token), self._renewed)

    def token_failed(self, reason: str) -> None:
        """The application could not give a token now."""
        if self.state == "asking":
            self._end("lost", ABNORMAL, reason)

    def received(self, message: bytes) -> None:
        """A message came."""
        self.heard()
        try:
            event = self._codec.decode(message)
        except ProtocolError as error:
            self._end("lost", error.close_code, error.reason)
            return
        if self.tap is not None:
            self.tap(message)
        if isinstance(event, Reply | Error):
            self.requests.settle(event)
        elif isinstance(event, Hello):
            self._greeted(event)
        elif isinstance(event, Reconnect):
            self._advice = event.after
        elif event is not None:
            self._listener.event(event)

    def heard(self) -> None:
        """The gateway gave a sign of life."""
        self._heartbeat.heard()

    def lost(self, code: int, reason: str, wait_s: float = 0.0) -> None:
        """An attempt failed, or the connection ended.

        `code` is the close frame's, 1006 where there was none, or the HTTP status of a refused handshake;
        `wait_s` is how long the gateway asked to stay away.
        """
        self._wait_at_least_s = wait_s
        if code in {UNAUTHORIZED, _HTTP_UNAUTHORIZED}:
            if self._credentials.refused():
                self._end("again" if self.online else "lost", code, reason)
            else:
                self._end("refused", code, reason)
        elif code == _HTTP_FORBIDDEN:
            self._end("refused", code, reason)
        else:
            verdict = verdict_of(code)
            self._end("lost" if self._advice and verdict == "again" else verdict, code, reason)

    # -- the machine --------------------------------------------------------------------------

    def _input(self, taken: str) -> None:
        """Take an input; one that comes while another is carried out waits for its end."""
        self._inputs.append(taken)
        if len(self._inputs) > 1:
            return
        while self._inputs:
            follows = step(CONNECTION, self.state, self._inputs[0])
            if follows is not None:
                self.state = follows.state
                if follows.state not in {"asking", "opening"}:
                    self._deadline.stop()
                for effect in follows.effects:
                    _EFFECTS[effect](self)
                self._status.show(self.state)
            self._inputs.popleft()

    def _end(self, verdict: Verdict, code: int, reason: str) -> None:
        """An attempt or a connection is over, or is given up."""
        now = self._timers.time()
        if self._online_at is not None and now - self._online_at >= STABLE_S:
            self._attempt = 0
        elif verdict == "again" and self._attempt > 0:
            verdict = "lost"  # or it would spin
        if verdict == "again" and not self.online:
            verdict = "lost"
        if verdict == "again":
            self._attempt += 1
        self._end_code = code
        self._status.ended(code, reason)
        self._input(verdict)

    # -- what it does -------------------------------------------------------------------------

    def _ask(self) -> None:
        self._online_at = None
        self._advice = None
        self._deadline.set(self._options.connect_timeout)
        if self._credentials.at_hand is None:
            self._port.ask_token()
        else:
            self._input("token")

    def _open(self) -> None:
        self._port.open(self._credentials.at_hand or "")

    def _greeted(self, event: Hello) -> None:
        self._hello = event
        self._input("hello")

    def _greet(self) -> None:
        hello = self._hello
        self._online_at = self._timers.time()
        self._credentials.accepted(hello.expires)
        self._heartbeat.start(hello.ping if hello.ping > 0 else 30.0)
        self._status.online(hello.client, hello.user)
        self._status.show(self.state)
        self._listener.greet(hello)

    def _drop(self) -> None:
        self._port.drop(self._end_code if self._end_code in _OURS else NORMAL)
        self._heartbeat.stop()
        self._credentials.rest()
        self.requests.drop()
        if self._online_at is not None:
            self._listener.down(self._end_code)
        self._end_code = ABNORMAL

    def _wait(self) -> None:
        options = self._options
        if self._advice is not None:
            wait_s = advised_s(self._advice, self._random)
        else:
            wait_s = delay_s(self._attempt, options.backoff_first, options.backoff_most, self._random)
        # Whoever is told to stay away comes back spread out, too.
        wait_s += min(self._wait_at_least_s, options.backoff_most)
        self._advice, self._wait_at_least_s = None, 0.0
        self._attempt += 1
        self._status.retry_at(self._timers.time() + wait_s)
        self._retry.set(wait_s)

    def _rest(self) -> None:
        self._retry.stop()

    def _stop(self) -> None:
        self._deadline.stop()

    def _forget(self) -> None:
        self._status.forget()

    # -- while it stands ----------------------------------------------------------------------

    def _ping(self) -> None:
        self._port.send(self._ping_message)

    def _silent(self) -> None:
        self._end("again", ABNORMAL, "nothing was heard from the gateway")

    def _renewed(self, answer: Reply | RinggateError) -> None:
        if isinstance(answer, Reply):
            self._credentials.accepted(answer.expires or 0)
        elif answer.code == "unauthorized":
            self.lost(UNAUTHORIZED, answer.message)


_EFFECTS: Final[dict[str, Callable[[Connection], None]]] = {
    "ask": Connection._ask,
    "open": Connection._open,
    "greet": Connection._greet,
    "drop": Connection._drop,
    "wait": Connection._wait,
    "rest": Connection._rest,
    "stop": Connection._stop,
    "forget": Connection._forget,
}
