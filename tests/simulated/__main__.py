"""Run simulated seeds by the thousand: `python -m tests.simulated --seeds 10000`, also as `make simulate`.

Each seed is one run with each set of faults in turn.  Prints the rate, and every seed in which something was
broken, with the command that repeats it; ends with status 1 if there was one.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence

from tests.simulated.runs import FAULTS, STEPS, simulate

Job = tuple[int, str, int]
_SHOWN = 5


def run_one(job: Job) -> tuple[Job, list[str]]:
    """Return what was broken in a run; an exception counts as that."""
    seed, faults, steps = job
    try:
        return job, simulate(seed, faults, steps=steps)
    except Exception as problem:  # noqa: BLE001 - told with its seed, and the others go on
        return job, [f"{type(problem).__name__}: {problem}"]


def prepare() -> None:
    """Make a process fit for many runs: no log lines, and the modules are not looked at again as garbage."""
    logging.disable(logging.CRITICAL)
    gc.freeze()
    gc.set_threshold(50_000)


def results(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, list[str]]]:
    """Yield the outcome of every job."""
    if processes <= 1:
        prepare()
        yield from map(run_one, jobs)
        return
    with multiprocessing.get_context("fork").Pool(processes, prepare) as pool:
        yield from pool.imap_unordered(run_one, jobs, chunksize=20)


def main() -> int:
    """Run what the command line says; return the status of the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulated", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many runs (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of a run ({STEPS})")
    parser.add_argument("--faults", help="letters of faults, for all runs (each set in turn)")
    options = parser.parse_args()
    sets = FAULTS if options.faults is None else (options.faults,)
    seeds = range(options.first, options.first + options.seeds)
    jobs = [(seed, sets[seed % len(sets)], options.steps) for seed in seeds]
    began_s, cpu_s, broken = time.perf_counter(), time.process_time(), 0
    for (seed, faults, steps), found in results(jobs, options.jobs):
        if found:
            broken += 1
            print(f"seed {seed} with faults {faults!r}:", *found[:_SHOWN], sep="\n    ")
            print(f"    again: --seeds 1 --first {seed} --faults '{faults}' --steps {steps}", flush=True)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    rate = f"{len(jobs)} seeds in {took_s:.1f} s, {60 * len(jobs) / took_s:.0f} a minute"
    own = f"; {60 * len(jobs) / cpu_s:.0f} in a minute of CPU time" if options.jobs <= 1 else ""
    print(f"{rate} with {options.jobs} process(es){own}; broken: {broken}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
