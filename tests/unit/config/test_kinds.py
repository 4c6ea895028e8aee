"""Kinds of values: what they read, what they refuse, and that what they write reads back equal."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.kinds import (
    Address,
    Boolean,
    BooleanOr,
    Choice,
    Duration,
    Integer,
    Kind,
    Secret,
    Size,
    ValueRefusedError,
    WorkerCount,
    quote,
)
from gateway.config.lists import HIDDEN, Hosts, Networks, Origins, Secrets

DURATION = Duration(0.01, 86400.0)
SIZE = Size(1, 1 << 30)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("10m", 600.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1.5m", 90.0),
        ("7", 7.0),
    ],
)
def test_duration_with_each_unit_is_in_seconds(text: str, seconds: float) -> None:
    assert DURATION.from_text(text) == seconds
    assert DURATION.from_toml(text) == seconds


@pytest.mark.parametrize(
    "value",
    ["", "abc", "10 minutes", "-1s", "1e3", "s", "0", "2d", True, math.nan, math.inf, 10**400, -1, [], {}],
)
def test_duration_of_another_form_or_outside_its_bounds_is_refused(value: object) -> None:
    with pytest.raises(ValueRefusedError):
        DURATION.from_toml(value)


@given(st.one_of(st.floats(0.01, 86400.0), st.integers(10, 10**7).map(lambda ms: ms / 1000)))
def test_duration_written_reads_back_equal(seconds: float) -> None:
    written = DURATION.to_toml(seconds).strip('"')
    assert DURATION.from_text(written) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("64KiB", 65536), ("1MiB", 1 << 20), ("1GiB", 1 << 30), ("17B", 17), ("17", 17), ("2 KiB", 2048)],
)
def test_size_with_each_unit_is_in_bytes(text: str, size: int) -> None:
    assert SIZE.from_text(text) == size


@pytest.mark.parametrize("value", ["64KB", "1.5MiB", "0", "2GiB", "", "-1", "٣", True, 1.0, None])
def test_size_of_another_form_or_outside_its_bounds_is_refused(value: object) -> None:
    with pytest.raises(ValueRefusedError):
        SIZE.from_toml(value)


@given(st.integers(1, 1 << 30))
def test_size_written_reads_back_equal(size: int) -> None:
    assert SIZE.from_text(SIZE.to_toml(size).strip('"')) == size


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_address_is_loopback_only_when_it_surely_is(host: str, expected: bool) -> None:
    assert Address(host, 1).is_loopback is expected


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("ON", True), ("1", True), ("no", False), ("0", False)]
)
def test_boolean_text_has_the_usual_words(text: str, value: bool) -> None:
    assert Boolean().from_text(text) is value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("off", False), (" user ", "user")])
def test_boolean_or_word_reads_what_it_writes(text: str, value: object) -> None:
    kind = BooleanOr("user")
    assert kind.from_text(text) == value
    assert kind.from_toml(tomllib.loads(f"n = {kind.to_toml(value)}")["n"]) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Boolean(), "true"),
        (Boolean(), 1),
        (BooleanOr("user"), "true"),
        (BooleanOr("user"), "users"),
        (BooleanOr("user"), ["user"]),
        (Integer(1, 9), "5"),
        (Integer(1, 9), True),
        (Integer(1, 9), 0),
        (Integer(1, 9), 10),
        (Integer(1, 9), 5.0),
        (Choice("a", "b"), "c"),
        (Choice("a", "b"), []),
        (WorkerCount(), 0),
        (WorkerCount(), 257),
        (WorkerCount(), True),
        (WorkerCount(), "2"),
        (WorkerCount(), "Auto"),
        (WorkerCount(), 1.0),
    ],
)
def test_toml_value_of_another_type_or_range_is_refused(kind: Kind, value: object) -> None:
    with pytest.raises(ValueRefusedError):
        kind.from_toml(value)


@pytest.mark.parametrize(("text", "count"), [("1", 1), (" 256 ", 256), ("auto", 0)])
def test_worker_count_reads_what_it_writes(text: str, count: int) -> None:
    kind = WorkerCount()
    assert kind.from_text(text) == count
    assert kind.from_toml(tomllib.loads(f"n = {kind.to_toml(count)}")["n"]) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "257", "many", "99999999999"])
def test_worker_count_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueRefusedError):
        WorkerCount().from_text(text)


@pytest.mark.parametrize("text", ["", "tru", "2", "null"])
def test_boolean_text_that_is_no_such_word_is_refused(text: str) -> None:
    with pytest.raises(ValueRefusedError):
        Boolean().from_text(text)


@pytest.mark.parametrize(
    "origin",
    ["https://example.com", "http://localhost:3000", "http://[::1]:80", "https://xn--bcher-kva.example"],
)
def test_origins_takes_exact_origins(origin: str) -> None:
    assert Origins().from_toml([origin]) == (origin,)
    assert Origins().from_text(f"{origin} , {origin}") == (origin, origin)


@pytest.mark.parametrize(
    "value",
    [
        ["null"],
        ["*", "https://example.com"],
        ["https://example.com/"],
        ["https://Example.com"],
        ["example.com"],
        ["https://*.example.com"],
        ["https://a@example.com"],
        ["https://exa\nmple.com"],
        [""],
        [5],
        5,
    ],
)
def test_origins_that_no_browser_sends_or_that_are_unsafe_are_refused(value: object) -> None:
    with pytest.raises(ValueRefusedError):
        Origins().from_toml(value)


def test_secret_never_shows_itself() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    assert secret != Secret("hunter3")


def test_secret_of_a_file_is_its_text_without_white_space(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  s3cret\n")
    (secret,) = Secrets().from_text(f"file:{tmp_path}/key")
    assert secret.reveal() == "s3cret"
    assert Secrets().to_toml((secret,)) == f'["file:{tmp_path}/key"]'


@pytest.mark.parametrize("content", [None, b"", b"\n", b"a b", b"\xff", b"x" * 1025, b"x" * 5000])
def test_secret_of_a_file_that_holds_none_is_refused_without_showing_it(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueRefusedError) as caught:
        Secrets().from_text(f"file:{tmp_path}/key")
    assert "xxx" not in str(caught.value)
    assert "a b" not in str(caught.value)


@pytest.mark.parametrize("value", [[HIDDEN], [""], ["a\r\nb"], ["é"], [5], {}])
def test_secret_that_cannot_be_a_header_value_or_is_the_placeholder_is_refused(value: object) -> None:
    with pytest.raises(ValueRefusedError):
        Secrets().from_toml(value)


@given(st.text())
def test_quote_is_printable_ascii_and_parses_back(text: str) -> None:
    import tomllib

    quoted = quote(text)
    assert quoted.isascii()
    assert quoted.isprintable()
    assert tomllib.loads(f"x = {quoted}") == {"x": text}


@pytest.mark.parametrize("host", ["ringgate", "gateway-1.internal", "10.0.0.7", "[::1]", "*"])
def test_hosts_takes_names_and_addresses(host: str) -> None:
    assert Hosts().from_toml([host]) == (host,)
    assert Hosts().from_text(host) == (host,)


@pytest.mark.parametrize(
    "value", [["Ringgate"], ["a:8001"], ["http://a"], ["a b"], [""], ["a", "*"], ["*.a"], 1]
)
def test_hosts_with_ports_schemes_or_patterns_are_refused(value: object) -> None:
    with pytest.raises(ValueRefusedError):
        Hosts().from_toml(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("unix", "unix"),
    ],
)
def test_networks_are_written_with_their_bits(text: str, value: str) -> None:
    assert Networks().from_toml([text]) == (value,)
    assert Networks().from_text(f"{text}, {text}") == (value, value)
    assert Networks().from_toml(tomllib.loads("x = " + Networks().to_toml((value,)))["x"]) == (value,)


@pytest.mark.parametrize(
    "value", [["10.0.0.1/8"], ["0.0.0.0/0"], ["::/0"], ["proxy"], [""], ["10.0.0.0/33"], ["10.0.0.1:80"], 1]
)
def test_networks_with_bits_behind_them_or_of_everybody_are_refused(value: object) -> None:
    with pytest.raises(ValueRefusedError):
        Networks().from_toml(value)
