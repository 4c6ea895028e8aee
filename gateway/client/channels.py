"""The channels that the application listens to: subscribed again after every break, each from where it
stopped.

They know commands and events, and no connection but through `Requests`.  How it works: a channel has
listeners, a position, and a state of the table CHANNEL; whatever changes, `_align` sees whether what is
wanted and what is are the same.  What always holds: of a channel a listener is told every message once and
in order, or Lost; nothing after it was taken away; and after a Subscribed with `recovered` everything that
was missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from ..errors import ERROR_CODES
from ..message.commands import Command, Since, Subscribe, Unsubscribe
from .backoff import delay_s
from .codecs import ClientCodec
from .credentials import TokenSource
from .errors import RinggateError
from .incoming import Event, Gap, Join, Leave, MemberView, Message, Patch, Reply, State, Unsubscribed
from .incoming import Subscribed as SubscribedEvent
from .recent import RecentIds
from .requests import Requests
from .results import (
    ChannelEvent,
    Ended,
    Joined,
    Left,
    Lost,
    Member,
    Patched,
    Position,
    StateSet,
    Subscribed,
)
from .results import Message as ToldMessage
from .table import CHANNEL, step
from .timers import Alarm, Timers

_RETRY_S: Final = (0.5, 10.0)


class Fetch(Protocol):
    """Calls the application for a token; `told` is called with it, or with what was raised, not at once."""

    def __call__(self, source: TokenSource, told: Callable[[str | Exception], None], /) -> None:
        """Get a token."""


class Listener(Protocol):
    """Who hears a channel.  It may not raise."""

    def tell(self, event: ChannelEvent) -> None:
        """Something happened in the channel."""


class Channel:
    """One channel; see the module."""

    __slots__ = (
        "alarm",
        "asked",
        "attempts",
        "behind",
        "is_state",
        "listeners",
        "mark",
        "name",
        "parked_by",
        "position",
        "seen",
        "state",
        "token",
    )

    def __init__(self, name: str, timers: Timers, due: Callable[[Channel], None]) -> None:
        self.name = name
        self.state = "away"
        self.is_state = False
        self.behind = False  # patches were lost: the next state comes before anything else counts
        self.token: TokenSource = ""  # for this channel, where its namespace asks for one
        self.asked = 0  # times that it was begun to be subscribed: only the last one counts
        self.listeners: list[Listener] = []
        self.position: Position | None = None
        self.seen: tuple[Position | None, str] = (None, "")  # a position, and the id of the message there
        self.mark = ""  # of the last answer: it says, with the id, which count the position is of
        self.parked_by: set[Listener] = set()  # listeners that have to catch up first
        self.attempts = 0  # in a row that were refused for the moment
        self.alarm = Alarm(timers, lambda: due(self))

    @property
    def wanted(self) -> bool:
        """It should be subscribed."""
        return bool(self.listeners) and not self.parked_by

    @property
    def is_personal(self) -> bool:
        """The gateway subscribes to it by itself, from hello on."""
        return self.name.startswith("@")

    def tell(self, event: ChannelEvent) -> None:
        """Tell every listener that is there now."""
        for listener in tuple(self.listeners):
            if listener in self.listeners:  # another one may have taken it away
                listener.tell(event)


class Channels:
    """All of them.  `stray` is told messages and other events of channels to which nobody listens."""

    def __init__(
        self,
        requests: Requests,
        codec: ClientCodec,
        timers: Timers,
        random: Callable[[], float],
        stray: Callable[[ChannelEvent], None],
        fetch: Fetch | None = None,
    ) -> None:
        self._fetch = fetch
        self._requests = requests
        self._codec = codec
        self._timers = timers
        self._random = random
        self._stray = stray
        self._channels: dict[str, Channel] = {}
        self._recent = RecentIds()
        self._online = False
        self._earlier: list[str] = []

    def __len__(self) -> int:
        """Channels of which anything is known."""
        return len(self._channels)

    # -- what the application wants -----------------------------------------------------------

    def add(
        self,
        name: str,
        listener: Listener,
        since: Position | None = None,
        *,
        is_state: bool = False,
        token: TokenSource = "",
    ) -> Channel:
        """Let a listener hear a channel; `since`: from there on, if nobody hears it yet.

        `is_state`: it is a state channel, of which only what came counts as a position.  `token` is
        one for this channel, or gives one; the newest counts.
        """
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name, self._timers, self._due)
        if not channel.listeners and channel.state != "live":
            channel.position = since
        channel.is_state = channel.is_state or is_state
        channel.token = token or channel.token
        channel.listeners.append(listener)
        if channel.state == "live":
            listener.tell(Subscribed(name, channel.position, None))
        self._align(channel)
        return channel

    def remove(self, channel: Channel, listener: Listener) -> None:
        """Let a listener hear it no longer.  Idempotent."""
        if listener in channel.listeners:
            channel.listeners.remove(listener)
        channel.parked_by.discard(listener)
        if not channel.listeners:
            channel.position = None
        self._align(channel)

    def park(self, channel: Channel, listener: Listener, parked: bool) -> None:
        """Let a channel go until a listener that is behind has caught up; then it goes on where it
        stopped.
        """
        if parked and listener in channel.listeners:
            channel.parked_by.add(listener)
        else:
            channel.parked_by.discard(listener)
        self._align(channel)

    def clear(self) -> None:
        """The client is closed: nobody is told anything any more."""
        for channel in self._channels.values():
            channel.alarm.stop()
        self._channels.clear()

    # -- what happens to the connection ---------------------------------------------------------

    def open(self, earlier: list[str]) -> None:
        """There is a connection: subscribe to everything that is wanted.  `earlier` are ids that this
        client had on others.
        """
        self._online = True
        self._earlier = earlier
        for channel in list(self._channels.values()):
            self._align(channel)

    def shut(self) -> None:
        """The connection ended."""
        self._online = False
        for channel in list(self._channels.values()):
            channel.attempts = 0
            self._input(channel, "lost")

    def event(self, event: Event) -> None:
        """Take an event of a channel; others mean nothing here."""
        if isinstance(event, Message):
            self._message(event)
        elif isinstance(event, Join):
            self._tell(event.channel, Joined(event.channel, self.member(event)))
        elif isinstance(event, Leave):
            self._tell(event.channel, Left(event.channel, self.member(event)))
        elif isinstance(event, Patch):
            self._patch(event)
        elif isinstance(event, State):
            self._state(event)
        elif isinstance(event, Gap):
            self._gap(event)
        elif isinstance(event, SubscribedEvent):
            self._made(event)
        elif isinstance(event, Unsubscribed):
            self._unmade(event)

    # -- the machine --------------------------------------------------------------------------

    def _align(self, channel: Channel) -> None:
        if self._online:
            if channel.wanted and channel.state == "away":
                self._input(channel, "open")
            elif not channel.wanted and channel.state in {"live", "resting"}:
                self._input(channel, "leave")
        if not channel.listeners and channel.state == "away":
            self._end(channel)

    def _input(self, channel: Channel, taken: str) -> None:
        follows = step(CHANNEL, channel.state, taken)
        if follows is None:
            return
        channel.state = follows.state
        for effect in follows.effects:
            _EFFECTS[effect](self, channel)
        self._align(channel)

    def _subscribe(self, channel: Channel) -> None:
        channel.asked += 1
        asked, source = channel.asked, channel.token
        if isinstance(source, str) or self._fetch is None:
            self._ask(channel, source if isinstance(source, str) else "")
            return

        def told(token: str | Exception) -> None:
            if channel.state != "asked" or channel.asked != asked:
                return
            if isinstance(token, str):
                self._ask(channel, token)
            else:  # later perhaps
                self._input(channel, "later")

        self._fetch(source, told)

    def _ask(self, channel: Channel, token: str) -> None:
        at = channel.position
        seen, last = channel.seen
        last = last if seen == at else ""
        since = None if at is None else Since(at.epoch, at.offset, self._earlier, last, channel.mark)
        self._request(
            channel,
            Subscribe(channel=channel.name, since=since, token=token),
            lambda answer: self._subscribed(channel, at, answer),
        )

    def _unsubscribe(self, channel: Channel) -> None:
        self._request(channel, Unsubscribe(channel=channel.name), lambda answer: self._left(channel, answer))

    def _request(
        self, channel: Channel, command: Command, answered: Callable[[Reply | RinggateError], None]
    ) -> None:
        def answer(result: Reply | RinggateError) -> None:
            if not (isinstance(result, RinggateError) and result.code == "disconnected"):
                answered(result)

        self._requests.send(command, answer)

    def _wait(self, channel: Channel) -> None:
        channel.alarm.set(delay_s(channel.attempts, *_RETRY_S, self._random))
        channel.attempts += 1

    def _rest(self, channel: Channel) -> None:
        channel.alarm.stop()

    def _end(self, channel: Channel) -> None:
        """Let go of a channel of which nothing follows; who listens anew finds a new one."""
        if self._channels.get(channel.name) is channel:
            del self._channels[channel.name]

    def _due(self, channel: Channel) -> None:
        self._input(channel, "timer")

    # -- answers ------------------------------------------------------------------------------

    def _subscribed(self, channel: Channel, since: Position | None, answer: Reply | RinggateError) -> None:
        if isinstance(answer, RinggateError):
            if answer.code != "already_subscribed":
                self._refused(channel, answer)
            elif channel.is_personal:
                self._input(channel, "granted")
                channel.tell(Subscribed(channel.name, None, None))
            else:
                self._input(channel, "taken")
            return
        channel.attempts, channel.behind = 0, False
        stands = Position(answer.epoch or "", answer.offset or 0)
        channel.mark = answer.mark or ""
        recovered = None if since is None else bool(answer.recovered)
        # Listeners may have come and gone meanwhile, and who came may want to begin elsewhere.
        other = channel.position not in {None, since}
        if not recovered or channel.position is None or other:
            channel.position = stands if channel.listeners and not channel.is_state else None
        self._input(channel, "granted")
        if recovered is False or other:
            channel.tell(_lost_history(channel.name, since, stands))
        channel.tell(Subscribed(channel.name, stands, recovered and not other))

    def _refused(self, channel: Channel, error: RinggateError) -> None:
        if error.retry:
            self._input(channel, "later")
            return
        listeners = tuple(channel.listeners)
        self._input(channel, "ended")
        channel.listeners.clear()
        for listener in listeners:
            listener.tell(Ended(channel.name, error))

    def _left(self, channel: Channel, answer: Reply | RinggateError) -> None:
        if isinstance(answer, RinggateError) and answer.retry:
            self._input(channel, "later")
            return
        channel.attempts = 0
        self._input(channel, "left")  # also where it was refused: then it is not subscribed

    # -- events -------------------------------------------------------------------------------

    def _hearing(self, name: str) -> Channel | None:
        """Return the channel whose listeners are to be told what happens in it now.

        What comes of a personal one before the answer comes again behind it, if a position was named.
        """
        channel = self._channels.get(name)
        if channel is None or not channel.listeners:
            return None
        if channel.state == "live" or (channel.is_personal and channel.position is None):
            return channel
        return None

    def _tell(self, name: str, told: ChannelEvent) -> None:
        channel = self._hearing(name)
        if channel is not None:
            channel.tell(told)
        elif name not in self._channels:
            self._stray(told)

    def _message(self, event: Message) -> None:
        channel = self._hearing(event.channel)
        if channel is not None and channel.position is not None and event.offset:
            at = channel.position
            if event.offset <= at.offset:
                return
            channel.position = Position(at.epoch, event.offset)
            channel.seen = (channel.position, event.id)
        elif (channel is None and event.channel in self._channels) or self._recent.seen(event.id):
            return
        self._tell(event.channel, self.told(event))

    def told(self, event: Message) -> ToldMessage:
        """Return a message as the application gets it."""
        sender = event.from_
        client, user = (sender.client, sender.user) if sender is not None else ("", "")
        data = self._codec.unpack(event.data, event.data64)
        return ToldMessage(event.channel, event.offset, event.id, data, client, user, event.time)

    def _state(self, event: State) -> None:
        at = Position(event.epoch, event.version)
        channel = self._hearing(event.channel)
        if channel is not None:
            channel.position, channel.is_state, channel.behind = at, True, False
        self._tell(event.channel, StateSet(event.channel, at, self._codec.unpack(event.data)))

    def _patch(self, event: Patch) -> None:
        """Tell a patch that makes the next version; after a hole a `state` follows."""
        channel = self._hearing(event.channel)
        if channel is None or channel.position is None or channel.behind:
            return
        if event.version != channel.position.offset + 1:
            return
        at = channel.position = Position(channel.position.epoch, event.version)
        channel.seen = (at, event.id)
        client = event.from_.client if event.from_ is not None else ""
        self._tell(event.channel, Patched(event.channel, at, self._codec.unpack(event.patch), client))

    def _gap(self, event: Gap) -> None:
        channel = self._hearing(event.channel)
        if channel is not None and channel.is_state:
            channel.behind = True
        elif channel is not None:
            at = channel.position
            if event.epoch:
                channel.position = Position(event.epoch, event.to)
            elif at is not None and event.to > at.offset:
                channel.position = Position(at.epoch, event.to)
        self._tell(event.channel, Lost(event.channel, event.reason, event.from_, event.to))

    def member(self, view: Join | Leave | MemberView) -> Member:
        """Return who an event or an answer is about."""
        return Member(view.client, view.user, self._codec.unpack(view.info))

    def _made(self, event: SubscribedEvent) -> None:
        """An app service subscribed this client."""
        if event.channel not in self._channels:
            self._stray(Subscribed(event.channel, Position(event.epoch, event.offset), None))

    def _unmade(self, event: Unsubscribed) -> None:
        """The gateway ended a subscription."""
        info = ERROR_CODES.get(event.code)
        retry = info is not None and info.retry
        error = RinggateError(event.code, "the gateway ended the subscription", retry=retry)
        channel = self._channels.get(event.channel)
        if channel is None:
            self._stray(Ended(event.channel, error))
        elif channel.state == "live":
            self._refused(channel, error)


def _lost_history(name: str, since: Position | None, stands: Position) -> Lost:
    if since is not None and since.epoch == stands.epoch and since.offset < stands.offset:
        return Lost(name, "resume", since.offset + 1, stands.offset)
    return Lost(name, "resume")


_EFFECTS: Final[dict[str, Callable[[Channels, Channel], None]]] = {
    "subscribe": Channels._subscribe,
    "unsubscribe": Channels._unsubscribe,
    "wait": Channels._wait,
    "rest": Channels._rest,
    "end": Channels._end,
}
