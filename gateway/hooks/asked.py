"""Asks an app service over HTTP, and makes a verdict of its answer (`asking.AppService`).

It knows neither sessions nor sockets.  How it works: a question is a signed POST to the hook's upstream.  200
and 204 with an answer that is understood are a verdict; 401 and 403 are a refusal; anything else is none:
whoever asked is told `unavailable` or `timeout`, what the service said is logged, and the upstream's breaker
counts it.

What always holds: what was not allowed in so many words is not done; nothing that a service
says reaches a client but a refusal's code and message, and payloads.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from ..asking import (
    Admission,
    Caller,
    CallVerdict,
    ConnectQuestion,
    MessageVerdict,
    PublishVerdict,
    Refusal,
    SubscribeVerdict,
)
from ..errors import CommandError, ServiceError, ServiceTimeoutError, ServiceUnavailableError
from ..seldom import Seldom
from ..upstreams.groups import Upstreams
from ..upstreams.http import Request, Response
from ..upstreams.upstream import Asked
from . import bodies
from .options import AskedOptions, HookPlace
from .signing import ID, SIGNATURE, TIMESTAMP, sign
from .tracing import TRACEPARENT, child_of

V = TypeVar("V")

_REFUSED: Final = {401: Refusal(code="unauthorized"), 403: Refusal()}
_logger = logging.getLogger(__name__)


class Signer:
    """Makes the headers of a request: who sent it, when, and that it was us.

    `wall_s` is seconds since 1970, `random_id` an unguessable text, `random_bytes` as `os.urandom`.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        *,
        wall_s: Callable[[], float],
        random_id: Callable[[], str],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._keys = keys
        self._wall_s = wall_s
        self._random_id = random_id
        self._random_bytes = random_bytes

    def headers(self, body: bytes, *, id_: str = "", traceparent: str = "") -> dict[str, str]:
        """Return the headers for a body; with an `id_` those of what was sent before under it, perhaps."""
        id_ = id_ or f"q_{self._random_id()}"
        now_s = int(self._wall_s())
        headers = {
            "Content-Type": "application/json",
            "X-Request-Id": id_,
            TRACEPARENT: child_of(traceparent, self._random_bytes),
            ID: id_,
            TIMESTAMP: str(now_s),
        }
        if self._keys:
            headers[SIGNATURE] = sign(self._keys, id_, now_s, body)
        return headers


