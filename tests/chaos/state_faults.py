"""The faults of other rows while clients edit shared states, which have to be one state in the end.

What always holds: editors are there from the first fault of a run on.
"""

from __future__ import annotations

from typing import Final

from .editors import Editor
from .scenario import FaultFunction, Run, until

EDITORS: Final = 6


def editing(fault: FaultFunction) -> FaultFunction:
    """Return a fault while clients edit, some of them through proxies."""

    async def both(run: Run) -> None:
        if not any(isinstance(client, Editor) for client in run.crowd):
            editors = [Editor(f"editor{n}", run.choose(n, proxied=n % 2 == 0)) for n in range(EDITORS)]
            run.crowd += editors
            for editor in editors:
                editor.start()
            await until(lambda: all(editor.content(0.0) for editor in editors), "the editors are there")
        await fault(run)

    return both
