"""The shared records: defaults, equality, and that nobody can change them."""

from __future__ import annotations

import msgspec
import pytest

from gateway.message.publication import Member, Position, Publication


def test_publication_defaults_to_text_uncounted_from_a_service_for_everybody() -> None:
    publication = Publication(id="a", data=b"1", time_ms=5)
    assert (publication.offset, publication.binary) == (0, False)
    assert (publication.client, publication.user, publication.exclude) == ("", "", "")


def test_member_defaults_to_anonymous_without_info() -> None:
    assert Member(client="c") == Member(client="c", user="", info=b"")


def test_records_of_the_same_fields_are_equal_and_of_others_are_not() -> None:
    one = Publication(id="a", data=b"1", time_ms=5)
    assert one == Publication(id="a", data=b"1", time_ms=5)
    assert one != msgspec.structs.replace(one, offset=1)
    assert one != msgspec.structs.replace(one, exclude="c")


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (Publication(id="a", data=b"1", time_ms=5), "offset"),
        (Member(client="c"), "user"),
        (Position("e", 1), "offset"),
    ],
    ids=["publication", "member", "position"],
)
def test_records_cannot_be_changed(record: object, field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(record, field, 7)


def test_position_reads_as_epoch_and_offset() -> None:
    position = Position("e", 3)
    assert (position.epoch, position.offset) == tuple(position) == ("e", 3)
