"""One option of the table: a field of a section's dataclass, with what is known of it, and its names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from .kinds import Kind

T = TypeVar("T")

NAMED: Final[Mapping[str, str]] = MappingProxyType(
    {"apikey": "api_keys", "namespace": "namespaces", "upstream": "upstreams", "route": "routes"}
)
"""Sections of which there are several, as tables `[SECTION.NAME]`, each with its field of `Config`."""


class Option(NamedTuple):
    """One row of the table.  `section` is "namespace" for what every `[namespace.NAME]` can set."""

    section: str
    name: str
    kind: Kind
    default: object
    doc: str
    secret: bool

    @property
    def key(self) -> str:
        """Its name in the file: `section.name`, or `namespace.NAME.name`."""
        return f"{self.section}.{'NAME.' if self.section in NAMED else ''}{self.name}"

    @property
    def flag(self) -> str:
        """Its flag: without a prefix for the server's own, else `--section-name`."""
        prefix = "" if self.section == "server" else f"{self.section}-"
        return f"--{prefix}{self.name}".replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable; NAME stands for a namespace's name in capitals."""
        name = "NAME_" if self.section in NAMED else ""
        prefix = "" if self.section == "server" else f"{self.section.upper()}_{name}"
        return f"RINGGATE_{prefix}{self.name.upper()}"


def option(default: T, kind: Kind, doc: str, *, secret: bool = False) -> T:
    """Declare a field of a section.  The result is the dataclass field, typed as the value it will have."""
    made: Any = field(default=default, metadata={"kind": kind, "doc": doc, "secret": secret})
    return made  # type: ignore[no-any-return]
