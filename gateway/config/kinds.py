"""The types of values that an option can have: how each is read, what it allows, how it is written.

A kind reads a value twice over: `from_toml` takes what the TOML parser made of it and is strict
about its type; `from_text` takes the text of an environment variable or a flag.  Both give
the same Python value, and `to_toml` writes one that reads back equal.  Kinds know nothing of
particular options.  They raise only `ValueRefusedError`, whose text says what is wrong when
`allowed()` alone would not.
"""

from __future__ import annotations

import ipaddress
import json
import re
from abc import ABC, abstractmethod
from typing import Any, Final, NamedTuple

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS: Final = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,20})?) ?(ms|s|m|h|d)?")
_SIZE = re.compile(r"([0-9]{1,18}) ?(B|KiB|MiB|GiB)?")
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


class ValueRefusedError(ValueError):
    """A value is not one that its kind allows.  The text may say why, and never holds a secret."""


def quote(text: str) -> str:
    """Return `text` as a TOML basic string; everything that is not printable ASCII is escaped."""
    escaped = []
    for char in text:
        if char in '"\\':
            escaped.append("\\" + char)
        elif " " <= char <= "~":
            escaped.append(char)
        else:
            escaped.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
    return '"' + "".join(escaped) + '"'


def format_duration(seconds: float) -> str:
    """Return seconds in the largest unit that gives a whole number, such as "5m" or "250ms"."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _DURATION_UNITS[unit] == 0:
            return f"{int(seconds / _DURATION_UNITS[unit])}{unit}"
    milliseconds = round(seconds * 1000)
    if seconds and milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    return f"{seconds!r}s" if seconds else "0s"


def format_size(size_bytes: int) -> str:
    """Return bytes in the largest binary unit that gives a whole number, such as "64KiB"."""
    for unit in ("GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _SIZE_UNITS[unit] == 0:
            return f"{size_bytes // _SIZE_UNITS[unit]}{unit}"
    return f"{size_bytes}B"


class Address(NamedTuple):
    """Where to listen: a host name or IP address without brackets, and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect.  A name other than localhost is taken not to be."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


