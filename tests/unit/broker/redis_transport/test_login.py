"""How a shard gets in: passwords, databases, Unix sockets, TLS; and what is said when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from gateway.broker.redis.options import RedisOptions
from gateway.errors import BrokerUnavailableError, ConfigError
from tests.support.fake_redis import FakeRedis, bulk
from tests.support.redis_servers import RedisServer, free_port
from tests.support.redis_shards import COUNT, ECHO, Recorder, shard_of, until
from tests.unit.broker.redis_transport.conftest import StartShard

AWKWARD = "s3cret/@:"


async def refusal(url: str) -> str:
    """What the first attempt says when it fails; nothing is left connected."""
    shard = shard_of(url, RedisOptions(connect_timeout_s=0.5, command_timeout_s=0.5))
    with pytest.raises(BrokerUnavailableError) as caught:
        await shard.start(Recorder())
    assert not shard.connected
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_password_user_and_database(tmp_path: Path, start_shard: StartShard) -> None:
    with RedisServer(tmp_path, password=AWKWARD, unix_socket=True) as server:
        server.ask("ACL", "SETUSER", "gate", "on", ">geheim", "~*", "&*", "+@all")
        server.ask("ACL", "SETUSER", "poor", "on", ">geheim", "~*", "&*", "+@all", "-info")
        host = f"127.0.0.1:{server.port}"
        encoded = "s3cret%2F%40%3A"
        urls = [
            f"redis://:{encoded}@{host}/5",
            f"redis://default:{encoded}@{host}?db=5",
            f"redis://gate:geheim@{host}/5",
            f"unix://gate:geheim@{server.socket_path}?db=5",
        ]
        for number, url in enumerate(urls, 1):
            shard, recorder = await start_shard(url)
            assert await shard.run(COUNT, [b"k"], [], writes=True) == number, "all count in database 5"
            shard.subscribe([b"room"])
            await until(recorder.subscribed.copy, "the subscription")
        assert "wants a user and password" in await refusal(f"redis://{host}")
        wrong = await refusal(f"redis://gate:wrong-one@{host}")
        assert "does not accept this user and password" in wrong
        assert "wrong-one" not in wrong
        assert "ACL forbids a command that is needed" in await refusal(f"redis://poor:geheim@{host}")
        assert "DB index is out of range" in await refusal(f"redis://gate:geheim@{host}/99")


async def test_tls(tmp_path: Path, start_shard: StartShard) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    ca, other_ca, cert, key = (tmp_path / name for name in ("ca", "other", "cert", "key"))
    authority.cert_pem.write_to_path(ca)
    stranger.cert_pem.write_to_path(other_ca)
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    with RedisServer(tmp_path, tls=(ca, cert, key)) as server:
        there, elsewhere = f"rediss://127.0.0.1:{server.tls_port}", f"rediss://localhost:{server.tls_port}"
        for url in (
            f"{there}?ca={ca}",
            f"{there}?ca={ca}&cert={cert}&key={key}",
            f"{elsewhere}?ca={ca}&verify=ca",
            f"{elsewhere}?verify=none",
        ):
            shard, recorder = await start_shard(url)
            assert await shard.run(ECHO, [b"k"], [b"x" * 100_000], writes=False) == b"x" * 100_000
            shard.subscribe([b"room"])
            await until(recorder.subscribed.copy, "the subscription")
        assert "certificate is not valid here" in await refusal(f"{there}?ca={other_ca}")
        assert "certificate is not valid here" in await refusal(f"{elsewhere}?ca={ca}")
        assert "certificate is not valid here" in await refusal(f"{elsewhere}?ca={other_ca}&verify=ca")
        assert "certificate is not valid here" in await refusal(there)
        server.ask("CONFIG", "SET", "tls-auth-clients", "yes")
        await refusal(f"{there}?ca={ca}")
        await refusal(f"redis://127.0.0.1:{server.tls_port}")
        assert "does this port speak TLS" in await refusal(f"rediss://127.0.0.1:{server.port}?ca={ca}")
        (tmp_path / "junk").write_text("junk")
        for query, complaint in (
            (f"ca={tmp_path}/none", "cannot read"),
            (f"ca={tmp_path}/junk", "holds no certificate"),
            (f"cert={tmp_path}/junk", "do not make a certificate"),
            (f"cert={cert}", "do not make a certificate"),
            (f"cert={cert}&key={tmp_path}/none", "cannot read"),
        ):
            with pytest.raises(ConfigError, match=complaint):
                shard_of(f"{there}?{query}")


async def test_nobody_there(tmp_path: Path) -> None:
    assert "Connection refused" in await refusal(f"redis://127.0.0.1:{free_port()}")
    assert "No such file" in await refusal(f"unix://{tmp_path}/none")
    assert "cannot connect" in await refusal("redis://no-such-host.invalid")


@pytest.mark.parametrize("silent_to", [b"CLIENT", b"INFO"])
async def test_nobody_answers(fake: FakeRedis, silent_to: bytes) -> None:
    fake.answer = lambda command: None if command[0] == silent_to else fake.agree(command)
    assert "within 0.5 s" in await refusal(fake.url)
    await until(lambda: not fake.writers, "every connection to be closed")


@pytest.mark.parametrize(
    ("info", "complaint"),
    [
        (b"+OK\r\n", "does not answer INFO as Redis does"),
        (bulk(b"hello"), "does not answer INFO as Redis does"),
        (bulk(b"run_id:1\r\nrole:slave\r\n"), "it is a replica"),
        (bulk(b"run_id:1\r\nrole:master\r\nloading:1\r\n"), "it is loading its data"),
        (bulk(b"run_id:1\r\nrole:master\r\nredis_mode:sentinel\r\n"), r"write redis+sentinel://"),
        (bulk(b"run_id:1\r\nrole:master\r\nredis_mode:cluster\r\n"), r"write redis+cluster://"),
    ],
)
async def test_server_of_the_wrong_kind_is_refused(fake: FakeRedis, info: bytes, complaint: str) -> None:
    fake.answer = lambda command: info if command[0] == b"INFO" else fake.agree(command)
    assert complaint in await refusal(fake.url)
    await until(lambda: not fake.writers, "every connection to be closed")


async def test_web_server_is_refused(fake: FakeRedis) -> None:
    fake.raw = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert "does not speak RESP" in await refusal(fake.url)
    assert "TLS failed" in await refusal(fake.url.replace("redis:", "rediss:"))
