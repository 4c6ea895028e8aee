"""Finds on which line of a TOML text each key is set, since the standard parser does not say.

Works on texts that the parser has already accepted, so it only has to find its way past
strings, comments and brackets.  Keys inside inline tables are not entered: `line_of` answers with
the line of the nearest table around them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Final

KeyPath = tuple[str, ...]

_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED: Final = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_STATEMENT = re.compile(rf"[ \t]*(?:\[\[?[ \t]*(?P<table>{_DOTTED})[ \t]*\]|(?P<key>{_DOTTED})[ \t]*=)")
_TOKEN = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""+|\'\'\'.*?\'\'\'+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[{]|[\]}]|\n''',
    re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return for each key and table of `text` the number of the line, from 1, where it is first named."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    position, line = 0, 1
    while position < len(text):
        match = _STATEMENT.match(text, position)
        if match is None:
            end = _line_end(text, position)
        elif match["table"] is not None:
            table = _path(match["table"])
            lines.setdefault(table, line)
            end = _line_end(text, match.end())
        else:
            lines.setdefault(table + _path(match["key"]), line)
            end = _value_end(text, match.end())
        line += text.count("\n", position, end)
        position = end
    return lines


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of `path` or of the nearest table around it; None when there is neither."""
    for length in range(len(path), 0, -1):
        line = lines.get(path[:length])
        if line is not None:
            return line
    return None


def _path(dotted: str) -> KeyPath:
    """Return the parts of a dotted key; the parser itself resolves quotes and escapes."""
    parts: list[str] = []
    node: object = tomllib.loads(f"{dotted} = 0")
    while isinstance(node, dict):
        name, node = next(iter(node.items()))
        parts.append(name)
    return tuple(parts)


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, position: int) -> int:
    """Return where the line after a value starts; a value may be a string or array of many lines."""
    depth = 0
    for token in _TOKEN.finditer(text, position):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == "\n" and depth <= 0:
            return token.end()
    return len(text)
