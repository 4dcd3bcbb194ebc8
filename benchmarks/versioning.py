"""`version` and `status` against @changesets/cli on the same generated repositories.

Each repository is a graph of ten layers: a package depends on up to five of the layer below, by caret ranges. Every
command is a whole process in a fresh copy of the repository, and the sides take turns within a round. CPU seconds are
those of the process and all that it starts, user and system; wall is what a person waits. Reported are medians.
What `version` writes is compared with what changesets has written, byte for byte: another result has no speed. The
floor is a process that writes and deletes the same files and does nothing else.

    python benchmarks/versioning.py [--rounds 3] [--sizes 100/50,1000/50] [--json]
"""

from __future__ import annotations

import argparse
import json
import marshal
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TOOLS = Path(__file__).parent.parent / ".tools" / "npm" / "node_modules"
CHANGESET = [str(TOOLS / ".bin" / "node"), str(TOOLS / "@changesets" / "cli" / "bin.js")]
CROSSFADE = [sys.executable, "-m", "crossfade.cli.main"]
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
FLOOR = """
import marshal, os, sys
with open(sys.argv[1], "rb") as file:
    changes = marshal.load(file)
for path, content in changes.items():
    if content is None:
        os.unlink(path)
        continue
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.write(handle, content)
    os.close(handle)
"""
THEIRS = "changesets 3"
THE_FLOOR = "the floor: its files"
SIDES: dict[str, dict[str, list[str]]] = {
    THEIRS: {"version": [*CHANGESET, "version"], "status": [*CHANGESET, "status"]},
    "crossfade, its library": {
        "version": [sys.executable, "-c", API, "version"],
        "status": [sys.executable, "-c", API, "status"],
    },
    "crossfade": {
        "version": [*CROSSFADE, "version"],
        "status": [*CROSSFADE, "change", "status"],
    },
    THE_FLOOR: {"version": [sys.executable, "-I", "-c", FLOOR, "../changes"]},
}
COMMANDS = ("status", "version")
SIZES = ((100, 50), (1000, 50), (1000, 500), (5000, 50))
GOALS = {(1000, 50): 10.0, (1000, 500): 40.0}
"""How many times less CPU than changesets `version` may take, at least."""
LAYERS = 10
Row = dict[str, Any]
Tree = dict[str, bytes]


