"""What is wrong with a configuration: one record for each fault, one exception for all of them.

Values found in files and in the environment are shown with everything escaped that is not
printable ASCII, and values of secret options are never shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import ConfigError
from .kinds import quote

_MAX_SHOWN_CHARS: Final = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: which key, where it was set, what was found there, what is allowed instead.

    `where` is a file and line, an environment variable or a flag; empty for the configuration as
    a whole.  `found` is already fit for printing.  `hint` is one more clause, or empty.
    """

    key: str
    where: str
    found: str
    allowed: str
    hint: str = ""

    def __str__(self) -> str:
        parts = [f"found {self.found}"] if self.found else []
        parts += [self.hint] if self.hint else []
        parts += [f"allowed: {self.allowed}"] if self.allowed else []
        return ": ".join(part for part in (self.where, self.key, "; ".join(parts)) if part)


class InvalidConfigError(ConfigError):
    """The configuration is wrong; `problems` has every fault that was found, and the text lists them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = "an error" if len(problems) == 1 else f"{len(problems)} errors"
        lines = [f"the configuration has {count}:", *(f"  {problem}" for problem in problems)]
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


def describe(value: object) -> str:
    """Return a value as it would be written in TOML, shortened, or else what it is."""
    if isinstance(value, str):
        return quote(value) if len(value) <= _MAX_SHOWN_CHARS else quote(value[:_MAX_SHOWN_CHARS]) + "..."
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**30 else "a very large number"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(describe(item) for item in value[:3])}{', ...' if len(value) > 3 else ''}]"
    if isinstance(value, dict):
        return "a table"
    return f"an object of type {type(value).__name__}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `did you mean "x"?` for the known word that is most like `word`, or "" if none is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {quote(close[0])}?" if close else ""
