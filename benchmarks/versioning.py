"""`version` and `status` against @changesets/cli on the same generated repositories.

Each repository is a graph of ten layers: a package depends on up to five of the layer below, by caret ranges. Every
command is a whole process in a fresh copy of the repository. CPU seconds are those of the process and all that it
starts, user and system; wall is what a person waits. Reported are medians.

    python benchmarks/versioning.py [--rounds 3] [--sizes 100/50,1000/50] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / ".tools" / "npm" / "node_modules"
THEIRS = [str(TOOLS / ".bin" / "node"), str(TOOLS / "@changesets" / "cli" / "bin.js")]
API = """
import sys
from pathlib import Path
from crossfade.versioning.preparing import open_repository, prepare_status, prepare_version
from crossfade.versioning.writing import carry_out
if sys.argv[1] == "version":
    opened = open_repository(Path.cwd())
    carry_out(opened.repository.root, prepare_version(opened).work)
else:
    prepare_status(Path.cwd())
"""
SIDES: dict[str, dict[str, list[str]]] = {
    "changesets 3": {"version": [*THEIRS, "version"], "status": [*THEIRS, "status"]},
    "crossfade, its library": {
        "version": [sys.executable, "-c", API, "version"],
        "status": [sys.executable, "-c", API, "status"],
    },
    "crossfade": {
        "version": [sys.executable, "-m", "crossfade.cli.main", "version"],
        "status": [sys.executable, "-m", "crossfade.cli.main", "change", "status"],
    },
}
SIZES = ((100, 50), (1000, 50), (1000, 500), (5000, 50))
GOALS = {(1000, 50): 10.0, (1000, 500): 40.0}
"""How many times less CPU than changesets `version` may take, at least."""
LAYERS = 10
SLOW = 100_000
"""Packages times changesets from which changesets takes a minute or more, and is measured once."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Versions against @changesets/cli.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default=",".join(f"{packages}/{changesets}" for packages, changesets in SIZES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes = [tuple(map(int, size.split("/"))) for size in options.sizes.split(",")]
    rows = [row for packages, changesets in sizes for row in measure(packages, changesets, options.rounds)]
    if options.json:
        print(json.dumps({"rounds": options.rounds, "rows": rows}, indent=2))
        return
    print(f"{'packages/changesets':20} {'command':8} {'side':23} {'CPU s':>8} {'wall s':>8} {'× less CPU':>11}   goal")
    for row in rows:
        ratio = f"{row['ratio']:.1f}" if row["ratio"] else ""
        goal = f"≥ {row['goal']:.0f}: {'met' if row['met'] else 'not met'}" if row["goal"] else ""
        print(
            f"{row['size']:20} {row['command']:8} {row['side']:23} {row['cpu']:8.2f} {row['wall']:8.2f} {ratio:>11}   {goal}".rstrip()
        )


def measure(packages: int, changesets: int, rounds: int) -> list[dict[str, object]]:
    """Medians of each side and command; the sides take turns within a round."""
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        origin = Path(folder) / "origin"
        generate(origin, packages, changesets)
        for number in range(rounds):
            for side, commands in SIDES.items():
                for command in ("status", "version"):
                    if side == "changesets 3" and number and packages * changesets > SLOW:
                        continue
                    copy = Path(folder) / "copy"
                    shutil.copytree(origin, copy, symlinks=True)
                    taken.setdefault((command, side), []).append(once(commands[command], copy))
                    shutil.rmtree(copy)
    rows = []
    for command in ("status", "version"):
        theirs = statistics.median(cpu for cpu, _ in taken[command, "changesets 3"])
        for side in SIDES:
            cpu = statistics.median(cpu for cpu, _ in taken[command, side])
            wall = statistics.median(wall for _, wall in taken[command, side])
            ratio = theirs / cpu if side != "changesets 3" else None
            goal = GOALS.get((packages, changesets)) if command == "version" and ratio else None
            rows.append(
                {
                    "size": f"{packages}/{changesets}",
                    "command": command,
                    "side": side,
                    "cpu": cpu,
                    "wall": wall,
                    "ratio": ratio,
                    "goal": goal,
                    "met": goal is not None and ratio is not None and ratio >= goal,
                }
            )
    return rows


def once(command: list[str], folder: Path) -> tuple[float, float]:
    """CPU and wall seconds of one process and its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} failed: {(done.stderr or done.stdout).decode(errors='replace')[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def generate(root: Path, packages: int, changesets: int) -> None:
    """The same repository for the same size, with one commit."""
    choose = random.Random(packages * 31 + changesets)
    layers: list[list[str]] = [[] for _ in range(LAYERS)]
    versions: dict[str, str] = {}
    for number in range(packages):
        layer, name = number * LAYERS // packages, f"@acme/p{number:05}"
        below = layers[layer - 1] if layer else []
        versions[name] = f"{choose.randrange(1, 5)}.{choose.randrange(9)}.{choose.randrange(9)}"
        needed = choose.sample(below, min(5, len(below)))
        manifest = {
            "name": name,
            "version": versions[name],
            "dependencies": {each: f"^{versions[each]}" for each in needed},
        }
        layers[layer].append(name)
        write(root / "packages" / f"p{number:05}" / "package.json", json.dumps(manifest, indent=2) + "\n")
    names = [name for layer in layers for name in layer]
    write(root / "package.json", json.dumps({"name": "top", "private": True, "workspaces": ["packages/*"]}, indent=2))
    write(root / "package-lock.json", "{}\n")
    write(root / ".changeset" / "config.json", json.dumps({"baseBranch": "main"}))
    for number in range(changesets):
        bump = choose.choice(["patch", "patch", "minor", "major"])
        named = "".join(f'"{each}": {bump}\n' for each in choose.sample(names, 2))
        write(root / ".changeset" / f"change-{number:04}.md", f"---\n{named}---\n\nChange number {number}.\n")
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.test"]
    for given in (["init", "-q", "-b", "main"], ["add", "-A"], [*author, "commit", "-q", "-m", "start"]):
        subprocess.run(["git", *given], cwd=root, check=True, capture_output=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()
