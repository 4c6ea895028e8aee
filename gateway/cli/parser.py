"""What the commands share: how help looks, and the flags of all options.

The flags come from the table in `gateway.config.schema`; this module only spells them for argparse.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..config.lists import ListKind
from ..config.load import Loaded, load
from ..config.option import NAMED, Option
from ..config.problems import suggestion
from ..config.render import render_default
from ..config.schema import SECTIONS, all_options, options_of, section_doc
from ..config.sources import FILE_VARIABLE
from ..errors import GatewayError
from ..logs import escape

_A: Final = {
    "apikey": "API keys of one name",
    "namespace": "a namespace",
    "upstream": "an upstream",
    "route": "a route",
}

Commands = Any  # argparse names the type of `add_subparsers()` only privately

OPTIONS_EPILOG: Final = f"""\
Every option can also be set in the file ([server] listen = ...) and in the environment
(RINGGATE_LISTEN, RINGGATE_<SECTION>_<OPTION>); flags win over the environment, and that over
the file.  {FILE_VARIABLE} names the file where --config does not."""


class CommandFailedError(GatewayError):
    """A command could not do what was asked; the text is the one line that the user sees."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help with room for long flags."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=min(_terminal_columns(), 110))


def _terminal_columns() -> int:
    try:
        return max(60, os.get_terminal_size().columns - 2)
    except OSError:
        return 100


def add_command(commands: Commands, name: str, summary: str, **options: Any) -> argparse.ArgumentParser:
    """Add a command with our looks; `summary` is its line in `ringgate --help`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
        **({"description": summary[0].upper() + summary[1:] + "."} | options),
    )
    parser.set_defaults(parser=parser)
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; an unknown flag ends the process with status 2 and a suggestion."""
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        command: argparse.ArgumentParser = arguments.parser
        word = unknown[0].partition("=")[0]
        hint = suggestion(word, command._option_string_actions) if word.startswith("-") else ""
        command.error(f'unknown argument "{escape(unknown[0])}"{f"; {hint}" if hint else ""}')
    return arguments


def add_option_flags(parser: argparse.ArgumentParser) -> None:
    """Add --config and a flag for every option of the configuration."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="the configuration, a TOML file")
    for section in SECTIONS:
        if section in NAMED:
            _add_named_flag(parser, section)
            continue
        group = parser.add_argument_group(f"[{section}]", section_doc(section).rstrip("."))
        for row in options_of(section):
            _add_flag(group, row)


def _add_flag(group: argparse._ArgumentGroup, row: Option) -> None:
    text = f"{row.doc} (default {_default(row)})".replace("%", "%%")
    if row.kind.name == "boolean":
        group.add_argument(
            row.flag,
            dest=row.flag,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=text,
        )
    else:
        group.add_argument(
            row.flag,
            dest=row.flag,
            action="append",
            default=argparse.SUPPRESS,
            metavar=row.kind.metavar,
            help=text,
        )


def _add_named_flag(parser: argparse.ArgumentParser, section: str) -> None:
    rows = list(options_of(section))
    width = max(len(row.name) for row in rows)
    lines = [f"  {row.name:<{width}}  {row.doc} (default {_default(row)})" for row in rows]
    about = "; NAME is default for channels without a prefix" if section == "namespace" else ""
    intro = f"{section_doc(section).rstrip('.')}{about}:"
    group = parser.add_argument_group(f"[{section}.NAME]", "\n".join([intro, *lines]))
    group.add_argument(
        f"--{section}",
        action="append",
        default=[],
        metavar="NAME.OPTION=VALUE",
        help=f"an option of {_A[section]}; can be repeated",
    )


def _default(row: Option) -> str:
    """Return the default as one would type it in a flag."""
    if row.default == ():
        return "none"
    return render_default(row).strip('"')


def load_options(arguments: argparse.Namespace, environment: Mapping[str, str] | None = None) -> Loaded:
    """Return the configuration that arguments, environment and file make together.

    `environment` is that of the process when None.  Raises InvalidConfigError.
    """
    variables = os.environ if environment is None else environment
    file = arguments.config or (Path(variables[FILE_VARIABLE]) if variables.get(FILE_VARIABLE) else None)
    given = vars(arguments)
    named = {section: given[section] for section in NAMED}
    flags = {row.flag: _flag_text(row, given[row.flag]) for row in all_options() if row.flag in given}
    return load(file=file, environment=variables, flags=flags, named_flags=named)


def _flag_text(row: Option, value: bool | list[str]) -> str:
    """Return what the command line gave for a flag: lists add up, of anything else the last one counts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(row.kind, ListKind) else value[-1]
