"""Records between workers and supervisor: whole however they are cut, and refused when they are none."""

from __future__ import annotations

import pytest

from gateway.broker import wire
from gateway.broker.interface import ChannelOptions, Control, ControlKind
from gateway.message.publication import Member
from tests.unit.broker.harness import KEPT, message

FROM_WORKER: list[wire.Record] = [
    wire.Publish(1, "news", message("\x00\u20ac", binary=True, exclude="c9"), KEPT, "key"),
    wire.Subscribe(2, "news", ChannelOptions(history_ttl_s=0.5)),
    wire.Unsubscribe(3, "news"),
    wire.ReadSince(4, "news", KEPT, "e", 7, 100),
    wire.ReadBefore(5, "news", KEPT, 0, 1),
    wire.Join(6, "news", Member(client="c", user="u", info=b"{}"), KEPT),
    wire.Leave(7, "news", "c", KEPT),
    wire.ListMembers(8, "news", KEPT),
    wire.SendControl(9, Control(kind=ControlKind.SEND, client="c", publication=message())),
    wire.SaveSession(10, "s", b"\xff", 1.5),
    wire.TakeSession(11, "s"),
    wire.Probe(2**40),
    wire.HoldSession("c", "s", b"r", 60.0),
    wire.ReleaseSession("c"),
    wire.Answer(12, b"x" * 70_000, 3),
    wire.Notice("listening", b""),
    wire.Update(13, "doc:1", message("{}"), KEPT, "e", 7, "k"),
    wire.ReadState(14, "doc:1", KEPT),
]
FROM_SUPERVISOR: list[wire.Record] = [
    wire.Published("news", "e", message("m", offset=2**53)),
    wire.Lost("news", "e", 2**53),
    wire.PresenceChanged("news", True, Member(client="c")),
    wire.Controlled(1, Control(kind=ControlKind.DISCONNECT, user="u", close_code=4004, reason="bye")),
    wire.Question(2, "metrics", b""),
    wire.Placed(3, "e", 5, True),
    wire.Counted(4, 0),
    wire.Page(5, [message("a"), message("b")], "e", 2, False),
    wire.Members(6, [Member(client="c"), Member(client="d", user="u")]),
    wire.Taken(7, None),
    wire.Taken(8, b""),
    wire.Refused(9, "full"),
    wire.StateIs(10, "e", 2**53, b"null"),
    wire.Stale(11, "e", 0, b"{}"),
    wire.Declined(12, "limit_exceeded", "too large"),
]
both = pytest.mark.parametrize(
    ("union", "records"),
    [(wire.FromWorker, FROM_WORKER), (wire.FromSupervisor, FROM_SUPERVISOR)],
    ids=["from_worker", "from_supervisor"],
)


@both
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 4096, 1 << 20])
def test_records_arrive_whole_and_in_order_however_the_stream_is_cut(
    union: object, records: list[wire.Record], size: int
) -> None:
    stream = b"".join(wire.pack(record) for record in records)
    unpacker, arrived = wire.Unpacker(union), []
    for at in range(0, len(stream), size):
        arrived += list(unpacker.feed(stream[at : at + size]))
    assert arrived == records


@both
def test_every_kind_of_record_is_among_these(union: object, records: list[wire.Record]) -> None:
    assert set(union.__args__) == {type(record) for record in records}  # type: ignore[attr-defined]


def test_tags_are_unique() -> None:
    kinds = [*wire.FromWorker.__args__, *wire.FromSupervisor.__args__]
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x90", b"\x91\x63", wire.pack(FROM_SUPERVISOR[0])[4:], b"\x92\x01\xa1x"]
)
def test_what_is_no_record_is_refused(body: bytes) -> None:
    unpacker = wire.Unpacker(wire.FromWorker)
    with pytest.raises(wire.WireError):
        list(unpacker.feed(len(body).to_bytes(4, "big") + body))
