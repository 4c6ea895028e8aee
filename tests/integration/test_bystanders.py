"""An app service that is ill is nobody else's trouble: the short form of `python -m bench.bystanders`."""

from __future__ import annotations

from bench.bystander_load import MEASURES
from bench.bystanders import PATIENT, town

SECONDS = 0.8
ILLNESSES = ("hang", "flood", "reset")
TIMES, MORE_US = 5.0, {"p50": 500_000.0, "p99": 1_000_000.0}  # a busy machine adds what it likes


async def test_bystanders_notice_nothing_of_a_service_that_is_ill() -> None:
    async with town(upstream=PATIENT) as there:
        for illness in ILLNESSES:
            well = await there.measure("well", SECONDS)
            ill = await there.measure(illness, SECONDS)
            assert set(there.answers) <= {"", "unavailable", "timeout"}, illness
            for name in MEASURES:
                assert ill[name]["count"], (illness, name)
                for at, more in MORE_US.items():
                    assert ill[name][at] < TIMES * well[name][at] + more, (illness, name, well, ill)
            assert there.lost == 0, f"{illness}: a connection ended"
        await there.measure("well", SECONDS)
        assert there.answers[""]
