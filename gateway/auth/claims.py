"""From the claims of a token whose signature was verified to a grant (RFC 7519, RFC 8725).

It knows claims, not keys or signatures.  What always holds: a claim that has a meaning here has the type
that it must have, or the token is refused as a whole; nothing is granted by a claim that is half right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ..errors import CommandError
from ..message.json import check_json
from ..message.names import MAX_CHANNEL_CHARS, is_channel_name, personal_channel
from .grant import ACTIONS, NO_PATTERNS, ChannelGrant, Grant, Pattern
from .refusals import TokenRefusedError

MAX_CHANNELS: Final = 256
MAX_PATTERNS: Final = 256
MAX_ID_CHARS: Final = 256
_LAST_S: Final = float(2**53 - 1)

_encode: Final = msgspec.json.encode


class ClaimRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of claims, and which of them mean what here.

    Without `issuers` or `audiences` any is taken.  `leeway_s` is for clocks that differ.
    """

    issuers: frozenset[str] = frozenset()
    audiences: frozenset[str] = frozenset()
    leeway_s: float = 5.0
    user: str = "sub"
    info: str = "info"
    channels: str = "channels"
    permissions: str = "permissions"
    login: str = "sid"


def read_claims(payload: bytes) -> dict[str, Any]:
    """Return the claims in a token's payload.  Raises TokenRefusedError."""
    try:
        claims: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise TokenRefusedError("malformed", "the payload is no JSON object") from None
    return claims


def check_claims(claims: Mapping[str, Any], rules: ClaimRules) -> None:
    """Check all that does not change with time.  Raises TokenRefusedError."""
    for name in ("exp", "nbf", "iat"):
        if name in claims:
            _time(claims, name)
    if "exp" not in claims:
        raise TokenRefusedError("claims", "exp is required")
    if rules.issuers and _text(claims, "iss") not in rules.issuers:
        raise TokenRefusedError("issuer", "iss is another")
    if rules.audiences and rules.audiences.isdisjoint(_audience(claims)):
        raise TokenRefusedError("audience", "aud is another")


def check_time(claims: Mapping[str, Any], rules: ClaimRules, now_s: float) -> None:
    """Check that the token holds now.  Its claims were checked.  Raises TokenRefusedError."""
    if now_s >= claims["exp"] + rules.leeway_s:
        raise TokenRefusedError("expired")
    latest = now_s + rules.leeway_s
    if claims.get("nbf", 0) > latest or claims.get("iat", 0) > latest:
        raise TokenRefusedError("not_yet")


def grant_of(claims: Mapping[str, Any], rules: ClaimRules) -> Grant:
    """Return what a token of a client grants; its claims were checked.  Raises TokenRefusedError."""
    if "channel" in claims:
        raise TokenRefusedError("purpose", "a token for one channel does not let a client in")
    return Grant(
        authenticated=True,
        user=_user(claims, rules.user),
        info=_info(claims, rules.info),
        channels=_channels(claims, rules.channels),
        expires=claims["exp"],
        issued=claims.get("iat", 0),
        token=_text(claims, "jti"),
        login=_text(claims, rules.login),
        permissions=permissions_of(claims, rules.permissions),
        claims=claims,
    )


def channel_grant_of(claims: Mapping[str, Any], rules: ClaimRules) -> ChannelGrant:
    """Return what a token for a single channel grants; its claims were checked.  Raises TokenRefusedError."""
    channel = claims.get("channel")
    if channel is None:
        raise TokenRefusedError("purpose", "a token for one channel has the claim channel")
    if not isinstance(channel, str) or not is_channel_name(channel) or channel.startswith("@"):
        raise TokenRefusedError("claims", "channel is not the name of a channel")
    user, info = _user(claims, rules.user), _info(claims, rules.info)
    grant = Grant(
        authenticated=True,
        user=user,
        issued=claims.get("iat", 0),
        token=_text(claims, "jti"),
        login=_text(claims, rules.login),
        claims=claims,
    )
    return ChannelGrant(channel=channel, user=user, info=info, expires=int(claims["exp"]), grant=grant)


def _time(claims: Mapping[str, Any], name: str) -> None:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefusedError("claims", f"{name} is not a number")
    if not (math.isfinite(value) and 0 <= value <= _LAST_S):
        raise TokenRefusedError("claims", f"{name} is not a time")


def _text(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim that is text, "" where it is not there."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_ID_CHARS:
        raise TokenRefusedError("claims", f"{name} is not a text of at most {MAX_ID_CHARS} characters")
    return value


def _audience(claims: Mapping[str, Any]) -> list[str]:
    """Return the audiences: one text or a list (RFC 7519 section 4.1.3)."""
    value = claims.get("aud", [])
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise TokenRefusedError("claims", "aud is neither a text nor a list of texts")
    return found


def _user(claims: Mapping[str, Any], name: str) -> str:
    user = _text(claims, name)
    if user and (not is_channel_name(personal_channel(user)) or user.startswith("#")):
        allowed = f"1 to {MAX_CHANNEL_CHARS - 1} characters of A-Z a-z 0-9 _ - = @ , . ; : / #"
        raise TokenRefusedError("claims", f"{name} cannot be a user here, which has {allowed}")
    return user


def _info(claims: Mapping[str, Any], name: str) -> bytes:
    if claims.get(name) is None:
        return b""
    try:
        return check_json(_encode(claims[name]))
    except (CommandError, ValueError, RecursionError):
        raise TokenRefusedError("claims", f"{name} is nothing that every client could read") from None


def _channels(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = claims.get(name, [])
    if not isinstance(value, list) or len(value) > MAX_CHANNELS:
        raise TokenRefusedError("claims", f"{name} is not a list of at most {MAX_CHANNELS} channels")
    for channel in value:
        if not isinstance(channel, str) or not is_channel_name(channel) or channel.startswith("@"):
            raise TokenRefusedError("claims", f"{name} has something in it that is not the name of a channel")
    return tuple(dict.fromkeys(value))


def permissions_of(claims: Mapping[str, Any], name: str) -> Mapping[str, tuple[Pattern, ...]]:
    """Return the patterns in a claim, by action.  Raises TokenRefusedError."""
    value = claims.get(name)
    if value is None:
        return NO_PATTERNS
    if not isinstance(value, dict) or not set(value) <= set(ACTIONS):
        raise TokenRefusedError("claims", f"{name} has other keys than {', '.join(ACTIONS)}")
    found = {}
    for action, texts in value.items():
        if not isinstance(texts, list) or len(texts) > MAX_PATTERNS:
            raise TokenRefusedError(
                "claims", f"{name}.{action} is not a list of at most {MAX_PATTERNS} patterns"
            )
        if not all(isinstance(text, str) and is_pattern(text) for text in texts):
            raise TokenRefusedError("claims", f"{name}.{action} has something in it that is no pattern")
        found[action] = tuple(map(Pattern, texts))
    return found


def is_pattern(text: str) -> bool:
    """Tell whether a text can be a pattern of channels: a name of one in which some characters are stars."""
    return is_channel_name(text.replace("*", "_"))
