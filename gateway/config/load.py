"""Merges the file, the environment and the flags into one checked `Config`.

A flag wins over an environment variable, which wins over the file, which wins over the
default.  Every value is checked, also one that is overridden, and all faults are reported
together.  A namespace takes what it does not set itself from `[namespace.default]`.

`load` reads the file and the files of secrets, and nothing else: environment and flags are
handed in.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from .kinds import ValueRefusedError, quote
from .option import NAMED, Option
from .problems import InvalidConfigError, Problem, describe, suggestion
from .rules import check_rules
from .scan import KeyPath, key_lines, line_of
from .schema import (
    DEFAULT_NAMESPACE,
    SECTIONS,
    ApiKeyOptions,
    Config,
    NamespaceOptions,
    RouteOptions,
    UpstreamOptions,
    options_of,
)
from .sources import match_variable, split_named_flag

_MAX_FILE_BYTES: Final = 1 << 20
_NO_FLAGS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})
_PLAIN: Final = (re.compile(r"[A-Za-z0-9_\-]{1,64}"), "a name of 1 to 64 characters of A-Z a-z 0-9 _ -")
_NAMES: Final = {
    "namespace": (
        re.compile(r"[A-Za-z0-9_\-=@,.;/#]{1,199}"),
        "a name of 1 to 199 characters of A-Z a-z 0-9 _ - = @ , . ; / #",
    ),
    "apikey": _PLAIN,
    "upstream": _PLAIN,
    "route": _PLAIN,
}
_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration, and where each of its values that is not a default was set.

    `sources` maps a path such as `("server", "listen")` or `("namespace", "chat", "slow")` to a
    text such as "ringgate.toml, line 3" or "flag --listen".
    """

    config: Config
    sources: Mapping[KeyPath, str]


def load(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    named_flags: Mapping[str, Sequence[str]] = _NO_FLAGS,
) -> Loaded:
    """Return the effective configuration.

    `flags` maps a flag such as "--listen" to its text; `named_flags` maps "namespace" to the texts
    NAME.OPTION=VALUE of `--namespace`, and other named sections likewise.  Of `environment` only
    names that start with RINGGATE_ are looked at.  Raises InvalidConfigError, which lists every fault.
    """
    merger = _Merger()
    if file is not None:
        merger.add_file(file)
    merger.add_environment(environment or {})
    merger.add_flags(flags or {})
    for section, texts in named_flags.items():
        merger.add_named_flags(section, texts)
    return merger.checked()


def from_mapping(options: Mapping[str, Any]) -> Config:
    """Return the configuration of an embedding program, checked like a file.

    `options` has the form of the configuration file, such as `{"server": {"listen": "127.0.0.1:0"}}`.
    Raises InvalidConfigError, which lists every fault.
    """
    merger = _Merger()
    _FileReader(merger, "options", {}).read(options)
    return merger.checked().config


