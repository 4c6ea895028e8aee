"""Kinds of values that are lists: origins, host names, networks and secrets.

As text (an environment variable or a flag) the items are separated by commas; in TOML they are
an array of strings, or a single string.
"""

from __future__ import annotations

import ipaddress
import re
from abc import abstractmethod
from pathlib import Path
from typing import Any, Final

from ..http.scopes import SCOPES
from .kinds import Kind, Secret, ValueRefusedError, quote

HIDDEN: Final = "<hidden>"
_MAX_SECRET_FILE_BYTES: Final = 4096
_ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]{0,31}://(?:\[[0-9a-f:.]+\]|[a-z0-9._\-]{1,253})(?::[0-9]{1,5})?")
_HOST = re.compile(r"\[[0-9a-f:.]{2,45}\]|[a-z0-9_.\-]{1,253}")
_SECRET = re.compile(r"[!-~]{1,1024}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class ListKind(Kind):
    """A list whose items are all read by `_item`."""

    def _from_toml(self, value: object) -> object:
        return self._items(value)

    def _items(self, value: object) -> tuple[object, ...]:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list | tuple):
            raise ValueRefusedError
        items = []
        for text in values:
            if not isinstance(text, str):
                raise ValueRefusedError
            items.append(self._item(text))
        return tuple(items)

    def _from_text(self, text: str) -> object:
        return self._from_toml([part.strip() for part in text.split(",") if part.strip()])

    @abstractmethod
    def _item(self, text: str) -> object:
        """Return the value of one item.  Raises ValueRefusedError."""


class Origins(ListKind):
    """Exact origins, or "*" alone for every one; empty for the same host only."""

    name = "list of origins"
    metavar = "ORIGIN[,ORIGIN...]"

    def _allowed(self) -> str:
        return 'a list of origins such as "https://example.com" or "http://localhost:3000", or "*" alone'

    def _from_toml(self, value: object) -> object:
        origins = self._items(value)
        if "*" in origins and len(origins) > 1:
            raise ValueRefusedError('"*" is every origin, so nothing can stand beside it')
        return origins

    def _item(self, text: str) -> object:
        if text == "*":
            return text
        if text == "null":
            raise ValueRefusedError('"null" is what sandboxed pages of anyone send, so it cannot be listed')
        if not _ORIGIN.fullmatch(text):
            raise ValueRefusedError("an origin is SCHEME://HOST or SCHEME://HOST:PORT in lower case, no path")
        return text

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(origin) for origin in value) + "]"


class Hosts(ListKind):
    """Host names without ports, or "*" alone for every one."""

    name = "list of hosts"
    metavar = "HOST[,HOST...]"

    def _allowed(self) -> str:
        return 'a list of host names or addresses such as "ringgate" or "gateway.internal", or "*" alone'

    def _from_toml(self, value: object) -> object:
        hosts = self._items(value)
        if "*" in hosts and len(hosts) > 1:
            raise ValueRefusedError('"*" is every host, so nothing can stand beside it')
        return hosts

    def _item(self, text: str) -> object:
        if text != "*" and not _HOST.fullmatch(text):
            raise ValueRefusedError("a host is a name or an address in lower case, without a port")
        return text

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(host) for host in value) + "]"


class Networks(ListKind):
    """Networks or single addresses, and "unix" for peers of Unix sockets."""

    name = "list of networks"
    metavar = "NETWORK[,NETWORK...]"

    def _allowed(self) -> str:
        return (
            'a list of networks or addresses such as "10.0.0.0/8", "192.0.2.7" or "2001:db8::/32", or "unix"'
        )

    def _item(self, text: str) -> object:
        if text == "unix":
            return text
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            raise ValueRefusedError(
                "a network is ADDRESS or ADDRESS/BITS, without bits behind those"
            ) from None
        if not network.prefixlen:
            raise ValueRefusedError("everybody would be trusted")
        return str(network)

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(network) for network in value) + "]"


class ServiceNetworks(Networks):
    """Networks in which services are."""

    def _allowed(self) -> str:
        return 'a list of networks or addresses such as "10.0.0.0/8", "192.0.2.7" or "2001:db8::/32"'

    def _item(self, text: str) -> object:
        if text == "unix":
            raise ValueRefusedError
        return super()._item(text)


class Secrets(ListKind):
    """Secrets as they are, or "file:/path" for one that is the text of a file."""

    name = "list of secrets"
    metavar = "KEY[,KEY...]"

    def _allowed(self) -> str:
        return (
            "a list of secrets of 1 to 1024 visible ASCII characters each, "
            'or "file:/path" for a file that holds one'
        )

    def _item(self, text: str) -> object:
        if text == HIDDEN:
            raise ValueRefusedError('this is the placeholder that "ringgate config" prints, not a secret')
        if not text.startswith("file:"):
            return Secret(_checked(text))
        return Secret(_checked(_read_secret(text.removeprefix("file:"))), text)

    def hides(self, value: Any) -> bool:
        """Tell whether a secret was given as it is."""
        return any(not secret.source for secret in value)

    def reveal(self, value: Any) -> str:
        """Return the value with its secrets, for another process of the gateway."""
        return "[" + ", ".join(quote(secret.reveal()) for secret in value) + "]"

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(secret.source or HIDDEN) for secret in value) + "]"


class ApiKeys(Secrets):
    """API keys: each as it is, as the text of a file, or by its SHA-256, which is no secret."""

    name = "list of API keys"

    def _allowed(self) -> str:
        return (
            "a list of keys of 1 to 1024 visible ASCII characters each, "
            '"file:/path" for a file that holds one, or "sha256:" and the 64 digits of its hash'
        )

    def _item(self, text: str) -> object:
        key = super()._item(text)
        if isinstance(key, Secret) and key.reveal().startswith("sha256:"):
            if not _HASH.fullmatch(key.reveal()):
                raise ValueRefusedError("the hash of a key has 64 hexadecimal digits in lower case")
            return Secret(key.reveal(), key.source or text)
        return key


class Scopes(ListKind):
    """What an API key is for."""

    name = "list of words"
    metavar = "WORD[,WORD...]"

    def _allowed(self) -> str:
        return f"a list of the words {', '.join(SCOPES)}"

    def _item(self, text: str) -> object:
        if text not in set(SCOPES):
            raise ValueRefusedError
        return text

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(word) for word in value) + "]"


class ChannelPatterns(ListKind):
    """Names of channels, in which `*` is any characters."""

    name = "list of patterns"
    metavar = "PATTERN[,PATTERN...]"

    def _allowed(self) -> str:
        return 'a list of channels such as "news", or with * for any characters, such as "chat:*"'

    def _item(self, text: str) -> object:
        from ..auth.claims import is_pattern

        if not is_pattern(text):
            raise ValueRefusedError("a pattern is the name of a channel, in which * is any characters")
        return text

    def _to_toml(self, value: Any) -> str:
        return "[" + ", ".join(quote(pattern) for pattern in value) + "]"


def _checked(text: str) -> str:
    if not _SECRET.fullmatch(text):
        raise ValueRefusedError("a secret is empty, too long or has characters that are not visible ASCII")
    return text


def _read_secret(path: str) -> str:
    """Return the text of a secret's file without the white space around it.  Raises ValueRefusedError."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_SECRET_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ValueRefusedError(f"cannot read {quote(path)}: {reason}") from None
    if len(data) > _MAX_SECRET_FILE_BYTES:
        raise ValueRefusedError(f"{quote(path)} is larger than {_MAX_SECRET_FILE_BYTES} bytes")
    return data.decode("latin-1").strip()
