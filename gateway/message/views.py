"""Publications and members as events and answers show them; the same for the WebSocket and the HTTP side."""

from __future__ import annotations

import msgspec

from .events import From, Join, Leave, MemberView, Message, PublicationView
from .publication import Member, Publication


def message_of(channel: str, publication: Publication) -> Message:
    """Return the `message` event of a publication: JSON data as it stands, or bytes."""
    p = publication
    return Message(
        channel=channel,
        offset=p.offset,
        id=p.id,
        data=None if p.binary else msgspec.Raw(p.data),
        data64=p.data if p.binary else None,
        from_=From(p.client, p.user) if p.client or p.user else None,
        time=p.time_ms,
    )


def view_publication(publication: Publication) -> PublicationView:
    """Return a publication as an answer shows it: JSON data as it stands, or bytes."""
    p = publication
    return PublicationView(
        offset=p.offset,
        id=p.id,
        time=p.time_ms,
        data=None if p.binary else msgspec.Raw(p.data),
        data64=p.data if p.binary else None,
        from_=From(p.client, p.user) if p.client or p.user else None,
    )


def join_of(channel: str, member: Member) -> Join:
    """Return the `join` event of a member."""
    return Join(channel=channel, client=member.client, user=member.user, info=_raw_info(member))


def leave_of(channel: str, member: Member) -> Leave:
    """Return the `leave` event of a member."""
    return Leave(channel=channel, client=member.client, user=member.user, info=_raw_info(member))


def view_member(member: Member) -> MemberView:
    """Return a member as an answer shows it."""
    return MemberView(member.client, member.user, _raw_info(member))


def _raw_info(member: Member) -> msgspec.Raw | None:
    """Return a member's info as it stands, or None when there is none."""
    return msgspec.Raw(member.info) if member.info else None
