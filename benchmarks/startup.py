"""How long the command line takes to answer, against `python -c pass` on the same machine.

Every command is a fresh process, in rounds that take each command once, so that a busy moment of the
machine falls on all of them. Reported are the processor's time (user and system), which others on the machine disturb
least, and the time on the clock; medians, and the median of the ratio within a round.

    python benchmarks/startup.py [--rounds 15] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CROSSFADE = [sys.executable, "-m", "crossfade.cli.main"]
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "crossfade --version": [*CROSSFADE, "--version"],
    "crossfade --help": [*CROSSFADE, "--help"],
    "crossfade check": [*CROSSFADE, "check"],
    "crossfade status": [*CROSSFADE, "status"],
    "crossfade why": [*CROSSFADE, "why"],
    "crossfade history": [*CROSSFADE, "history"],
}
GOALS_MS = {
    "crossfade --version": 150.0,
    "crossfade --help": 200.0,
    "crossfade check": 200.0,
    "crossfade status": 200.0,
}
"""What the architecture asks for (`--version` under 150 ms), and limits of our own for the rest; by the processor's time."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Cold start of the command line.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.rounds)
    if options.json:
        print(json.dumps({"rounds": options.rounds, "rows": rows}, indent=2))
        return
    print(f"{'command':22} {'cpu':>9} {'best':>9} {'× python':>9} {'clock':>9}   goal")
    for row in rows:
        goal = f"{row['goal_ms']:.0f} ms: {'met' if row['met'] else 'not met'}" if row["goal_ms"] else ""
        figures = f"{row['cpu_ms']:6.0f} ms {row['best_cpu_ms']:6.0f} ms {row['ratio']:9.1f} {row['median_ms']:6.0f} ms"
        print(f"{row['command']:22} {figures}   {goal}".rstrip())


def measure(rounds: int) -> list[dict[str, object]]:
    """Take each command once in every round; one round before them warms the file cache."""
    taken: dict[str, list[Taken]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*CROSSFADE, "init", "--name", "api"], cwd=folder, check=True, capture_output=True)
        for number in range(rounds + 1):
            for name, command in COMMANDS.items():
                each = once(command, Path(folder))
                if number:
                    taken[name].append(each)
    python = taken["python -c pass"]
    return [row(name, times, python) for name, times in taken.items()]


class Taken(NamedTuple):
    """Seconds of one process: by the clock, and of the processor."""

    clock: float
    cpu: float


def once(command: list[str], folder: Path) -> Taken:
    """What a process takes from its start to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}")
    return Taken(took, used.ru_utime + used.ru_stime)


def row(name: str, taken: list[Taken], python: list[Taken]) -> dict[str, object]:
    """One line of the table."""
    cpu = statistics.median(each.cpu for each in taken) * 1000
    goal = GOALS_MS.get(name)
    ratios = (mine.cpu / theirs.cpu for mine, theirs in zip(taken, python, strict=True))
    return {
        "command": name,
        "cpu_ms": round(cpu, 1),
        "best_cpu_ms": round(min(each.cpu for each in taken) * 1000, 1),
        "median_ms": round(statistics.median(each.clock for each in taken) * 1000, 1),
        "best_ms": round(min(each.clock for each in taken) * 1000, 1),
        "ratio": round(statistics.median(ratios), 2),
        "goal_ms": goal,
        "met": None if goal is None else cpu <= goal,
    }


if __name__ == "__main__":
    main()
