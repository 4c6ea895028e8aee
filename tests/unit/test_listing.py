"""Pages of lists that several processes have parts of: every entry once, no page larger than asked for."""

from __future__ import annotations

import msgspec
import pytest

from gateway.broker.redis.questions import MOST_ANSWER_BYTES
from gateway.connection._edge import EdgeStats
from gateway.listing import MOST, Asked, Listing, merge_channels, merge_connections, read_question
from gateway.service_view import ServiceView
from tests.support.sessions import world


def channel(name: str, subscribers: int = 1, offset: int = 0) -> dict[str, object]:
    return {"name": name, "subscribers": subscribers, "epoch": "e", "offset": offset}


def page(names: list[str], asked: Asked) -> Listing:
    """What one process answers."""
    found = sorted(name for name in names if name > asked.after)
    return Listing([channel(name) for name in found[: asked.limit]], len(names))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_of_several_processes_have_every_channel_once(limit: int) -> None:
    parts = [["a", "c", "e", "g"], ["b", "c", "g", "z"], [], ["g"]]
    seen: list[tuple[str, int]] = []
    after = ""
    while True:
        asked = Asked(limit, after)
        got = merge_channels([page(part, asked) for part in parts], asked)
        assert len(got.items) <= limit
        assert got.total >= 6
        if not got.items:
            break
        seen += [(str(item["name"]), int(str(item["subscribers"]))) for item in got.items]
        after = str(got.items[-1]["name"])
    assert seen == [("a", 1), ("b", 1), ("c", 2), ("e", 1), ("g", 3), ("z", 1)]


def test_connections_of_several_processes_are_counted_exactly_whatever_is_shown() -> None:
    told = [([{"client": name} for name in names], 5) for names in (["a", "d"], ["b", "c"])]
    assert merge_connections(told, Asked(3)) == ([{"client": name} for name in "abc"], 10)


def test_question_says_which_page_is_meant() -> None:
    asked = Asked(7, "b c", 'x"')
    assert read_question(asked.question("channels")) == ("channels", asked)
    assert read_question("node") == ("node", Asked())


async def test_list_of_one_process_is_a_page_in_the_order_of_names() -> None:
    async with world() as w:
        clients = [w.connect() for _ in range(5)]
        for n, client in enumerate(clients):
            await client.subscribe(f"c{n}")
        await clients[0].subscribe("other")
        view = ServiceView(w.node, EdgeStats())
        found = await view.channels(Asked(2, "c1", "c"))
        assert ([c["name"] for c in found.items], found.total) == (["c2", "c3"], 5)
        names = sorted(client.id for client in clients)
        listed = await view.connections(Asked(3, names[0]))
        assert ([c["client"] for c in listed.items], listed.total) == (names[1:4], 5)


def test_largest_page_fits_into_what_carries_it_between_nodes() -> None:
    items = [
        {"client": "c" * 22, "user": "u" * 199, "channels": 10**6, "remote": "r" * 47, "since_ms": 2**42}
    ] * MOST
    assert len(msgspec.msgpack.encode(Listing(items, 10**7))) < MOST_ANSWER_BYTES
    channels = [{"name": "n" * 200, "subscribers": 10**6, "epoch": "e" * 32, "offset": 2**60}] * MOST
    assert len(msgspec.msgpack.encode(Listing(channels, 10**7))) < MOST_ANSWER_BYTES
