"""`ringgate serve`: checks the configuration, sets up logging and hands over to the server."""

from __future__ import annotations

import argparse

from .. import logs
from .parser import OPTIONS_EPILOG, CommandFailedError, Commands, add_command, add_option_flags, load_options

_DESCRIPTION = """\
Run the gateway until SIGTERM or SIGINT.  On a stop signal clients get a close frame that tells
them to reconnect and resume, and all ends within --shutdown-timeout.  On SIGHUP the configuration
is read again."""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "serve",
        "run the gateway",
        description=_DESCRIPTION,
        epilog=OPTIONS_EPILOG,
        usage="ringgate serve [--config FILE] [--listen ADDRESS] [--api-listen ADDRESS] [OPTION...]",
    )
    add_option_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve; return the server's exit status.  Raises ConfigError and CommandFailedError."""
    config = load_options(arguments).config
    logs.configure(config.server.log_level, config.server.log_format)
    try:
        from ..server import run as run_server
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "gateway":
            raise
        raise CommandFailedError(
            f"{error}: the extensions are not compiled; `pip install .` compiles them"
        ) from error
    return run_server(config, lambda: load_options(arguments).config)
