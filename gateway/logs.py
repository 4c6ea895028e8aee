r"""Log lines, as JSON or for people, that nothing a peer sends can forge or break.

Modules log through the standard library: `logging.getLogger("ringgate.edge").info("refused",
extra={"reason": "origin", "remote": peer})`.  Everything in `extra` is a field of the line.  Nothing
is logged per message.

What always holds: one record is one line of JSON, or in text one line plus indented lines for a
traceback; every control character and everything else that is not printable is
escaped in every part of a record, names of fields included; tokens in queries and
Authorization headers are blotted out.  A record that cannot be formatted still gives a line.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, TextIO

REDACTED: Final = "[redacted]"
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_RESERVED: Final = frozenset({"time", "level", "logger", "message", "exception"})
_TOKEN = re.compile(r"""((?:^|[?&\s"'])(?:access_)?token=)[^&\s"'#]+""", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer\s+)[A-Za-z0-9._~+/=-]{16,}", re.IGNORECASE)
_PLAIN = re.compile(r"[^\s\"=\\]+")


def configure(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Send all logging of the process to `stream` (standard error when None), replacing other handlers.

    `level` is debug, info, warning or error; `log_format` is json, text, or auto: text when `stream` is a
    terminal.  Programs that embed the gateway do not call this.
    """
    target = sys.stderr if stream is None else stream
    if log_format == "auto":
        log_format = "text" if target.isatty() else "json"
    handler = logging.StreamHandler(target)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def redact(text: str) -> str:
    """Return `text` with the values of token parameters and of Bearer credentials replaced."""
    return _BEARER.sub(rf"\1{REDACTED}", _TOKEN.sub(rf"\1{REDACTED}", text))


def escape(text: str) -> str:
    r"""Return `text` with the backslash and everything that is not printable written as escapes.

    Control characters, line separators, marks that turn the direction of text and lone surrogates
    become `\n`, `\x1b`, `\u2028` and the like.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape_char(char) for char in text)


def _escape_char(char: str) -> str:
    if char == "\\":
        return "\\\\"
    return char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii")


def _text(value: object) -> str:
    """Return a value as redacted text; bytes that are not UTF-8 become escapes."""
    if isinstance(value, bytes | bytearray):
        return redact(bytes(value).decode("utf-8", "backslashreplace"))
    try:
        return redact(str(value))
    except Exception as error:  # noqa: BLE001 (anybody's __str__ may raise anything; the line must come out)
        return f"<{type(value).__name__} without text: {type(error).__name__}>"


def _message(record: logging.LogRecord) -> str:
    try:
        return redact(record.getMessage())
    except Exception:  # noqa: BLE001 (arguments that do not fit the message must not lose the line)
        return f"{_text(record.msg)} {_text(record.args)}"


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """Yield what was given as `extra`, in order; a name that a line has anyway gets a trailing underscore."""
    for name, value in vars(record).items():
        if name not in _STANDARD_FIELDS:
            yield (f"{name}_" if name in _RESERVED else str(name)), value


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """One JSON object in one line of ASCII: time, level, logger, message, the fields, and an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": _encodable(record.name),
            "message": _encodable(_message(record)),
        }
        for name, value in _fields(record):
            line[_encodable(name)] = _json_value(value)
        if record.exc_info:
            line["exception"] = _encodable(redact(self.formatException(record.exc_info)))
        return json.dumps(line, allow_nan=False)


def _json_value(value: object) -> object:
    """Return numbers, booleans and None as they are, and everything else as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return _encodable(_text(value))


def _encodable(text: str) -> str:
    """Return `text` with lone surrogates as escapes, since strict readers refuse them in JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, then name=value for each field."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and indented lines for an exception, without the last line's end."""
        moment, level = _time(record), escape(record.levelname)
        parts = [moment, f"{level:<7}", f"{escape(record.name)}:", escape(_message(record))]
        parts += [f"{_quoted(name)}={_quoted(_text(value))}" for name, value in _fields(record)]
        lines = [" ".join(parts)]
        if record.exc_info:
            trace = redact(self.formatException(record.exc_info))
            lines += [f"    | {escape(line)}" for line in trace.split("\n")]
        return "\n".join(lines)


def _quoted(text: str) -> str:
    """Return a word as it is, and anything else in quotes, escaped."""
    if text.isprintable() and _PLAIN.fullmatch(text):
        return text
    return '"' + escape(text).replace('"', '\\"') + '"'
