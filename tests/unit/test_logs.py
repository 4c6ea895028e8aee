"""Log lines: structure, formats, redaction, and that no value can forge a line or reach the terminal raw."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logs import REDACTED, JsonFormatter, TextFormatter, configure, escape, redact

FORMATTERS = [JsonFormatter(), TextFormatter()]
NASTY = [bytes([code]) for code in range(256)]
MARKS = ["\u0085", "\u2028", "\u2029", "\u202e", "\ud800", "\U000e0001", "\r\n", "\x1b[2J", "\x00"]


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = handlers, level


def record(message: object = "hello", *args: object, **parts: Any) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "ringgate.edge", "levelname": "INFO", "levelno": 20, "created": 1.5}
    )
    made.msg, made.args = message, args
    for name, value in parts.items():
        setattr(made, name, value)
    return made


def is_harmless(line: str) -> bool:
    """Tell whether a line is one, and would do nothing to a terminal."""
    return line.isprintable()


def every_part(text: object, raw: str) -> Iterator[logging.LogRecord]:
    """Yield records that have a value in each place where a record can have one."""
    yield record(raw)
    yield record("%s", text)
    yield record("%s %s", raw, text)
    yield record("x", remote=text)
    yield record("x", remote=[text], other={raw: text})
    yield record("x", **{f"field{raw}": text})
    yield record("x", name=f"ringgate{raw}")
    yield record("x", levelname=f"INFO{raw}")
    yield record(text)
    yield record("%d", text)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["json", "text"])
def test_every_byte_in_every_part_of_a_record_gives_one_harmless_line(formatter: logging.Formatter) -> None:
    for byte in NASTY:
        raw = byte.decode("latin-1")
        for value in (raw, byte, bytearray(byte)):
            for made in every_part(value, raw):
                assert is_harmless(formatter.format(made)), (byte, vars(made))


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["json", "text"])
@pytest.mark.parametrize("text", MARKS, ids=ascii)
def test_every_special_character_in_every_part_gives_one_harmless_line(
    formatter: logging.Formatter, text: str
) -> None:
    for made in every_part(text, text):
        line = formatter.format(made)
        assert is_harmless(line)
        line.encode()


@given(st.text(), st.one_of(st.text(), st.binary()))
def test_json_line_is_ascii_and_reads_back_what_was_logged(message: str, value: str | bytes) -> None:
    line = JsonFormatter().format(record(message.replace("%", ""), remote=value))
    assert line.isascii()
    read = json.loads(line)
    if isinstance(value, str) and redact(value) == value:
        assert read["remote"] == value.encode("utf-8", "backslashreplace").decode()


@given(st.text())
def test_text_field_can_be_told_apart_from_what_follows(value: str) -> None:
    line = TextFormatter().format(record("x", first=value, second="end"))
    assert is_harmless(line)
    quoted = line.partition(" first=")[2].removesuffix(" second=end")
    if quoted.startswith('"'):
        inner = quoted[1:-1].replace("\\\\", "").replace('\\"', "")
        assert '"' not in inner
    else:
        assert quoted == value
        assert not set(quoted) & set(' ="\\')


def test_json_line_has_time_level_logger_message_and_typed_fields() -> None:
    line = JsonFormatter().format(
        record("refused %s", "it", reason="origin", count=3, ratio=0.5, ok=True, nothing=None, peer=("a", 1))
    )
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "logger": "ringgate.edge",
        "message": "refused it",
        "reason": "origin",
        "count": 3,
        "ratio": 0.5,
        "ok": True,
        "nothing": None,
        "peer": "('a', 1)",
    }


def test_text_line_has_time_level_logger_message_and_fields() -> None:
    line = TextFormatter().format(record("refused", reason="origin", remote="a b"))
    assert line == '1970-01-01T00:00:01.500Z INFO    ringgate.edge: refused reason=origin remote="a b"'


def test_json_field_cannot_replace_what_every_line_has() -> None:
    line = json.loads(JsonFormatter().format(record("real", level="fake", time="fake", exception="fake")))
    assert (line["level"], line["time"]) == ("info", "1970-01-01T00:00:01.500Z")
    assert (line["level_"], line["exception_"]) == ("fake", "fake")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**5000, 1 << 64], ids=type)
def test_json_number_that_json_readers_do_not_know_still_gives_a_valid_line(value: object) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert "n" in json.loads(JsonFormatter().format(record("x", n=value)), parse_constant=refuse)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["json", "text"])
def test_value_whose_text_raises_still_gives_a_line(formatter: logging.Formatter) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    for made in (record("x", field=Broken()), record("%s", Broken()), record(Broken())):
        assert "Broken" in formatter.format(made)


def exception_of(text: str) -> logging.LogRecord:
    try:
        raise ValueError(text)
    except ValueError:
        return record("failed", exc_info=sys.exc_info())


def test_json_exception_is_part_of_the_one_line() -> None:
    line = JsonFormatter().format(exception_of("a\n{}\x1b"))
    assert is_harmless(line)
    assert "ValueError: a\n{}\x1b" in json.loads(line)["exception"]


def test_text_exception_is_indented_so_that_it_cannot_be_taken_for_a_line() -> None:
    first, *others = (
        TextFormatter().format(exception_of("a\n1970-01-01T00:00:01.500Z INFO forged\x1b\r")).split("\n")
    )
    assert first.endswith("ringgate.edge: failed")
    assert len(others) >= 4
    assert all(line.startswith("    | ") and is_harmless(line) for line in others)


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["json", "text"])
@pytest.mark.parametrize(
    "text",
    [
        "/ws?token=CANARY",
        "/ws?a=b&token=CANARY&c=d",
        "GET /ws?access_token=CANARY HTTP/1.1",
        "/ws?TOKEN=CANARY#x",
        "Authorization: Bearer CANARY.aaaaaaaaaaaaaaaa",
        "token=CANARY",
    ],
)
def test_token_never_reaches_a_line(formatter: logging.Formatter, text: str) -> None:
    for value in (text, text.encode()):
        for made in every_part(value, text):
            if "CANARY" not in f"{made.name}{made.levelname}{''.join(vars(made))}":
                line = formatter.format(made)
                assert "CANARY" not in line
    assert "CANARY" not in formatter.format(exception_of(text))


def test_redact_leaves_the_rest_of_a_query() -> None:
    assert redact("/ws?a=b&token=secret&c=d") == f"/ws?a=b&token={REDACTED}&c=d"
    assert redact("the broken=1 token is missing") == "the broken=1 token is missing"


def test_escape_leaves_printable_text_and_is_reversible() -> None:
    assert escape("grüße 日本") == "grüße 日本"
    assert escape("a\\n\n\x1b") == "a\\\\n\\n\\x1b"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("text", io.StringIO, False),
    ],
)
def test_configure_chooses_the_format_by_option_and_terminal(
    log_format: str, stream: type[io.StringIO], is_json: bool
) -> None:
    target = stream()
    configure("info", log_format, target)
    logging.getLogger("ringgate.x").info("hello", extra={"a": 1})
    assert target.getvalue().startswith("{") is is_json
    assert target.getvalue().count("\n") == 1


def test_configure_leaves_out_less_important_lines_and_replaces_handlers() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", first)
    configure("warning", "json", second)
    logging.getLogger("ringgate.x").info("quiet")
    logging.getLogger("ringgate.x").warning("loud")
    assert first.getvalue() == ""
    assert json.loads(second.getvalue())["message"] == "loud"
