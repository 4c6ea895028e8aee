"""Where a gateway listens: TCP addresses, Unix sockets, and sockets that systemd hands in.

What can be said of each without opening it.  `Address` itself is one of the kinds' own types, since other
options and the tools speak of addresses too.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from .kinds import Address, Kind, ValueRefusedError, quote
from .lists import ListKind

UNIX_PREFIX: Final = "unix:"
SYSTEMD: Final = "systemd"
MAX_UNIX_PATH_BYTES: Final = 107
"""What fits into `sun_path` with the NUL at its end."""

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,252})")
_DESCRIPTOR_NAME = re.compile(r"[A-Za-z0-9._@\-]{1,255}")
_MODE = re.compile(r"0?([0-7]{3})")


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A Unix socket: the absolute path of its file, or, for one that was handed in, "@" and a name."""

    path: str

    def __str__(self) -> str:
        return UNIX_PREFIX + self.path

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect: always."""
        return True


@dataclass(frozen=True, slots=True)
class FromSystemd:
    """Sockets that systemd hands in: those of that name (FileDescriptorName=), or "": those left over."""

    name: str = ""

    def __str__(self) -> str:
        return f"{SYSTEMD}:{self.name}" if self.name else SYSTEMD

    @property
    def is_loopback(self) -> bool:
        """Nothing is known before the sockets are there; it is checked then."""
        return True


Endpoint: TypeAlias = Address | UnixPath | FromSystemd
Bound: TypeAlias = Address | UnixPath
"""What is really listened on, once it is."""


def tcp_addresses(endpoints: tuple[Endpoint, ...]) -> tuple[Address, ...]:
    """Return those that are TCP addresses."""
    return tuple(endpoint for endpoint in endpoints if isinstance(endpoint, Address))


class ListenAddresses(ListKind):
    """One or more of: HOST:PORT with an IPv6 address in brackets, unix:/PATH, systemd, systemd:NAME."""

    name = "list of addresses"
    metavar = "ADDRESS[,ADDRESS...]"

    def _allowed(self) -> str:
        return (
            'HOST:PORT such as "127.0.0.1:8000", "0.0.0.0:8000" or "[::1]:8000" (port 0: any free one), '
            '"unix:/run/ringgate.sock", "systemd" or "systemd:NAME", or a list of these'
        )

    def _from_toml(self, value: object) -> object:
        endpoints = self._items(value)
        if not endpoints:
            raise ValueRefusedError("there is nothing to listen on")
        return endpoints

    def _item(self, text: str) -> object:
        text = text.strip()
        if text.startswith(UNIX_PREFIX):
            return _unix_path(text.removeprefix(UNIX_PREFIX))
        word, colon, name = text.partition(":")
        if word == SYSTEMD:
            if colon and not _DESCRIPTOR_NAME.fullmatch(name):
                raise ValueRefusedError("after systemd: comes the name of a socket (FileDescriptorName=)")
            return FromSystemd(name)
        return _address(text)

    def _to_toml(self, value: Any) -> str:
        items = [quote(str(endpoint)) for endpoint in value]
        return items[0] if len(items) == 1 else f"[{', '.join(items)}]"


def _unix_path(path: str) -> UnixPath:
    if path.startswith("@"):
        raise ValueRefusedError("sockets in the abstract namespace have no permissions, and are not offered")
    if not path.startswith("/") or path.endswith("/"):
        raise ValueRefusedError("after unix: comes the absolute path of a socket")
    if "\0" in path:
        raise ValueRefusedError("a path holds no NUL")
    if len(os.fsencode(path)) > MAX_UNIX_PATH_BYTES:
        raise ValueRefusedError(f"the path of a Unix socket has at most {MAX_UNIX_PATH_BYTES} bytes")
    return UnixPath(path)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueRefusedError("there is no port from 0 to 65535 at its end")
    if host.startswith("[") and host.endswith("]"):
        return Address(_ipv6(host[1:-1]), int(port))
    if ":" in host:
        raise ValueRefusedError("an IPv6 address is written in brackets")
    if not _HOST_NAME.fullmatch(host):
        raise ValueRefusedError("there is no host before the port")
    return Address(host, int(port))


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueRefusedError("there is no IPv6 address in the brackets") from None


class FileMode(Kind):
    """The permissions of a file, as three octal digits."""

    name = "file mode"
    metavar = "MODE"

    def _allowed(self) -> str:
        return 'three octal digits such as "600", "660" or "666"'

    def _from_toml(self, value: object) -> object:
        match = _MODE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueRefusedError
        return int(match[1], 8)

    def _to_toml(self, value: Any) -> str:
        return quote(f"{value:03o}")
