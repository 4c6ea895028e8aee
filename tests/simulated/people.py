"""Clients of the nodes of a stage: they come and go, and take their sessions from node to node.

Each client has a name, is a member of one channel, and has a session with a record that changes.  A record's
text is the session's and a number that grows.  What happens is written down; `verdict` judges.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from random import Random

from gateway.broker.redis.names import Names
from gateway.message.publication import Member
from tests.simulated.stage import KEPT, SESSION_TTL_S, Node, Stage

ROOM = "kept"
_NAMES = Names("ringgate")


@dataclass(eq=False)
class Person:
    """One client: where it is, its name there, and its session's newest record."""

    session: str
    node: Node
    client: str
    record: int = 1
    joining: asyncio.Task[None] | None = None
    present: bool = False

    @property
    def text(self) -> bytes:
        """The session's record."""
        return f"{self.session} {self.record}".encode()


@dataclass
class Taking:
    """A session that somebody asked a node for."""

    session: str
    task: asyncio.Task[bytes | None]


class People:
    """All of them.

    `there` are those who are connected, `half_open` those whose node does not know yet that they are gone.
    `takings` are all questions for sessions; `orphans` what Redis held of those who were connected to a node
    when it was killed.
    """

    def __init__(self, stage: Stage, dice: Random) -> None:
        self.stage = stage
        self.dice = dice
        self.there: list[Person] = []
        self.half_open: list[Person] = []
        self.takings: list[Taking] = []
        self.orphans: dict[str, bytes | None] = {}
        self.doubtful: set[str] = (
            set()
        )  # asked for twice: the second answer may be lost, and the session with it
        self.newest: dict[str, int] = {}  # by session, the number of the newest record
        stage.on_holds_lost = self.hold_again
        stage.on_kill = self._lose

    def act(self) -> None:
        """Let one of them do something."""
        chance = self.dice.random()
        if chance < 0.35 or not self.there:
            node = self.dice.choice(self.stage.nodes)
            self.come(Person(self.stage.fresh_id(), node, self.stage.fresh_id()))
            return
        person = self.dice.choice(self.there)
        if person.joining is not None and not person.joining.done():
            return
        if chance < 0.6:
            person.record += 1
            self.hold(person)
        elif chance < 0.8:
            self.there.remove(person)
            self.go(person)
        else:
            self.move(person)

    def _lose(self, node: Node) -> None:
        """A node was killed: note what is held of its clients."""
        start = _NAMES.held(node.broker._sides[0].presence.owner.partition(".")[0]) + b"."
        values = self.stage.redis.data.values
        held: dict[bytes, bytes] = {}
        for key in sorted(key for key in values if key.startswith(start)):  # under each of its leases
            held |= {session: value for session, value in values[key].items() if b" " in value}
        for person in self.there:
            if person.node is node:
                client, space, record = held.get(person.session.encode(), b"").partition(b" ")
                mine = space and client == person.client.encode()
                self.orphans[person.session] = record if mine else None
        self.there = [person for person in self.there if person.node is not node]
        self.half_open = [person for person in self.half_open if person.node is not node]

    def come(self, person: Person) -> None:
        """Connect: enter the room, and have the session held."""
        self.there.append(person)
        member = Member(client=person.client)
        person.joining = self.stage.loop.create_task(person.node.broker.join(ROOM, member, KEPT))
        person.joining.add_done_callback(lambda done: self._joined(person, done))
        self.hold(person)

    @staticmethod
    def _joined(person: Person, done: asyncio.Task[None]) -> None:
        person.present = done.exception() is None

    def hold(self, person: Person) -> None:
        """Have the session as it is now kept."""
        self.newest[person.session] = max(person.record, self.newest.get(person.session, 0))
        person.node.broker.hold_sessions([(person.session, person.client, person.text)])

    def hold_again(self, node: Node) -> None:
        """Have all sessions of a node kept anew."""
        for person in (*self.half_open, *self.there):
            if person.node is node:
                self.hold(person)

    def go(self, person: Person) -> None:
        """A node sees that a connection is gone, and saves the session."""
        broker, loop = person.node.broker, self.stage.loop
        leaving = loop.create_task(broker.leave(ROOM, person.client, KEPT))
        leaving.add_done_callback(asyncio.Task.exception)
        saving = broker.save_session(person.session, person.text, SESSION_TTL_S, client=person.client)
        loop.create_task(saving).add_done_callback(asyncio.Task.exception)

    def move(self, person: Person) -> None:
        """Come back at another node, while the first does not know yet that the connection is gone."""
        loop = self.stage.loop
        asked = self.dice.sample(self.stage.nodes, self.dice.choice((1, 1, 2)))
        if len(asked) > 1:
            self.doubtful.add(person.session)
        for node in asked:
            task = loop.create_task(node.broker.take_session(person.session))
            self.takings.append(Taking(person.session, task))
            task.add_done_callback(partial(self._taken, person, node))
        self._cut_off(person)

    def _cut_off(self, person: Person) -> None:
        self.there.remove(person)
        self.half_open.append(person)
        self.stage.loop.call_later(self.dice.uniform(0.0, 1.0), self._notice, person)

    def _notice(self, person: Person) -> None:
        if person in self.half_open:
            self.half_open.remove(person)
            self.go(person)

    def _taken(self, person: Person, node: Node, done: asyncio.Task[bytes | None]) -> None:
        if done.exception() is not None or done.result() is None or node not in self.stage.nodes:
            return
        for other in [other for other in self.there if other.session == person.session]:
            self._cut_off(other)  # it had asked two nodes, and goes on at the one that answered last
        record = self.newest[person.session] + 1
        self.come(Person(person.session, node, self.stage.fresh_id(), record))
