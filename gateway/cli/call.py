"""`ringgate call`: asks the app service behind a running gateway, as a client, and prints its answer."""

from __future__ import annotations

import argparse
import asyncio

import orjson

from ..logs import escape
from ..message.commands import MAX_METHOD_CHARS
from .connecting import add_client_flags, answer_to, client_of
from .parser import CommandFailedError, Commands, add_command
from .reading import read_duration, read_payload

_DESCRIPTION = """\
Call a method of the app service behind a running gateway, as a client does, and print the answer as JSON
(bytes as they are)."""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(commands, "call", "call the app service", description=_DESCRIPTION)
    parser.add_argument("method", metavar="METHOD", help="the method, such as cart.add")
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help="the payload, as JSON; - reads it from standard input"
    )
    parser.add_argument("--text", action="store_true", help="DATA is plain text and is sent as a JSON string")
    add_client_flags(parser)
    parser.add_argument("--timeout", metavar="TIME", default="10s", help="longest wait (default %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Call.  Raises CommandFailedError when there is no answer, or an error."""
    if not 0 < len(arguments.method) <= MAX_METHOD_CHARS:
        raise CommandFailedError(
            f'"{escape(arguments.method)}" is not a method; allowed: 1 to {MAX_METHOD_CHARS} characters'
        )
    answer = asyncio.run(_call(arguments))
    print(answer.decode("utf-8", "backslashreplace"))
    return 0


async def _call(arguments: argparse.Namespace) -> bytes:
    payload = None
    if arguments.data is not None:
        payload = orjson.Fragment(read_payload(arguments.data, text=arguments.text))
    timeout_s = read_duration("--timeout", arguments.timeout)
    answer = await answer_to(
        client_of(arguments),
        lambda client: client.call(arguments.method, payload, timeout=timeout_s),
        f"to call {escape(arguments.method)}",
    )
    return answer if isinstance(answer, bytes) else orjson.dumps(answer)
