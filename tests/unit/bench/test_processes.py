"""CPU time and memory from /proc."""

import os
import subprocess
import sys
import time

import pytest

from gateway.bench.processes import Meter, Usage, cpu_s, memory_bytes
from gateway.bench.target import BenchError


def burn(cpu_time_s: float) -> None:
    end_s = time.process_time() + cpu_time_s
    while time.process_time() < end_s:
        pass


def test_the_cpu_time_of_a_process_is_user_and_system_time() -> None:
    before_s = cpu_s(os.getpid())
    burn(0.1)
    assert 0.08 <= cpu_s(os.getpid()) - before_s <= 0.2


def test_a_meter_measures_from_its_last_restart_on() -> None:
    meter = Meter([os.getpid()])
    burn(0.1)
    meter.restart()
    burn(0.05)
    usage = meter.read()
    assert 0.05 <= usage.own_cpu_s < 0.1
    assert 0.02 <= usage.server_cpu_s < 0.1
    assert usage.wall_s >= 0.9 * usage.own_cpu_s


def test_memory_is_that_of_all_processes() -> None:
    one = memory_bytes(os.getpid())
    assert 1 << 20 < one < 1 << 32
    assert Meter([os.getpid(), os.getpid()]).memory_bytes() > 1.5 * one


def test_a_process_that_is_not_there_is_told() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(BenchError, match=f"process {child.pid} cannot be measured"):
        Meter([child.pid])


def test_shares_are_parts_of_the_time() -> None:
    usage = Usage(wall_s=2.0, server_cpu_s=3.0, own_cpu_s=1.0, own_waited_s=0.5)
    assert (usage.server_share, usage.own_share) == (1.5, 0.75)
    assert Usage(1.0, 0.0, 0.9, 0.9).own_share == 1.0
    assert Usage(0.0, 0.0, 0.0, 0.0).own_share == 0.0
