"""What several commands read from their arguments: times, and payloads."""

from __future__ import annotations

import json
import os
import sys
from typing import Final, NoReturn

from ..config.kinds import Duration, ValueRefusedError
from ..logs import escape
from .parser import CommandFailedError

_TIMEOUT: Final = Duration(0.01, 3600.0)


def read_duration(flag: str, text: str) -> float:
    """Return seconds.  Raises CommandFailedError that names the flag."""
    try:
        seconds: float = _TIMEOUT.from_text(text)
    except ValueRefusedError:
        raise CommandFailedError(f'{flag} is "{escape(text)}"; allowed: {_TIMEOUT.allowed()}') from None
    return seconds


def read_payload(data: str, *, text: bool) -> bytes:
    """Return the payload as JSON text.  Raises CommandFailedError when it is none."""
    raw = sys.stdin.buffer.read() if data == "-" else os.fsencode(data)
    try:
        if text:
            return json.dumps(raw.decode()).encode()
        json.loads(raw.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        hint = "--text sends it as a string" if not text else "it has to be UTF-8"
        raise CommandFailedError(f"DATA is not JSON: {escape(reason)}; {hint}") from None
    return raw


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed in JSON")
