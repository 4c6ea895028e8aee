"""Publications and members as events and answers show them; the same for the WebSocket and the HTTP side."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

import msgspec

from ..errors import CommandError, StaleVersionError
from .events import Error, From, Join, Leave, MemberView, Message, Patch, PublicationView, State
from .publication import Member, Publication

_from: Final = lru_cache(1024)(From)  # who publishes mostly does so more than once


class StateLike(Protocol):
    """A state as brokers know it."""

    @property
    def epoch(self) -> str:
        """The life of the channel."""

    @property
    def version(self) -> int:
        """The offset of the patch that made it."""

    @property
    def data(self) -> bytes:
        """JSON text."""


def message_of(channel: str, publication: Publication) -> Message:
    """Return the `message` event of a publication: JSON data as it stands, or bytes."""
    p = publication
    return Message(
        channel=channel,
        offset=p.offset,
        id=p.id,
        data=None if p.binary else msgspec.Raw(p.data),
        data64=p.data if p.binary else None,
        from_=_from(p.client, p.user) if p.client or p.user else None,
        time=p.time_ms,
    )


def patch_of(channel: str, publication: Publication) -> Patch:
    """Return the `patch` event of a change of state: its JSON as it stands."""
    p = publication
    return Patch(
        channel=channel,
        version=p.offset,
        id=p.id,
        patch=msgspec.Raw(p.data),
        from_=From(p.client, p.user) if p.client or p.user else None,
        time=p.time_ms,
    )


def state_of(channel: str, state: StateLike) -> State:
    """Return the `state` event of a channel."""
    return State(channel=channel, epoch=state.epoch, version=state.version, data=msgspec.Raw(state.data))


def error_of(number: int, problem: CommandError) -> Error:
    """Return the `error` event by which a command is answered; `number` is its id, or 0."""
    error = Error(id=number, code=problem.code, message=problem.message, retry=problem.retry)
    if isinstance(problem, StaleVersionError):
        current = msgspec.Raw(problem.data)
        return msgspec.structs.replace(error, epoch=problem.epoch, version=problem.version, data=current)
    return error


def view_publication(publication: Publication) -> PublicationView:
    """Return a publication as an answer shows it: JSON data as it stands, or bytes."""
    p = publication
    return PublicationView(
        offset=p.offset,
        id=p.id,
        time=p.time_ms,
        data=None if p.binary or p.patch else msgspec.Raw(p.data),
        data64=p.data if p.binary else None,
        from_=From(p.client, p.user) if p.client or p.user else None,
        patch=msgspec.Raw(p.data) if p.patch else None,
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
