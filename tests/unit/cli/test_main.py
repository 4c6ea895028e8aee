"""The command line: help, errors, exit statuses, and the commands that need no gateway."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.config import Config, load
from gateway.config.option import NAMED
from gateway.config.schema import all_options

COMMANDS = ["serve", "publish", "subscribe", "check-config", "config", "version"]
WITH_OPTIONS = ["serve", "check-config", "config"]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("RINGGATE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Replace the server and logging; give the configurations it was run with."""
    configs: list[Config] = []
    fake = types.ModuleType("gateway.server")

    def run(config: Config, read_again: Callable[[], Config]) -> int:
        configs.append(config)
        assert read_again() == config
        return 7

    fake.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gateway.server", fake)
    monkeypatch.setattr("gateway.logs.configure", lambda *_: None)
    return configs


def status_of_exit(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of_exit(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"    {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_fits_and_explains(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of_exit([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: ringgate {command}")
    assert max(map(len, shown.splitlines())) <= 112


@pytest.mark.parametrize("command", WITH_OPTIONS)
def test_help_documents_every_option_with_its_default(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status_of_exit([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for row in all_options():
        name = row.name if row.section in NAMED else row.flag
        assert f" {name} " in shown or f" {name}, --no-" in shown
        assert f"{row.doc} (default " in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "required: COMMAND"),
        (["server"], "invalid choice: 'server'"),
        (["serve", "--lisen", "x"], 'unknown argument "--lisen"; did you mean "--listen"?'),
        (["serve", "--api-key=k"], 'unknown argument "--api-key=k"; did you mean "--api-keys"?'),
        (["serve", "stray\x1b"], 'unknown argument "stray\\x1b"'),
        (["serve", "--listen"], "expected one argument"),
        (["publish", "news"], "required: DATA"),
    ],
)
def test_wrong_arguments_end_with_status_2_and_a_reason(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of_exit(arguments) == 2
    assert expected in capsys.readouterr().err


def test_serve_hands_the_configuration_of_all_three_places_to_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: list[Config]
) -> None:
    file = tmp_path / "ringgate.toml"
    file.write_text('[server]\nlisten = "127.0.0.1:1"\nbacklog = 5\nlog_level = "error"\n')
    monkeypatch.setenv("RINGGATE_BACKLOG", "6")
    monkeypatch.setenv("RINGGATE_LOG_LEVEL", "debug")
    status = main(
        f"serve --config {file} --api-listen 127.0.0.1:2 --broker memory --echo --insecure "
        "--log-level warning --api-keys one --api-keys two,three "
        "--namespace chat.slow=skip --namespace chat.presence=no".split()
    )
    assert status == 7
    (config,) = served
    assert [str(a) for a in (*config.server.listen, *config.server.api_listen)] == [
        "127.0.0.1:1",
        "127.0.0.1:2",
    ]
    assert (config.server.backlog, config.server.log_level) == (6, "warning")
    assert config.server.echo
    assert config.server.insecure
    assert [key.reveal() for key in config.api.keys] == ["one", "two", "three"]
    assert (config.namespace("chat").slow, config.namespace("chat").presence) == ("skip", False)


def test_boolean_can_be_switched_off_and_the_last_flag_counts(
    monkeypatch: pytest.MonkeyPatch, served: list[Config]
) -> None:
    monkeypatch.setenv("RINGGATE_ECHO", "true")
    main(["serve", "--no-echo", "--backlog", "5", "--backlog", "6"])
    assert not served[0].server.echo
    assert served[0].server.backlog == 6


def test_file_is_named_by_the_environment_unless_by_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: list[Config]
) -> None:
    for name, backlog in (("a", 5), ("b", 6)):
        (tmp_path / name).write_text(f"[server]\nbacklog = {backlog}\n")
    monkeypatch.setenv("RINGGATE_CONFIG", str(tmp_path / "a"))
    main(["serve"])
    main(["serve", "--config", str(tmp_path / "b")])
    assert [config.server.backlog for config in served] == [5, 6]


def test_serve_with_a_wrong_configuration_never_starts(
    served: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--listen", "0.0.0.0:8000"]) == 1
    assert served == []
    assert "server.listen" in capsys.readouterr().err


def test_serve_without_the_extensions_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, served: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gateway.server", None)
    assert main(["serve"]) == 1
    error = capsys.readouterr().err
    assert "the extensions are not compiled" in error
    assert error.count("\n") == 1


def test_check_config_of_a_good_one_ends_with_0_and_names_what_is_insecure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check-config"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("the configuration is good\ninsecure: development mode")
    assert shown.err == ""


def test_check_config_of_a_bad_one_ends_with_1_and_lists_all_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ringgate.toml"
    file.write_text("[server]\nlisen = 1\nbacklog = 0\n")
    assert main(["check-config", "--config", str(file)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "the configuration has 2 errors:" in shown.err
    assert "line 2: server.lisen" in shown.err
    assert "line 3: server.backlog: found 0; allowed: a whole number from 1 to 65535" in shown.err


def test_check_config_of_a_missing_file_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", "--config", str(tmp_path / "none.toml")]) == 1
    assert "none.toml: cannot be read: No such file" in capsys.readouterr().err


def test_config_prints_what_can_be_used_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--backlog", "7", "--namespace", "chat.slow=latest"]) == 0
    file = tmp_path / "printed.toml"
    file.write_text(capsys.readouterr().out)
    config = load(file=file).config
    assert (config.server.backlog, config.namespace("chat").slow) == (7, "latest")


def test_config_hides_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RINGGATE_API_KEYS", "hunter2")
    assert main(["config"]) == 0
    assert "hunter2" not in capsys.readouterr().out


def test_version_names_ringgate_python_uvloop_and_platform(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["ringgate", "python", "uvloop", "platform"]
    assert lines["python"].startswith(platform.python_version())
    assert lines["uvloop"][0].isdigit()


def test_output_nobody_reads_ends_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "config"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
