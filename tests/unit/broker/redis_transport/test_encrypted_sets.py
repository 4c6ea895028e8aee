"""Sentinels and a Cluster with TLS, host names, and passwords of their own: real servers, real certificates.

The certificate names `localhost` and no address, so a connection with `verify=full` shows that the name was
used, and not the address behind it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from gateway.broker.redis.slots import slot_of
from gateway.errors import BrokerUnavailableError
from tests.support.redis_servers import RedisServer, TlsFiles
from tests.support.redis_sets import RedisCluster, SentinelSet
from tests.support.redis_shards import COUNT, Recorder, run_until_done, shard_of, until
from tests.unit.broker.redis_transport.conftest import StartShard

NAME = "localhost"
OF_REDIS, OF_SENTINELS = "of-redis", "of-sentinels"
LEAST = "gate on >geheim +sentinel|master +client|setname"
"""What a gateway does at a Sentinel, as its configuration says after `user`."""


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """An authority, and a certificate for the host name alone."""
    authority = trustme.CA()
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    issued = authority.issue_cert(NAME)
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    return ca, cert, key


async def refusal(url: str) -> str:
    """Return why a shard does not start."""
    with pytest.raises(BrokerUnavailableError) as caught:
        await shard_of(url).start(Recorder())
    return str(caught.value)


async def test_sentinels_with_tls_host_names_and_logins_of_their_own(
    tmp_path: Path, start_shard: StartShard, files: TlsFiles
) -> None:
    with SentinelSet(
        tmp_path,
        tls=files,
        host=NAME,
        password=OF_REDIS,
        sentinel_password=OF_SENTINELS,
        sentinel_options=[("user", LEAST)],
    ) as redis:
        ca = f"ca={files[0]}"
        login = "sentinel_user=gate&sentinel_password=geheim"
        shard, recorder = await start_shard(f"{redis.url}?{ca}&{login}")
        shard.subscribe([b"room"])
        await until(lambda: recorder.subscribed, "the subscription")
        assert await shard.run(COUNT, [b"k"], [], writes=True) == 1

        before = redis.master
        before.kill()
        redis.wait_promoted(before)
        await run_until_done(shard, COUNT, b"k")
        await until(lambda: recorder.subscribed and shard.connected, "the subscription anew")
        redis.master.ask("PUBLISH", "room", "after")
        await until(lambda: recorder.messages[-1:] == [(b"room", b"after")], "the message")

        by_default, _ = await start_shard(f"{redis.url}?{ca}&sentinel_password={OF_SENTINELS}")
        assert by_default.connected
        assert "wants a user and password" in await refusal(f"{redis.url}?{ca}")
        wrong = await refusal(f"{redis.url}?{ca}&sentinel_user=gate&sentinel_password={OF_REDIS}")
        assert "does not accept this user and password" in wrong
        assert OF_REDIS not in wrong
        assert "certificate is not valid here" in await refusal(f"{redis.url}?{login}")


def slots_say(server: RedisServer, host: bytes) -> bool:
    """Tell whether every server stands under a host in a member's map."""
    return all(node[0] == host for row in server.ask("CLUSTER", "SLOTS") for node in row[2:])


async def test_cluster_with_tls_and_host_names(
    tmp_path: Path, start_shard: StartShard, files: TlsFiles
) -> None:
    named = [("cluster-preferred-endpoint-type", "hostname")]
    with RedisCluster(
        tmp_path, replicas=True, tls=files, host=NAME, password=OF_REDIS, options=named
    ) as redis:
        url, slot = f"{redis.url}?ca={files[0]}", 16383
        shard, recorder = await start_shard(url)
        keys = [b"k%d" % n for n in range(40)]
        for key in keys:
            assert await shard.run(COUNT, [key], [], writes=True) == 1
        shard.subscribe(keys)
        await until(lambda: recorder.subscribed == set(keys), "the subscriptions")
        assert set(shard.servers()) == {f"{NAME}:{server.tls_port}" for server in redis.servers[:3]}

        target = redis.servers[0]
        redis.move(slot, target)  # the answer is MOVED, with a name
        key = next(b"%d" % n for n in range(10**6) if slot_of(b"%d" % n) == slot)
        assert await shard.run(COUNT, [key], [], writes=True) == 1

        before = redis.servers[1]
        before.kill()
        redis.wait_promoted(slot // 2, before)
        for each in keys:
            await run_until_done(shard, COUNT, each)
        await until(lambda: shard.connected and recorder.subscribed == set(keys), "all of it anew")

        for server in redis.running:
            server.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")
        assert "certificate is not valid here" in await refusal(url)
        shard, _ = await start_shard(f"{url}&verify=ca")
        assert f"127.0.0.1:{target.tls_port}" in shard.servers()
        for server in redis.running:  # no names any more: "?", and the address besides
            server.ask("CONFIG", "SET", "cluster-announce-hostname", "")
            server.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
        await until(lambda: all(slots_say(server, b"?") for server in redis.running), "names to be forgotten")
        shard, _ = await start_shard(f"{url}&verify=ca")
        assert f"127.0.0.1:{target.tls_port}" in shard.servers()
        for server in redis.running:
            server.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint")
        shard, _ = await start_shard(url)
        assert f"{NAME}:{target.tls_port}" in shard.servers(), "the host that was asked"
