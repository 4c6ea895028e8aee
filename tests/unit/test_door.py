"""Who is let in, as whom, until when: the door, visitors, renewal, expiry and revocation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.asking import Admission, PublishVerdict, Refusal, SubscribeVerdict
from gateway.auth.credentials import Places
from gateway.auth.fetching import FetchFailedError
from gateway.auth.revocations import Revocation, RevokedKind
from gateway.errors import BrokerUnavailableError, CommandError
from gateway.revoking import REVOCATIONS, RevocationLog, log_options, pack
from gateway.service_view import ServiceView
from tests.support.doors import Guarded, guarded, in_query, permitting
from tests.support.simulated import settle
from tests.support.tokens import NOW, jwk, make


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


# -- where a token may be ---------------------------------------------------------------------


@pytest.mark.parametrize("where", ["header", "query", "cookie", "command"])
async def test_good_token_lets_in_wherever_it_is(where: str) -> None:
    async with guarded(places=Places(cookie="session-token")) as g:
        token = make(info={"n": 1})
        if where == "header":
            guest = g.come(token)
        elif where == "query":
            guest = g.come(query=in_query(token))
        elif where == "cookie":
            guest = g.come(cookie=f"a=b; session-token={token}; c=d")
        else:
            guest = g.come()
            assert guest.heard() == []
            guest.say({"type": "connect", "id": 1, "token": token})
        hello, *rest = guest.heard()
        assert (hello["type"], hello["user"], hello["expires"]) == ("hello", "ada", NOW + 3600)
        assert [event["id"] for event in rest] == ([1] if where == "command" else [])
        assert list(g.node.users) == ["ada"]


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"authorization": "Basic YTpi"}, ""),
        ({"authorization": "Bearer"}, ""),
        ({"authorization": "Bearer  "}, ""),
        ({"cookie": "token=a; token=b"}, ""),
        ({}, "token=a&token=b"),
        ({}, "token=" + "&a=b" * 200),
    ],
)
async def test_credentials_that_make_no_sense_are_refused(headers: dict[str, str], query: str) -> None:
    async with guarded(places=Places(cookie="token")) as g:
        guest = g.come(query=query, **headers)
        assert guest.closes == [4001]
        assert g.door.refusals == {"malformed": 1}


async def test_cookie_and_query_are_looked_at_only_where_that_is_said() -> None:
    async with guarded(places=Places(query=False)) as g:
        for guest in (g.come(query=in_query(make())), g.come(cookie=f"token={make()}")):
            assert guest.heard() == []
            assert guest.closes == []
            guest.connection.lose()


async def test_bad_token_is_closed_with_4001_and_nothing_is_left() -> None:
    async with guarded() as g:
        guest = g.come(make(exp=NOW - 60))
        assert (guest.heard(), guest.closes) == ([], [4001])
        assert g.door.refusals == {"expired": 1}
        assert not g.node.sessions
        assert g.time.timers == 1  # the node's own


# -- visitors ----------------------------------------------------------------------------------


async def test_visitor_is_answered_unauthorized_until_it_shows_a_token_and_what_follows_is_done() -> None:
    async with guarded({"room": permitting("authenticated")}) as g:
        guest = g.come()
        subscribe = {"type": "subscribe", "id": 2, "channel": "room:1"}
        guest.say(
            subscribe, [{"type": "ping", "id": 3}, {"type": "connect", "id": 4, "token": make()}, subscribe]
        )
        heard = await guest.ask()
        assert [(e["type"], e.get("id"), e.get("code")) for e in heard] == [
            ("error", 2, "unauthorized"),
            ("error", 3, "unauthorized"),
            ("hello", None, None),
            ("reply", 4, None),
            ("reply", 2, None),
            ("join", None, None),
        ]


async def test_visitor_that_shows_nothing_in_time_is_closed_however_much_it_says() -> None:
    async with guarded(connect_timeout_s=10.0) as g:
        silent, busy = g.come(), g.come()
        for _ in range(9):
            await g.pass_time(1)
            busy.say({"type": "ping"})
        assert (silent.closes, busy.closes) == ([], [])
        await g.pass_time(1)
        assert (silent.closes, busy.closes) == ([4003], [4003])
        assert g.door.refusals == {"missing": 2}


async def test_visitor_that_talks_without_end_is_closed_before() -> None:
    async with guarded() as g:
        guest = g.come()
        guest.say(*[{"type": "ping", "id": number} for number in range(1, 12)])
        assert guest.closes == [4003]
        assert len(guest.heard()) == 10


async def test_visitor_with_a_bad_token_gets_an_error_and_4001() -> None:
    async with guarded() as g:
        guest = g.come()
        guest.say({"type": "connect", "id": 7, "token": make() + "x"})
        (error,) = guest.heard()
        assert (error["id"], error["code"], error["message"]) == (7, "unauthorized", "the token is not valid")
        assert guest.closes == [4001]


async def test_visitor_that_goes_leaves_nothing() -> None:
    async with guarded() as g:
        guest = g.come()
        guest.connection.lose()
        assert g.time.timers == 1


async def test_anonymous_clients_are_let_in_only_where_that_is_said() -> None:
    async with guarded(anonymous=True) as g:
        guest = g.come()
        (hello,) = guest.heard()
        assert "user" not in hello
        assert "expires" not in hello
        (error,) = await guest.ask({"type": "connect", "id": 1, "token": make()})
        assert error["code"] == "permission_denied"  # a connection does not become somebody later
        assert g.come(make(exp=NOW - 60)).closes == [4001]


# -- what is granted ---------------------------------------------------------------------------


async def test_granted_channels_are_subscribed_to_and_info_is_shown() -> None:
    async with guarded({"room": permitting()}) as g:
        guest = g.come(make(channels=["room:1", "room:2"], info={"n": "Ada"}))
        heard = await guest.ask()
        assert heard[0]["type"] == "hello"
        assert sorted((e["type"], e["channel"]) for e in heard[1:]) == [
            ("join", "room:1"),
            ("join", "room:2"),
            ("subscribed", "room:1"),
            ("subscribed", "room:2"),
        ]
        assert all(e["info"] == {"n": "Ada"} for e in heard if e["type"] == "join")
        (reply,) = await guest.ask({"type": "presence", "id": 1, "channel": "room:1"})
        assert [(m["user"], m["info"]) for m in reply["members"]] == [("ada", {"n": "Ada"})]


NAMESPACES = {
    "open": permitting("anyone", "anyone"),
    "shut": permitting(),
    "claims": permitting("claims", "claims", see_presence="claims", see_history="claims"),
    "own": permitting("user-owned", "user-owned"),
    "admin": permitting("claim:role=admin", "claim:role=admin"),
    "team": permitting("channel:team:{team}:*", "subscribers"),
    "news": permitting("authenticated", "nobody", see_presence="nobody", see_history="anyone"),
}
ADA: dict[str, Any] = {
    "permissions": {
        "subscribe": ["claims:a*"],
        "publish": ["claims:*b"],
        "presence": ["claims:p"],
        "history": ["claims:h"],
    },
    "role": ["user", "admin"],
    "team": ["red", "a*", ""],
}


@pytest.mark.parametrize(
    ("channel", "allowed"),
    [
        ("open:1", "sphg"),
        ("shut:1", ""),
        ("claims:abc", "s"),
        ("claims:bb", "p"),
        ("claims:ab", "sp"),
        ("claims:h", "g"),
        ("claims:p", "h"),
        ("own:ada", "sphg"),
        ("own:x#ada", "sphg"),
        ("own:x#bob,ada", "sphg"),
        ("own:ada#bob", ""),
        ("own:adam", ""),
        ("own:x#ad", ""),
        ("own:", ""),
        ("admin:1", "sphg"),
        ("team:red:1", "sphg"),
        ("team:blue:1", ""),
        ("team:a:1", ""),
        ("team::1", ""),
        ("news:1", "sg"),
        ("@ada", "hg"),
        ("@bob", ""),
    ],
)
async def test_a_client_may_what_its_namespace_says(channel: str, allowed: str) -> None:
    """Letters: subscribe, publish, who is here, get history."""
    async with guarded(NAMESPACES) as g:
        guest = g.come(make(**ADA))
        await guest.ask()
        found = ""
        for letter, command in (
            ("p", {"type": "publish", "id": 1, "channel": channel, "data": 1}),
            ("h", {"type": "presence", "id": 1, "channel": channel}),
            ("g", {"type": "history", "id": 1, "channel": channel}),
            ("s", {"type": "subscribe", "id": 1, "channel": channel}),
        ):
            answer = (await guest.ask(command))[0]
            refused = answer.get("code") in {"permission_denied", "already_subscribed"}
            found += "" if refused else letter
        if channel == "@ada":
            found = found.replace("s", "")
        assert "".join(sorted(found, key="sphg".index)) == allowed


async def test_rules_hold_at_once_also_where_the_channel_is_open() -> None:
    async with guarded(NAMESPACES) as g:
        ada, bob = g.come(make(**ADA)), g.come(make(sub="bob"))
        await ada.ask({"type": "subscribe", "id": 1, "channel": "team:red:1"})
        bob.heard()
        (error,) = await bob.ask({"type": "subscribe", "id": 1, "channel": "team:red:1"})
        assert error["code"] == "permission_denied"


# -- tokens for one channel ----------------------------------------------------------------------


async def test_token_for_a_channel_subscribes_its_user_to_it_alone() -> None:
    async with guarded({"room": permitting("token")}) as g:
        ada, nobody = g.come(make()), g.come(make(sub=None))
        await ada.ask()
        await nobody.ask()
        ticket = make(channel="room:7", info={"in": "here"}, exp=NOW + 60)

        async def refused(guest: Any, channel: str, token: str) -> str:
            (answer,) = await guest.ask({"type": "subscribe", "id": 1, "channel": channel, "token": token})
            return str(answer.get("code"))

        assert await refused(ada, "room:7", "") == "permission_denied"
        assert await refused(ada, "room:7", make()) == "unauthorized"
        assert await refused(ada, "room:8", ticket) == "permission_denied"
        assert await refused(ada, "room:7", make(channel="room:7", sub="bob")) == "permission_denied"
        assert await refused(ada, "room:7", make(channel="room:7", exp=NOW - 60)) == "unauthorized"
        assert await refused(nobody, "room:7", ticket) == "permission_denied"
        reply, join = await ada.ask({"type": "subscribe", "id": 2, "channel": "room:7", "token": ticket})
        assert (reply["type"], join["info"]) == ("reply", {"in": "here"})
        assert g.come(ticket).closes == [4001]


async def test_subscription_ends_with_the_token_for_its_channel_unless_another_was_shown() -> None:
    async with guarded({"room": permitting("token")}, leeway_s=5.0) as g:
        ada, bob = g.come(make()), g.come(make(sub="bob"))
        await ada.ask()
        await bob.ask()

        def ticket(seconds: int, **more: Any) -> str:
            return make(channel="room:7", exp=NOW + seconds, **more)

        subscribe = {"type": "subscribe", "id": 1, "channel": "room:7"}
        reply, *_ = await ada.ask({**subscribe, "token": ticket(60)})
        assert (reply["type"], reply["expires"], reply["offset"]) == ("reply", NOW + 60, 0)
        await bob.ask({**subscribe, "token": ticket(60, sub="bob")})
        ada.heard()
        for token, code in ((ticket(60, sub="bob"), "permission_denied"), (make(), "unauthorized")):
            (error,) = await ada.ask({**subscribe, "token": token})
            assert error["code"] == code, "it goes on as it was"
        (error,) = await ada.ask(subscribe)
        assert error["code"] == "permission_denied"
        (reply,) = await ada.ask({**subscribe, "id": 2, "token": ticket(90)})
        assert reply == {"type": "reply", "id": 2, "channel": "room:7", "expires": NOW + 90}
        await g.pass_time(64)
        assert bob.heard() == []
        await g.pass_time(1)
        assert [e for e in bob.heard() if e["type"] == "unsubscribed"] == [
            {"type": "unsubscribed", "channel": "room:7", "code": "token_expired"}
        ]
        assert [e["type"] for e in ada.heard()] == ["leave"], "she goes on"
        await g.pass_time(30)
        assert ada.heard()[-1] == {"type": "unsubscribed", "channel": "room:7", "code": "token_expired"}
        assert (ada.closes, bob.closes, len(g.door.tickets)) == ([], [], 0)


async def test_what_ended_otherwise_leaves_nothing_to_end() -> None:
    async with guarded({"room": permitting("token")}) as g:
        ada, bob = g.come(make()), g.come(make(sub="bob"))
        await ada.ask()
        await bob.ask()
        for guest, user in ((ada, "ada"), (bob, "bob")):
            token = make(sub=user, channel="room:7", exp=NOW + 60)
            await guest.ask({"type": "subscribe", "id": 1, "channel": "room:7", "token": token})
        assert len(g.door.tickets) == 2
        await ada.ask({"type": "unsubscribe", "id": 2, "channel": "room:7"})
        (session,) = g.node.users["ada"].values()
        await session.subscribe_by_server("room:7")
        bob.connection.lose()
        await settle()
        assert len(g.door.tickets) == 0
        ada.heard()
        await g.pass_time(120)
        assert not [e for e in ada.heard() if e["type"] == "unsubscribed"], (
            "the service gave it, not the token"
        )


async def test_subscription_stays_where_the_clients_own_token_allows_it_by_then() -> None:
    async with guarded({"room": permitting("token claims")}) as g:
        ada = g.come(make())
        await ada.ask()
        token = make(channel="room:7", exp=NOW + 60)
        await ada.ask({"type": "subscribe", "id": 1, "channel": "room:7", "token": token})
        wider = make(permissions={"subscribe": ["room:*"]}, exp=NOW + 600)
        await ada.ask({"type": "connect", "id": 2, "token": wider})
        await g.pass_time(120)
        assert not [e for e in ada.heard() if e["type"] == "unsubscribed"]


@pytest.mark.parametrize("seconds", [30, 50])
async def test_session_that_is_resumed_keeps_the_end_of_its_subscriptions(seconds: int) -> None:
    async with guarded({"room": permitting("token")}, leeway_s=5.0) as g:
        ada = g.come(make())
        (hello, *_) = await ada.ask()
        token = make(channel="room:7", exp=NOW + 40)
        await ada.ask({"type": "subscribe", "id": 1, "channel": "room:7", "token": token})
        await ada.ask({"type": "subscribe", "id": 1, "channel": "open:1"})
        ada.connection.lose()
        await settle()
        await g.pass_time(seconds)
        again = g.come(make())
        await again.ask()
        reply, *_ = await again.ask({"type": "connect", "id": 1, "session": hello["session"]})
        resumed = {s["channel"] for s in reply["subscriptions"]} - {"@ada"}
        if seconds > 45:
            assert resumed == {"open:1"}
            return
        assert resumed == {"room:7", "open:1"}
        await g.pass_time(20)
        ended = [e["channel"] for e in again.heard() if e["type"] == "unsubscribed"]
        assert ended == ["room:7"]


# -- renewal and expiry --------------------------------------------------------------------------


async def test_connection_ends_with_its_token_and_leeway_unless_it_was_renewed() -> None:
    async with guarded(leeway_s=5.0) as g:
        short, renewed, gone = (g.come(make(exp=NOW + 60)) for _ in range(3))
        await settle()
        gone.connection.lose()
        assert len(g.door.expiries) == 2
        await g.pass_time(30)
        renewed.heard()
        (reply,) = await renewed.ask({"type": "connect", "id": 1, "token": make(exp=NOW + 120)})
        assert reply["expires"] == NOW + 120
        await g.pass_time(34)
        assert (short.closes, renewed.closes) == ([], [])
        await g.pass_time(1)
        assert (short.closes, renewed.closes) == ([4001], [])
        await g.pass_time(60)
        assert renewed.closes == [4001]
        assert len(g.door.expiries) == 0


async def test_refused_renewal_changes_nothing() -> None:
    async with guarded() as g:
        guest = g.come(make(exp=NOW + 60))
        await guest.ask()
        for token, code in (
            (make(sub="bob", exp=NOW + 600), "permission_denied"),
            (make(exp=NOW - 60), "unauthorized"),
            (make(channel="room:7"), "unauthorized"),
            ("nonsense", "unauthorized"),
        ):
            (error,) = await guest.ask({"type": "connect", "id": 1, "token": token})
            assert error["code"] == code
        assert guest.closes == []
        await g.pass_time(65)
        assert guest.closes == [4001]


async def test_newer_token_ends_what_only_the_older_one_allowed_and_begins_what_it_adds() -> None:
    async with guarded({"room": permitting("claims"), "free": permitting("anyone")}) as g:
        rooms = {"subscribe": ["room:1", "room:2"]}
        guest = g.come(make(permissions=rooms, channels=["room:9"]))
        for channel in ("room:1", "room:2", "free:1"):
            await guest.ask({"type": "subscribe", "id": 1, "channel": channel})
        token = make(permissions={"subscribe": ["room:2"]}, channels=["room:5"], exp=NOW + 4000)
        heard = await guest.ask({"type": "connect", "id": 2, "token": token})
        ended = [(e["channel"], e["code"]) for e in heard if e["type"] == "unsubscribed"]
        assert sorted(ended) == [("room:1", "permission_revoked"), ("room:9", "permission_revoked")]
        assert [e["channel"] for e in heard if e["type"] == "subscribed"] == ["room:5"]
        (session,) = g.node.sessions.values()
        assert session.channels == {"@ada", "room:2", "room:5", "free:1"}


async def test_newer_token_ends_what_the_older_one_allowed_also_where_other_words_would_have_done() -> None:
    async with guarded({"room": permitting("claims token hook")}) as g:
        guest = g.come(make(permissions={"subscribe": ["room:1"]}))
        await guest.ask({"type": "subscribe", "id": 1, "channel": "room:1"})
        ticket = make(channel="room:2")
        await guest.ask({"type": "subscribe", "id": 2, "channel": "room:2", "token": ticket})
        heard = await guest.ask({"type": "connect", "id": 3, "token": make(exp=NOW + 4000)})
        ended = [(e["channel"], e["code"]) for e in heard if e["type"] == "unsubscribed"]
        assert ended == [("room:1", "permission_revoked")]
        (session,) = g.node.sessions.values()
        assert session.channels == {"@ada", "room:2"}


# -- key sets ------------------------------------------------------------------------------------


async def test_unknown_key_makes_the_set_be_asked_for_again_and_the_client_waits() -> None:
    documents = [document(jwk("rsa", kid="old"))]
    asked = 0

    def read(place: str, options: object) -> bytes:
        nonlocal asked
        asked += 1
        return documents[-1]

    async with guarded(keys=[], read=read, jwks={"cooldown_s": 30.0}) as g:
        await settle()
        first = g.come(make("RS256", kid="old"))
        assert (first.heard()[0]["type"], asked) == ("hello", 1)
        documents.append(document(jwk("p-256", kid="new")))
        await g.pass_time(31)
        guests = [g.come(make("ES256", kid="new")) for _ in range(3)]
        assert all(guest.connection.held for guest in guests)
        for guest in guests:
            assert (await guest.kinds())[0] == "hello"
            assert not guest.connection.held
        assert asked == 2
        assert g.come(make("RS256", kid="old")).closes == [
            4001
        ]  # it was taken out, also of what is remembered
        assert g.come(make("RS256", kid="other")).closes == [4001]  # too soon to ask again
        assert asked == 2


async def test_visitors_command_is_carried_out_once_its_key_was_fetched() -> None:
    documents = [document(jwk("rsa", kid="old"))]
    async with guarded(keys=[], read=lambda *_: documents[-1]) as g:
        await settle()
        documents.append(document(jwk("p-256", kid="new")))
        await g.pass_time(31)
        guest = g.come()
        guest.say(
            [{"type": "connect", "id": 1, "token": make("ES256", kid="new")}, {"type": "ping", "id": 2}]
        )
        heard = await guest.ask()
        assert [(e["type"], e.get("id")) for e in heard] == [("hello", None), ("reply", 1), ("reply", 2)]


async def test_without_any_set_yet_clients_are_sent_away_to_come_again() -> None:
    def read(place: str, options: object) -> bytes:
        raise FetchFailedError("no route")

    async with guarded(keys=[], read=read) as g:
        await settle()
        guest = g.come(make("RS256", kid="a"))
        await settle()
        assert guest.closes == [4101]


async def test_set_that_cannot_be_had_any_more_stays_as_it_was() -> None:
    good = document(jwk("rsa", kid="a"))
    answers: list[bytes | None] = [good]

    def read(place: str, options: object) -> bytes:
        if answers[-1] is None:
            raise FetchFailedError("no route")
        return answers[-1]

    async with guarded(keys=[], read=read, jwks={"max_age_s": 60.0, "cooldown_s": 5.0}) as g:
        await settle()
        for broken in (None, b"<html>", b"{}", document(), document({"kty": "oct", "k": "AAAA"})):
            answers.append(broken)
            await g.pass_time(70)
            assert g.come(make("RS256", kid="a", exp=NOW + 9999)).closes == []
        assert g.door.verifier.sets[0].failures >= 5


# -- app services that are asked -----------------------------------------------------------------


async def test_service_that_is_asked_lets_in_as_whom_it_says_and_what_was_said_meanwhile_is_done() -> None:
    async with guarded({"room": permitting("claims")}, keys=[], has_keys=False, asks=True) as g:
        g.service.answer = Admission(
            user="bob",
            info=b'{"n":1}',
            channels=("news",),
            expires=NOW + 60,
            claims={"permissions": {"subscribe": ["room:*"]}},
        )
        g.service.may_answer.clear()
        guest = g.come(query="token=theirs&a=1", cookie="id=7", authorization="Basic abc")
        await settle()
        assert guest.heard() == []
        assert guest.connection.held
        guest.say({"type": "subscribe", "id": 1, "channel": "room:1"})  # what was read already
        g.service.may_answer.set()
        heard = await guest.ask()
        hello = heard[0]
        assert (hello["user"], hello["expires"]) == ("bob", NOW + 60)
        assert [e["id"] for e in heard if e["type"] == "reply"] == [1]
        assert [e["channel"] for e in heard if e["type"] == "subscribed"] == ["news"]
        ((_, caller, question),) = g.service.asked
        assert (question.path, question.query, question.token) == ("/ws", "a=1", "")
        assert (caller.forwarded, caller.client) == ({"cookie": "id=7"}, hello["client"])
        assert caller.session == hello["session"]
        (session,) = g.node.sessions.values()
        assert session.caller().forwarded == {"cookie": "id=7"}
        await g.pass_time(65)
        assert guest.closes == [4001]


async def test_service_gets_a_token_that_is_its_own_and_never_one_that_was_verified_here() -> None:
    async with guarded(keys=[], has_keys=False, asks=True) as g:
        g.come("opaque")
        await settle()
        assert g.service.asked[-1][2].token == "opaque"  # noqa: S105 a test's
    async with guarded(asks=True) as g:
        guest = g.come(make(sub="bob", info={"n": 1}))
        assert await guest.kinds() == ["hello"]
        _, caller, question = g.service.asked[-1]
        assert (caller.user, caller.info, question.token) == ("bob", b'{"n":1}', "")
        assert g.come(make(exp=NOW - 60)).closes == []
        await settle()
        assert len(g.service.asked) == 1  # who has no good token is not asked about


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Refusal(), 4002),
        (Refusal(close_code=4321, message="ü" * 100), 4321),
        (CommandError("unavailable", "nobody is there"), 4101),
        (Admission(claims={"permissions": 7}), 4001),
        (RuntimeError("a mistake"), 1011),
    ],
)
async def test_client_that_is_not_let_in_by_the_service_is_closed(answer: object, code: int) -> None:
    async with guarded(asks=True) as g:
        g.service.answer = answer
        guest = g.come(make())
        await settle()
        assert (guest.heard(), guest.closes) == ([], [code])
        assert not g.node.sessions


async def test_client_that_was_revoked_or_went_while_the_service_was_asked_is_not_let_in() -> None:
    async with guarded(asks=True) as g:
        g.service.may_answer.clear()
        revoked, gone, late = g.come(make(jti="j")), g.come(make()), g.come(make())
        await settle()
        await revoke_here(g, "token", "j")
        gone.connection.lose()
        await settle()
        g.service.may_answer.set()
        await settle()
        assert (revoked.closes, late.closes) == ([4001], [])
        assert len(g.node.sessions) == 1
        g.service.may_answer.clear()
        never = g.come(make())
        await g.pass_time(10)
        assert never.closes == [4003]


async def test_renewal_asks_the_service_again() -> None:
    async with guarded(keys=[], has_keys=False, asks=True) as g:
        g.service.answer = Admission(user="ada", expires=NOW + 60)
        guest = g.come("first")
        await guest.ask()
        g.service.answer = Admission(user="ada", expires=NOW + 600)
        (reply,) = await guest.ask({"type": "connect", "id": 1, "token": "second"})
        assert reply["expires"] == NOW + 600
        g.service.answer = Admission(user="bob")
        (error,) = await guest.ask({"type": "connect", "id": 1, "token": "third"})
        assert error["code"] == "permission_denied"
        g.service.answer = Refusal(code="rate_limited", message="later")
        (error,) = await guest.ask({"type": "connect", "id": 1, "token": "third"})
        assert (error["code"], error["message"]) == ("rate_limited", "later")


async def test_service_is_asked_only_where_no_other_word_allows_it() -> None:
    namespaces = {"room": permitting("user-owned hook", "user-owned hook")}
    async with guarded(namespaces, asks=True) as g:
        guest = g.come(make())
        await guest.ask()
        g.service.asked.clear()
        g.service.answer = SubscribeVerdict(info=b'{"in":"room"}')
        await guest.ask({"type": "subscribe", "id": 1, "channel": "room:ada"})
        assert g.service.asked == []
        _, join = await guest.ask({"type": "subscribe", "id": 1, "channel": "room:1"})
        assert (join["info"], g.service.asked[-1][2]) == ({"in": "room"}, "room:1")
        g.service.answer = Refusal(code="limit_exceeded", message="full")
        (error,) = await guest.ask({"type": "subscribe", "id": 1, "channel": "room:2"})
        assert (error["code"], error["message"]) == ("limit_exceeded", "full")


async def test_publishes_that_are_asked_about_stay_in_order_and_may_be_changed() -> None:
    async with guarded({"room": permitting("anyone", "user-owned hook")}, asks=True) as g:
        guest = g.come(make())
        await guest.ask()
        await guest.ask({"type": "subscribe", "id": 1, "channel": "room:1"})
        await guest.ask({"type": "subscribe", "id": 1, "channel": "room:ada"})
        g.service.answer = PublishVerdict(data=b'"changed"')
        g.service.may_answer.clear()
        guest.say(
            {"type": "publish", "id": 1, "channel": "room:1", "data": 1},
            {"type": "publish", "id": 2, "channel": "room:ada", "data": 2},
        )
        await settle()
        assert guest.heard() == []  # the second waits for the first
        g.service.may_answer.set()
        heard = await guest.ask()
        assert [e["id"] for e in heard if e["type"] == "reply"] == [1, 2]
        assert [e["data"] for e in heard if e["type"] == "message"] == ["changed", 2]


# -- revocation ----------------------------------------------------------------------------------


async def revoke_here(g: Guarded, kind: str, value: str) -> int:
    return await ServiceView(g.node, None).revoke(kind=kind, value=value, ttl_s=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "value"), [("token", "j-1"), ("login", "s-1"), ("user", "ada")])
async def test_revoked_clients_are_closed_and_refused_and_others_are_not(kind: str, value: str) -> None:
    async with guarded() as g:
        token = make(jti="j-1", sid="s-1")
        ada, bob = g.come(token), g.come(make(sub="bob", jti="j-2", sid="s-2"))
        await settle()
        assert await revoke_here(g, kind, value) == 1
        assert (ada.closes, bob.closes) == ([4001], [])
        assert g.come(token).closes == [4001]
        assert g.door.refusals == {"revoked": 1}
        assert g.come(make(sub="bob", jti="j-2", sid="s-2")).closes == []
        g.wall_s += 1
        newer = make(jti="j-3", sid="s-3", iat=NOW + 1)
        assert g.come(newer).closes == []  # who logs in again is welcome


async def test_revoked_token_neither_renews_nor_subscribes() -> None:
    async with guarded({"room": permitting("token")}) as g:
        guest = g.come(make())
        await revoke_here(g, "token", "bad")
        for command in (
            {"type": "connect", "id": 1, "token": make(jti="bad")},
            {"type": "subscribe", "id": 1, "channel": "room:1", "token": make(jti="bad", channel="room:1")},
        ):
            await guest.ask()
            (error,) = await guest.ask(command)
            assert error["code"] == "unauthorized"


async def test_revocation_is_forgotten_in_the_end() -> None:
    async with guarded() as g:
        await ServiceView(g.node, None).revoke(kind="token", value="j", ttl_s=60)  # type: ignore[arg-type]
        assert len(g.door.revocations) == 1
        await g.pass_time(61)
        assert len(g.door.revocations) == 0
        assert g.come(make(jti="j")).closes == []


async def test_node_reads_all_that_was_revoked_before_it_started_and_again_after_a_loss() -> None:
    async with guarded() as g:
        for number in range(2500):
            publication = g.node.make_publication(pack(entry(f"j-{number}")), binary=True)
            await g.broker.memory.publish(REVOCATIONS, publication, log_options(3600))
        await g.broker.memory.publish(
            REVOCATIONS, g.node.make_publication(b"no entry", binary=True), log_options(3600)
        )
        heard: list[str] = []
        log = RevocationLog(
            g.broker, ttl_s=3600, on_entry=lambda e: heard.append(e.value), spawn=g.node.spawn
        )
        assert log.behind
        await log.start()
        assert sorted(heard) == sorted(f"j-{number}" for number in range(2500))
        assert [log.behind] == [False]
        heard.clear()
        log.on_loss()
        await g.broker.flow()
        await settle(20)
        assert len(heard) == 2500


async def test_lost_entries_are_read_again() -> None:
    async with guarded() as g:
        guest = g.come(make(jti="j-1"))
        g.node.own_channels.clear()  # as if it did not come
        await g.broker.memory.publish(
            REVOCATIONS, g.node.make_publication(pack(entry("j-1")), binary=True), log_options(3600)
        )
        assert guest.closes == []
        g.node.own_channels[REVOCATIONS] = g.door.log
        g.node.on_position(REVOCATIONS, "e", 9)
        await settle()
        assert guest.closes == [4001]


async def test_log_that_cannot_be_read_is_read_later() -> None:
    async with guarded() as g:
        log = RevocationLog(Refusing(), ttl_s=3600, on_entry=lambda e: None, spawn=g.node.spawn)  # type: ignore[arg-type]
        log.sweep()
        await settle()
        assert log.behind


class Refusing:
    """A broker that cannot be reached."""

    async def subscribe(self, channel: str, options: object) -> None:
        raise BrokerUnavailableError("not now")


def entry(value: str) -> Revocation:
    return Revocation(RevokedKind.TOKEN, value, NOW * 1000, NOW * 1000 + 60_000)
