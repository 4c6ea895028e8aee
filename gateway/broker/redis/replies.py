"""What replies of Redis that are errors mean for whoever gave the command.

Knows nothing of sockets.  What always holds: only an error after which nothing can have happened becomes a
BrokerUnavailableError.
"""

from __future__ import annotations

from typing import Final

from hiredis import ReplyError

from ...errors import BrokerError, BrokerUnavailableError, OutcomeUnknownError

_REFUSALS: Final = {
    "OOM": "its memory is full (maxmemory)",
    "BUSY": "it is busy with a script",
    "READONLY": "it is a replica",
    "LOADING": "it is loading its data",
    "MASTERDOWN": "it is a replica without a master",
    "CLUSTERDOWN": "the cluster is down",
    "MISCONF": "it cannot write its data to disk",
    "NOREPLICAS": "it has too few replicas",
    "NOAUTH": "it wants a password",
    "WRONGPASS": "it does not know this user and password",
    "NOPERM": "its ACL forbids this",
    "MOVED": "the slot has moved",
    "ASK": "the slot is moving",
    "TRYAGAIN": "the slot is moving",
    "NOSCRIPT": "it keeps forgetting scripts",
}
"""Redis answers these before a command, or a script's first write, has any effect."""

FATAL: Final = frozenset(("READONLY", "LOADING", "MASTERDOWN", "NOAUTH"))
"""After these the connection is of no use: it is the wrong server, or not ready."""


class LostReplyError(BrokerUnavailableError):
    """A command left, and its reply will not come."""


def code_of(error: ReplyError) -> str:
    """Return the first word of an error reply."""
    return str(error).partition(" ")[0]


_OOM_IN_A_SCRIPT: Final = "-OOM command not allowed"
"""Redis 6.2 says so inside of an ERR, when a script's first write is refused."""


def to_exception(server: str, error: ReplyError, *, writes: bool) -> BrokerError:
    """Return what to raise for an error reply of `server`."""
    code = "OOM" if _OOM_IN_A_SCRIPT in str(error) else code_of(error)
    meaning = _REFUSALS.get(code)
    if meaning is not None:
        return BrokerUnavailableError(f"{server}: {meaning}: {shorten(error)}")
    if writes:
        return OutcomeUnknownError(f"{server}: the script failed: {shorten(error)}")
    return BrokerError(f"{server}: the script failed: {shorten(error)}")


def shorten(error: ReplyError) -> str:
    """Return an error reply on one line of bounded length."""
    return " ".join(str(error)[:200].split())
