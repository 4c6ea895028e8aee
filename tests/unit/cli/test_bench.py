"""Arguments of `ringgate bench`, its progress bar, and what reaches the terminal."""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any

import pytest

from gateway.bench.runs import PUBLISH, SUBSCRIBE, SUBSCRIBED
from gateway.cli import bench
from gateway.cli.parser import CommandFailedError


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add(parser.add_subparsers())
    return parser.parse_args(["bench", *arguments])


def plan(*arguments: str) -> Any:
    return bench._plan(parsed(*arguments))


def subscribing(*arguments: str) -> Any:
    return bench._subscribing(parsed(*arguments))


def test_a_plan_has_what_the_flags_say() -> None:
    made = plan(
        "echo", "ws://h/", "--time", "2m", "--warm-up", "0s", "--rate", "1.5e3", "--messages", "7",
        "--server-pid", "1", "--server-pid", "2", "--header", "A: b", "--open-timeout", "100ms",
    )  # fmt: skip
    assert (made.seconds, made.warm_up_s, made.rate, made.messages) == (120.0, 0.0, 1500.0, 7)
    assert (made.server_pids, made.headers, made.open_timeout_s) == ((1, 2), ("A: b",), 0.1)


def test_fanout_speaks_ringgates_protocol_unless_told_otherwise() -> None:
    how = subscribing("fanout", "ws://h/")
    assert (how.subscribe, how.confirmation, how.publish) == (SUBSCRIBE, SUBSCRIBED, "")
    assert PUBLISH.count("{payload}") == PUBLISH.count("{channel}") == 1


def test_a_subscribe_message_of_ones_own_is_not_confirmed_unless_told_by_what() -> None:
    how = subscribing("fanout", "ws://h/", "--subscribe-message", "join {channel}", "--channels", "2")
    assert (how.subscribe, how.confirmation, how.channels) == ("join {channel}", "", 2)
    assert how.subscribe_to(1).endswith(b"-1")
    how = subscribing("fanout", "ws://h/", "--subscribe-message", "x", "--subscribed-when", "ok")
    assert how.confirmation == "ok"


def test_connect_and_idle_subscribe_only_when_told() -> None:
    for scenario in ("connect", "idle"):
        assert subscribing(scenario, "ws://h/").subscribe == ""
        assert subscribing(scenario, "ws://h/", "--subscribe-message", "ringgate").subscribe == SUBSCRIBE


@pytest.mark.parametrize("text", ["-1s", "soon", "", "2d"])
def test_a_time_that_is_none_is_refused_with_its_flag(text: str) -> None:
    with pytest.raises(CommandFailedError, match="--time"):
        plan("echo", "ws://h/", f"--time={text}")


class Terminal(io.StringIO):
    """Something that looks like a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_progress_bar_is_drawn_on_a_terminal_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = bench._Progress()
    progress("connecting", 0.5)
    progress("measuring", 1.7)
    progress.end()
    first, second, last = terminal.getvalue().split("\r")[1:4]
    assert first == f"connecting [{'#' * 15}{'.' * 15}]  50 %"
    assert second.rstrip() == f"measuring [{'#' * 30}] 100 %"
    assert last.strip() == ""
    assert len(last) >= len(second.rstrip())


def test_no_progress_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    progress = bench._Progress()
    progress("connecting", 0.5)
    progress.end()
    assert file.getvalue() == ""


def test_what_a_server_said_cannot_steer_the_terminal() -> None:
    assert bench.escape_lines("fine µ █\nthe server last said: \x1b[2J") == (
        "fine µ █\nthe server last said: \\x1b[2J"
    )
