"""The timers of a connection, in simulated time."""

from __future__ import annotations

from gateway.grip.control import KeepAlive, SendDelayed
from gateway.grip.tending import Tending
from tests.support.simulated import SimulatedTime


class Rig:
    def __init__(self) -> None:
        self.time = SimulatedTime()
        self.asked: list[float] = []
        self.said: list[tuple[float, int, bytes]] = []
        self.published_at = 0.0
        self.begun = self.time.loop.time()
        self.tending = Tending(
            self.time.loop,
            ask=lambda: self.asked.append(self.now),
            say=lambda opcode, payload: self.said.append((self.now, opcode, payload)),
            heard_at=lambda: self.published_at,
        )

    @property
    def now(self) -> float:
        return round(self.time.loop.time() - self.begun, 3)

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.time.advance(0.5)


async def test_a_request_is_due_when_there_was_none_for_the_interval() -> None:
    rig = Rig()
    rig.tending.rest()
    rig.wait(100)
    assert rig.asked == []
    rig.tending.every(20.0)
    rig.tending.rest()
    rig.wait(19.5)
    rig.tending.busy()
    rig.wait(30)
    rig.tending.every(None)
    rig.tending.rest()
    rig.wait(20)
    assert rig.asked == [169.5]
    rig.tending.every(0.0)
    rig.tending.rest()
    rig.wait(100)
    assert rig.asked == [169.5]


async def test_a_client_is_kept_company_when_nothing_else_comes() -> None:
    rig = Rig()
    rig.tending.tend(KeepAlive(content="x", timeout=10))
    rig.wait(6)
    rig.tending.spoke()
    rig.wait(6)
    rig.published_at = rig.time.loop.time()
    rig.wait(9.5)
    assert rig.said == []
    rig.wait(12)
    assert rig.said == [(22.0, 1, b"x"), (32.0, 1, b"x")]
    rig.tending.tend(KeepAlive())
    rig.wait(100)
    assert len(rig.said) == 2


async def test_an_interval_is_kept_whatever_else_comes() -> None:
    rig = Rig()
    rig.tending.tend(KeepAlive(content_bin="/w==", timeout=10, mode="interval"))
    for _ in range(25):
        rig.tending.spoke()
        rig.wait(1)
    assert rig.said == [(10.0, 2, b"\xff"), (20.0, 2, b"\xff")]


async def test_nothing_is_called_after_the_end() -> None:
    rig = Rig()
    rig.tending.every(5.0)
    rig.tending.rest()
    rig.tending.tend(KeepAlive(content="x", timeout=5))
    rig.tending.stop()
    rig.tending.rest()
    rig.tending.tend(KeepAlive(content="x", timeout=5))
    rig.wait(30)
    assert (rig.asked, rig.said) == ([], [])


async def test_without_a_service_only_the_client_is_tended() -> None:
    rig = Rig()
    rig.tending.every(5.0)
    rig.tending.rest()
    rig.tending.tend(KeepAlive(content="x", timeout=5))
    rig.tending.forget_service()
    rig.wait(6)
    assert (rig.asked, rig.said) == ([], [(5.0, 1, b"x")])


async def test_a_delayed_message_comes_once_later_or_before_the_next() -> None:
    rig = Rig()
    rig.tending.delay(SendDelayed(content="one", timeout=2))
    rig.wait(3)
    assert rig.said == [(2.0, 1, b"one")]
    rig.tending.delay(SendDelayed(content="two", timeout=9))
    rig.tending.delay(SendDelayed(content="three", message_type="binary", timeout=9))
    assert rig.said[1:] == [(3.0, 1, b"two")]
    rig.tending.flush()
    rig.tending.flush()
    rig.wait(20)
    assert rig.said[2:] == [(3.0, 2, b"three")]
    rig.tending.delay(SendDelayed(content="four", timeout=2))
    rig.tending.stop()
    rig.wait(5)
    assert len(rig.said) == 3
