"""`ringgate deadletters`: notices that no app service took: to be looked at, delivered again, forgotten."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from ..logs import escape
from .asking import ask_api
from .parser import CommandFailedError, Commands, add_command
from .publish import add_api_flags

_PATH: Final = "/api/deadletters"
_PAGE: Final = 500


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
    parser.add_argument("--kind", default="", help="only those of a kind, such as disconnect")
    parser.add_argument("--key", default="", help="only those about a channel or a client")
    parser.add_argument("--limit", type=int, default=0, help="list or show at most so many; 0: all of them")
    add_api_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do it.  Raises CommandFailedError when the gateway did not say that it was done."""
    if arguments.limit < 0:
        raise CommandFailedError("--limit: a whole number from 0 on is needed")
    if arguments.what == "list":
        for letter in _letters(arguments, arguments.ids):
            print(_line(letter))
        return 0
    if arguments.what == "show":
        return _show(arguments)
    filters = {name: getattr(arguments, name) for name in ("kind", "key") if getattr(arguments, name)}
    if [bool(arguments.ids), bool(filters), arguments.all].count(True) != 1:
        usage = f"ringgate deadletters {arguments.what} ID"
        raise CommandFailedError(f"which ones? give ids, or --kind and --key, or --all: {usage}")
    count = 0
    for at in range(0, max(1, len(arguments.ids)), _PAGE):
        ids = arguments.ids[at : at + _PAGE]
        body = {"ids": ids} if ids else filters or {"all": True}
        data = json.dumps(body).encode()
        answer = ask_api(arguments, "POST", f"{_PATH}/{arguments.what}", data, "dead_letters")
        count += answer["dead_letters"]
    print(json.dumps({"dead_letters": count}))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    missing = set(arguments.ids)
    for letter in _letters(arguments, arguments.ids):
        missing.discard(letter["id"])
        print(json.dumps(letter, indent=2))
    if missing:
        raise CommandFailedError(f"no such dead letter: {escape(', '.join(sorted(missing)))}")
    return 0


def _letters(arguments: argparse.Namespace, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what is wanted, page by page."""
    count = 0
    for wanted in ids or [""]:
        after = ""
        while True:
            asked = {"limit": str(_PAGE), "id": wanted, "kind": arguments.kind, "key": arguments.key}
            query = urlencode({name: value for name, value in {**asked, "after": after}.items() if value})
            answer = ask_api(arguments, "GET", f"{_PATH}?{query}", None, "dead_letters")
            for letter in answer["dead_letters"]:
                count += 1
                yield letter
                if count == arguments.limit:
                    return
            after = answer.get("next", "")
            if not after:
                break


def _line(letter: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(letter["given_up_ms"] / 1000, UTC).isoformat(timespec="seconds")
    about = f"{letter['id']}  {when}  {letter['kind']}  {letter['key']}"
    return f"{escape(about)}  {letter['tries']} tries: {escape(letter['problem'])}"
