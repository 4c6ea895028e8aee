"""Who may do what in the channels of a namespace: the words of the configuration, compiled to rules.

It knows clients' grants and names of channels, but no sessions, tokens or services.  How it works: each
word is one way to be allowed, and one that fits is enough.  A rule whose answer is the same for everybody
says so (`always`), and nothing is asked of it then; ways that have to wait for somebody (`token`, `hook`)
are only told by the rule, and taken by who asks.  What always holds: what no word allows is not allowed; a
value that is not there, or of another type than text, fits nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from .auth.claims import is_pattern
from .auth.grant import Grant, Pattern
from .errors import UsageError
from .message.names import is_channel_name


class Who(Protocol):
    """A client."""

    @property
    def user(self) -> str:
        """Its user, or ""."""

    @property
    def grant(self) -> Grant:
        """What it was granted."""


class Client(NamedTuple):
    """A client as it would be with another grant."""

    user: str
    grant: Grant


Check = Callable[[Who, str], bool]

WORDS: Final[Mapping[str, str]] = {
    "anyone": "every client that is let in",
    "authenticated": "clients that showed a token, or that a service let in",
    "nobody": "no client; services always may",
    "claims": "those whose `permissions` claim has a pattern that the channel's name fits",
    "claim:NAME=VALUE": "those whose claim NAME is VALUE, or a list with VALUE in it",
    "channel:PATTERN": "channels of this pattern: `*` is any characters, {user} and {NAME} the client's own",
    "user-owned": "the users that follow the last `#` of the channel's name, or else its last `:`",
    "subscribers": "who is subscribed to the channel, or may subscribe without asking anybody",
    "token": "those who show a token for this channel",
    "hook": "whom the app service allows it",
}
"""Every word that a permission may have, and whom it allows."""

_SIMPLE: Final = {
    "subscribe": frozenset({"anyone", "authenticated", "nobody", "claims", "user-owned", "token", "hook"}),
    "publish": frozenset(
        {"anyone", "authenticated", "nobody", "claims", "user-owned", "subscribers", "hook"}
    ),
    "see": frozenset({"anyone", "authenticated", "nobody", "claims", "user-owned", "subscribers"}),
}
_MOST_TEXTS: Final = 1000
_CLAIM = re.compile(r"claim:([A-Za-z0-9_.:/\-]{1,100})=([!-~]{1,200})")
_FIELD = re.compile(r"\{([A-Za-z0-9_.:/\-]{1,100})\}")


class Rule:
    """Who may do one thing in a namespace.

    `always`: everybody.  `with_token`: also who shows a token for the channel.  `asks`: also whom the
    service allows it.  `subscribers`: also who is subscribed, or may.
    """

    __slots__ = ("_checks", "always", "asks", "subscribers", "with_token")

    def __init__(
        self,
        *,
        always: bool = False,
        checks: Sequence[Check] = (),
        with_token: bool = False,
        asks: bool = False,
        subscribers: bool = False,
    ) -> None:
        self.always = always
        self._checks = tuple(checks)
        self.with_token = with_token
        self.asks = asks
        self.subscribers = subscribers

    def allows(self, who: Who, channel: str) -> bool:
        """Tell whether a client may, as far as that can be said at once."""
        if self.always:
            return True
        for check in self._checks:  # noqa: SIM110 a generator would cost as much as the checks
            if check(who, channel):
                return True
        return False


ANYONE: Final = Rule(always=True)
NOBODY: Final = Rule()
SUBSCRIBERS: Final = Rule(subscribers=True)


def words_of(kind: str) -> list[str]:
    """Return the words of a kind of permission ("subscribe", "publish" or "see"), in order."""
    return [word for word in WORDS if word in _SIMPLE[kind] or ":" in word]


def problem_with(word: str, kind: str) -> str:
    """Return what is wrong with a word, or "".  `kind` is "subscribe", "publish" or "see"."""
    if word in _SIMPLE[kind]:
        return ""
    if word in WORDS:
        return f"`{word}` cannot be said here"
    if word.startswith("claim:"):
        return "" if _CLAIM.fullmatch(word) else "a claim is asked for as claim:NAME=VALUE"
    if word.startswith("channel:"):
        sample = _FIELD.sub("x", word.removeprefix("channel:"))
        return "" if is_pattern(sample) else "a pattern is the name of a channel with * and {claim} in it"
    return "no such word"


def compile_rule(words: Iterable[str], kind: str, action: str, *, all_authenticated: bool) -> Rule:
    """Return the rule that words make.

    `action` is what the `permissions` claim calls it; `all_authenticated`: nobody is let in who showed
    nothing.  Raises UsageError for a word that `problem_with` finds fault with.
    """
    words = tuple(words)
    for word in words:
        problem = problem_with(word, kind)
        if problem:
            raise UsageError(f"{word!r}: {problem}")
    if "anyone" in words or ("authenticated" in words and all_authenticated):
        return ANYONE
    return Rule(
        checks=[check for word in words if (check := _check_of(word, action)) is not None],
        with_token="token" in words,
        asks="hook" in words,
        subscribers="subscribers" in words,
    )


def _check_of(word: str, action: str) -> Check | None:
    if word == "authenticated":
        return lambda who, channel: who.grant.authenticated
    if word == "claims":
        return lambda who, channel: any(p.matches(channel) for p in who.grant.permissions.get(action, ()))
    if word == "user-owned":
        return _owns
    if word.startswith("claim:"):
        return _has_claim(word)
    return _fits(word.removeprefix("channel:")) if word.startswith("channel:") else None


def _owns(who: Who, channel: str) -> bool:
    """Tell whether a channel's name ends with the client's user, alone or in a list with commas."""
    _, mark, owners = channel.rpartition("#" if "#" in channel else ":")
    return bool(mark and who.user) and who.user in owners.split(",")


def _has_claim(word: str) -> Check:
    name, _, value = word.removeprefix("claim:").partition("=")

    def check(who: Who, channel: str) -> bool:
        return value in _values(who, name)

    return check


def _fits(template: str) -> Check:
    """Return the check of a pattern; one without fields is the same for all."""
    fields = _FIELD.findall(template)
    if not fields:
        fixed = Pattern(template)
        return lambda who, channel: fixed.matches(channel)

    def check(who: Who, channel: str) -> bool:
        return any(Pattern(text).matches(channel) for text in _filled(template, fields, who))

    return check


def _filled(template: str, fields: Sequence[str], who: Who) -> Iterable[str]:
    """Yield the template with the client's values; with each of them where a claim is a list.

    Nothing where a value is missing, or has characters that no channel has.
    """
    texts = [template]
    for field in dict.fromkeys(fields):
        values = [v for v in _values(who, field) if is_channel_name(v)]
        texts = [text.replace(f"{{{field}}}", value) for text in texts for value in values]
        if len(texts) > _MOST_TEXTS:
            return ()
    return texts


def _values(who: Who, name: str) -> tuple[str, ...]:
    """Return the texts that a claim holds: itself, or its items.  `user` is the client's user."""
    if name == "user":
        return (who.user,) if who.user else ()
    value = who.grant.claims.get(name)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, str):
        return (value,)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
