"""`ringgate key`: what it prints can be configured, and lets the key in."""

from __future__ import annotations

import io
import re
import tomllib

import pytest

from gateway.cli import main
from gateway.config import from_mapping
from gateway.http.key_hashes import hash_of


def test_key_is_shown_once_and_its_hash_is_what_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["billing", "--scopes", "publish,history", "--channels", "billing:*,news"]
    assert main(["key", *arguments]) == 0
    shown = capsys.readouterr().out
    (key,) = re.findall(r"rgk_[A-Za-z0-9_-]{43}", shown)
    config = from_mapping(tomllib.loads(shown[shown.index("[apikey") :]))
    named = config.api_keys["billing"]
    assert [secret.reveal() for secret in named.keys] == [hash_of(key)]
    assert (named.scopes, named.channels) == (("publish", "history"), ("billing:*", "news"))


def test_every_key_is_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "a"]) == main(["key", "a"]) == 0
    assert len(set(re.findall(r"rgk_\S+", capsys.readouterr().out))) == 2


def test_hash_of_a_key_that_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a-key\n"))
    assert main(["key", "--hash"]) == 0
    assert capsys.readouterr().out == hash_of("a-key") + "\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "a name is needed"),
        (["a b"], "a name is needed"),
        (["a", "--scopes", "write"], "--scopes: allowed: a list of the words publish"),
        (["a", "--channels", "no channel"], "--channels: allowed:"),
        (["--hash"], "standard input has no key"),
    ],
)
def test_wrong_arguments_are_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("two words\n"))
    assert main(["key", *arguments]) == 1
    assert told in capsys.readouterr().err
