"""Bytes of RESP, by hiredis: how commands are packed and replies read.

Knows nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

NOTHING: Final = object()
"""What a reader returns when no reply is whole."""

pack = cast(Callable[[tuple[Any, ...]], bytes], hiredis.pack_command)
"""Return the bytes of a command: a tuple of str, bytes, int or float."""


def make_reader() -> hiredis.Reader:
    """Return a reader whose `gets` gives bytes, int, list, None or ReplyError; or `NOTHING`.

    It raises HiredisError for what is no RESP.
    """
    return hiredis.Reader(notEnoughData=NOTHING)
