"""Run every atheris harness of fuzz/ in turn, and say for each what it did.

    python scripts/fuzz.py SECONDS

The seconds are shared out evenly.  A harness starts from the seeds in fuzz/corpus/NAME, keeps what it
learns in build/fuzz/corpus/NAME, and leaves the input of a finding in build/fuzz/NAME-*.  Exit status 1 when
there was a finding, 2 when there is nothing to run.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(harness: Path, seconds: int) -> bool:
    """Fuzz with one harness for so many seconds; tell whether it found nothing."""
    findings = ROOT / "build" / "fuzz"
    corpus = findings / "corpus" / harness.stem
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "fuzz" / "corpus" / harness.stem
    command = [
        *(sys.executable, str(harness), str(corpus)),
        *([str(seeds)] if seeds.is_dir() else []),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={findings}/{harness.stem}-",
        *("-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    lines = (result.stderr + result.stdout).splitlines()
    if result.returncode:
        print("\n".join(lines[-60:]))
        print(f"{harness.stem}: FINDING (exit status {result.returncode}); its input is in {findings}")
        return False
    units = [line.split()[-1] for line in lines if "stat::number_of_executed_units" in line]
    print(f"{harness.stem}: no finding in {units[0] if units else '?'} runs, {seconds} s", flush=True)
    return bool(units) and int(units[0]) > 0


def main() -> int:
    """Run them all; the exit status."""
    harnesses = sorted(path for path in (ROOT / "fuzz").glob("*.py") if not path.name.startswith("_"))
    if not harnesses:
        print("there is no harness in fuzz/", file=sys.stderr)
        return 2
    seconds = max(1, int(sys.argv[1]) // len(harnesses))
    clean = [run(harness, seconds) for harness in harnesses]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
