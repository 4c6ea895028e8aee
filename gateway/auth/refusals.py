"""Why a token is refused: a table of short reasons, for logs and counters.

A client is told less (`told`): what helps it, and nothing that helps to guess.
"""

from __future__ import annotations

from typing import Final

from ..errors import GatewayError

REASONS: Final[dict[str, str]] = {
    "missing": "no credentials",
    "malformed": "the token is not valid",
    "too_large": "the token is not valid",
    "algorithm": "the token is not valid",
    "unknown_key": "the token is not valid",
    "signature": "the token is not valid",
    "expired": "the token is expired",
    "not_yet": "the token is not valid yet",
    "issuer": "the token is not valid",
    "audience": "the token is not valid",
    "claims": "the token is not valid",
    "purpose": "the token is not for this",
    "revoked": "the token is revoked",
}
"""What a client is told, by reason."""


class TokenRefusedError(GatewayError):
    """A token is not accepted.

    `reason` is of `REASONS`; `detail` is for the log: it quotes nothing of the token but names of claims.
    Raises KeyError for a reason that is not in the table.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.told = REASONS[reason]
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class KeysUnavailableError(GatewayError):
    """The keys that could verify a token cannot be had now: neither yes nor no."""
