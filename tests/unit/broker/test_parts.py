"""The memory broker's parts that the suite does not show from outside: logs, deadlines, keys, sessions."""

from __future__ import annotations

import tracemalloc

from gateway.broker.deadlines import Deadlines
from gateway.broker.interface import ChannelOptions, PublishResult
from gateway.broker.keys import IdempotencyKeys
from gateway.broker.log import ChannelLog, LogTotals
from gateway.broker.sessions import KeptSessions
from tests.unit.broker.harness import message


def drained(deadlines: Deadlines[str], now_s: float) -> list[str]:
    items = []
    while (due := deadlines.pop_due(now_s)) is not None:
        items.append(due[1])
    return items


def test_deadlines_give_items_in_order_of_time_and_never_early() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for due_s, item in ((3.0, "c"), (1.0, "a"), (2.0, "b")):
        deadlines.add(due_s, item)
    assert drained(deadlines, 0.999) == []
    assert not deadlines.any_due(0.999)
    assert deadlines.any_due(1.0)
    assert drained(deadlines, 2.0) == ["a", "b"]
    assert len(deadlines) == 1
    assert drained(deadlines, 10.0) == ["c"]


def test_deadlines_of_one_time_come_in_the_order_of_adding_and_need_not_compare() -> None:
    deadlines: Deadlines[object] = Deadlines()
    items = [object() for _ in range(20)]
    for item in items:
        deadlines.add(1.0, item)
    popped = []
    while (due := deadlines.pop_due(1.0)) is not None:
        popped.append(due[1])
    assert popped == items


def test_key_used_again_is_not_purged_by_the_deadline_of_its_first_use() -> None:
    keys = IdempotencyKeys(10)
    keys.remember("c", "k", PublishResult("e", 1), 5.0)
    assert keys.find("c", "k", 5.0) is None
    keys.remember("c", "k", PublishResult("e", 2), 10.0)
    keys.purge(6.0, 100)
    assert keys.find("c", "k", 9.9) == PublishResult("e", 2, duplicate=True)
    keys.purge(10.0, 100)
    assert len(keys) == 0


def test_keys_purge_stops_at_its_limit() -> None:
    keys = IdempotencyKeys(100)
    for n in range(10):
        keys.remember("c", f"k{n}", PublishResult("e", n), 1.0)
    assert keys.purge(1.0, 4) == 4
    assert len(keys) == 6
    assert keys.purge(1.0, 100) == 6
    assert not keys.any_due(1.0)


def test_keys_at_the_bound_with_all_expired_have_room() -> None:
    keys = IdempotencyKeys(5)
    for n in range(5):
        keys.remember("c", f"k{n}", PublishResult("e", n), 1.0)
    assert not keys.has_room(0.5)
    assert keys.has_room(1.0)


def test_session_saved_again_is_not_purged_by_its_first_deadline() -> None:
    sessions = KeptSessions()
    sessions.save("s", b"1", 5.0)
    sessions.save("s", b"2", 10.0)
    sessions.purge(6.0, 100)
    assert len(sessions) == 1
    assert sessions.take("s", 9.9) == b"2"
    assert sessions.purge(10.0, 100) == 1


def test_logs_that_keep_nothing_any_more_are_small_and_share_nothing_visible() -> None:
    options = ChannelOptions(history_size=5, history_ttl_s=1.0)
    totals = LogTotals()
    tracemalloc.start()
    before_bytes, _ = tracemalloc.get_traced_memory()
    logs = [ChannelLog("e", totals) for _ in range(1000)]
    for log in logs:
        log.append(message(offset=1), 0.0, options)
        log.trim(1.0, options)
    after_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after_bytes - before_bytes) / len(logs) < 300
    logs[0].append(message(offset=2), 2.0, options)
    assert (len(logs[0]), len(logs[1])) == (1, 0)
    assert totals.publications == 1