class _Merger:
    """Values by path, each from the source that was added last, and the problems found on the way.

    `refused` are the paths that some source gave a value that is not allowed; `unread` says that the
    file could not be read, so that what it would have set is not known.
    """

    def __init__(self) -> None:
        self.values: dict[KeyPath, Any] = {}
        self.sources: dict[KeyPath, str] = {}
        self.problems: list[Problem] = []
        self.refused: set[KeyPath] = set()
        self.unread = False
        self._options = {section: {row.name: row for row in options_of(section)} for section in SECTIONS}

    def add_file(self, file: Path) -> None:
        """Add what a TOML file sets."""
        try:
            text = _read_text(file)
            document = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            self.problems.append(_file_problem(file, error))
            self.unread = True
            return
        _FileReader(self, _shown_path(file), key_lines(text)).read(document)

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """Add what the variables that start with RINGGATE_ set."""
        tables = {section: {path[1] for path in self.sources if path[0] == section} for section in NAMED}
        for name in sorted(environment):
            where = f"environment {name if name.isprintable() and name.isascii() else quote(name)}"
            match = match_variable(name, tables)
            if isinstance(match, Problem):
                self.problems.append(match)
            elif match is not None:
                self.add_text(match, environment[name], where)

    def add_flags(self, flags: Mapping[str, str]) -> None:
        """Add what flags of single options set."""
        by_flag = {row.flag: row for rows in self._options.values() for row in rows.values()}
        for flag, text in flags.items():
            row = by_flag[flag]
            self.add_text((row.section, row.name), text, f"flag {flag}")

    def add_named_flags(self, section: str, texts: Sequence[str]) -> None:
        """Add what flags such as `--namespace NAME.OPTION=VALUE` set."""
        for text in texts:
            match = split_named_flag(section, text)
            if isinstance(match, Problem):
                self.problems.append(match)
            else:
                path, value = match
                self.add_text(path, value, f"flag --{section}")

    def add_text(self, path: KeyPath, text: str, where: str) -> None:
        """Add the value of a path from its text."""
        row = self._options[path[0]][path[-1]]
        self._add(row, path, text, where, from_text=True)

    def add_toml(self, row: Option, path: KeyPath, value: object, where: str) -> None:
        """Add the value of a path as the TOML parser gave it."""
        self._add(row, path, value, where, from_text=False)

    def _add(self, row: Option, path: KeyPath, value: Any, where: str, *, from_text: bool) -> None:
        if not self.check_name(path, where):
            return
        try:
            read = row.kind.from_text if from_text else row.kind.from_toml
            self.values[path] = read(value)
            self.sources[path] = where
        except ValueRefusedError as error:
            self.refused.add(path)
            found = "a value that is not shown" if row.secret else describe(value)
            self.problems.append(Problem(shown_key(path), where, found, row.kind.allowed(), str(error)))

    def check_name(self, path: KeyPath, where: str) -> bool:
        """Report the name of a table that cannot be one, as of a namespace; tell whether it is a good one."""
        if path[0] not in NAMED:
            return True
        pattern, allowed = _NAMES[path[0]]
        if pattern.fullmatch(path[1]):
            return True
        self.problems.append(Problem(path[0], where, describe(path[1]), allowed))
        return False

    def checked(self) -> Loaded:
        """Return the result.  Raises InvalidConfigError when a value was refused or a rule is broken."""
        config = self.config()
        broken = [] if self.unread else check_rules(config, self.sources, self.refused)
        if self.problems or broken:
            raise InvalidConfigError([*self.problems, *broken])
        return Loaded(config, MappingProxyType(self.sources))

    def config(self) -> Config:
        """Return the dataclasses; values that were refused are left at their defaults."""
        sections = {
            section: cls(**self._section_values((section,)))
            for section, cls in SECTIONS.items()
            if section not in NAMED
        }
        default = self._section_values(("namespace", DEFAULT_NAMESPACE))
        namespaces = {DEFAULT_NAMESPACE: NamespaceOptions(**default)}
        for name in self._names("namespace"):
            if name != DEFAULT_NAMESPACE:
                namespaces[name] = NamespaceOptions(**(default | self._section_values(("namespace", name))))
        upstreams = {
            name: UpstreamOptions(**self._section_values(("upstream", name)))
            for name in self._names("upstream")
        }
        routes = {
            name: RouteOptions(**self._section_values(("route", name))) for name in self._names("route")
        }
        api_keys = {
            name: ApiKeyOptions(**self._section_values(("apikey", name))) for name in self._names("apikey")
        }
        return Config(
            **sections,
            api_keys=MappingProxyType(api_keys),
            namespaces=MappingProxyType(namespaces),
            upstreams=MappingProxyType(upstreams),
            routes=MappingProxyType(routes),
        )

    def _names(self, section: str) -> list[str]:
        return sorted({path[1] for path in self.sources if path[0] == section})

    def _section_values(self, prefix: KeyPath) -> dict[str, Any]:
        return {path[-1]: value for path, value in self.values.items() if path[:-1] == prefix}


