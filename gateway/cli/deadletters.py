"""`ringgate deadletters`: notices that no app service took: to be looked at, delivered again, forgotten."""

from __future__ import annotations

import argparse
import http.client
import json
import os
from datetime import UTC, datetime
from typing import Any, Final

from ..logs import escape
from .parser import CommandFailedError, Commands, add_command
from .publish import add_api_flags, authorization, exchange, refusal, target_of
from .reading import read_duration

_PATH: Final = "/api/deadletters"
_MOST: Final = 200


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "deadletters",
        "notices that no app service took: list, show, replay, drop",
        description="Look at notices that were given up, have them delivered again, or forget them.",
    )
    parser.add_argument("what", choices=("list", "show", "replay", "drop"), help="what to do")
    parser.add_argument("ids", metavar="ID", nargs="*", help="which, as `list` shows them")
    parser.add_argument("--all", action="store_true", help="replay or drop all of them")
    add_api_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do it.  Raises CommandFailedError when the gateway did not say that it was done."""
    if arguments.what == "list":
        for letter in _letters(arguments):
            print(_line(letter))
        return 0
    if arguments.what == "show":
        return _show(arguments)
    if arguments.all == bool(arguments.ids):
        raise CommandFailedError(f"which ones? give ids, or --all: ringgate deadletters {arguments.what} ID")
    body = {"all": True} if arguments.all else {"ids": arguments.ids}
    answer = _ask(arguments, "POST", f"{_PATH}/{arguments.what}", json.dumps(body).encode())
    print(json.dumps({"dead_letters": answer["dead_letters"]}))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    letters = _letters(arguments)
    wanted = [letter for letter in letters if not arguments.ids or letter["id"] in arguments.ids]
    for letter in wanted:
        print(json.dumps(letter, indent=2))
    missing = set(arguments.ids) - {letter["id"] for letter in wanted}
    if missing:
        raise CommandFailedError(f"no such dead letter: {escape(', '.join(sorted(missing)))}")
    return 0


def _letters(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    answer = _ask(arguments, "GET", f"{_PATH}?limit={_MOST}", None)
    return [letter for letter in answer["dead_letters"] if isinstance(letter, dict)]


def _line(letter: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(letter["given_up_ms"] / 1000, UTC).isoformat(timespec="seconds")
    about = f"{letter['id']}  {when}  {letter['kind']}  {letter['key']}"
    return f"{escape(about)}  {letter['tries']} tries: {escape(letter['problem'])}"


def _ask(arguments: argparse.Namespace, method: str, path: str, body: bytes | None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"} | authorization(arguments.api_key, os.environ)
    target = target_of(arguments.api, path)
    status, answer = exchange(method, target, body, headers, read_duration("--timeout", arguments.timeout))
    try:
        decoded = json.loads(answer)
    except (ValueError, RecursionError):
        decoded = None
    fields = decoded if isinstance(decoded, dict) else {}
    if status != http.client.OK or "dead_letters" not in fields:
        raise refusal(status, fields)
    return fields
