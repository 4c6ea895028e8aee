"""What was promised, held against what happened in a simulated run.

Each check yields a line for each broken promise.  Relay and recovery are also judged from logs, by the rules
of the checker of fault runs (`SimulatedLogs.judge`).  A Redis that lost data, and did not say so ("b"), may
for a moment have an offset for two publications; one that lost data ("w", "f", "b") may have forgotten
sessions, or have old ones again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from gateway.broker.interface import PresenceChange
from gateway.broker.redis.messages import PresenceMoved, unpack
from gateway.errors import BrokerError
from gateway.message.publication import Position
from tests.simulated.claims import Claims
from tests.simulated.people import ROOM, People
from tests.simulated.redis import SimulatedRedis
from tests.simulated.stage import CHANNELS, KEPT, Stage

DATA_IS_LOST = frozenset("wfb")
MESSAGES_ARE_LOST = frozenset("plswfb")
Names = dict[tuple[str, Position], set[str]]


def verdict(stage: Stage, people: People, claims: Claims, faults: str) -> list[str]:
    """Return every broken promise, when all is healed and everything has settled."""
    found = list(_heard(stage, faults))
    found += _present(stage, people)
    found += _proved(stage, claims)
    found += _announced(stage, set(faults))
    found += _taken_once(people, set(faults))
    found += _kept(stage, people, set(faults))
    if "b" not in faults:
        stage.logs.epochs_change = bool(set("wf") & set(faults))
        found += [str(violation) for violation in stage.logs.judge()]
    return found


# -- publications -------------------------------------------------------------------------------


def _heard(stage: Stage, faults: str) -> Iterator[str]:
    relays = [node.relay for node in (*stage.nodes, *stage.gone)]
    for relay in relays:
        yield from relay.broken
    witnessed = not set("bk") <= set(faults)  # whoever had heard what Redis lost may be dead
    names_of: Names = defaultdict(set)
    for relay in relays:
        for channel, seen in relay.seen.items():
            for position, name in seen.items():
                names_of[channel, position].add(name)
    for channel in CHANNELS:
        positions = {node.relay.position[channel] for node in stage.nodes}
        if len(positions) != 1:
            yield f"nodes stand at {positions} of {channel}"
        for (name, position), names in names_of.items():
            goes_on = witnessed and position.epoch in {each.epoch for each in positions}
            if name == channel and len(names) > 1 and ("b" not in faults or goes_on):
                yield f"{position} of {channel} is {names}"
    yield from _published(stage, names_of, set(faults))
    alive = [node.relay for node in stage.nodes]
    if not faults and any(relay.told for relay in alive):
        yield "a loss was announced that was none"
    if set(faults) <= set("cp") and any("kept" in relay.told for relay in alive):
        yield "a loss was announced, and history had everything"


def _published(stage: Stage, names_of: Names, faults: set[str]) -> Iterator[str]:
    places: dict[str, list[tuple[str, Position]]] = defaultdict(list)
    for place, names in names_of.items():
        for name in names:
            places[name].append(place)
    for name, (channel, task) in stage.published.items():
        if not task.done():
            yield f"{name} was never answered"
        elif task.exception() is not None:
            if not isinstance(task.exception(), BrokerError):
                yield f"{name}: {task.exception()!r}"
        elif not faults & DATA_IS_LOST:
            at = Position(task.result().epoch, task.result().offset)
            if names_of.get((channel, at), {name}) != {name} or places[name] not in ([], [(channel, at)]):
                yield f"{name} was answered with {at}, and heard at {places[name]}"


def _proved(stage: Stage, claims: Claims) -> Iterator[str]:
    """Nobody goes on behind a message that was lost; and where history can tell, everybody else does."""
    node = stage.nodes[0]
    for claim in claims.taken:
        stands = node.relay.position[claim.channel]
        if claim.at.epoch != stands.epoch or claim.at.offset > stands.offset:
            continue  # it is told that all is lost, whatever it knows
        options = CHANNELS[claim.channel]
        known = stage.loop.run(node.broker.knows(claim.channel, options, claim.at, claim.proof))
        if known and not claims.is_true(claim):
            yield f"{claim} goes on, and was lost"
        if not known and claims.is_true(claim) and claim.proof.id and options.history_size:
            yield f"{claim} does not go on, and was not lost"


# -- presence -----------------------------------------------------------------------------------


def _present(stage: Stage, people: People) -> Iterator[str]:
    """Everybody sees those who are connected, and nobody else."""
    expected = sorted(person.client for person in people.there if person.present)
    for node in stage.nodes:
        node.shard.at_once = True
        members = stage.loop.run(node.broker.presence(ROOM, KEPT))
        if sorted(member.client for member in members) != expected:
            yield f"{node.name} sees {sorted(m.client for m in members)}, and there are {expected}"


def changes_of(redis: SimulatedRedis, begin: int = 0) -> list[PresenceChange]:
    """Return the comings and goings that the server told of."""
    messages = (unpack(payload) for _, payload in redis.published[begin:] if payload.startswith(b"\x93\x02"))
    return [PresenceChange(m.joined, m.member) for m in messages if isinstance(m, PresenceMoved)]


def _announced(stage: Stage, faults: set[str]) -> Iterator[str]:
    """Each member comes and goes in turn; nodes that missed no message heard all of it, once and in order."""
    if not faults & DATA_IS_LOST:
        yield from _in_turn(changes_of(stage.redis))
    if not faults & MESSAGES_ARE_LOST:
        for node in stage.nodes:
            heard = [change for _, change in node.relay.changes]
            told = changes_of(stage.redis, node.begun_at)
            if heard != told:
                yield f"{node.name} heard {len(heard)} comings and goings of {len(told)}, or in another order"


def _in_turn(changes: Iterable[PresenceChange]) -> Iterator[str]:
    inside: set[str] = set()
    for joined, member in changes:
        if joined == (member.client in inside):
            yield f"{member.client} {'came' if joined else 'went'} twice"
        (inside.add if joined else inside.discard)(member.client)


# -- sessions -----------------------------------------------------------------------------------


def _taken_once(people: People, faults: set[str]) -> Iterator[str]:
    """A record is given to one taker, and is one that its client had."""
    taken: Counter[bytes] = Counter()
    for taking in people.takings:
        record: Any = taking.task.result() if taking.task.exception() is None else None
        if record is None:
            continue
        taken[record] += 1
        session, number = record.decode().split()
        if session != taking.session or not 1 <= int(number) <= people.newest[session]:
            yield f"{taking.session} was given {record!r}"
    if not faults & DATA_IS_LOST:
        for record, times in taken.items():
            if times > 1:
                yield f"{record!r} was given to {times} takers"


def _kept(stage: Stage, people: People, faults: set[str]) -> Iterator[str]:
    """Whoever is connected could come back elsewhere now; and of killed nodes there is what was held.

    Where Redis lost what it knew of a session that was taken, an older record may be there again.
    """
    taker = stage.nodes[-1]
    expected: dict[str, bytes | None] = {person.session: person.text for person in people.there}
    if not faults & DATA_IS_LOST:
        expected = people.orphans | expected
    for session in expected.keys() - people.doubtful:
        record = expected[session]
        found = stage.loop.run(taker.broker.take_session(session))
        if found != record and not (found is not None and faults & DATA_IS_LOST):
            yield f"session {session}: {record!r} was held, and {found!r} was there"
