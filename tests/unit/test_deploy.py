"""The example units: what they start is accepted, and both mean the same socket."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.config import Config, load
from gateway.config.endpoints import FromSystemd, UnixPath
from gateway.config.kinds import Duration

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"


class Unit(configparser.RawConfigParser):
    """A unit's sections; of a key that is there again, the last counts."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False, delimiters="=", comment_prefixes="#")
        self.optionxform = str  # type: ignore[assignment, method-assign]
        self.read_string((FOLDER / name).read_text())


SERVICE, SOCKET = Unit("ringgate.service"), Unit("ringgate.socket")


def arguments() -> list[str]:
    program, command, *rest = shlex.split(SERVICE["Service"]["ExecStart"])
    assert (Path(program).name, command) == ("ringgate", "serve")
    return rest


def test_service_starts_with_what_the_gateway_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", *arguments()]) == 0
    assert "the configuration is good" in capsys.readouterr().out


def test_service_takes_the_sockets_of_the_socket_unit() -> None:
    words = arguments()
    flags = dict(zip(words[::2], words[1::2], strict=True))
    config: Config = load(flags=flags).config
    assert config.server.listen == (FromSystemd(SOCKET["Socket"]["FileDescriptorName"]),)
    (api,) = config.server.api_listen
    assert isinstance(api, UnixPath)
    assert Path(api.path).parent == Path("/run") / SERVICE["Service"]["RuntimeDirectory"]
    assert SERVICE["Unit"]["Requires"] == "ringgate.socket"


def test_service_is_given_more_time_to_stop_than_clients_are() -> None:
    stop_s = Duration(0.0, 3600.0).from_text(SERVICE["Service"]["TimeoutStopSec"])
    assert stop_s > load().config.server.shutdown_timeout
