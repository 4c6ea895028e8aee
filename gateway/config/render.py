"""Prints the configuration: the effective one as TOML, and the table of options for the documentation.

What `render_toml` writes can be loaded again and gives the same configuration, except for secrets that
were given as they are: those are commented out and never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from .load import Loaded, shown_key
from .option import NAMED, Option
from .scan import KeyPath
from .schema import SECTIONS, Config, options_of, section_doc

_TABLE_HEAD: Final = (
    "| option | type | default | allowed | environment | flag | meaning |",
    "|---|---|---|---|---|---|---|",
)


def render_toml(loaded: Loaded, *, reveal: bool = False) -> str:
    """Return the effective configuration as TOML, every option with its documentation and its source.

    `reveal`: with secrets, for another process of the same gateway, never for a terminal, file or log.
    """
    lines: list[str] = []
    for section in SECTIONS:
        if section in NAMED:
            for at, name in enumerate(getattr(loaded.config, NAMED[section])):
                lines += _table(loaded, (section, name), documented=at == 0, reveal=reveal)
        else:
            lines += _table(loaded, (section,), documented=True, reveal=reveal)
    return "\n".join(lines)


def _table(loaded: Loaded, prefix: KeyPath, *, documented: bool, reveal: bool) -> Iterator[str]:
    values = _values(loaded.config, prefix)
    yield f"# {section_doc(prefix[0])}"
    yield f"[{shown_key(prefix)}]"
    for row in options_of(prefix[0]):
        if documented:
            yield f"# {row.doc} (default {render_default(row)}; {row.variable}, {flag_text(row)})"
        source = loaded.sources.get((*prefix, row.name), "")
        yield _assignment(row, getattr(values, row.name), reveal=reveal) + (f"  # {source}" if source else "")
    yield ""


def _assignment(row: Option, value: object, *, reveal: bool) -> str:
    if reveal and row.secret:
        return f"{row.name} = {row.kind.reveal(value)}"
    line = f"{row.name} = {row.kind.to_toml(value)}"
    hides = row.secret and row.kind.hides(value)
    return f"# {line}" if hides else line


def _values(config: Config, prefix: KeyPath) -> object:
    if prefix[0] in NAMED:
        tables: Mapping[str, object] = getattr(config, NAMED[prefix[0]])
        return tables[prefix[1]]
    values: object = getattr(config, prefix[0])
    return values


def render_default(row: Option) -> str:
    """Return the default of an option as it would be written in the file."""
    return row.kind.to_toml(row.default)


def flag_text(row: Option) -> str:
    """Return how an option is given as a flag."""
    if row.section in NAMED:
        return f"--{row.section} NAME.{row.name}=..."
    return row.flag


def render_markdown() -> str:
    """Return the table of options for docs/configuration.md, a heading for each section."""
    lines: list[str] = []
    for section in SECTIONS:
        heading = f"[{section}.NAME]" if section in NAMED else f"[{section}]"
        lines += [f"### `{heading}`", "", section_doc(section), "", *_TABLE_HEAD]
        lines += [_markdown_row(row) for row in options_of(section)]
        lines.append("")
    return "\n".join(lines)


def _markdown_row(row: Option) -> str:
    kind = f"{row.kind.name}, secret" if row.secret else row.kind.name
    cells = (
        f"`{row.name}`",
        kind,
        f"`{render_default(row)}`",
        row.kind.allowed(),
        f"`{row.variable}`",
        f"`{flag_text(row)}`",
        row.doc,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
