"""What stands for a message, or for one command of it, that is not understood: the same in every encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .commands import Command, MalformedCommand

_MOST_CHARS_TOLD: Final = 200


def refuse_number(number: int, most: int) -> Sequence[Command]:
    """Return what stands for a list of `number` commands if there may not be so many; else nothing."""
    if 0 < number <= most:
        return ()
    return (MalformedCommand(message=f"a list holds 1 to {most} commands"),)


def not_readable(encoding: str) -> MalformedCommand:
    """Return what stands for a message that is not even of its encoding, such as "JSON"."""
    return MalformedCommand(message=f"the message is not valid {encoding}")


def not_understood(number: int, problem: Exception) -> MalformedCommand:
    """Return what stands for the command with the id `number`, because of what msgspec says of it."""
    # It tells what was expected where, and at most quotes what this very client sent.
    what = str(problem)[:_MOST_CHARS_TOLD]
    return MalformedCommand(id=number, message=f"the command is not understood: {what}")
