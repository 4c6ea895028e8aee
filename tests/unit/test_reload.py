"""What a running gateway takes from a changed configuration, and what it refuses."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from gateway.config import Config, InvalidConfigError, Secret, from_mapping
from gateway.config.schema import all_options
from gateway.reload import RELOADABLE, log_reload, plan_reload


def test_nothing_changed_changes_nothing() -> None:
    assert plan_reload(Config(), Config()) == (Config(), [], [])


def test_what_can_change_is_taken_and_what_cannot_is_named() -> None:
    wanted = from_mapping(
        {
            "server": {"listen": "127.0.0.1:1", "log_level": "debug", "workers": 3},
            "api": {"keys": ["a-new-key"], "max_body_bytes": 2048, "hosts": ["ringgate"]},
            "websocket": {"ping_interval": 10},
            "session": {"max_channels": 7},
            "namespace": {"chat": {"history_size": 5}},
        }
    )
    reload = plan_reload(Config(), wanted)
    assert sorted(reload.refused) == ["server.listen", "server.workers", "websocket.ping_interval"]
    assert sorted(reload.changed) == [
        "api.hosts",
        "api.keys",
        "api.max_body_bytes",
        "namespace.chat.history_size",
        "server.log_level",
        "session.max_channels",
    ]
    assert reload.config == replace(
        Config(),
        server=replace(Config().server, log_level="debug"),
        api=wanted.api,
        session=wanted.session,
        namespaces=wanted.namespaces,
    )


def test_namespace_that_is_no_longer_there_goes_back_to_the_default() -> None:
    running = from_mapping({"namespace": {"chat": {"slow": "skip"}}})
    reload = plan_reload(running, Config())
    assert reload.changed == ["namespace.chat.slow"]
    assert reload.config == Config()


def test_keys_are_not_dropped_while_the_port_stays_open_to_the_network() -> None:
    running = from_mapping({"server": {"api_listen": "0.0.0.0:8001"}, "api": {"keys": ["the-key"]}})
    wanted = from_mapping({"server": {"api_listen": "127.0.0.1:8001"}})
    with pytest.raises(InvalidConfigError, match="api_listen"):
        plan_reload(running, wanted)


def test_options_that_must_go_together_change_together() -> None:
    running = Config()
    wanted = from_mapping(
        {"session": {"max_publish_bytes": "1MiB"}, "namespace": {"default": {"ring_bytes": "4MiB"}}}
    )
    reload = plan_reload(running, wanted)
    assert reload.config.session.max_publish_bytes == 1 << 20
    assert reload.config.namespaces["default"].ring_bytes == 4 << 20


def test_log_names_every_key_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    wanted = replace(Config(), api=replace(Config().api, keys=(Secret("a-very-secret-key"),)))
    wanted = replace(wanted, server=replace(wanted.server, backlog=5))
    with caplog.at_level(logging.INFO):
        log_reload(plan_reload(Config(), wanted))
    warning, info = caplog.records
    assert warning.message == "server.backlog cannot change while the gateway runs: restart it"
    assert (info.message, vars(info)["changed"]) == ("configuration reloaded", "api.keys")
    assert "very-secret" not in caplog.text


def test_table_of_what_can_change_names_options_that_there_are() -> None:
    assert {(row.section, row.name) for row in all_options()} >= RELOADABLE


def test_what_services_are_asked_and_routes_change_but_not_whether_clients_must_show_who_they_are() -> None:
    running = from_mapping(
        {
            "upstream": {"app": {"addresses": ["http://127.0.0.1:1"]}},
            "route": {"told": {"path": "/told", "upstream": "app", "protocol": "grip"}},
            "grip": {"keys": ["a" * 32]},
        }
    )
    wanted = from_mapping(
        {
            "upstream": {"app": {"addresses": ["http://127.0.0.1:2"]}},
            "hooks": {"call": "app/call", "connect": "app/connect", "notices": "app/notices"},
            "grip": {"keys": ["b" * 32], "patience": 1, "channels": "other:"},
            "route": {
                "told": {"path": "/else", "upstream": "app", "protocol": "grip"},
                "passed": {"path": "/passed", "upstream": "app"},
            },
        }
    )
    reload = plan_reload(running, wanted)
    assert sorted(reload.refused) == ["grip.channels", "hooks.connect", "hooks.notices"]
    assert sorted(reload.changed) == [
        "grip.keys", "grip.patience", "hooks.call", "route.passed.path", "route.passed.upstream",
        "route.told.path", "upstream.app.addresses",
    ]  # fmt: skip
    assert reload.config.routes["told"].path == "/else"
    assert (reload.config.grip.channels, reload.config.grip.patience) == ("grip:", 1.0)
    assert reload.config.hooks.call == "app/call"
    assert not reload.config.authenticates


def test_channels_of_grip_may_begin_otherwise_while_nobody_speaks_it() -> None:
    reload = plan_reload(Config(), from_mapping({"grip": {"channels": "other:"}}))
    assert (reload.changed, reload.refused) == (["grip.channels"], [])
    assert reload.config.grip.channels == "other:"


def test_upstream_that_is_needed_by_what_stays_cannot_go() -> None:
    running = from_mapping(
        {
            "upstream": {"app": {"addresses": ["http://127.0.0.1:1"]}},
            "hooks": {"notices": "app/notices"},
        }
    )
    with pytest.raises(InvalidConfigError, match=r"\[upstream.app\] is missing"):
        plan_reload(running, Config())
