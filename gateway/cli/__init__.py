"""The command line `ringgate`: one module for each command, and `main`, which picks one.

A command is a module with `add(commands)`, which describes its arguments and names the function that carries
it out.  That function returns the exit status: 0 done, 1 failed (a `GatewayError` is told in one line);
argparse itself ends with 2 for wrong arguments.  What a command needs beyond arguments is
imported when it runs, so that `--help` stays quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..errors import GatewayError
from . import (
    bench,
    call,
    check_config,
    config,
    deadletters,
    key,
    publish,
    revoke,
    serve,
    subscribe,
    token,
    upstreams,
    version,
)
from .parser import HelpFormatter, parse

_DESCRIPTION = """\
Ringgate, a self-hosted WebSocket gateway.  It holds the connections of your clients and fans
messages out to them; your services publish over plain HTTP."""

_EPILOG = """\
try it:
  ringgate serve                                   start a gateway on this machine
  ringgate subscribe news                          print what is published to "news"
  ringgate publish news '{"text": "hello"}'        publish to it

`ringgate COMMAND --help` tells more about a command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command in `argv` (the process's arguments when None) and return the exit status."""
    arguments = parse(_parser(), argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except GatewayError as error:
        print(f"ringgate: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        _forget_stdout()
        return 0
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ringgate",
        usage="ringgate COMMAND [ARGUMENT...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ringgate {version.ringgate_version()}")
    commands = parser.add_subparsers(
        prog="ringgate", title="commands", metavar="COMMAND [ARGUMENT...]", required=True
    )
    for command in (
        serve,
        publish,
        subscribe,
        call,
        deadletters,
        token,
        key,
        revoke,
        upstreams,
        bench,
        check_config,
        config,
        version,
    ):
        command.add(commands)
    return parser


def _forget_stdout() -> None:
    """Let what is still to be flushed at exit go nowhere: whoever read our output has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
