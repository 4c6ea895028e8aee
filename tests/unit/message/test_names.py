"""Names of channels: what is one, and which namespace it belongs to."""

from __future__ import annotations

import string

import pytest

from gateway.errors import CommandError
from gateway.message.names import (
    MAX_CHANNEL_CHARS,
    check_channel_name,
    is_channel_name,
    namespace_of,
    personal_channel,
)

ALLOWED = set(string.ascii_letters + string.digits + "_-=@,.;:/#")


@pytest.mark.parametrize("code_point", range(256))
def test_name_of_one_character_is_valid_exactly_for_the_allowed(code_point: int) -> None:
    character = chr(code_point)
    assert is_channel_name(character) == (character in ALLOWED)
    assert is_channel_name(f"a{character}b") == (character in ALLOWED)


@pytest.mark.parametrize("length", [1, 2, 199, 200])
def test_name_within_the_length_is_valid(length: int) -> None:
    assert is_channel_name("a" * length)


@pytest.mark.parametrize("length", [0, 201, 100_000])
def test_name_too_short_or_too_long_is_not_valid(length: int) -> None:
    assert not is_channel_name("a" * length)


def test_bound_is_the_documented_one() -> None:
    assert MAX_CHANNEL_CHARS == 200


@pytest.mark.parametrize(
    "name",
    [
        "news\n",
        "\nnews",
        "new s",
        "nëws",
        "news\x00",
        "\u0661",
        "\uff41",
        "a\u200b",
        "\ud800",
        "a*",
        "a?",
        "a%20",
    ],
)
def test_name_that_only_looks_right_is_not_valid(name: str) -> None:
    assert not is_channel_name(name)


def test_check_returns_a_valid_name() -> None:
    assert check_channel_name("chat:room-1") == "chat:room-1"


@pytest.mark.parametrize("name", ["", "a b", "a" * 201, "news\n"])
def test_check_refuses_as_bad_request_and_repeats_nothing_of_the_name(name: str) -> None:
    with pytest.raises(CommandError) as caught:
        check_channel_name(name)
    assert (caught.value.code, caught.value.http_status) == ("bad_request", 400)
    assert caught.value.message == check_message()


def check_message() -> str:
    return "a channel name is 1 to 200 characters of A-Z a-z 0-9 _ - = @ , . ; : / #"


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("news", ""),
        ("chat:1", "chat"),
        ("chat:a:b", "chat"),
        ("chat:", "chat"),
        (":chat", ""),
        ("@alice", ""),
        ("@a:b", "@a"),
    ],
)
def test_namespace_is_what_precedes_the_first_colon(name: str, namespace: str) -> None:
    assert namespace_of(name) == namespace


def test_personal_channel_is_a_valid_name_with_the_sign_before_the_user() -> None:
    assert personal_channel("alice") == "@alice"
    assert is_channel_name(personal_channel("alice"))
