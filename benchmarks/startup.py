"""How long the command line takes to answer, against `python -c pass` on the same machine.

Every command is a fresh process, in rounds that take each command once, so that a busy moment of the
machine falls on all of them. Reported are medians, and medians of the ratio within a round.

    python benchmarks/startup.py [--rounds 15] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CROSSFADE = [sys.executable, "-m", "crossfade.cli.main"]
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "crossfade --version": [*CROSSFADE, "--version"],
    "crossfade --help": [*CROSSFADE, "--help"],
    "crossfade check": [*CROSSFADE, "check"],
    "crossfade status": [*CROSSFADE, "status"],
}
GOALS_MS = {"crossfade --version": 150.0, "crossfade --help": 200.0}
"""What the architecture asks for (`--version` under 150 ms), and a limit of our own for `--help`."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Cold start of the command line.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.rounds)
    if options.json:
        print(json.dumps({"rounds": options.rounds, "rows": rows}, indent=2))
        return
    print(f"{'command':22} {'median':>9} {'best':>9} {'× python':>9}   goal")
    for row in rows:
        goal = f"{row['goal_ms']:.0f} ms: {'met' if row['met'] else 'not met'}" if row["goal_ms"] else ""
        print(
            f"{row['command']:22} {row['median_ms']:6.0f} ms {row['best_ms']:6.0f} ms {row['ratio']:9.1f}   {goal}".rstrip()
        )


def measure(rounds: int) -> list[dict[str, object]]:
    """Take each command once in every round; one round before them warms the file cache."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*CROSSFADE, "init", "--name", "api"], cwd=folder, check=True, capture_output=True)
        for number in range(rounds + 1):
            for name, command in COMMANDS.items():
                seconds = once(command, Path(folder))
                if number:
                    taken[name].append(seconds)
    python = taken["python -c pass"]
    return [row(name, seconds, python) for name, seconds in taken.items()]


def once(command: list[str], folder: Path) -> float:
    """Seconds from starting the process to its end."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def row(name: str, seconds: list[float], python: list[float]) -> dict[str, object]:
    """One line of the table."""
    median = statistics.median(seconds) * 1000
    goal = GOALS_MS.get(name)
    return {
        "command": name,
        "median_ms": round(median, 1),
        "best_ms": round(min(seconds) * 1000, 1),
        "ratio": round(statistics.median(mine / theirs for mine, theirs in zip(seconds, python, strict=True)), 2),
        "goal_ms": goal,
        "met": None if goal is None else median <= goal,
    }


if __name__ == "__main__":
    main()
