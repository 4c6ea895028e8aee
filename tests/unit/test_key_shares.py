"""No client has more than its share of idempotency keys remembered, and others notice nothing of it."""

from __future__ import annotations

from random import Random

import pytest

from gateway.errors import CommandError
from gateway.key_shares import KeyShares
from tests.support.sessions import Client, Event, world


class Now:
    s = 1000.0


def used(shares: KeyShares, name: str, ttl_s: float, tries: int, most: int = 100) -> int:
    count = 0
    for _ in range(tries):
        try:
            shares.take(name, ttl_s, most)
        except CommandError:
            continue
        count += 1
    return count


@pytest.mark.parametrize("ttl_s", [300.0, 301.0, 900.0, 86400.0])
def test_no_more_than_a_share_is_ever_remembered(ttl_s: float) -> None:
    now, random = Now(), Random(1)  # noqa: S311
    shares = KeyShares(lambda: now.s)
    alive: list[float] = []
    most = 0
    for _ in range(300):
        now.s += random.choice((0.0, 0.1, 5.0, ttl_s / 3))
        alive = [until for until in alive if until > now.s]
        alive += [now.s + ttl_s] * used(shares, "ada", ttl_s, random.choice((1, 7, 600)), 1000)
        most = max(most, len(alive))
    assert most <= 1000
    assert most >= 400 * 300 / ttl_s


def test_names_have_shares_of_their_own_which_come_back() -> None:
    now = Now()
    shares = KeyShares(lambda: now.s)
    assert used(shares, "ada", 300.0, 80) == 50
    assert used(shares, "bob", 300.0, 10) == 10
    now.s += 30.0
    assert used(shares, "ada", 300.0, 80) == 5
    now.s += 400.0
    shares.sweep(100)
    assert len(shares) == 0


async def ask(client: Client, *commands: Event) -> list[str]:
    answers = await client.ask(*({"id": n, **command} for n, command in enumerate(commands, 1)))
    return [answer.get("code", "done") for answer in answers if answer["type"] in ("reply", "error")]


def keyed(key: object) -> Event:
    return {"type": "publish", "channel": "news", "data": 1, "key": str(key)}


async def test_client_beyond_its_share_is_refused_and_bystanders_are_not() -> None:
    async with world(max_keys=8) as w:
        greedy, other = w.connect("ada"), w.connect()
        assert await ask(greedy, *(keyed(n) for n in range(6))) == ["done"] * 4 + ["rate_limited"] * 2
        update = {"type": "update", "channel": "doc:1", "base": 0, "patch": {}, "key": "k"}
        assert await ask(greedy, update) == ["rate_limited"]
        assert await ask(w.connect("ada"), keyed("again")) == ["rate_limited"], "a user's clients share"
        assert await ask(greedy, {"type": "publish", "channel": "news", "data": 1}) == ["done"]
        assert await ask(other, keyed("mine")) == ["done"]
        await w.publish("news", *range(20), key="service")
        w.time.advance(80.0)
        assert await ask(greedy, keyed(7)) == ["done"]
        assert (await w.node.state("doc:1")).version == 0
