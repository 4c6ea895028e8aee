"""What tests in a real browser share."""

from __future__ import annotations

from typing import Final

PAGE_WAIT_MS: Final = 30_000
"""How long a page may take for what it is expected to do: other tests run beside it."""
