"""The hub: the channels in which this node has subscribers, and the one flush per turn of the loop.

It knows channels and sinks, but neither connections nor brokers.  Whoever owns it tells
it what was published, and is told which channels nobody listens to any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .._sink import Sink
from ..message.publication import Position
from ._ring import Flusher, HubStats
from .channel import Channel, RingOptions


class Hub:
    """All channels of one event loop.

    `call_soon` is the loop's; `clock` returns its time in seconds.
    """

    def __init__(
        self, *, call_soon: Callable[[Callable[[], None]], object], clock: Callable[[], float]
    ) -> None:
        self.stats = HubStats()
        self._flusher = Flusher(call_soon)
        self._clock = clock
        self._channels: dict[str, Channel] = {}
        self._round: Iterator[str] = iter(())  # names that this round of sweep() has still to visit

    def get(self, name: str) -> Channel | None:
        """Return a channel that is open here, or None."""
        return self._channels.get(name)

    def open(self, name: str, position: Position, options: RingOptions) -> Channel:
        """Return the channel, new at `position` unless it is open already."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(
                name, position, options, now=self._clock(), flusher=self._flusher, stats=self.stats
            )
        return channel

    def close(self, name: str) -> None:
        """Forget an open channel.  Raises ValueError when it has subscribers."""
        if self._channels[name].cursors:
            raise ValueError("the channel has subscribers")
        del self._channels[name]

    def channels(self) -> Iterator[Channel]:
        """Iterate over the open channels; none may be opened or closed meanwhile."""
        return iter(self._channels.values())

    def __len__(self) -> int:
        return len(self._channels)

    @staticmethod
    def catch_up(sink: Sink) -> None:
        """Send to a sink that is no longer blocked what its channels have for it."""
        Flusher.catch_up(sink)

    def sweep(self, most: int) -> list[str]:
        """Tidy the next `most` channels, going round; return those that could be forgotten.

        Bounded, so that a million channels do not hold the loop up.
        """
        now = self._clock()
        forgettable: list[str] = []
        for _ in range(min(most, len(self._channels))):
            name = next(self._round, None)
            if name is None:
                self._round = iter(list(self._channels))
                name = next(self._round)
            channel = self._channels.get(name)
            if channel is not None and channel.tidy(now):
                forgettable.append(name)
        return forgettable
