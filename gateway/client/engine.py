"""The whole client but for I/O: connection, channels and outgoing commands, put together.

It knows no socket and no future: commands are answered by a call.  Whoever drives it does what `Port` says,
and tells it what came of that.  What always holds: subscriptions are sent before what waits in the queue,
so an application hears its own publications.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from ..message.commands import Command
from .channels import Channels, Fetch
from .codecs import ClientCodec
from .connection import Collaborators, Connection, Port
from .credentials import TokenSource
from .incoming import Event, Hello
from .options import Options
from .outbox import Entry, Outbox, Terms
from .requests import Answer
from .results import ChannelEvent, Status

_EARLIER: Final = 8  # ids that are named to the gateway: what excluded one of them is not for us


class Engine:
    """`on_status` is told how the connection is, `stray` what happens in channels to which nobody listens.

    `fetch` calls functions that give tokens for channels.
    """

    def __init__(
        self,
        port: Port,
        world: Collaborators,
        *,
        codec: ClientCodec,
        token: TokenSource | None,
        options: Options,
        on_status: Callable[[Status], None],
        stray: Callable[[ChannelEvent], None],
        fetch: Fetch | None = None,
    ) -> None:
        self.codec = codec
        self._ids: deque[str] = deque(maxlen=100)
        self.options = options
        self.connection = Connection(
            port, self, world, codec=codec, token=token, options=options, on_status=on_status
        )
        requests = self.connection.requests
        self.channels = Channels(requests, codec, world.timers, world.random, stray, fetch)
        self.outbox = Outbox(requests, world.timers, world.random, options.max_queued)

    def ask(self, command: Command, channel: str, terms: Terms, answer: Answer) -> Entry:
        """Send a command now, or when there is a connection.  Raises RinggateError `queue_full`."""
        return self.outbox.add(command, channel, terms, answer)

    def close(self) -> None:
        """End everything; whatever waits is broken off with `closed`."""
        self.outbox.clear()
        self.channels.clear()
        self.connection.close()

    def is_mine(self, client: str) -> bool:
        """Tell whether a client id is or was this client's; the newest hundred are known."""
        return client in self._ids

    # -- what the connection tells --------------------------------------------------------------

    def greet(self, hello: Hello) -> None:
        """The gateway said hello."""
        earlier = list(self._ids)[-_EARLIER:]
        self._ids.append(hello.client)
        self.channels.open(earlier)
        self.outbox.open()

    def down(self, code: int) -> None:
        """The connection ended."""
        self.channels.shut()
        self.outbox.shut(code)

    def event(self, event: Event) -> None:
        """An event came."""
        self.channels.event(event)
