"""Makes notices of what happens to clients and channels, and has an app service take them.

It knows neither sessions nor where notices are kept (`broker/outbox.py`).  A notice is a POST with the
headers of CloudEvents (binary mode, https://github.com/cloudevents/spec), signed like every hook; its id
stays the same however often it is sent.  What always holds: only a status from 200 to 299 is a notice
taken.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from ..asking import Caller
from ..broker.outbox import Did, NotDeliveredError, Notice, Told
from ..errors import ServiceError
from ..upstreams.groups import Upstreams
from ..upstreams.http import Request, Response
from ..upstreams.upstream import Asked
from .asked import Signer
from .options import HookPlace

LOST: Final = "notices_lost"
_PREFIX: Final = "ringgate."


class Notices:
    """Hears of clients (see `noticing.Listener`), and tells an outbox of what the configuration names.

    `tell` is the outbox's.  `wall_ms` is milliseconds since 1970, `random_id` an unguessable text.
    """

    def __init__(
        self,
        kinds: frozenset[str],
        tell: Callable[[Told], None],
        *,
        wall_ms: Callable[[], int],
        random_id: Callable[[], str],
    ) -> None:
        self._kinds = kinds
        self._tell = tell
        self._wall_ms = wall_ms
        self._random_id = random_id
        self._subscribers: Counter[str] = Counter()
        self._ends: dict[str, Notice] = {}
        self._follows_channels = not kinds.isdisjoint({"channel_occupied", "channel_vacated"})

    # -- what sessions say ------------------------------------------------------------------------

    def connected(self, caller: Caller) -> None:
        """Hear that a client was let in; have its end told should this process not be there to do it."""
        if "disconnect" in self._kinds:
            self._fear(caller, "")

    def resumed(self, caller: Caller) -> None:
        """Hear that a client goes on as an earlier session: its end is told with that one."""
        feared = self._ends.get(caller.client)
        if feared is not None:
            self._fear(caller, feared.id)

    def _fear(self, caller: Caller, id_: str) -> None:
        notice = self._make("disconnect", caller.client, {**_who(caller), "code": 1006}, id_=id_)
        self._ends[caller.client] = notice
        self._tell(Told(Did.ENTER, caller.client, notice.encode()))

    def disconnected(self, caller: Caller, code: int, channels: Sequence[str]) -> None:
        """Hear that a client is gone."""
        end = self._ends.pop(caller.client, None)
        if end is not None:
            fields = {**_who(caller), "code": code, "channels": list(channels)}
            notice = self._make("disconnect", caller.client, fields, id_=end.id)
            self._tell(Told(Did.EXIT, caller.client, notice.encode()))
        for channel in channels:
            self._left(channel)

    def subscribed(self, caller: Caller, channel: str) -> None:
        """Hear that a client is subscribed from now on."""
        if self._follows_channels:
            self._subscribers[channel] += 1
            if self._subscribers[channel] == 1:
                self._tell(Told(Did.OCCUPY, channel, self._occupied(channel)))
        if "subscribed" in self._kinds and not channel.startswith("@"):
            self._note("subscribed", caller, channel)

    def unsubscribed(self, caller: Caller, channel: str) -> None:
        """Hear that a client is subscribed no longer, though it is still there."""
        if "unsubscribed" in self._kinds and not channel.startswith("@"):
            self._note("unsubscribed", caller, channel)
        self._left(channel)

    def _left(self, channel: str) -> None:
        if not self._follows_channels:
            return
        self._subscribers[channel] -= 1
        if self._subscribers[channel] <= 0:
            del self._subscribers[channel]
            self._tell(Told(Did.VACATE, channel))

    def _note(self, kind: str, caller: Caller, channel: str) -> None:
        notice = self._make(kind, channel, {**_who(caller), "channel": channel})
        self._tell(Told(Did.NOTICE, channel, notice.encode()))

    # -- notices ------------------------------------------------------------------------------------

    def _occupied(self, channel: str) -> bytes:
        if "channel_occupied" not in self._kinds:
            return b""
        return self._make("channel_occupied", channel, {"channel": channel}).encode()

    def _make(self, kind: str, key: str, fields: dict[str, Any], *, id_: str = "") -> Notice:
        return make_notice(kind, key, fields, id_=id_ or f"n_{self._random_id()}", time_ms=self._wall_ms())


def make_notice(kind: str, key: str, fields: dict[str, Any], *, id_: str, time_ms: int) -> Notice:
    """Return a notice about `key`, a channel or a client."""
    body = msgspec.json.encode({"type": kind, "id": id_, "time": time_ms, **fields})
    return Notice(id_, kind, key, time_ms, body)


def _who(caller: Caller) -> dict[str, Any]:
    who: dict[str, Any] = {"client": caller.client, "session": caller.session}
    if caller.user:
        who["user"] = caller.user
    if caller.info:
        who["info"] = msgspec.Raw(caller.info)
    return who


class Maker:
    """Makes the notices that an outbox has of itself; see `NoticeMaker`."""

    def __init__(self, source: str, *, wall_ms: Callable[[], int], random_id: Callable[[], str]) -> None:
        self._source = source
        self._wall_ms = wall_ms
        self._random_id = random_id

    def about(self, kind: str, channel: str, since_ms: int = 0) -> Notice:
        """Return a notice about a channel; since the same time it has the same id."""
        text = f"{self._source} {kind} {channel} {since_ms}"
        id_ = (
            urlsafe_b64encode(sha256(text.encode()).digest()[:12]).decode() if since_ms else self._random_id()
        )
        time_ms = since_ms or self._wall_ms()
        return make_notice(kind, channel, {"channel": channel}, id_=f"n_{id_}", time_ms=time_ms)

    def lost(self, reason: str, count: int) -> Notice:
        """Return a notice that notices were lost."""
        fields = {"reason": reason, **({"count": count} if count else {})}
        id_ = f"n_{self._random_id()}"
        return make_notice(LOST, self._source, fields, id_=id_, time_ms=self._wall_ms())


class Delivery:
    """Has the app service take notices.  `source` is what CloudEvents calls where they come from."""

    def __init__(
        self, upstreams: Upstreams, place: HookPlace, kinds: frozenset[str], signer: Signer, *, source: str
    ) -> None:
        self._upstreams = upstreams
        self._place = place
        self._kinds = kinds
        self._signer = signer
        self._source = source

    def change(self, place: HookPlace, signer: Signer) -> None:
        """Send to another place, and sign by other keys, from now on."""
        self._place, self._signer = place, signer

    async def deliver(self, notice: Notice) -> None:
        """Send a notice once.  Raises NotDeliveredError when it was not taken."""
        if notice.kind not in self._kinds:
            return  # vacated channels are found by whoever looks, also where nobody wants to know
        headers = {
            **self._signer.headers(notice.body, id_=notice.id),
            "ce-specversion": "1.0",
            "ce-id": notice.id,
            "ce-source": self._source,
            "ce-type": _PREFIX + notice.kind,
            "ce-subject": notice.key,
            "ce-time": _rfc3339(notice.time_ms),
        }
        request = Request("POST", self._place.path, headers, notice.body)
        asked = Asked(request, key=notice.key, again=True, is_good=_was_taken_or_refused)
        try:
            response = await self._upstreams[self._place.upstream].ask(asked)
        except ServiceError as problem:
            raise NotDeliveredError(str(problem)) from None
        if not 200 <= response.status < 300:
            raise NotDeliveredError(f"status {response.status}")


def _was_taken_or_refused(response: Response) -> bool:
    """Tell whether the address works: a notice that it does not like is not its fault."""
    return 200 <= response.status < 300 or 400 <= response.status < 500


def _rfc3339(time_ms: int) -> str:
    return (
        datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
