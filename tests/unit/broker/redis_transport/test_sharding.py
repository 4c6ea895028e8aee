"""Which channel is on which shard, and which slot a key is in."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from gateway.broker.redis.backoff import Backoff
from gateway.broker.redis.deployment import make_sharding
from gateway.broker.redis.options import Address, RedisOptions
from gateway.broker.redis.sharding import Sharding
from gateway.broker.redis.slots import read_redirect, read_slot_map, slot_of
from gateway.errors import ConfigError

CHANNELS = [f"room:{number}" for number in range(3000)]


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311


def sharding(*names: str) -> Sharding[str]:
    return Sharding([(name, name) for name in names])


def test_sharding_one_has_everything() -> None:
    assert {sharding("a").shard_of(channel) for channel in CHANNELS} == {"a"}


def test_sharding_same_for_every_gateway_whatever_the_order() -> None:
    one, other = sharding("a", "b", "c"), sharding("c", "a", "b")
    assert [one.shard_of(channel) for channel in CHANNELS] == [other.shard_of(each) for each in CHANNELS]
    assert [sharding("a", "b", "c").shard_of(f"c{number}") for number in range(8)] == list("bbabcacc")


def test_sharding_spreads_evenly() -> None:
    found = [sharding("a", "b", "c").shard_of(channel) for channel in CHANNELS]
    assert all(900 < found.count(name) < 1100 for name in "abc")


def test_sharding_one_more_moves_only_what_it_gets() -> None:
    before, after = sharding("a", "b", "c"), sharding("a", "b", "c", "d")
    moved = [channel for channel in CHANNELS if before.shard_of(channel) != after.shard_of(channel)]
    assert {after.shard_of(channel) for channel in moved} == {"d"}
    assert 600 < len(moved) < 900


def test_sharding_needs_names_that_differ() -> None:
    with pytest.raises(ConfigError, match="two shards are called a"):
        sharding("a", "b", "a")
    with pytest.raises(ConfigError, match="at least one"):
        sharding()


async def test_sharding_of_urls_goes_by_their_names() -> None:
    urls = ["redis://one#a", "redis+cluster://two#b", "redis+sentinel://three/m#c"]
    made = make_sharding(urls, RedisOptions(), asyncio.get_running_loop(), seeded(1))
    expected = sharding("a", "b", "c")
    assert [made.shard_of(each).name for each in CHANNELS[:50]] == [
        expected.shard_of(each) for each in CHANNELS[:50]
    ]


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 12739),  # the example of the Cluster specification: 0x31C3
        (b"foo", 12182),
        (b"{foo}", 12182),
        (b"x{foo}y{bar}", 12182),
        (b"{}foo", 9500),
        (b"{foo", 13308),
        (b"", 0),
    ],
)
def test_slot_of_key(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


def test_slot_map_is_read() -> None:
    asked = Address("here", 1)
    rows = [
        [0, 9, [b"a", 1, b"id", []], [b"b", 2, b"id", []]],
        [11, 16383, [None, 3, b"id", []], [b"", 4, b"id", []], [b"?", 5, b"id", [b"ip", b"c"]]],
    ]
    found = read_slot_map(rows, b"cluster_state:ok\r\ncluster_current_epoch:7\r\n", asked)
    owners = found.owners()
    assert found.epoch == 7
    assert owners[0] == owners[9] == Address("a", 1)
    assert owners[10] is None
    assert owners[11] == owners[16383] == Address("here", 3)
    assert found.others == {Address("b", 2), Address("here", 4), Address("c", 5)}


@pytest.mark.parametrize(
    "rows",
    [
        b"x",
        7,
        None,
        [[0]],
        [[0, 1, b"x"]],
        [[0, 1, [b"?", 1, b"id", [b"ip"]]]],
        [[0, 16384, [b"a", 1]]],
        [[5, 1, [b"a", 1]]],
    ],
)
def test_slot_map_nonsense_is_refused(rows: object) -> None:
    with pytest.raises(ValueError, match="no slot map"):
        read_slot_map(rows, b"cluster_current_epoch:7\r\n", Address("here", 1))
    with pytest.raises(ValueError, match="no slot map"):
        read_slot_map([], b"nothing", Address("here", 1))


@pytest.mark.parametrize(
    ("error", "address"),
    [
        ("MOVED 3999 10.0.0.1:6381", Address("10.0.0.1", 6381)),
        ("ASK 3999 ::1:6381", Address("::1", 6381)),
        ("MOVED 3999 :6381", Address("here", 6381)),
        ("MOVED 3999 ?:6381", Address("here", 6381)),
        ("MOVED 3999", None),
        ("MOVED 3999 there", None),
        ("MOVED 3999 there:x", None),
    ],
)
def test_redirect_is_read(error: str, address: Address | None) -> None:
    assert read_redirect(error, Address("here", 1)) == address


def test_backoff_grows_to_its_bound_with_jitter() -> None:
    backoff = Backoff(0.1, 2.0, seeded(1))
    for longest_s in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
        assert longest_s / 2 <= backoff.next_s() <= longest_s
    backoff.reset()
    assert backoff.next_s() <= 0.1
    assert Backoff(0.1, 2.0, seeded(1)).next_s() != Backoff(0.1, 2.0, seeded(2)).next_s()
