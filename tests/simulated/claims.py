"""Positions that clients took away from nodes, to be named to others at the end of a run.

What a node's relay had heard, and the marks that it was given with its subscriptions, is what a client of
that node knows.  It knows stage and brokers; `verdict` judges.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from gateway.broker.redis.names import Names
from gateway.message.publication import Position, Proof
from tests.simulated.stage import CHANNELS, Node, Stage

_NAMES = Names("ringgate")


class Claim(NamedTuple):
    """A client is at a position, where it heard the message `heard`."""

    channel: str
    at: Position
    proof: Proof
    heard: str


class Claims:
    """All that were taken away."""

    def __init__(self, stage: Stage, dice: Random) -> None:
        self.stage = stage
        self.dice = dice
        self.taken: list[Claim] = []
        self._marks: dict[tuple[str, str], str] = {}  # by node and channel, as it was subscribed to

    def act(self) -> None:
        """A client subscribes to a channel, or goes with what it has."""
        node, channel = self.dice.choice(self.stage.nodes), self.dice.choice(list(CHANNELS))
        place = (node.name, channel)
        if place not in self._marks or self.dice.random() < 0.3:
            self._marks[place] = node.broker.mark(channel)
            return
        self._take(node, channel, self._marks[place])

    def _take(self, node: Node, channel: str, mark: str) -> None:
        at = node.relay.position[channel]
        heard = node.relay.seen[channel].get(at)
        if heard is None:
            return
        knows_id = self.dice.random() < 0.8  # a client that heard nothing since it subscribed does not
        mark = mark if knows_id else node.broker.mark(channel)
        self.taken.append(Claim(channel, at, Proof(heard if knows_id else "", mark), heard))

    def is_true(self, claim: Claim) -> bool:
        """Tell whether the message has its number in what the server has."""
        place = (_NAMES.channel(claim.channel).pubsub, *claim.at)
        return self.stage.redis.data.numbered.get(place) == claim.heard
