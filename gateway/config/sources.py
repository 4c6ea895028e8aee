"""Which option an environment variable or a `--namespace` flag means."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from .problems import Problem, describe, suggestion
from .scan import KeyPath
from .schema import all_options, options_of

PREFIX: Final = "RINGGATE_"
FILE_VARIABLE: Final = "RINGGATE_CONFIG"
_NAMESPACE_PREFIX: Final = "RINGGATE_NAMESPACE_"

# Kubernetes gives every container such variables for each service, also for one named ringgate.
_SERVICE_LINK = re.compile(
    r"RINGGATE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP)(?:_\w+)?)?)"
)
_NAMESPACE_FLAG = re.compile(r"(?P<name>.+)\.(?P<option>[A-Za-z_-]+)=(?P<value>[^=]*)", re.DOTALL)


def match_variable(name: str, namespaces: Collection[str]) -> KeyPath | Problem | None:
    """Return the path that the variable sets; None when it is not ours; a Problem when it is unknown.

    `namespaces` are the names that the file has: a variable means the one among them that is spelt like
    it in capitals with `_` for every other character, else the name in small letters.
    """
    if not name.startswith(PREFIX) or name == FILE_VARIABLE:
        return None
    rows = {row.variable: row for row in all_options() if row.section != "namespace"}
    if name in rows:
        return (rows[name].section, rows[name].name)
    if name.startswith(_NAMESPACE_PREFIX):
        return _match_namespace(name, namespaces)
    if _SERVICE_LINK.fullmatch(name):
        return None
    allowed = "RINGGATE_SECTION_OPTION, as `ringgate config --markdown` lists them"
    return Problem(
        "", f"environment {describe(name)}", "an unknown variable", allowed, suggestion(name, rows)
    )


def _match_namespace(name: str, namespaces: Collection[str]) -> KeyPath | Problem:
    rest = name.removeprefix(_NAMESPACE_PREFIX)
    options = sorted((row.name for row in options_of("namespace")), key=len, reverse=True)
    for option in options:
        spelt = rest.removesuffix("_" + option.upper())
        if spelt and spelt != rest:
            alike = sorted(known for known in namespaces if _as_variable(known) == spelt)
            if len(alike) > 1:
                hint = f"it could mean any of the namespaces {', '.join(alike)}"
                return Problem(
                    "", f"environment {name}", "an ambiguous variable", "a flag or the file instead", hint
                )
            return ("namespace", alike[0] if alike else spelt.lower(), option)
    allowed = f"{_NAMESPACE_PREFIX}NAME_OPTION with one of the options {', '.join(sorted(options))}"
    return Problem("", f"environment {describe(name)}", "an unknown variable", allowed)


def _as_variable(namespace: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", namespace.upper())


def split_namespace_flag(text: str) -> tuple[KeyPath, str] | Problem:
    """Return path and value of NAME.OPTION=VALUE; a Problem when it is not of that form."""
    where = "flag --namespace"
    options = [row.name for row in options_of("namespace")]
    known = "|".join(options).replace("_", "[_-]")
    # Names may have dots and equals signs, and values too: the first option that is known divides them.
    match = re.fullmatch(rf"(?P<name>.+?)\.(?P<option>{known})=(?P<value>.*)", text, re.DOTALL)
    match = match or _NAMESPACE_FLAG.fullmatch(text)
    if match is None:
        return Problem("", where, describe(text), "NAME.OPTION=VALUE such as chat.history_size=50")
    option = match["option"].replace("-", "_")
    if option not in options:
        key = f"namespace.{match['name']}.{option}"
        return Problem(
            describe(key)[1:-1],
            where,
            "an unknown key",
            f"one of {', '.join(options)}",
            suggestion(option, options),
        )
    return ("namespace", match["name"], option), match["value"]
