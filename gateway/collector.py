"""Python's garbage collector, in a process that is the gateway's own.

What was made at the start (modules, classes, functions: some ten thousand objects) lives as long as the
process.  Looking through it again and again costs more than the collector's work on connections.  Not for a
program that embeds the gateway: there the collector is its own affair.
"""

from __future__ import annotations

import gc


def leave_out_what_is_there() -> None:
    """Have the collector look, from now on, only at what is made from now on.

    Nothing is collected before, because that would keep the first clients waiting.
    """
    gc.freeze()