class Taken(NamedTuple):
    """Seconds of one process and all that it starts: on the clock, and of the processor."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Versions against @changesets/cli.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", default=",".join(f"{packages}/{changesets}" for packages, changesets in SIZES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    require_tools()
    sizes = [tuple(map(int, size.split("/"))) for size in options.sizes.split(",")]
    rows = [row for packages, changesets in sizes for row in measure(packages, changesets, options.rounds)]
    if options.json:
        print(json.dumps({"rounds": options.rounds, "rows": rows}, indent=2))
    else:
        show(rows)


def require_tools() -> None:
    """End with a word where the other side is not installed."""
    for program in CHANGESET:
        if not Path(program).exists():
            sys.exit(f"{program} is not there: run `sh scripts/test-servers.sh`")


def show(rows: Sequence[Row]) -> None:
    print(f"{'packages/changesets':20} {'command':8} {'side':23} {'CPU s':>8} {'wall s':>8} {'× less CPU':>11}   goal")
    for row in rows:
        ratio = f"{row['ratio']:.1f}" if row["ratio"] else ""
        goal = f"≥ {row['goal']:.0f}: {'met' if row['met'] else 'not met'}" if row["goal"] else ""
        what = f"{row['size']:20} {row['command']:8} {row['side']:23}"
        print(f"{what} {row['cpu']:8.2f} {row['wall']:8.2f} {ratio:>11}   {goal}".rstrip())


def measure(packages: int, changesets: int, rounds: int) -> list[Row]:
    """Medians of each side and command at one size."""
    taken: dict[tuple[str, str], list[Taken]] = {}
    with tempfile.TemporaryDirectory() as folder:
        origin, copy = Path(folder) / "origin", Path(folder) / "copy"
        generate(origin, packages, changesets)
        before, written = tree(origin), Tree()
        for _ in range(rounds):
            for side, command in _rows():
                shutil.copytree(origin, copy, symlinks=True)
                taken.setdefault((side, command), []).append(once(SIDES[side][command], copy))
                if command == "version":
                    if not written:
                        written = tree(copy)
                        (Path(folder) / "changes").write_bytes(marshal.dumps(changes(before, written)))
                    require_same(side, written, tree(copy))
                shutil.rmtree(copy)
    return [row(side, command, (packages, changesets), taken) for side, command in _rows()]


def _rows() -> Iterator[tuple[str, str]]:
    return ((side, command) for command in COMMANDS for side in SIDES if command in SIDES[side])


def row(side: str, command: str, size: tuple[int, int], taken: Mapping[tuple[str, str], Sequence[Taken]]) -> Row:
    """One line of the table."""
    wall, cpu = medians(taken[side, command])
    ratio = None if side == THEIRS else medians(taken[THEIRS, command]).cpu / cpu
    goal = GOALS.get(size) if command == "version" and side not in {THEIRS, THE_FLOOR} else None
    return {
        "size": "/".join(map(str, size)),
        "command": command,
        "side": side,
        "cpu": cpu,
        "wall": wall,
        "ratio": ratio,
        "goal": goal,
        "met": None if goal is None or ratio is None else ratio >= goal,
    }


def medians(taken: Sequence[Taken]) -> Taken:
    return Taken(statistics.median(each.wall for each in taken), statistics.median(each.cpu for each in taken))


def once(command: Sequence[str], folder: Path, *, says: str = "", env: Mapping[str, str] | None = None) -> Taken:
    """What one process and its children take; the end of everything when it fails, or does not say `says`."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    said = done.stdout.decode(errors="replace")
    if done.returncode or says not in said:
        sys.exit(f"exit code {done.returncode}: {' '.join(command)[:300]}\n{said[-1500:]}")
    return Taken(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def tree(root: Path) -> Tree:
    """Every file but git's own, by its path."""
    folders = (folder for folder in root.iterdir() if folder.is_dir() and folder.name != ".git")
    files = [*root.iterdir(), *(path for folder in folders for path in folder.rglob("*"))]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}


def changes(before: Tree, after: Tree) -> dict[str, bytes | None]:
    """The files that differ, as they are afterwards; None for one that is gone."""
    return {path: after.get(path) for path in sorted({*before, *after}) if before.get(path) != after.get(path)}


def require_same(side: str, theirs: Tree, ours: Tree) -> None:
    """End where a side has written something else than changesets."""
    other = list(changes(theirs, ours))
    if other:
        sys.exit(f"{side} writes something else than {THEIRS}: {', '.join(other[:5])}")


def generate(
    root: Path, packages: int, changesets: int, *, scope: str = "@acme", files: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The same repository for the same arguments, with one commit; the versions of its packages by name.

    `files` are further ones, by their paths.
    """
    choose = random.Random(packages * 31 + changesets)
    layers: list[list[str]] = [[] for _ in range(LAYERS)]
    versions: dict[str, str] = {}
    for number in range(packages):
        layer, name = number * LAYERS // packages, f"{scope}/p{number:05}"
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
    write(root / "package.json", json.dumps({"name": "top", "private": True, "workspaces": ["packages/*"]}, indent=2))
    write(root / "package-lock.json", "{}\n")
    write(root / ".changeset" / "config.json", json.dumps({"baseBranch": "main", "access": "public"}))
    for number in range(changesets):
        bump = choose.choice(["patch", "patch", "minor", "major"])
        named = "".join(f'"{each}": {bump}\n' for each in choose.sample(list(versions), 2))
        write(root / ".changeset" / f"change-{number:04}.md", f"---\n{named}---\n\nChange number {number}.\n")
    for path, text in (files or {}).items():
        write(root / path, text)
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.test"]
    # Packed as a clone is, and by us: git would do it aside, while the repository is being copied.
    commit = [*author, "-c", "maintenance.auto=false", "commit", "-q", "-m", "start"]
    for given in (["init", "-q", "-b", "main"], ["add", "-A"], commit, ["gc", "-q"]):
        subprocess.run(["git", *given], cwd=root, check=True, capture_output=True)
    return versions


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()
