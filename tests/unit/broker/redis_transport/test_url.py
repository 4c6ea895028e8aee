"""URLs of Redis: what is understood, and what is said about the rest."""

from __future__ import annotations

import pytest

from gateway.broker.redis.options import Address, Login, Tls
from gateway.broker.redis.url import RedisUrl, parse_url
from gateway.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", RedisUrl("single", (Address("localhost", 6379),), Login())),
        ("redis://h:1/3", RedisUrl("single", (Address("h", 1),), Login("", "", 3))),
        ("redis://h?db=4", RedisUrl("single", (Address("h", 6379),), Login("", "", 4))),
        ("redis://:pw@h", RedisUrl("single", (Address("h", 6379),), Login("", "pw"))),
        ("redis://me:p%40%2F%3A@h", RedisUrl("single", (Address("h", 6379),), Login("me", "p@/:"))),
        ("redis://me:a@b@h", RedisUrl("single", (Address("h", 6379),), Login("me", "a@b"))),
        ("redis://[::1]:7", RedisUrl("single", (Address("::1", 7),), Login())),
        ("redis://[::1]", RedisUrl("single", (Address("::1", 6379),), Login())),
        ("rediss://h", RedisUrl("single", (Address("h", 6379),), Login(), Tls())),
        (
            "rediss://h?ca=/a%20b&cert=c&key=k&verify=ca",
            RedisUrl("single", (Address("h", 6379),), Login(), Tls("/a b", "c", "k", "ca")),
        ),
        ("unix:///run/r.sock", RedisUrl("single", (Address("/run/r.sock", 0),), Login())),
        ("unix:///a@b/s", RedisUrl("single", (Address("/a@b/s", 0),), Login())),
        ("unix://u:p@/s?db=2", RedisUrl("single", (Address("/s", 0),), Login("u", "p", 2))),
        (
            "redis+sentinel://:p@a,b:7/mine?db=1&sentinel_user=s&sentinel_password=t",
            RedisUrl(
                "sentinel",
                (Address("a", 26379), Address("b", 7)),
                Login("", "p", 1),
                None,
                "mine",
                Login("s", "t"),
            ),
        ),
        ("redis+cluster://a,b:7", RedisUrl("cluster", (Address("a", 6379), Address("b", 7)), Login())),
        ("rediss+cluster://a", RedisUrl("cluster", (Address("a", 6379),), Login(), Tls())),
        ("redis://h#eu-1", RedisUrl("single", (Address("h", 6379),), Login(), given_name="eu-1")),
    ],
)
def test_url_understood(url: str, expected: RedisUrl) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "has to begin with one of redis://"),
        ("http://h", "has to begin with one of redis://"),
        ("redis:h", "has to begin with one of redis://"),
        ("redis://", "a host is missing"),
        ("redis://:6379", "a host is missing"),
        ("redis://h:", "the port has to be a number"),
        ("redis://h:x", "the port has to be a number"),
        ("redis://h:0", "from 1 to 65535"),
        ("redis://h:65536", "from 1 to 65535"),
        ("redis://h/x", "the database has to be a number"),
        ("redis://h/-1", "the database has to be a number"),
        ("redis://h/1?db=2", "the database stands there twice"),
        ("redis://h?db=1&db=2", "db stands there twice"),
        ("redis://a,b", "more than one host"),
        ("redis://::1", "as [::1]:6379"),
        ("redis://[::1", "as [::1]:6379"),
        ("redis://[::1]x", "as [::1]:6379"),
        ("redis://secret@h", "a user without a password"),
        ("redis://me:@h", "a user without a password"),
        ("redis://me:se/cret@h", "write it as %2F"),
        ("redis://me:se?cret@h", "write it as %3F"),
        ("redis://me:se#cret@h", "is %23"),
        ("redis://h?ca=x", "is for TLS"),
        ("redis://h?colour=red", "there is no option 'colour' here; there is db"),
        ("redis://h?db", "name=value"),
        ("rediss://h?verify=maybe", "full, ca or none"),
        ("rediss://h?key=k", "key is there without cert"),
        ("redis+sentinel://h", "the name of the master is missing"),
        ("redis+sentinel://h/a/b", "the name of the master is missing"),
        ("redis+sentinel://h/m?sentinel_user=u", "sentinel_user is there without sentinel_password"),
        ("redis+sentinel://h,/m", "a host is missing"),
        ("redis+cluster://h/1", "has no databases"),
        ("redis+cluster://h?db=1", "there is no option 'db' here; there is none"),
        ("unix://run/r.sock", "has to begin with '/'"),
        ("unix:///", "has to begin with '/'"),
    ],
)
def test_url_wrong_says_why_in_one_line(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_url_name_has_no_credentials() -> None:
    assert parse_url("redis://me:secret@h:1/2").name == "h:1"
    assert parse_url("redis+sentinel://me:secret@a,b/m").name == "m@a:26379,b:26379"
    assert parse_url("unix://me:secret@/s").name == "unix:/s"
    assert parse_url("redis://me:secret@h#eu").name == "eu"
    assert "secret" not in repr(parse_url("redis+sentinel://me:secret@a/m?sentinel_password=secret"))
