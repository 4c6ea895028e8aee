"""Clients that edit a state channel as docs/protocol.md says, through disconnects; for tests without sockets.

An editor keeps a copy (epoch, version, value), changes it on whatever node it is connected to, repeats what
it does not know the outcome of, and writes down every version that it ever had.
"""

from __future__ import annotations

from random import Random
from typing import Any

from gateway.node import Node
from tests.support.codecs import CASES
from tests.support.rfc7396 import merge_patch
from tests.support.sessions import Client, Event

CHANNEL = "doc:1"


class Editor:
    """One client, through all of its connections.

    `had` holds every value that its copy ever had, by epoch and version; `done` the position of each of its
    updates that was acknowledged, with the patch.
    """

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self.random = random
        self.client: Client | None = None
        self.subscribed = self.waits = False
        self.epoch, self.version, self.value = "", -1, None
        self.had: dict[tuple[str, int], Any] = {}
        self.done: dict[tuple[str, int], Any] = {}
        self.states = self.recoveries = self.stale = 0
        self.pending: Event | None = None
        self._updates = 0
        self._asked = 0

    @property
    def position(self) -> tuple[str, int]:
        return self.epoch, self.version

    # -- what it does ---------------------------------------------------------------------------

    def connect(self, node: Node) -> None:
        """Connect to a node and subscribe from where the copy is."""
        self.client = Client(node, self.name, CASES[self.random.choice(list(CASES))])
        self.subscribed = self.waits = False
        self.subscribe()

    def subscribe(self) -> None:
        since = {"since": {"epoch": self.epoch, "offset": self.version}} if self.epoch else {}
        self._say({"type": "subscribe", "channel": CHANNEL, **since})

    def disconnect(self) -> None:
        if self.random.random() < 0.5:  # else what was on its way is lost
            self.take()
        client, self.client = self.client, None
        if client is not None:
            client.lose()

    def edit(self) -> None:
        """Change the copy's version, or repeat what is not answered."""
        if self.client is None or not self.subscribed or not self.epoch:
            return
        if self.pending is None:
            self._updates += 1
            self.pending = {
                "type": "update", "channel": CHANNEL, "base": self.version, "epoch": self.epoch,
                "patch": random_patch(self.random), "key": f"{self.name}-{self._updates}",
            }  # fmt: skip
            self._say(self.pending)

    def _say(self, command: Event) -> None:
        assert self.client is not None
        self._asked += 1
        self.client.say({**command, "id": self._asked})

    # -- what it hears --------------------------------------------------------------------------

    def take(self) -> None:
        """Take everything that came."""
        if self.client is None:
            return
        for event in self.client.heard():
            take = getattr(self, f"_take_{event['type']}", None)
            if take is not None:
                take(event)
        if self.client.connection.closed:
            self.client = None

    def _take_reply(self, reply: Event) -> None:
        if "version" not in reply:
            self.subscribed = True
            self.recoveries += reply.get("recovered", False)
            if self.pending is not None:
                self._say(self.pending)
        elif self.pending is not None:
            self.done[reply["epoch"], reply["version"]] = self.pending["patch"]
            self.pending = None

    def _take_error(self, error: Event) -> None:
        if error["code"] == "stale_version":
            self.pending = None
            self.stale += 1
        elif not self.subscribed:
            self.subscribe()
        elif self.pending is not None and error["code"] in ("timeout", "unavailable"):
            self._say(self.pending)
        else:
            raise AssertionError(error)

    def _take_unsubscribed(self, event: Event) -> None:
        raise AssertionError(event)

    def _take_gap(self, event: Event) -> None:
        if event["channel"] == CHANNEL:  # and not the personal one
            self.waits = True  # what follows may count in another epoch

    def _take_state(self, event: Event) -> None:
        self.waits = False
        self.states += 1
        self._set(event["epoch"], event["version"], event["data"])

    def _take_patch(self, event: Event) -> None:
        if event["version"] == self.version + 1 and not self.waits:
            self._set(self.epoch, event["version"], merge_patch(self.value, event["patch"]))

    def _set(self, epoch: str, version: int, value: Any) -> None:
        self.epoch, self.version, self.value = epoch, version, value
        known = self.had.setdefault(self.position, value)
        assert known == value, f"{self.name}: two values at {self.position}"


def random_patch(random: Random) -> Any:
    """Return a patch that is likely to meet what others change."""
    name = random.choice("abcd")
    kind = random.random()
    if kind < 0.4:
        return {name: random.randint(0, 99)}
    if kind < 0.6:
        return {name: {random.choice("xyz"): random.choice([None, 1.5, [1, None], "ä", {}])}}
    if kind < 0.8:
        return {name: None}
    if kind < 0.95:
        return {name: {"x": {"deep": random.randint(0, 9)}}, random.choice("abcd"): []}
    return random.choice([None, [1, 2], {}, "text"])
