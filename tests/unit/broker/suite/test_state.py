"""Every broker: updates change a channel's state one after the other, and who is late changes nothing."""

from __future__ import annotations

import asyncio

import msgspec
import orjson
import pytest

from gateway.broker.interface import ChannelOptions, PublishResult, State
from gateway.errors import CommandError, StaleVersionError
from gateway.message.publication import Position
from tests.unit.broker.harness import STATE, Harness, patch


async def update(harness: Harness, text: str, base: int, *, epoch: str = "", key: str = "") -> PublishResult:
    return await harness.broker.update("doc", patch(text), STATE, base=Position(epoch, base), key=key)


async def test_state_of_a_new_channel_is_null_at_version_zero(harness: Harness) -> None:
    state = await harness.broker.state("doc", STATE)
    assert state == State(state.epoch, 0, b"null")
    assert state.epoch == (await harness.broker.subscribe("doc", STATE)).epoch


async def test_update_makes_the_next_version_and_is_relayed_as_it_came(harness: Harness) -> None:
    epoch = (await harness.broker.subscribe("doc", STATE)).epoch
    assert await update(harness, '{"a": 1.50, "b":{"c":2}}', 0) == (epoch, 1, False)
    assert await update(harness, '{"b":{"c":null, "d":[1, null]}}', 1, epoch=epoch) == (epoch, 2, False)
    await harness.settle()
    assert harness.relay.ids("doc") == ['{"a": 1.50, "b":{"c":2}}', '{"b":{"c":null, "d":[1, null]}}']
    assert [p.patch for _, _, p in harness.relay.publications] == [True, True]
    assert harness.relay.offsets("doc") == [1, 2]
    state = await harness.broker.state("doc", STATE)
    assert state == State(epoch, 2, b'{"a":1.50,"b":{"d":[1, null]}}')


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"a":[]}', "123456789012345678901234567890", '"\u20ac"', "0.1"]
)
async def test_update_keeps_json_exactly(harness: Harness, text: str) -> None:
    await update(harness, text, 0)
    assert (await harness.broker.state("doc", STATE)).data == text.encode()
    await update(harness, f'{{"kept":{text}}}', 1)
    assert (await harness.broker.state("doc", STATE)).data.endswith(f'"kept":{text}}}'.encode())


@pytest.mark.parametrize("base", [0, 2, 2**53 - 1])
async def test_update_on_another_version_is_told_the_state_and_changes_nothing(
    harness: Harness, base: int
) -> None:
    epoch = (await update(harness, '{"a":1}', 0)).epoch
    await harness.broker.subscribe("doc", STATE)
    with pytest.raises(StaleVersionError) as refused:
        await update(harness, '{"a":2}', base)
    assert (refused.value.epoch, refused.value.version, refused.value.data) == (epoch, 1, b'{"a":1}')
    await harness.settle()
    assert harness.relay.publications == []
    assert await harness.broker.state("doc", STATE) == State(epoch, 1, b'{"a":1}')


async def test_update_on_the_version_of_another_epoch_is_stale(harness: Harness) -> None:
    await update(harness, '{"a":1}', 0)
    with pytest.raises(StaleVersionError):
        await update(harness, '{"a":2}', 1, epoch="another")
    assert (await harness.broker.state("doc", STATE)).version == 1


async def test_update_at_once_by_many_succeeds_for_exactly_one(harness: Harness) -> None:
    await harness.broker.subscribe("doc", STATE)
    outcomes = await asyncio.gather(
        *(update(harness, f'{{"by":{n}}}', 0) for n in range(50)), return_exceptions=True
    )
    (winner,) = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
    assert all(isinstance(o, StaleVersionError) for n, o in enumerate(outcomes) if n != winner)
    await harness.settle()
    assert harness.relay.ids("doc") == [f'{{"by":{winner}}}']
    assert (await harness.broker.state("doc", STATE)).data == b'{"by":%d}' % winner


async def test_update_repeated_with_its_key_is_done_once_whatever_the_version_is_now(
    harness: Harness,
) -> None:
    first = await update(harness, '{"n":1}', 0, key="k")
    await update(harness, '{"n":2}', 1)
    assert await update(harness, '{"n":1}', 0, key="k") == (first.epoch, 1, True)
    assert (await harness.broker.state("doc", STATE)).data == b'{"n":2}'


async def test_update_that_was_refused_does_not_use_up_its_key(harness: Harness) -> None:
    with pytest.raises(StaleVersionError):
        await update(harness, '{"n":1}', 7, key="k")
    assert await update(harness, '{"n":1}', 0, key="k") == (
        (await harness.broker.state("doc", STATE)).epoch,
        1,
        False,
    )


async def test_update_of_one_key_many_times_at_once_happens_once(harness: Harness) -> None:
    outcomes = await asyncio.gather(*(update(harness, f'{{"n":{n}}}', 0, key="k") for n in range(30)))
    assert sum(not outcome.duplicate for outcome in outcomes) == 1
    assert {outcome.offset for outcome in outcomes} == {1}


async def test_update_that_would_make_the_state_too_large_changes_nothing(harness: Harness) -> None:
    just = "x" * (STATE.max_state_bytes - len('{"a":""}'))
    await update(harness, f'{{"a":"{just}"}}', 0)
    with pytest.raises(CommandError) as refused:
        await update(harness, '{"b":1}', 1)
    assert refused.value.code == "limit_exceeded"
    state = await harness.broker.state("doc", STATE)
    assert (state.version, len(state.data)) == (1, STATE.max_state_bytes)
    assert harness.stats()["state_bytes"] == STATE.max_state_bytes
    await update(harness, '{"a":null}', 1)
    assert harness.stats()["state_bytes"] == 2


async def test_patches_are_read_from_history_and_make_the_state(harness: Harness) -> None:
    texts = ['{"a":1}', '{"b":{"c":[]}}', '{"a":null}']
    for base, text in enumerate(texts):
        epoch = (await update(harness, text, base)).epoch
    page = await harness.broker.history("doc", STATE, since=Position(epoch, 1), limit=10)
    assert page.complete
    assert [(p.offset, p.data.decode(), p.patch) for p in page.publications] == [
        (2, texts[1], True), (3, texts[2], True),
    ]  # fmt: skip


async def test_state_outlives_what_is_kept_of_patches(harness: Harness) -> None:
    options = msgspec.structs.replace(STATE, history_size=0)
    for base in range(3):
        publication = patch(f'{{"n{base}":{base}}}')
        await harness.broker.update("doc", publication, options, base=Position("", base))
    state = await harness.broker.state("doc", options)
    assert orjson.loads(state.data) == {"n0": 0, "n1": 1, "n2": 2}
    assert not (
        await harness.broker.history("doc", options, since=Position(state.epoch, 0), limit=9)
    ).complete


async def test_state_that_nobody_uses_is_forgotten_and_begins_anew(harness: Harness) -> None:
    short = ChannelOptions(
        history_size=10, history_ttl_s=harness.unit_s, idempotency_ttl_s=harness.unit_s,
        max_state_bytes=1000, state_ttl_s=4 * harness.unit_s,
    )  # fmt: skip
    await harness.broker.update("doc", patch('{"a":1}'), short, base=Position("", 0))
    epoch = (await harness.broker.state("doc", short)).epoch
    await harness.advance(2 * harness.unit_s)
    harness.broker.sweep()
    assert await harness.broker.state("doc", short) == State(epoch, 1, b'{"a":1}')
    await harness.advance(5 * harness.unit_s)
    await harness.let_forget()
    state = await harness.broker.state("doc", short)
    assert (state.version, state.data) == (0, b"null")
    assert state.epoch != epoch
