"""What a command of the client fails with: one class for the gateway's codes and the client's own.

What always holds: `unknown` is true exactly if the gateway may have carried the command out although nobody
heard of it.
"""

from __future__ import annotations

from typing import Any, Final

from ..errors import ERROR_CODES, GatewayError

LOCAL_CODES: Final[dict[str, bool]] = {
    "aborted": False,  # the application's own function could not make the edit
    "closed": False,  # the application closed the client
    "disconnected": True,  # the connection ended before the answer came
    "expired": True,  # it waited longer than its time to live, or its timeout
    "queue_full": True,  # as many commands wait already as may
}
"""Codes that no gateway sends, and whether the same thing may work later."""


class RinggateError(GatewayError):
    """A command that was not carried out, or of which that is not known.

    `code` is one of `gateway.errors.ERROR_CODES` or of LOCAL_CODES, or one that only a newer gateway knows.
    `retry`: the same may work later.
    """

    def __init__(
        self, code: str, message: str = "", *, retry: bool | None = None, unknown: bool = False
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.retry = is_retriable(code) if retry is None else retry
        self.unknown = unknown
        self.current: Any = None
        """The event that said so, for the client itself: with `stale_version` it has the current state."""


def is_retriable(code: str) -> bool:
    """Tell whether what failed with `code` may work later; a code that is not known here may not."""
    info = ERROR_CODES.get(code)
    return LOCAL_CODES.get(code, False) if info is None else info.retry
