"""What the commands that speak as a client share: their flags, the client, and the one line when it fails."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ..client import Client, Options, RinggateError, Status
from ..closecodes import ABNORMAL, CLOSE_CODES
from ..config.kinds import Secret, ValueRefusedError
from ..config.lists import Secrets
from ..errors import UsageError
from ..logs import escape
from .parser import CommandFailedError
from .reading import read_duration

DEFAULT_URL: Final = "ws://127.0.0.1:8000/ws"
_LEAST_CLOSE_CODE: Final = 1000


def add_client_flags(parser: argparse.ArgumentParser, *, url: str | None = DEFAULT_URL) -> None:
    """Add --url, --token and --timeout.  `url` is the default; None: without the flag no client is wanted."""
    default = " (default %(default)s)" if url else ""
    parser.add_argument("--url", default=url, help=f"the gateway's client port{default}")
    parser.add_argument("--token", default="", help="the client's token, or file:/path with it in it")


def client_of(arguments: argparse.Namespace) -> Client:
    """Return the client that the arguments describe, not connected yet.  Raises CommandFailedError."""
    token = read_token(arguments.token)
    timeout_s = read_duration("--timeout", arguments.timeout)
    options = Options(connect_timeout=timeout_s, timeout=timeout_s, ttl=timeout_s)
    try:
        return Client(arguments.url, token=token or None, options=options)
    except UsageError:
        allowed = "ws://HOST:PORT or wss://HOST:PORT"
        raise CommandFailedError(
            f'"{escape(arguments.url)}" is not a URL to connect to; allowed: {allowed}'
        ) from None


def read_token(text: str) -> str:
    """Return the token that a flag gives.  Raises CommandFailedError."""
    try:
        tokens: tuple[Secret, ...] = Secrets().from_toml(text) if text else ()
    except ValueRefusedError as error:
        raise CommandFailedError(f"--token: {error}") from None
    return "".join(token.reveal() for token in tokens)


def is_over(status: Status) -> bool:
    """Tell whether a connection ended or an attempt failed."""
    return status.state == "reconnecting" or (status.state == "offline" and bool(status.code))


def told(status: Status) -> str:
    """Return what to tell the user about a connection that ended or could not be made."""
    code, reason = status.code, escape(status.reason)
    if code >= _LEAST_CLOSE_CODE and code != ABNORMAL:
        info = CLOSE_CODES.get(code)
        text = f"the gateway closed the connection: {code}{f' {info.name}' if info else ''}"
        return text + (f", {reason}" if reason and (info is None or reason != info.name) else "")
    if reason.startswith("nothing listens"):
        return f"{reason}: is `ringgate serve` running?"
    return reason or "the connection was lost"


def refused(error: RinggateError, what: str = "") -> CommandFailedError:
    """Return an error of the gateway as what the user sees."""
    reason = escape(f"{error.code}: {error.message}")
    return CommandFailedError(f"the gateway refused{what and f' {what}'}: {reason}")


_Result = TypeVar("_Result")


async def answer_to(client: Client, ask: Callable[[Client], Awaitable[_Result]], what: str) -> _Result:
    """Connect, ask one thing, disconnect.  Raises CommandFailedError when there is no answer."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def watch(status: Status) -> None:
        if is_over(status) and not failed.done():
            failed.set_exception(CommandFailedError(told(status)))

    client.on_status(watch)
    async with client:
        asked = asyncio.ensure_future(ask(client))
        await asyncio.wait((asked, failed), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            asked.cancel()
            failed.result()
        failed.cancel()
        try:
            return asked.result()
        except RinggateError as error:
            if error.code == "expired":
                raise CommandFailedError(f"no answer {what} in time") from None
            raise refused(error, what) from None
