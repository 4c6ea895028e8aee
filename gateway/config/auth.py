"""The types of values of the section [auth], and of permissions: keys, places of key sets, names, words.

A key is `ALGORITHM:KEY` or `ALGORITHM/KID:KEY`, where KEY is a secret as it is, `base64:...` for one that is
no visible text, or `file:/path` for a secret or a PEM text in a file.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from ..auth.algorithms import ALGORITHMS, ASYMMETRIC, MAX_KID_CHARS
from ..errors import GatewayError
from .kinds import Kind, Secret, ValueRefusedError, quote
from .lists import HIDDEN, ListKind

_MAX_KEY_FILE_BYTES: Final = 64 * 1024
_KEY = re.compile(rf"([A-Za-z0-9]{{2,16}})(?:/([!-.0-9;-~]{{1,{MAX_KID_CHARS}}}))?:(.+)", re.DOTALL)
_SECRET = re.compile(r"[!-~]{1,1024}|base64:[A-Za-z0-9+/=]{1,100000}")
_TEXT = re.compile(r"[!-~]{1,1024}")
_NAME = re.compile(r"[A-Za-z0-9_.:/\-]{1,100}")
_COOKIE = re.compile(r"[A-Za-z0-9_.\-]{0,100}")


class AuthKey(NamedTuple):
    """A key as it was configured.  `secret` is the secret or the PEM text."""

    algorithm: str
    kid: str
    secret: Secret

    @property
    def material(self) -> bytes:
        """The bytes of the key."""
        return _material(self.secret.reveal())

    def written(self, *, shown: bool) -> str:
        """Return the item of the configuration that it came from; the secret itself only where `shown`."""
        kid = f"/{self.kid}" if self.kid else ""
        if shown:
            secret = "base64:" + base64.b64encode(self.material).decode()
        else:
            secret = self.secret.source or HIDDEN
        return f"{self.algorithm}{kid}:{secret}"


class AuthKeys(ListKind):
    """Keys that verify tokens."""

    name = "list of keys"
    metavar = "ALG[/KID]:KEY[,...]"

    def _allowed(self) -> str:
        return (
            'a list of "ALGORITHM:KEY" or "ALGORITHM/KID:KEY"; KEY is a secret, "base64:...", or '
            f'"file:/path" of a secret or a PEM; ALGORITHM is one of {", ".join(ALGORITHMS)}'
        )

    def _item(self, text: str) -> object:
        match = _KEY.fullmatch(text)
        if match is None or match[1] not in ALGORITHMS:
            raise ValueRefusedError("a key begins with its algorithm and a colon")
        algorithm, kid, given = match[1], match[2] or "", match[3]
        if given == HIDDEN:
            raise ValueRefusedError('this is the placeholder that "ringgate config" prints, not a key')
        if given.startswith("file:"):
            secret = Secret(_read_key(given.removeprefix("file:")), given)
        elif _SECRET.fullmatch(given):
            secret = Secret(given)
        else:
            raise ValueRefusedError("a secret has 1 to 1024 visible ASCII characters")
        return _checked(AuthKey(algorithm, kid, secret))

    def hides(self, value: Any) -> bool:
        """Tell whether a key was given as it is."""
        return any(not key.secret.source for key in value)

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(key.written(shown=False)) for key in value) + "]"

    def reveal(self, value: Any) -> str:
        """Return the value as TOML with its secrets, for another process of the gateway."""
        return "[" + ", ".join(quote(key.written(shown=True)) for key in value) + "]"


def _checked(key: AuthKey) -> AuthKey:
    from ..auth.keys import import_key  # cryptography takes a while to import, and few commands need it

    try:
        import_key(key.algorithm, key.kid, key.material)
    except (GatewayError, binascii.Error) as problem:
        raise ValueRefusedError(
            str(problem) if isinstance(problem, GatewayError) else "this is not base64"
        ) from None
    return key


def _material(text: str) -> bytes:
    if text.startswith("base64:"):
        return base64.b64decode(text.removeprefix("base64:"), validate=True)
    return text.encode()


def _read_key(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_KEY_FILE_BYTES + 1)
        text = data.decode("ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise ValueRefusedError(f"cannot read {quote(path)}: {reason}") from None
    if len(data) > _MAX_KEY_FILE_BYTES:
        raise ValueRefusedError(f"{quote(path)} is larger than {_MAX_KEY_FILE_BYTES} bytes")
    return text


class Texts(ListKind):
    """A list of texts of visible ASCII, of which one is meant."""

    name = "list of texts"
    metavar = "TEXT[,TEXT...]"

    def _allowed(self) -> str:
        return "a list of texts of 1 to 1024 visible ASCII characters each"

    def _item(self, text: str) -> object:
        if not _TEXT.fullmatch(text):
            raise ValueRefusedError
        return text

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(text) for text in value) + "]"


class KeySetPlaces(Texts):
    """Where JWK sets are."""

    name = "list of URLs"
    metavar = "URL[,URL...]"

    def _allowed(self) -> str:
        return 'a list of "https://..." URLs, or "file:/path" for files'

    def _item(self, text: str) -> object:
        super()._item(text)
        if text.startswith("file:") and len(text) > len("file:"):
            return text
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ValueRefusedError("this is no URL") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise ValueRefusedError("the URL of a key set begins with https:// and the name of a host")
        if parts.username is not None or parts.fragment:
            raise ValueRefusedError("the URL of a key set has no user and no fragment")
        return text


class Algorithms(Texts):
    """Algorithms of public keys."""

    name = "list of algorithms"
    metavar = "ALG[,ALG...]"

    def _allowed(self) -> str:
        return f"a list of some of {', '.join(ASYMMETRIC)}"

    def _item(self, text: str) -> object:
        if text not in ASYMMETRIC:
            raise ValueRefusedError
        return text


class ClaimName(Kind):
    """The name of a claim."""

    name = "name of a claim"
    metavar = "NAME"

    def _allowed(self) -> str:
        return "1 to 100 characters of A-Z a-z 0-9 _ - . : /"

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise ValueRefusedError
        return value

    def _to_toml(self, value: Any) -> str:
        return quote(str(value))


class CookieName(ClaimName):
    """The name of a cookie; empty for none."""

    name = "name of a cookie"

    def _allowed(self) -> str:
        return '1 to 100 characters of A-Z a-z 0-9 _ - ., or "" for none'

    def _from_toml(self, value: object) -> object:
        if not isinstance(value, str) or not _COOKIE.fullmatch(value):
            raise ValueRefusedError
        return value


class Permissions(Texts):
    """Words that say who may; one that fits is enough.  `kind` is "subscribe", "publish" or "see"."""

    name = "list of permissions"
    metavar = "WORD[,WORD...]"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def _allowed(self) -> str:
        from ..permissions import words_of

        return "a list of " + ", ".join(words_of(self._kind))

    def _item(self, text: str) -> object:
        from ..permissions import problem_with

        problem = problem_with(text, self._kind)
        if problem:
            raise ValueRefusedError(problem)
        return text
