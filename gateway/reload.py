"""What of a configuration can change while the gateway runs, and what a running gateway makes of a new one.

It compares configurations, and knows nothing of who uses them.  What always holds: the result obeys every
rule across options, also where a part of what was wanted is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from .config import Config
from .config.load import shown_key
from .config.problems import InvalidConfigError
from .config.rules import check_rules
from .config.schema import NAMED, SECTIONS, RouteOptions, UpstreamOptions, options_of

RELOADABLE: Final = frozenset(
    {
        ("server", "log_level"),
        ("api", "keys"),
        ("api", "publish_keys"),
        ("api", "read_keys"),
        ("api", "hosts"),
        ("api", "max_body_bytes"),
        *(("auth", row.name) for row in options_of("auth")),
        *(("session", row.name) for row in options_of("session")),
        *(("limits", row.name) for row in options_of("limits")),
    }
)
"""Options outside of namespaces that can change; those of namespaces all can.

Whether clients need a token at all cannot.
"""

_log = logging.getLogger("gateway.server")


class Reload(NamedTuple):
    """The configuration that holds from now on, the keys that changed, and those that cannot."""

    config: Config
    changed: list[str]
    refused: list[str]


def plan_reload(running: Config, wanted: Config) -> Reload:
    """Return what a running gateway takes from `wanted`.

    Raises InvalidConfigError when what it takes and what it keeps do not go together.
    """
    changed: list[str] = []
    refused: list[str] = []
    sections: dict[str, Any] = {}
    stays = running.authenticates == wanted.authenticates
    for section in SECTIONS:
        if section in NAMED:
            continue
        old, new = getattr(running, section), getattr(wanted, section)
        taken = {}
        for row in options_of(section):
            value = getattr(new, row.name)
            if value == getattr(old, row.name):
                continue
            path = (section, row.name)
            taken_over = path in RELOADABLE and (stays or section != "auth")
            (changed if taken_over else refused).append(shown_key(path))
            if taken_over:
                taken[row.name] = value
        sections[section] = replace(old, **taken)
    changed += _changed_namespaces(running, wanted)
    refused += _changed_named("upstream", running.upstreams, wanted.upstreams, UpstreamOptions())
    refused += _changed_named("route", running.routes, wanted.routes, RouteOptions())
    config = Config(
        **sections, namespaces=wanted.namespaces, upstreams=running.upstreams, routes=running.routes
    )
    broken = check_rules(config, {})
    if broken:
        raise InvalidConfigError(broken)
    return Reload(config, changed, refused)


def _changed_namespaces(running: Config, wanted: Config) -> list[str]:
    old = {name: running.namespace(name) for name in {*running.namespaces, *wanted.namespaces}}
    return _changed_named("namespace", old, {name: wanted.namespace(name) for name in old}, None)


def _changed_named(
    section: str, old: Mapping[str, object], new: Mapping[str, object], default: object
) -> list[str]:
    return [
        shown_key((section, name, row.name))
        for name in sorted({*old, *new})
        for row in options_of(section)
        if getattr(old.get(name, default), row.name) != getattr(new.get(name, default), row.name)
    ]


def log_reload(reload: Reload) -> None:
    """Say what changed, and name every key that cannot."""
    for key in reload.refused:
        _log.warning("%s cannot change while the gateway runs: restart it", key, extra={"key": key})
    _log.info("configuration reloaded", extra={"changed": ", ".join(reload.changed) or "nothing"})