class Secret:
    """A value that no output shows.  `source` is "file:/path" where it was read from a file, else empty."""

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str = "") -> None:
        self._value = value
        self.source = source

    def reveal(self) -> str:
        """Return the secret itself.  Compare it with `hmac.compare_digest` only."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.source or 'hidden'})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.source) == (other._value, other.source)

    def __hash__(self) -> int:
        return hash((self._value, self.source))


class Kind(ABC):
    """One type of value with its bounds.  A subclass fills in the underscored methods."""

    name: str
    metavar: str

    def allowed(self) -> str:
        """Say what is allowed, as the end of the sentence "allowed: ..."."""
        return self._allowed()

    def from_toml(self, value: object) -> Any:
        """Return the value of what the TOML parser found.  Raises ValueRefusedError."""
        return self._from_toml(value)

    def from_text(self, text: str) -> Any:
        """Return the value of an environment variable or a flag.  Raises ValueRefusedError."""
        return self._from_text(text)

    def to_toml(self, value: Any) -> str:
        """Return the value as TOML text."""
        return self._to_toml(value)

    def reveal(self, value: Any) -> str:
        """Return the value as TOML text with its secrets in it."""
        return self._to_toml(value)

    def hides(self, value: Any) -> bool:
        """Tell whether a value of a secret option cannot be shown as it stands."""
        return False

    @abstractmethod
    def _allowed(self) -> str: ...

    @abstractmethod
    def _from_toml(self, value: object) -> object: ...

    def _from_text(self, text: str) -> object:
        return self._from_toml(text)

    @abstractmethod
    def _to_toml(self, value: Any) -> str: ...


class Boolean(Kind):
    """true or false."""

    name = "boolean"
    metavar = "BOOLEAN"

    def _allowed(self) -> str:
        return "true or false"

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, bool):
            raise ValueRefusedError
        return value

    def _from_text(self, text: str) -> object:
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueRefusedError
        return word in _TRUE

    def _to_toml(self, value: Any) -> str:
        return "true" if value else "false"


class BooleanOr(Boolean):
    """true, false, or one of a few words."""

    name = "boolean or word"

    def __init__(self, *words: str) -> None:
        self.words = words
        self.metavar = "|".join(("true", "false", *words))

    def _allowed(self) -> str:
        return f"true, false or {', '.join(json.dumps(word) for word in self.words)}"

    def _from_toml(self, value: object) -> object:
        return value if value in self.words else super()._from_toml(value)

    def _from_text(self, text: str) -> object:
        word = text.strip()
        return word if word in self.words else super()._from_text(text)

    def _to_toml(self, value: Any) -> str:
        return quote(value) if value in self.words else super()._to_toml(value)


class Integer(Kind):
    """A whole number from `low` to `high`, both allowed."""

    name = "integer"
    metavar = "N"

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def _allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def _from_toml(self, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueRefusedError
        return value

    def _from_text(self, text: str) -> object:
        if not re.fullmatch(r"-?[0-9]{1,18}", text.strip()):
            raise ValueRefusedError
        return self._from_toml(int(text))

    def _to_toml(self, value: Any) -> str:
        return str(value)


class WorkerCount(Kind):
    """A number of worker processes, or "auto", which is 0: as many as there are usable cores."""

    name = "integer or auto"
    metavar = "N|auto"
    high = 256

    def _allowed(self) -> str:
        return f'a whole number from 1 to {self.high}, or "auto" for the number of usable cores'

    def _from_toml(self, value: object) -> object:
        if value == "auto":
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= self.high:
            raise ValueRefusedError
        return value

    def _from_text(self, text: str) -> object:
        word = text.strip()
        return self._from_toml(int(word) if re.fullmatch(r"[0-9]{1,9}", word) else word)

    def _to_toml(self, value: Any) -> str:
        return str(value) if value else '"auto"'


class Prefix(Kind):
    """What names begin with: a few letters, digits and marks."""

    name = "prefix"
    metavar = "TEXT"

    def _allowed(self) -> str:
        return "1 to 64 characters of A-Z a-z 0-9 _ - . :"

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.:\-]{1,64}", value):
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))


class Size(Kind):
    """A number of bytes from `low` to `high`."""

    name = "size"
    metavar = "SIZE"

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def _allowed(self) -> str:
        return (
            f'a size such as "64KiB", "1MiB" or a number of bytes, '
            f"from {format_size(self.low)} to {format_size(self.high)}"
        )

    def _from_toml(self, value: object) -> object:
        if isinstance(value, str):
            match = _SIZE.fullmatch(value.strip())
            if match is None:
                raise ValueRefusedError
            value = int(match[1]) * _SIZE_UNITS[match[2] or "B"]
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(format_size(value))


class Duration(Kind):
    """A time span in seconds (a float) from `low` to `high`."""

    name = "duration"
    metavar = "TIME"

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def _allowed(self) -> str:
        low = format_duration(self.low) if self.low else "0"
        return (
            f'a time such as "250ms", "30s", "10m", "2h" or a number of seconds, '
            f"from {low} to {format_duration(self.high)}"
        )

    def _from_toml(self, value: object) -> object:
        if isinstance(value, str):
            match = _DURATION.fullmatch(value.strip())
            if match is None:
                raise ValueRefusedError
            unit = match[2] or "s"
            value = float(match[1]) / 1000 if unit == "ms" else float(match[1]) * _DURATION_UNITS[unit]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueRefusedError
        if not self.low <= value <= self.high:  # false for NaN too
            raise ValueRefusedError
        return float(value)

    def _to_toml(self, value: Any) -> str:
        return quote(format_duration(value))


class Choice(Kind):
    """One of a few words."""

    name = "choice"
    metavar = "WORD"

    def __init__(self, *words: str) -> None:
        self.words = words
        self.metavar = "|".join(words)

    def _allowed(self) -> str:
        return ", ".join(json.dumps(word) for word in self.words)

    def _from_toml(self, value: object) -> object:
        if value not in self.words:
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))


class FilePath(Kind):
    """The path of a file; empty for none.  Whether it can be read is seen when it is needed."""

    name = "path"
    metavar = "FILE"

    def _allowed(self) -> str:
        return 'the path of a file, or "" for none'

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str):
            raise ValueRefusedError
        if "\0" in value:
            raise ValueRefusedError("a path holds no NUL")
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))
