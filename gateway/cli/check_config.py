"""`ringgate check-config`: tells whether `serve` would accept the configuration, else all that is wrong."""

from __future__ import annotations

import argparse

from ..banner import insecurities
from .parser import OPTIONS_EPILOG, Commands, add_command, add_option_flags, load_options


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "check-config",
        "check the configuration and exit",
        description="Check file, environment and flags as `serve` does.  Exit status 0: good, 1: not.",
        epilog=OPTIONS_EPILOG,
        usage="ringgate check-config [--config FILE] [OPTION...]",
    )
    add_option_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check.  Raises InvalidConfigError with all that is wrong."""
    loaded = load_options(arguments)
    print("the configuration is good")
    for warning in insecurities(loaded.config):
        print(f"insecure: {warning}")
    return 0
