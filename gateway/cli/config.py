"""`ringgate config`: prints the effective configuration, or the table of all options."""

from __future__ import annotations

import argparse

from ..config.render import render_markdown, render_toml
from .parser import OPTIONS_EPILOG, Commands, add_command, add_option_flags, load_options


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "config",
        "print the effective configuration as TOML",
        description="Print the effective configuration as TOML, every option documented, secrets hidden.",
        epilog=OPTIONS_EPILOG,
        usage="ringgate config [--markdown] [--config FILE] [OPTION...]",
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the table of all options instead, for the documentation",
    )
    add_option_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print.  Raises InvalidConfigError."""
    print(render_markdown() if arguments.markdown else render_toml(load_options(arguments)), end="")
    return 0
