"""Where key sets come from: answers bounded in size and time, no redirects, and what there was stays."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.auth.fetching import FetchFailedError, fetch
from gateway.auth.jwks import MAX_BYTES, JwksOptions, KeySet
from tests.support.tokens import jwk

Serve = Callable[[list[bytes], float], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what serves one answer, in pieces with a pause behind each, and returns its URL."""
    with contextlib.ExitStack() as stack:

        def start(pieces: list[bytes], pause_s: float = 0.0) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listening.settimeout(10)

            def answer() -> None:
                with contextlib.suppress(OSError), listening.accept()[0] as peer:
                    peer.settimeout(10)
                    peer.recv(65536)
                    for piece in pieces:
                        peer.sendall(piece)
                        time.sleep(pause_s)

            thread = threading.Thread(target=answer)
            thread.start()
            stack.callback(thread.join)
            return f"http://127.0.0.1:{listening.getsockname()[1]}/jwks"

        yield start


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)], ids=["as large as may be", "a byte more"])
def test_answer_is_read_to_the_bound_and_not_a_byte_further(serve: Serve, more: int, fits: bool) -> None:
    url = serve([HEAD, b"x" * (100_000 + more)], 0.0)
    if fits:
        assert fetch(url, most_bytes=100_000, timeout_s=10) == b"x" * 100_000
    else:
        with pytest.raises(FetchFailedError, match="larger than 100000 bytes"):
            fetch(url, most_bytes=100_000, timeout_s=10)


def test_answer_that_trickles_is_given_up_in_time(serve: Serve) -> None:
    url = serve([HEAD, *[b"x"] * 50], 0.05)
    begun = time.monotonic()
    with pytest.raises(FetchFailedError, match="in time"):
        fetch(url, most_bytes=1000, timeout_s=0.3)
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("status", [b"302 Found\r\nLocation: http://127.0.0.1:1/", b"500 Oops", b"204 None"])
def test_any_answer_but_200_is_none(serve: Serve, status: bytes) -> None:
    url = serve([b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"], 0.0)
    with pytest.raises(FetchFailedError, match=f"status {status[:3].decode()}"):
        fetch(url, most_bytes=1000, timeout_s=10)


async def test_file_that_is_too_large_or_gone_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    good = json.dumps({"keys": [jwk("rsa", kid="one")]}).encode()
    keys = KeySet(
        f"file:{file}", JwksOptions(algorithms=frozenset({"RS256"}), cooldown_s=0.0), clock=time.monotonic
    )
    file.write_bytes(good + b" " * (MAX_BYTES - len(good)))
    assert await keys.refresh()
    assert set(keys.ring.by_kid) == {"one"}
    file.write_bytes(json.dumps({"keys": [jwk("rsa", kid="two")]}).encode() + b" " * MAX_BYTES)
    assert not await keys.refresh()
    file.unlink()
    assert not await keys.refresh()
    assert (set(keys.ring.by_kid), keys.failures) == ({"one"}, 2)
