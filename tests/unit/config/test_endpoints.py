"""Where to listen: every form of an endpoint, lists of them, what is refused and why."""

from __future__ import annotations

import pytest

from gateway.config import Address, Endpoint, FromSystemd, InvalidConfigError, UnixPath, load
from gateway.config.endpoints import FileMode, ListenAddresses
from gateway.config.kinds import ValueRefusedError

KIND = ListenAddresses()


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:8000", Address("127.0.0.1", 8000)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        ("[0:0::1]:1", Address("::1", 1)),
        ("unix:/run/ringgate.sock", UnixPath("/run/ringgate.sock")),
        ("unix:/a b/c:1", UnixPath("/a b/c:1")),
        ("systemd", FromSystemd("")),
        ("systemd:edge", FromSystemd("edge")),
        ("systemd:ringgate@1.socket", FromSystemd("ringgate@1.socket")),
        ("systemd.example:1", Address("systemd.example", 1)),
    ],
)
def test_endpoint_is_read_and_writes_back(text: str, endpoint: Endpoint) -> None:
    read = KIND.from_text(text)
    assert read == (endpoint,)
    assert KIND.from_text(str(read[0])) == (endpoint,)


def test_list_is_separated_by_commas_as_text_and_an_array_in_toml() -> None:
    expected = (Address("127.0.0.1", 1), UnixPath("/run/a.sock"), FromSystemd("b"))
    assert KIND.from_text("127.0.0.1:1, unix:/run/a.sock,systemd:b") == expected
    assert KIND.from_toml(["127.0.0.1:1", "unix:/run/a.sock", "systemd:b"]) == expected
    assert KIND.to_toml(expected) == '["127.0.0.1:1", "unix:/run/a.sock", "systemd:b"]'
    assert KIND.to_toml(expected[:1]) == '"127.0.0.1:1"'
    assert KIND.from_toml(["unix:/a,b"]) == (UnixPath("/a,b"),), "a comma is of the path there"


@pytest.mark.parametrize(
    "value",
    [
        "8000",
        ":8000",
        "::1:8000",
        "[::1]",
        "[x]:1",
        "a:65536",
        "a:-1",
        "a:",
        "a b:1",
        "a:\u0663",
        "a\n:1",
        8000,
        None,
        [],
        "",
        [8000],
        ["127.0.0.1:1", ""],
        "unix:",
        "unix:relative.sock",
        "unix:/a/",
        "unix:@abstract",
        "unix:/" + "a" * 107,
        "unix:/" + "\u00fc" * 54,
        "unix:/a\0b",
        "systemd:",
        "systemd:a:b",
        "systemd:a b",
    ],
)
def test_endpoint_of_another_form_is_refused(value: object) -> None:
    with pytest.raises(ValueRefusedError):
        KIND.from_toml(value)


def test_longest_path_is_accepted() -> None:
    path = "/" + "a" * 106
    assert KIND.from_text(f"unix:{path}") == (UnixPath(path),)


def test_endpoints_of_different_kinds_are_never_equal() -> None:
    assert len({UnixPath("a"), FromSystemd("a")}) == 2


def test_mode_is_octal_and_writes_back() -> None:
    kind = FileMode()
    assert (kind.from_text("660"), kind.from_toml("0666")) == (0o660, 0o666)
    assert kind.to_toml(0o60) == '"060"'
    for wrong in ("", "66", "888", "1777", "rw", 660, None):
        with pytest.raises(ValueRefusedError):
            kind.from_toml(wrong)


@pytest.mark.parametrize(
    ("listen", "api", "says"),
    [
        ("unix:/run/a", "unix:/run/a", "another address than server.listen"),
        ("systemd", "systemd", "another address than server.listen"),
        ("systemd:a", "unix:/b,systemd:a", "another address than server.listen"),
        ("127.0.0.1:1,127.0.0.1:2", "[::1]:1,127.0.0.1:2", "another address than server.listen"),
        ("unix:/run/a,unix:/run/a", "unix:/run/b", "server.listen: found .unix:/run/a. twice"),
        ("127.0.0.1:1", "127.0.0.1:2,127.0.0.1:2", "server.api_listen: found .127.0.0.1:2. twice"),
        ("unix:/run/a,10.0.0.1:1", "unix:/b", "server.listen: found .10.0.0.1:1.; allowed: a loopback"),
    ],
)
def test_endpoints_that_do_not_go_together_are_refused(listen: str, api: str, says: str) -> None:
    with pytest.raises(InvalidConfigError, match=says):
        load(flags={"--listen": listen, "--api-listen": api})


@pytest.mark.parametrize(
    ("listen", "api"),
    [
        ("unix:/run/a", "unix:/run/b"),
        ("systemd", "systemd:api"),
        ("127.0.0.1:0,127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:1,[::1]:1", "unix:/run/b,127.0.0.1:2"),
    ],
)
def test_endpoints_that_go_together_are_accepted(listen: str, api: str) -> None:
    config = load(flags={"--listen": listen, "--api-listen": api}).config
    assert ",".join(map(str, config.server.listen)) == listen
    assert ",".join(map(str, config.server.api_listen)) == api