class _FileReader:
    """Walks one parsed file and hands each value, with the line it is on, to the merger."""

    def __init__(self, merger: _Merger, shown_file: str, lines: Mapping[KeyPath, int]) -> None:
        self._merger = merger
        self._shown_file = shown_file
        self._lines = lines

    def read(self, document: Mapping[str, object]) -> None:
        """Add everything that `document` sets."""
        for section, table in document.items():
            if section not in SECTIONS:
                self._unknown((section,), SECTIONS)
            elif not isinstance(table, dict):
                self._not_a_table((section,), table)
            elif section in NAMED:
                self._read_named(section, table)
            else:
                self._read_options((section,), table)

    def _read_named(self, section: str, tables: Mapping[str, object]) -> None:
        for name, table in tables.items():
            path = (section, name)
            if not isinstance(table, dict):
                self._not_a_table(path, table)
            elif self._merger.check_name((*path, ""), self._where(path)):
                self._merger.sources[path] = self._where(path)
                self._read_options(path, table)

    def _read_options(self, prefix: KeyPath, table: Mapping[str, object]) -> None:
        rows = {row.name: row for row in options_of(prefix[0])}
        for name, value in table.items():
            path = (*prefix, name)
            if name in rows:
                self._merger.add_toml(rows[name], path, value, self._where(path))
            else:
                self._unknown(path, rows)

    def _where(self, path: KeyPath) -> str:
        line = line_of(self._lines, path)
        return self._shown_file if line is None else f"{self._shown_file}, line {line}"

    def _unknown(self, path: KeyPath, known: Mapping[str, object]) -> None:
        hint = suggestion(path[-1], known) or _other_section(path)
        allowed = f"one of {', '.join(known)}"
        self._merger.problems.append(
            Problem(shown_key(path), self._where(path), "an unknown key", allowed, hint)
        )

    def _not_a_table(self, path: KeyPath, value: object) -> None:
        names = {row.name for row in options_of("namespace")} if path[0] == "namespace" else set()
        hint = f"did you mean [namespace.{DEFAULT_NAMESPACE}]?" if path[-1] in names else ""
        problem = Problem(
            shown_key(path), self._where(path), describe(value), f"a table [{shown_key(path)}]", hint
        )
        self._merger.problems.append(problem)


def shown_key(path: KeyPath) -> str:
    """Return a path as a dotted key; parts that TOML would want quoted are quoted."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else quote(part) for part in path)


def _other_section(path: KeyPath) -> str:
    """Return a hint for an option that stands in the wrong table, else an empty text."""
    for section in SECTIONS:
        if path[0] != section and any(row.name == path[-1] for row in options_of(section)):
            example = DEFAULT_NAMESPACE if section == "namespace" else "NAME"
            table = f"{section}.{example}" if section in NAMED else section
            return f"it belongs under [{table}]"
    return ""


def _read_text(file: Path) -> str:
    """Return the text of the file.  Raises ValueError with a text that says why not."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise ValueError(f"is larger than {_MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"a byte that is not UTF-8 (at line {line}, column 1)") from None


def _file_problem(file: Path, error: Exception) -> Problem:
    text = "nesting that is too deep" if isinstance(error, RecursionError) else str(error)
    match = _SYNTAX_PLACE.search(text)
    line = f", line {match[1]}" if match and match[1] else ""
    place = _SYNTAX_PLACE.sub(", at the end of the file" if match and not match[1] else "", text)
    escaped = quote(place)[1:-1].replace('\\"', '"')
    return Problem("", f"{_shown_path(file)}{line}", "", "a TOML file", escaped)


def _shown_path(file: Path) -> str:
    text = str(file)
    return text if text.isprintable() and text.isascii() else quote(text)
