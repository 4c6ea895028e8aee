"""`ringgate key`: makes an API key, and says how it is configured without being told.

It asks nobody and writes no file: the key is shown once, and the configuration holds its hash.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from typing import Final

from ..config.kinds import ValueRefusedError, quote
from ..config.lists import ChannelPatterns, ListKind, Scopes
from ..http.key_hashes import hash_of
from ..http.scopes import SCOPES
from .parser import CommandFailedError, Commands, add_command

_BYTES: Final = 32
_PREFIX: Final = "rgk_"
_DESCRIPTION = """\
Make an API key.  It is printed once, with what the configuration says of it: only its hash."""
_EPILOG = """\
  ringgate key billing --scopes publish,history --channels 'billing:*'
  ringgate key --hash < key-that-there-is-already"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands, "key", "make an API key for a service", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="what logs and metrics call it")
    parser.add_argument(
        "--scopes",
        metavar="WORD[,WORD...]",
        default="publish",
        help=f"what it is for: {', '.join(SCOPES)} (default %(default)s)",
    )
    parser.add_argument(
        "--channels",
        metavar="PATTERN[,PATTERN...]",
        default="",
        help="for these channels only, such as 'chat:*' (default: for all)",
    )
    parser.add_argument(
        "--hash", action="store_true", help="print the hash of a key that is read from standard input"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a key, or a hash.  Raises CommandFailedError for arguments that make no sense."""
    if arguments.hash:
        key = sys.stdin.readline().strip()
        if not re.fullmatch(r"[!-~]{1,1024}", key):
            raise CommandFailedError("standard input has no key: one line of visible ASCII characters")
        print(hash_of(key))
        return 0
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", arguments.name or ""):
        raise CommandFailedError("a name is needed: ringgate key NAME, of letters, digits, _ and -")
    scopes = _read("--scopes", Scopes(), arguments.scopes)
    channels = _read("--channels", ChannelPatterns(), arguments.channels)
    key = _PREFIX + secrets.token_urlsafe(_BYTES)
    print(f"key, for the service; it is shown once:\n\n    {key}\n\nfor the gateway's configuration:\n")
    print(f'[apikey.{arguments.name}]\nkeys = ["{hash_of(key)}"]\nscopes = {_list(scopes)}')
    if channels:
        print(f"channels = {_list(channels)}")
    return 0


def _read(flag: str, kind: ListKind, text: str) -> tuple[str, ...]:
    try:
        words: tuple[str, ...] = kind.from_text(text)
    except ValueRefusedError:
        raise CommandFailedError(f"{flag}: allowed: {kind.allowed()}") from None
    return words


def _list(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(map(quote, words)) + "]"
