"""`ringgate subscribe`: prints the events of channels as they come, one JSON object a line."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import Final

from ..client import Client, Ended, Position, Status, Subscription
from ..closecodes import INVALID_PAYLOAD, NORMAL
from ..logs import escape
from ..message.names import is_channel_name
from .connecting import add_client_flags, client_of, is_over, refused, told
from .parser import CommandFailedError, Commands, add_command

# JSON text has these only as white space or, unescaped, inside strings: both may be rewritten.
_ONE_LINE: Final = {ord("\n"): " ", ord("\r"): " "} | {
    code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)
}

_DESCRIPTION = """\
Subscribe to channels of a running gateway and print every event as it comes, as one line of JSON, until
SIGINT or SIGTERM.  When the connection is lost it is made again, and every channel goes on where it stopped.
Exit status 0: stopped so, 1: the first attempt failed, or the gateway refused."""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(commands, "subscribe", "print the events of channels", description=_DESCRIPTION)
    parser.add_argument("channels", metavar="CHANNEL", nargs="+", help="a channel, such as news or chat:1")
    add_client_flags(parser)
    parser.add_argument(
        "--since",
        metavar="EPOCH:OFFSET",
        help="resume one channel after this position: first print what was missed",
    )
    parser.add_argument(
        "--once", action="store_true", help="end with the connection, and do not connect again"
    )
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        default="10s",
        help="longest wait for the connection (default %(default)s)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print events until a signal.  Raises CommandFailedError when it cannot go on."""
    since = _since(arguments.since, arguments.channels)
    asyncio.run(_Subscriber(arguments, since).run())
    return 0


def _since(text: str | None, channels: list[str]) -> Position | None:
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
    return Position(epoch, int(offset))


class _Subscriber:
    """Follows channels with a client, and ends for the first reason that there is."""

    def __init__(self, arguments: argparse.Namespace, since: Position | None) -> None:
        self._arguments = arguments
        self._since = since
        self._was_online = False
        self._subscriptions: list[Subscription] = []

    async def run(self) -> None:
        """Print events until SIGINT or SIGTERM; then close the connection properly."""
        loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._finish)
        client = client_of(self._arguments)
        client.on_raw(self._print)
        client.on_status(self._watch)
        for channel in dict.fromkeys(self._arguments.channels):
            self._subscribe(client, channel)
        async with client:
            await self._end

    def _subscribe(self, client: Client, channel: str) -> None:
        def ended(event: Ended) -> None:
            self._finish(refused(event.error, f"to subscribe to {channel}"))

        subscription = client.subscribe(
            channel, since=self._since, on_message=lambda message: None, on_ended=ended
        )
        self._subscriptions.append(subscription)

    def _finish(self, error: Exception | None = None) -> None:
        """End, unless that was done before."""
        if not self._end.done():
            if error is None:
                self._end.set_result(None)
            else:
                self._end.set_exception(error)

    def _watch(self, status: Status) -> None:
        if status.state == "online":
            self._was_online = True
        elif not is_over(status):
            return
        elif status.code == INVALID_PAYLOAD:
            what = "the server sent something that is not an event; --url names the client port"
            self._finish(CommandFailedError(what))
        elif self._arguments.once or not self._was_online or status.state == "offline":
            self._finish(None if status.code == NORMAL else CommandFailedError(self._told(status)))

    def _told(self, status: Status) -> str:
        """Return what to tell about the end of the connection, and how to go on."""
        position = self._subscriptions[0].position if len(self._subscriptions) == 1 else None
        if position is None or not self._was_online:
            return told(status)
        return f"{told(status)}; --since {escape(position.epoch)}:{position.offset} resumes"

    def _print(self, text: bytes) -> None:
        """Print an event as one line, and end when nobody reads any more."""
        line = text.decode("utf-8", "backslashreplace").translate(_ONE_LINE) + "\n"
        try:
            sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            self._finish(error)
