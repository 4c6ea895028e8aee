"""Whether a client may do something in a channel: by the rules of its namespace, a token, or an app service.

It knows sessions and rules, but no sockets.  What can be said at once is said without waiting; only where
no other way is left an app service is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from .asking import CallVerdict, MessageVerdict, PublishVerdict, Refusal, SubscribeVerdict
from .errors import CommandError
from .message.names import check_channel_name, personal_channel

if TYPE_CHECKING:
    from .message.commands import Subscribe
    from .permissions import Rule
    from .session import Session

V = TypeVar("V", SubscribeVerdict, PublishVerdict, CallVerdict, MessageVerdict)

_MAY_NOT_PUBLISH: Final = "this client may not publish to the channel"


def allowed(verdict: V | Refusal) -> V:
    """Return a verdict.  Raises CommandError where it is a refusal."""
    if isinstance(verdict, Refusal):
        raise CommandError(verdict.code, verdict.message)
    return verdict


def _owns(session: Session, channel: str) -> bool:
    """Tell whether a channel is the client's personal one."""
    return bool(session.user) and channel == personal_channel(session.user)


def may_subscribe(session: Session, channel: str) -> bool:
    """Tell whether a client may subscribe, as far as that can be said without asking anybody."""
    if channel.startswith("@"):
        return _owns(session, channel)
    namespace = session.node.options.namespace(channel)
    return namespace.may_subscribe or namespace.subscribe.allows(session, channel)


class Allowed(NamedTuple):
    """On what terms a client may subscribe.

    `info` is what others see of it in the channel, empty for what they see everywhere.  `expires` is when the
    subscription ends, in seconds since 1970; 0: never.
    """

    info: bytes = b""
    expires: int = 0


async def check_may_subscribe(session: Session, command: Subscribe) -> Allowed:
    """Return on what terms a client may subscribe.

    Raises CommandError unless the client may subscribe.
    """
    channel = check_channel_name(command.channel)
    if may_subscribe(session, channel):
        return Allowed()
    node = session.node
    if not channel.startswith("@"):
        rule = node.options.namespace(channel).subscribe
        if rule.with_token and command.token and node.door is not None:
            grant = await node.door.channel_grant(session, command.token, channel)
            return Allowed(grant.info, grant.expires)
        if rule.asks and node.app_service is not None:
            return Allowed(allowed(await node.app_service.subscribe(session.caller(), channel)).info)
    raise CommandError("permission_denied", "this client may not subscribe to the channel")


def check_may_see(session: Session, channel: str, rule: Rule) -> None:
    """Raise CommandError unless a client may look into a channel, by the rule for what it asks."""
    if channel.startswith("@"):
        seen = _owns(session, channel)
    else:
        seen = rule.allows(session, channel) or _is_subscriber(session, channel, rule)
    if not seen:
        raise CommandError("permission_denied", "this client may not see that of the channel")


def _is_subscriber(session: Session, channel: str, rule: Rule) -> bool:
    return rule.subscribers and (session.hears(channel) or may_subscribe(session, channel))


def may_publish(session: Session, channel: str) -> bool:
    """Tell whether a client may publish to a channel, or change its state; False: ask the app service.

    Raises CommandError where that would not help, or too much is published.
    """
    if channel.startswith("@"):
        raise CommandError("permission_denied", _MAY_NOT_PUBLISH)
    namespace = session.node.options.namespace(channel)
    rule = namespace.publish
    if namespace.may_publish or rule.allows(session, channel) or _is_subscriber(session, channel, rule):
        if namespace.publish_rate:
            _check_rate(session, channel, namespace.publish_rate)
        return True
    if not rule.asks or session.node.app_service is None:
        raise CommandError("permission_denied", _MAY_NOT_PUBLISH)
    return False


def _check_rate(session: Session, channel: str, rate: float) -> None:
    if not session.node.rates.take(channel, rate):
        raise CommandError("rate_limited", "too many publications to the channel in too short a time")


async def ask_to_publish(session: Session, channel: str, data: bytes, *, binary: bool) -> tuple[bytes, bool]:
    """Ask the app service; return what is to be published, and whether it is bytes.  Raises CommandError."""
    service = session.node.app_service
    if service is None:
        raise CommandError("permission_denied", _MAY_NOT_PUBLISH)
    rate = session.node.options.namespace(channel).publish_rate
    if rate:
        _check_rate(session, channel, rate)
    verdict = allowed(await service.publish(session.caller(), channel, data, binary=binary))
    return (data, binary) if verdict.data is None else (verdict.data, verdict.binary)
