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
from .config.option import NAMED
from .config.problems import InvalidConfigError
from .config.rules import check_rules
from .config.schema import SECTIONS, ApiKeyOptions, RouteOptions, UpstreamOptions, options_of

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
        ("websocket", "origins"),
        *(("grip", row.name) for row in options_of("grip")),
        *(
            ("hooks", name)
            for name in (
                *("connect", "subscribe", "publish", "call", "message", "notices", "secrets", "headers"),
                *("hash_by", "call_timeout", "call_timeout_most"),
            )
        ),
        *(("limits", row.name) for row in options_of("limits")),
    }
)
"""Options outside of tables by name that can change; those of namespaces, API keys and upstreams all can.

Whether clients have to show who they are cannot, nor whether there are notices, nor what the channels of GRIP
begin with, once a route speaks it.
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
    stays = _Stays(running.authenticates == wanted.authenticates, running.speaks_grip)
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
            taken_over = path in RELOADABLE and not _is_bound(path, value, getattr(old, row.name), stays)
            (changed if taken_over else refused).append(shown_key(path))
            if taken_over:
                taken[row.name] = value
        sections[section] = replace(old, **taken)
    changed += _changed_namespaces(running, wanted)
    changed += _changed_named("apikey", running.api_keys, wanted.api_keys, ApiKeyOptions())
    changed += _changed_named("upstream", running.upstreams, wanted.upstreams, UpstreamOptions())
    changed += _changed_named("route", running.routes, wanted.routes, RouteOptions())
    config = Config(
        **sections,
        api_keys=wanted.api_keys,
        namespaces=wanted.namespaces,
        upstreams=wanted.upstreams,
        routes=wanted.routes,
    )
    broken = check_rules(config, {})
    if broken:
        raise InvalidConfigError(broken)
    return Reload(config, changed, refused)


class _Stays(NamedTuple):
    """What stays as it is: that clients are asked who they are, or are not; that GRIP is spoken already."""

    authentication: bool
    grip: bool


def _is_bound(path: tuple[str, str], new: object, old: object, stays: _Stays) -> bool:
    """Tell whether an option that can change cannot in this way."""
    if path[0] == "auth" or path == ("hooks", "connect"):
        return not stays.authentication
    if path == (
        "grip",
        "channels",
    ):  # clients that are there hear the old ones, and could not be published to
        return stays.grip
    return path == ("hooks", "notices") and bool(new) != bool(old)


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
