"""Values by path, where a path can stand for all below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PathTable(dict[str, Any]):
    """Values by exact path, or by `/prefix/*` for all paths below a prefix; the longest prefix wins."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        prefixes = [path[:-1] for path in entries if path.endswith("/*")]
        self._prefixes = sorted(prefixes, key=len, reverse=True)

    def get(self, path: str, default: Any = None) -> Any:
        """Return the value for a path."""
        found = super().get(path)
        if found is None:
            for prefix in self._prefixes:
                if path.startswith(prefix):
                    return self[prefix + "*"]
        return default if found is None else found
