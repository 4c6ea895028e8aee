"""With which configuration a gateway runs, since when, and what became of attempts to change it.

It knows the configuration, and nothing that is built from it.  What always holds: no secret goes into the
hash, so that it can be shown to everybody, and two gateways with the same options show the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .config import Config
from .config.load import Loaded
from .config.render import render_toml
from .publish_times import Sample
from .service_view import ServiceView

_HASH_CHARS: Final = 16


def hash_of(config: Config) -> str:
    """Return what a configuration can be told by, without its secrets."""
    return hashlib.sha256(render_toml(Loaded(config, {})).encode()).hexdigest()[:_HASH_CHARS]


class Running:
    """What is known of the configuration that holds."""

    def __init__(self, config: Config) -> None:
        self._hash = hash_of(config)
        self._loaded_ms = time.time_ns() // 1_000_000
        self._needs_restart: list[str] = []
        self._reloads = 0
        self._failures = 0

    def took(self, config: Config, refused: Sequence[str]) -> None:
        """Learn that a configuration was read again, and which of its options need a restart."""
        self._hash = hash_of(config)
        self._loaded_ms = time.time_ns() // 1_000_000
        self._needs_restart = list(refused)
        self._reloads += 1

    def failed(self) -> None:
        """Learn that one could not be taken."""
        self._failures += 1

    def describe(self) -> Mapping[str, Any]:
        """Return all of it."""
        return {
            "hash": self._hash,
            "loaded_ms": self._loaded_ms,
            "reloads": self._reloads,
            "failed_reloads": self._failures,
            "needs_restart": self._needs_restart,
        }

    def samples(self) -> Iterator[Sample]:
        """Yield what it counts."""
        text = "always 1; the label says which configuration holds"
        yield "ringgate_config_info", "gauge", text, {"hash": self._hash}, 1
        since = self._loaded_ms / 1000
        text = "when the configuration was read, in seconds since 1970"
        yield "ringgate_config_loaded_timestamp_seconds", "gauge", text, {}, since
        for outcome, count in (("taken", self._reloads), ("failed", self._failures)):
            text = "times the configuration was read again"
            yield "ringgate_config_reloads", "counter", text, {"outcome": outcome}, count
        text = "options that differ and need a restart"
        yield "ringgate_config_needs_restart", "gauge", text, {}, len(self._needs_restart)


def show_config(view: ServiceView, running: Running) -> None:
    """Have a view show it."""
    view.describe_config = running.describe
    view.more_samples.append(running.samples)
