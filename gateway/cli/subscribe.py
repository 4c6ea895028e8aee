"""`ringgate subscribe`: prints the events of channels as they come, one JSON object a line."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from typing import Any, Final

from ..closecodes import CLOSE_CODES, NORMAL
from ..config.kinds import Secret, ValueRefusedError
from ..config.lists import Secrets
from ..logs import escape
from ..message.names import is_channel_name
from .connection import Connection
from .parser import CommandFailedError, Commands, add_command
from .publish import read_duration

_SUBPROTOCOL: Final = "ringgate.v1.json"
_SILENT_PINGS: Final = 3

# JSON text has these only as white space or, unescaped, inside strings: both may be rewritten.
_ONE_LINE: Final = {ord("\n"): " ", ord("\r"): " "} | {
    code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)
}

_DESCRIPTION = """\
Subscribe to channels of a running gateway and print every event as it comes, as one line of JSON,
until SIGINT or SIGTERM.  Exit status 0: stopped so, 1: the connection failed or was closed."""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(commands, "subscribe", "print the events of channels", description=_DESCRIPTION)
    parser.add_argument("channels", metavar="CHANNEL", nargs="+", help="a channel, such as news or chat:1")
    parser.add_argument(
        "--url", default="ws://127.0.0.1:8000/ws", help="the gateway's client port (default %(default)s)"
    )
    parser.add_argument("--token", default="", help="the client's token, or file:/path with it in it")
    parser.add_argument(
        "--since",
        metavar="EPOCH:OFFSET",
        help="resume one channel after this position: first print what was missed",
    )
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        default="10s",
        help="longest wait for the connection (default %(default)s)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print events until a signal.  Raises CommandFailedError when the connection fails or is closed."""
    subscriber = _Subscriber(arguments.channels, _since(arguments.since, arguments.channels))
    token = _token(arguments.token)
    timeout_s = read_duration("--timeout", arguments.timeout)
    asyncio.run(subscriber.run(arguments.url, token, timeout_s))
    return 0


def _since(text: str | None, channels: list[str]) -> dict[str, object] | None:
    for channel in channels:
        if not is_channel_name(channel):
            raise CommandFailedError(f'"{escape(channel)}" is not the name of a channel')
    if text is None:
        return None
    epoch, _, offset = text.rpartition(":")
    if len(channels) > 1:
        raise CommandFailedError("--since is a position of one channel, but there are several")
    if not epoch or not (offset.isascii() and offset.isdigit() and len(offset) < 18):
        raise CommandFailedError(f'--since is "{escape(text)}"; allowed: EPOCH:OFFSET such as x1:12')
    return {"epoch": epoch, "offset": int(offset)}


def _token(text: str) -> str:
    try:
        tokens: tuple[Secret, ...] = Secrets().from_toml(text) if text else ()
    except ValueRefusedError as error:
        raise CommandFailedError(f"--token: {error}") from None
    return "".join(token.reveal() for token in tokens)


class _Subscriber:
    """Follows channels over one connection, and knows the newest position of a single channel."""

    def __init__(self, channels: list[str], since: dict[str, object] | None) -> None:
        self._channels = channels
        self._since = since
        self._epoch = ""
        self._offset = 0

    async def run(self, url: str, token: str, timeout_s: float) -> None:
        """Print events until SIGINT or SIGTERM; then close the connection properly."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        stop = asyncio.create_task(stopped.wait())
        follow = asyncio.create_task(self._follow(url, token, timeout_s))
        await asyncio.wait((stop, follow), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not follow.done():
            follow.cancel()
            await asyncio.wait((follow,))
        if not follow.cancelled():
            follow.result()

    async def _follow(self, url: str, token: str, timeout_s: float) -> None:
        """Connect and print events.  Returns when the gateway closed normally; closes when cancelled."""
        connection = await Connection.open(url, subprotocol=_SUBPROTOCOL, token=token, timeout_s=timeout_s)
        try:
            while (text := await connection.receive()) is not None:
                await self._take(connection, text)
            if connection.close_code != NORMAL:
                raise CommandFailedError(self._closed(connection.close_code, connection.close_reason))
        finally:
            await connection.close()

    async def _take(self, connection: Connection, text: str) -> None:
        event = _decode(text)
        kind = event.get("type")
        if kind == "error":
            channel = self._channel_of(event.get("id"))
            reason = escape(f"{event.get('code')}: {event.get('message')}")
            raise CommandFailedError(
                f"the gateway refused{channel and f' to subscribe to {channel}'}: {reason}"
            )
        _print_line(text)
        self._epoch = str(event.get("epoch", self._epoch))
        offset = event.get("offset")
        self._offset = offset if isinstance(offset, int) else self._offset
        if kind == "hello":
            ping_s = event.get("ping")
            if isinstance(ping_s, int | float) and ping_s > 0:
                connection.silence_s = _SILENT_PINGS * ping_s
            for number, channel in enumerate(self._channels, 1):
                command: dict[str, object] = {"type": "subscribe", "id": number, "channel": channel}
                await connection.send(json.dumps(command | ({"since": self._since} if self._since else {})))

    def _channel_of(self, number: object) -> str:
        """Return the channel that the command of this number was about, or ""."""
        if isinstance(number, int) and 1 <= number <= len(self._channels):
            return self._channels[number - 1]
        return ""

    def _closed(self, code: int, reason: str) -> str:
        """Return what to tell about a connection that the gateway closed, and how to go on."""
        if not code:
            text = "the connection was lost"
        else:
            info = CLOSE_CODES.get(code)
            text = f"the gateway closed the connection: {code}{f' {info.name}' if info else ''}"
            text += f", {escape(reason)}" if reason and (info is None or reason != info.name) else ""
        if self._epoch and len(self._channels) == 1:
            text += f"; --since {escape(self._epoch)}:{self._offset} resumes"
        return text


def _decode(text: str) -> dict[str, Any]:
    """Return an event.  Raises CommandFailedError when the text is none."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise CommandFailedError(
            "the server sent something that is not an event; --url names the client port"
        )
    return event


def _print_line(text: str) -> None:
    """Print an event as one line and flush it.  Raises BrokenPipeError when nobody reads any more."""
    line = text.translate(_ONE_LINE) + "\n"
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()