class HookService:
    """Whoever is configured to be asked."""

    def __init__(self, upstreams: Upstreams, options: AskedOptions, signer: Signer) -> None:
        self._upstreams = upstreams
        self._options = options
        self._signer = signer
        self._seldom = Seldom()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """How questions ended, by kind and outcome."""

    def samples(self) -> Iterator[tuple[str, str, str, Mapping[str, str], float]]:
        """Yield what it counts."""
        for (kind, outcome), count in list(self.outcomes.items()):
            labels = {"hook": kind, "outcome": outcome}
            yield "ringgate_hooks", "counter", "questions to app services", labels, count

    @property
    def forwards(self) -> frozenset[str]:
        """See `AppService.forwards`."""
        return self._options.forwards

    async def connect(self, caller: Caller, question: ConnectQuestion) -> Admission | Refusal:
        """See `AppService.connect`."""
        asked = {"path": question.path, "query": question.query, "subprotocol": question.subprotocol}
        fields = {name: value for name, value in (*asked.items(), ("token", question.token)) if value}
        place = self._options.connect
        return await self._ask("connect", place, caller, fields, bodies.read_connect, again=True)

    async def subscribe(self, caller: Caller, channel: str) -> SubscribeVerdict | Refusal:
        """See `AppService.subscribe`."""
        fields, place = {"channel": channel}, self._options.subscribe
        return await self._ask("subscribe", place, caller, fields, bodies.read_subscribe, again=True)

    async def publish(
        self, caller: Caller, channel: str, data: bytes, *, binary: bool
    ) -> PublishVerdict | Refusal:
        """See `AppService.publish`."""
        fields = {"channel": channel, **bodies.payload_fields(data, "data", binary=binary)}
        return await self._ask("publish", self._options.publish, caller, fields, bodies.read_publish)

    async def call(
        self, caller: Caller, method: str, data: bytes, *, binary: bool, timeout_s: float
    ) -> CallVerdict | Refusal:
        """See `AppService.call`."""
        fields = {"method": method, **bodies.payload_fields(data, "payload", binary=binary)}
        o = self._options
        place, timeout_s = o.call, min(timeout_s or o.call_timeout_s, o.call_timeout_most_s)
        return await self._ask("call", place, caller, fields, bodies.read_call, timeout_s=timeout_s)

    async def message(self, caller: Caller, data: bytes, *, binary: bool) -> MessageVerdict | Refusal:
        """See `AppService.message`."""
        fields = bodies.payload_fields(data, "data", binary=binary)
        return await self._ask("message", self._options.message, caller, fields, bodies.read_message)

    async def _ask(
        self,
        kind: str,
        place: HookPlace | None,
        caller: Caller,
        fields: dict[str, Any],
        read: Callable[[bytes], V | Refusal],
        *,
        again: bool = False,
        timeout_s: float = 0.0,
    ) -> V | Refusal:
        """Ask; `again` says that the question may arrive twice."""
        if place is None:
            raise CommandError("permission_denied", "no app service is configured for this")
        body = bodies.encode_question(kind, caller, fields)
        forwarded = sendable(caller.forwarded)
        headers = {**forwarded, **self._signer.headers(body, traceparent=forwarded.get(TRACEPARENT, ""))}
        verdicts: list[V | Refusal] = []

        def is_good(response: Response) -> bool:
            """Read the answer once, where the upstream can learn of it."""
            try:
                verdicts.append(_verdict(response, read))
            except bodies.NonsenseError as problem:
                if times := self._seldom.times((kind, "nonsense")):
                    extra = {"hook": kind, "times": times}
                    _logger.warning("a hook's answer is none: %s", problem, extra=extra)
                # What is the client's or the configuration's fault is not the address's.
                return 400 <= response.status < 500
            return True

        request = Request("POST", place.path, headers, body)
        key = self._key(caller, str(fields.get("channel", "")))
        asked = Asked(request, key=key, again=again, timeout_s=timeout_s, is_good=is_good)
        try:
            await self._upstreams[place.upstream].ask(asked)
        except ServiceError as problem:
            raise self._unanswered(kind, problem) from None
        if not verdicts:
            self.outcomes[kind, "nonsense"] += 1
            raise CommandError("unavailable", "the app service gave no usable answer")
        self.outcomes[kind, "refused" if isinstance(verdicts[-1], Refusal) else "allowed"] += 1
        return verdicts[-1]

    def _unanswered(self, kind: str, problem: ServiceError) -> CommandError:
        if isinstance(problem, ServiceTimeoutError):
            self.outcomes[kind, "timeout"] += 1
            return CommandError("timeout", "the app service did not answer in time")
        self.outcomes[kind, "unavailable"] += 1
        if not isinstance(problem, ServiceUnavailableError) and (times := self._seldom.times(kind)):
            _logger.warning("a hook was not answered: %s", problem, extra={"hook": kind, "times": times})
        return CommandError("unavailable", "the app service cannot be reached now")

    def _key(self, caller: Caller, channel: str) -> str:
        by = self._options.hash_by
        if by.startswith("header:"):
            return caller.forwarded.get(by.removeprefix("header:"), "")
        keys = {
            "user": caller.user or caller.session,
            "session": caller.session,
            "channel": channel or caller.session,
            "address": caller.remote.rpartition(":")[0] or caller.remote,
        }
        return keys[by]


def _verdict(response: Response, read: Callable[[bytes], V | Refusal]) -> V | Refusal:
    if response.status in _REFUSED:
        try:
            said = read(response.body)
        except bodies.NonsenseError:
            return _REFUSED[response.status]
        return said if isinstance(said, Refusal) else _REFUSED[response.status]
    if response.status not in {200, 204}:
        raise bodies.NonsenseError(f"status {response.status}")
    return read(response.body)


def sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a client's headers but those that have characters which no header of ours may have."""
    return {
        name: value
        for name, value in headers.items()
        if all((" " <= char != "\x7f" and char <= "\xff") or char == "\t" for char in value)
    }
