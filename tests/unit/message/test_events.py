"""The events that are made without a record: what msgspec makes of the record, byte for byte."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.message.events import Reply
from gateway.message.json import JsonCodec
from gateway.message.publication import Publication
from gateway.message.views import message_of, patch_of

encode = msgspec.json.Encoder().encode
texts = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["", "plain", 'a"', "a\\", "\x7f"]
)
numbers = st.integers(0, 2**63 - 1) | st.sampled_from([0, 9, 10, 99, 2**53, 1_764_000_000_000])
payloads = st.sampled_from([b"1", b'{ "a" : 1.0 }', b'"' + b"x" * 5000 + b'"'])


@given(texts, texts, payloads, numbers, numbers, texts, texts, st.booleans(), st.booleans())
@example("n", "i", b"1", 1, 1, "", "", False, False)
@example("n", "i", b"1", 0, 0, "c", "", False, False)
@example("n", "i", b"1", 1, 1, "", "u", False, False)
@example("n", "i", b"1", 2**63 - 1, 2**63 - 1, "c" * 300, "u" * 300, False, False)
def test_a_publication_is_what_its_record_is(
    channel: str, name: str, data: bytes, time_ms: int, offset: int, client: str, user: str,
    binary: bool, patch: bool,
) -> None:  # fmt: skip
    publication = Publication(name, data, time_ms, offset, binary and not patch, client, user, "x", patch)
    record = patch_of(channel, publication) if patch else message_of(channel, publication)
    assert JsonCodec().encode_publication(channel, publication) == encode(record)


@given(numbers, texts, texts, numbers, st.booleans())
def test_an_answer_is_what_its_record_is(
    number: int,
    channel: str,
    epoch: str,
    offset: int,
    duplicate: bool,
) -> None:
    record = Reply(id=number, channel=channel, epoch=epoch, offset=offset, duplicate=duplicate)
    assert JsonCodec().encode_placed(number, channel, epoch, offset, duplicate) == encode(record)


@pytest.mark.parametrize("character", [chr(code) for code in range(128)], ids=[str(n) for n in range(128)])
def test_every_character_of_a_name(character: str) -> None:
    publication = Publication(f"i{character}", b"1", 5, 1, client=f"{character}c", user=f"u{character}u")
    name = f"a{character}b"
    assert JsonCodec().encode_publication(name, publication) == encode(message_of(name, publication))


def test_what_is_no_text_is_refused_as_the_encoder_does() -> None:
    half = "\ud800"
    for publication in (Publication(half, b"1", 5, 1), Publication("i", b"1", 5, 1, user=half)):
        with pytest.raises(UnicodeEncodeError):
            JsonCodec().encode_publication("n", publication)
