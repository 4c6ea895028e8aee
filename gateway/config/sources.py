"""Which option an environment variable means, or a flag such as `--namespace` with a name in its text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from .option import NAMED
from .problems import Problem, describe, suggestion
from .scan import KeyPath
from .schema import all_options, options_of

PREFIX: Final = "RINGGATE_"
FILE_VARIABLE: Final = "RINGGATE_CONFIG"
_EXAMPLES: Final = {
    "apikey": "billing.scopes=publish",
    "namespace": "chat.history_size=50",
    "upstream": "app.addresses=http://127.0.0.1:9000",
    "route": "app.path=/app",
}

# Kubernetes gives every container such variables for each service, also for one named ringgate.
_SERVICE_LINK = re.compile(
    r"RINGGATE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP)(?:_\w+)?)?)"
)
_NAMED_FLAG = re.compile(r"(?P<name>.+)\.(?P<option>[A-Za-z_-]+)=(?P<value>[^=]*)", re.DOTALL)


def match_variable(name: str, tables: Mapping[str, Collection[str]]) -> KeyPath | Problem | None:
    """Return the path that the variable sets; None when it is not ours; a Problem when it is unknown.

    `tables` are the names that the file has, for each named section: a variable means the one among them that
    is spelt like it in capitals with `_` for every other character, else the name in small letters.
    """
    if not name.startswith(PREFIX) or name == FILE_VARIABLE:
        return None
    rows = {row.variable: row for row in all_options() if row.section not in NAMED}
    if name in rows:
        return (rows[name].section, rows[name].name)
    for section in NAMED:
        if name.startswith(_prefix(section)):
            return _match_named(section, name, tables.get(section, ()))
    if _SERVICE_LINK.fullmatch(name):
        return None
    allowed = "RINGGATE_SECTION_OPTION, as `ringgate config --markdown` lists them"
    return Problem(
        "", f"environment {describe(name)}", "an unknown variable", allowed, suggestion(name, rows)
    )


def _prefix(section: str) -> str:
    return f"{PREFIX}{section.upper()}_"


def _match_named(section: str, name: str, names: Collection[str]) -> KeyPath | Problem:
    rest = name.removeprefix(_prefix(section))
    options = sorted((row.name for row in options_of(section)), key=len, reverse=True)
    for option in options:
        spelt = rest.removesuffix("_" + option.upper())
        if spelt and spelt != rest:
            alike = sorted(known for known in names if _as_variable(known) == spelt)
            if len(alike) > 1:
                hint = f"it could mean any of the {NAMED[section]} {', '.join(alike)}"
                return Problem(
                    "", f"environment {name}", "an ambiguous variable", "a flag or the file instead", hint
                )
            return (section, alike[0] if alike else spelt.lower(), option)
    allowed = f"{_prefix(section)}NAME_OPTION with one of the options {', '.join(sorted(options))}"
    return Problem("", f"environment {describe(name)}", "an unknown variable", allowed)


def _as_variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def split_named_flag(section: str, text: str) -> tuple[KeyPath, str] | Problem:
    """Return path and value of NAME.OPTION=VALUE; a Problem when it is not of that form."""
    where = f"flag --{section}"
    options = [row.name for row in options_of(section)]
    known = "|".join(options).replace("_", "[_-]")
    # Names may have dots and equals signs, and values too: the first option that is known divides them.
    match = re.fullmatch(rf"(?P<name>.+?)\.(?P<option>{known})=(?P<value>.*)", text, re.DOTALL)
    match = match or _NAMED_FLAG.fullmatch(text)
    if match is None:
        return Problem("", where, describe(text), f"NAME.OPTION=VALUE such as {_EXAMPLES[section]}")
    option = match["option"].replace("-", "_")
    if option not in options:
        key = f"{section}.{match['name']}.{option}"
        return Problem(
            describe(key)[1:-1],
            where,
            "an unknown key",
            f"one of {', '.join(options)}",
            suggestion(option, options),
        )
    return (section, match["name"], option), match["value"]
