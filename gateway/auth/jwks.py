"""A set of public keys that somebody else publishes: a JWK set (RFC 7517), from a URL or a file.

It knows how old its keys are and when to ask again, but not what they are used for.  How it works: `read`
gets the document (a file, or HTTP in a thread); a token whose key is not known makes it be asked for again,
at most once every `cooldown_s`; one that is older than `max_age_s` is renewed while the old keys go on
being used.  What always holds: the URL comes from the configuration and never from a token; while no new
set can be had, the last good one stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import GatewayError
from .algorithms import MAX_KID_CHARS
from .fetching import FetchFailedError, fetch
from .keys import KeyRefusedError, KeyRing, VerifyKey, algorithms_of_jwk, import_key, make_ring

MAX_KEYS: Final = 64
MAX_BYTES: Final = 256 * 1024

_log = logging.getLogger("gateway.auth")


class JwksOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`algorithms` are those that keys of the set may be used for.  Times in seconds."""

    algorithms: frozenset[str]
    max_age_s: float = 600.0
    cooldown_s: float = 30.0
    timeout_s: float = 5.0


class BadKeySetError(GatewayError):
    """A document that is no JWK set, or has no key in it that could be used."""


def parse_key_set(document: bytes, algorithms: Iterable[str]) -> list[VerifyKey]:
    """Return the keys of a set that can verify tokens; those that cannot are left out.

    A key that several algorithms fit is there once for each.  Raises BadKeySetError.
    """
    try:
        found: dict[str, Any] = msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadKeySetError("it is no JSON object") from None
    entries = found.get("keys")
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise BadKeySetError(f"it has no list `keys` of at most {MAX_KEYS}")
    allowed = set(algorithms)
    keys = [key for entry in entries if isinstance(entry, dict) for key in _keys_of(entry, allowed)]
    if not keys:
        raise BadKeySetError("it has no key that could be used here")
    return keys


def _keys_of(jwk: Mapping[str, Any], allowed: set[str]) -> Iterable[VerifyKey]:
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid) > MAX_KID_CHARS:
        return
    for algorithm in algorithms_of_jwk(jwk):
        if algorithm in allowed:
            try:
                yield import_key(algorithm, kid, dict(jwk))
            except KeyRefusedError as problem:
                _log.warning("a key of a JWK set is left out: %s", problem, extra={"kid": kid})


class KeySet:
    """The keys of one place.  `clock` is in monotonic seconds; `read` blocks and is run in a thread."""

    def __init__(
        self,
        place: str,
        options: JwksOptions,
        *,
        clock: Callable[[], float],
        read: Callable[[str, JwksOptions], bytes] | None = None,
        in_thread: Callable[..., Awaitable[bytes]] = asyncio.to_thread,
    ) -> None:
        self.place = place
        self.ring = KeyRing({})
        self.refreshes = 0
        self.failures = 0
        self._options = options
        self._clock = clock
        self._read = read or _read_place
        self._in_thread = in_thread
        self._document = b""
        self._asked_s = float("-inf")
        self._had_s = float("-inf")
        self._under_way: asyncio.Task[bool] | None = None

    @property
    def known(self) -> bool:
        """Whether there ever was a good set."""
        return bool(self.ring.by_kid)

    @property
    def stale(self) -> bool:
        """Whether it should be asked for again, since it is old, and may be."""
        return self._clock() - self._had_s >= self._options.max_age_s and self.may_ask

    @property
    def may_ask(self) -> bool:
        """Whether it was not asked for just now, or is being asked for."""
        return self._under_way is not None or self._clock() - self._asked_s >= self._options.cooldown_s

    async def refresh(self) -> bool:
        """Ask for the set, once for all who want it at the same time; tell whether its keys changed."""
        if self._under_way is None:
            self._asked_s = self._clock()
            self._under_way = asyncio.get_running_loop().create_task(self._refresh())
            self._under_way.add_done_callback(self._done)
        return await asyncio.shield(self._under_way)

    async def stop(self) -> None:
        """Wait for what is under way."""
        if self._under_way is not None:
            await asyncio.wait((self._under_way,))

    def _done(self, task: asyncio.Task[bool]) -> None:
        self._under_way = None
        if not task.cancelled() and task.exception() is not None:
            _log.error("a JWK set could not be renewed", exc_info=task.exception())

    async def _refresh(self) -> bool:
        self.refreshes += 1
        try:
            document = await self._in_thread(self._read, self.place, self._options)
            if document == self._document:
                self._had_s = self._clock()
                return False
            ring = make_ring(parse_key_set(document, self._options.algorithms))
        except (FetchFailedError, BadKeySetError) as problem:
            self.failures += 1
            _log.warning("a JWK set could not be had: %s", problem, extra={"jwks": self.place})
            return False
        self.ring, self._document, self._had_s = ring, document, self._clock()
        _log.info("keys of a JWK set", extra={"jwks": self.place, "kids": ", ".join(sorted(ring.by_kid))})
        return True


def _read_place(place: str, options: JwksOptions) -> bytes:
    if not place.startswith("file:"):
        return fetch(place, most_bytes=MAX_BYTES, timeout_s=options.timeout_s)
    try:
        with Path(place.removeprefix("file:")).open("rb") as file:
            document = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise FetchFailedError(f"it cannot be read: {problem.strerror}") from None
    if len(document) > MAX_BYTES:
        raise FetchFailedError(f"it is larger than {MAX_BYTES} bytes")
    return document
