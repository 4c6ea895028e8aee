"""The two state machines of the client, as tables: its connection, and each of its channels.

They know no socket, no clock and no message: `step` says which state follows and what has to be done for
it, in that order.  What always holds: an input that is not in the row of a state changes nothing and does
nothing. docs/python-client.md has the pictures; a test compares them with the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Step(NamedTuple):
    """The state that follows, and what to do, in that order."""

    state: str
    effects: tuple[str, ...] = ()


Table = Mapping[str, Mapping[str, Step]]

CONNECTION: Final[Table] = {
    # The application wants no connection.
    "idle": {"connect": Step("asking", ("ask",))},
    # The application is asked for a token.
    "asking": {
        "token": Step("opening", ("open",)),
        "lost": Step("waiting", ("wait",)),
        "refused": Step("stopped", ("stop",)),
        "close": Step("idle", ("forget",)),
    },
    # A socket is being connected, and no hello came yet.
    "opening": {
        "hello": Step("online", ("greet",)),
        "lost": Step("waiting", ("drop", "wait")),
        "refused": Step("stopped", ("drop", "stop")),
        "close": Step("idle", ("drop", "forget")),
    },
    # The gateway let the client in.
    "online": {
        "lost": Step("waiting", ("drop", "wait")),
        "again": Step("asking", ("drop", "ask")),
        "refused": Step("stopped", ("drop", "stop")),
        "close": Step("idle", ("drop", "forget")),
    },
    # Until the next attempt.
    "waiting": {
        "timer": Step("asking", ("ask",)),
        "connect": Step("asking", ("rest", "ask")),
        "close": Step("idle", ("rest", "forget")),
    },
    # The gateway refused: no further attempt, until the application asks for one.
    "stopped": {
        "connect": Step("asking", ("ask",)),
        "close": Step("idle", ("forget",)),
    },
}
"""Inputs: connect, close (the application), token, hello, timer (of the back-off); and of an attempt or a
connection that ended: lost (try after a wait), again (at once), refused (not at all)."""

CHANNEL: Final[Table] = {
    # Not subscribed over this connection, and nothing was asked.
    "away": {"open": Step("asked", ("subscribe",))},
    # A subscribe is on its way.
    "asked": {
        "granted": Step("live"),
        "taken": Step("leaving", ("unsubscribe",)),
        "later": Step("resting", ("wait",)),
        "ended": Step("gone", ("end",)),
        "lost": Step("away"),
    },
    # Subscribed.
    "live": {
        "leave": Step("leaving", ("unsubscribe",)),
        "later": Step("resting", ("wait",)),
        "ended": Step("gone", ("end",)),
        "lost": Step("away"),
    },
    # An unsubscribe is on its way.
    "leaving": {
        "left": Step("away"),
        "later": Step("staying", ("wait",)),
        "lost": Step("away"),
    },
    # Refused for the moment, to be asked again.
    "resting": {
        "timer": Step("away"),
        "leave": Step("away", ("rest",)),
        "lost": Step("away", ("rest",)),
    },
    # An unsubscribe was refused for the moment, to be repeated.
    "staying": {
        "timer": Step("leaving", ("unsubscribe",)),
        "lost": Step("away", ("rest",)),
    },
    # Ended by the gateway; whoever listened was told.
    "gone": {},
}
"""Inputs: open and leave (the client's own wish); granted, left, later and ended (the gateway's answers and
events); taken (it is subscribed already, by an app service: it is left, to be taken up from its position);
lost (the connection); timer (of a wait)."""


def step(table: Table, state: str, taken: str) -> Step | None:
    """Return what follows from an input in a state; None if it means nothing there."""
    return table[state].get(taken)
