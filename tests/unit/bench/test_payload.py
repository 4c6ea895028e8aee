"""Payloads that carry a number, and how it is found."""

import pytest

from gateway.bench._payload import Finder, Template
from gateway.errors import UsageError

MARK = b"~a1b"


def test_a_template_puts_the_number_after_the_mark_and_keeps_its_length() -> None:
    template = Template(MARK, 20, before=b'{"data":"', after=b'"}')
    assert template.message(0x1F) == b'{"data":"~a1b00000000001f...."}'
    assert template.message(0) == b'{"data":"~a1b000000000000...."}'


def test_the_smallest_payload_is_only_the_tag() -> None:
    assert Template(MARK, 16).message(2**40) == b"~a1b010000000000"


@pytest.mark.parametrize(("mark", "size"), [(MARK, 15), (b"~a1", 64), (b"", 16)])
def test_a_payload_without_room_for_the_tag_is_refused(mark: bytes, size: int) -> None:
    with pytest.raises(UsageError):
        Template(mark, size)


def test_a_finder_finds_the_number_wherever_the_payload_is() -> None:
    finder, template = Finder(MARK), Template(MARK, 30)
    for number, envelope in enumerate(
        (b"", b'{"offset":9,"data":"', b'{"offset":10,"data":"', b"x" * 300, b"")
    ):
        assert finder.number(envelope + template.message(number) + b'"}') == number
        assert finder.at == len(envelope)


@pytest.mark.parametrize(
    "message",
    [b"", b"~a1b", b"~a1b00000000000", b"~a1b0000000x0000", b'{"type":"pong"}', b"~a1c000000000001"],
)
def test_a_message_without_a_whole_tag_has_no_number(message: bytes) -> None:
    finder = Finder(MARK)
    assert finder.number(message) == -1
    assert finder.number(b"~a1b000000000007") == 7
