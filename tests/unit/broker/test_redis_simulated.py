"""The simulated Redis does what the Lua scripts do on a real one."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from gateway.broker.redis.commands import load_script
from gateway.broker.redis.names import ChannelKeys, Names
from tests.simulated.redis import SimulatedRedis
from tests.support.redis_broker import fresh_prefix, shared_server

OPERATIONS = 1500


def random_call(random: Random, names: Names) -> tuple[str, list[bytes], list[bytes | int]]:
    """Return a script with arguments that are likely to meet what earlier ones did."""
    keys = names.channel(random.choice("ab"))
    epoch = f"e{random.randint(1, 10**9)}".encode()
    bounds: list[bytes | int] = [
        random.choice((0, 3, 5, 40)),
        random.choice((0, 50, 200)),
        random.choice((0, 10**7)),
    ]
    owner, client = random.choice((b"n1", b"n2")), random.choice((b"c1", b"c2", b"c3"))
    kind = random.choices(
        (
            "publish",
            "position",
            "history",
            "renew",
            "join",
            "leave",
            "reap",
            "members",
            "lease",
            "bury",
            "call",
            "save",
            "take_saved",
            "hold",
            "release",
            "take",
            "state",
            "update",
        ),
        (30, 5, 25, 2, 10, 5, 2, 5, 4, 1, 2, 5, 5, 4, 4, 4, 5, 15),
    )[0]
    life: list[bytes | int] = [epoch, 10**7]
    if kind == "publish":
        call_keys: list[bytes] = [*keys[:3]]
        args: list[bytes | int] = [*life, *bounds, 10**7]
        for _ in range(random.randint(1, 20)):
            place, count = 0, random.choice((1, 1, 2, 7))
            if random.random() < 0.3:
                call_keys.append(keys.idempotency(f"k{random.randint(1, 30)}"))
                place, count = len(call_keys) - 3, 1
            packed = b"".join(b"\xc4\x01" + random.randbytes(1) for _ in range(count))
            args += [packed, random.choice((10, 30, 60)), count, place]
        return kind, call_keys, args
    if kind in ("state", "update"):
        call_keys = [*keys[:2]] if kind == "state" else [*keys[:3]]
        return kind, call_keys, random_update(random, keys, kind, call_keys, [*life, *bounds, 10**7])
    if kind == "history":
        mode = random.choice((b"since", b"next", b"before"))
        args = [*life, *bounds, mode, b"?", random.randint(-1, 60), random.randint(0, 30)]
        return kind, [*keys[:2]], args
    if kind in ("join", "leave", "reap", "members"):
        more: dict[str, list[bytes | int]] = {
            "join": [
                owner,
                client,
                b"\xa1" + client[1:],
                random.choice((0, 1)),
                random.choice((b"", b"a", b"bob")),
            ],
            "leave": [client],
            "reap": [owner, random.choice((0, 1, 1))],
            "members": [],
        }
        return kind, [keys.presence, keys.pubsub], more[kind]
    if kind in ("lease", "bury"):
        lease: list[bytes | int] = [owner, 10**7, 1, random.choice((0, 1, 1))] if kind == "lease" else [owner]
        return kind, [names.leases, names.claims, names.graves], lease
    if kind == "call":
        return kind, [names.session("s")], [b"DEL"]
    if kind in ("save", "take_saved"):
        saved: list[bytes | int] = [client, random.choice((b"x", b"y z\n")), 10**7, random.choice((0, 1))]
        return kind, [names.session("s")], saved if kind == "save" else []
    if kind in ("hold", "release", "take"):
        session: list[bytes | int] = [random.choice((b"s1", b"s2"))]
        held: dict[str, list[bytes | int]] = {
            "hold": [10**7, *session, client, random.choice((b"{}", b"{1 2}"))],
            "release": [*session, client, random.choice((0, 1))],
            "take": session,
        }
        return kind, [names.held(owner.decode())], held[kind]
    if kind == "position":
        return kind, [*keys[:2]], life
    return kind, [*keys[:3]], [*life, b"?"]


def random_update(
    random: Random, keys: ChannelKeys, kind: str, call_keys: list[bytes], args: list[bytes | int]
) -> list[bytes | int]:
    """Return the arguments that follow those of a publish; half of the time there is an idempotency key."""
    keyed = random.random() < 0.5
    if keyed:
        call_keys.append(keys.idempotency(f"k{random.randint(1, 30)}"))
    if kind == "state":
        return args[:2]
    follows = b'{"n":%d}' % random.randint(0, 99)
    patch = b"\xc4\x01" + random.randbytes(1)
    return [*args, patch, random.choice((10, 60)), 1, int(keyed), b"?", b"top", follows]


@pytest.mark.parametrize("seed", [1, 2])
async def test_simulated_redis_does_what_the_scripts_do(seed: int) -> None:
    random, server, simulated = Random(seed), shared_server(), SimulatedRedis()  # noqa: S311
    names = Names(fresh_prefix())
    epochs: dict[bytes, bytes] = {}
    outcomes: Counter[str] = Counter()
    for n in range(OPERATIONS):
        if random.random() < 0.005:
            simulated.promote()
        if random.random() < 0.02:
            simulated.restart()
        name, keys, args = random_call(random, names)
        known = epochs.get(keys[0], b"none") if random.random() < 0.9 else b"other"
        top = simulated.data.values.get(keys[0], {}).get("o", 0) if b"top" in args else 0
        top += random.random() < 0.2
        args = [known if arg == b"?" else int(top) if arg == b"top" else arg for arg in args]
        expected = simulated.execute(name, keys, args)
        # What the real one would publish is appended to a list instead.
        source = load_script(name).source
        found = server.ask("EVAL", source, len(keys), *keys, simulated.incarnation, "RPUSH", *args)
        if name == "members":
            found = sorted(value for value in found if b" " in value)
            expected = sorted(expected)
        assert found == expected, f"{name} {keys} {args}, operation {n}"
        if name in ("publish", "position", "history", "renew", "state"):
            epochs[keys[0]] = expected[0]
        if name == "update":
            outcomes["stale" if expected[0] == 0 else "known" if type(expected[1]) is bytes else "done"] += 1
    assert min(outcomes[kind] for kind in ("stale", "known", "done")) > 10, outcomes
    for channel in {channel for channel, _ in simulated.published}:
        sent = [payload for name, payload in simulated.published if name == channel]
        assert server.ask("LRANGE", channel, 0, -1) == sent
    assert len(simulated.published) > OPERATIONS / 4
