"""On repositories made up from seeds we leave what the real changesets leaves: every file, and whether it failed."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from changesets_sides import WHO, ours, theirs, tree
from generated_repositories import Maker

from crossfade.versioning.preparing import open_repository, prepare_version
from crossfade.versioning.writing import carry_out

CASES = 330
FIRST = 20_000


@pytest.fixture(scope="module")
def node_modules() -> Path:
    return Path(__file__).parents[2] / ".tools" / "npm" / "node_modules"


def test_trees_and_failures_are_those_of_the_real_one(
    require: Callable[[str], Path], node_modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("changeset")
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    cases = [Maker(seed).case() for seed in range(FIRST, FIRST + CASES)]
    expected = theirs(require("node"), node_modules, cases, tmp_path / "theirs")
    outcomes: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []
    for case, their_steps in zip(cases, expected, strict=True):
        our_steps = ours(case, tmp_path / "ours")
        for step, their, our in zip(case.steps, their_steps, our_steps, strict=True):
            outcomes[step["do"], their["code"]] += 1
            wrong += [f"{case.name}: {step['do']}: {fault}" for fault in differences(their, our)]
        shutil.rmtree(tmp_path / "ours" / case.name)
        shutil.rmtree(tmp_path / "theirs" / case.name)
    assert not wrong, "\n".join(wrong)
    # The made-up repositories are worth something only if they bring versions, prereleases and failures of each kind.
    assert outcomes["version", 0] > CASES / 2
    assert outcomes["pre", 0] > CASES / 4
    assert min(outcomes["version", 1], outcomes["pre", 1], outcomes["status", 0], outcomes["status", 1]) >= 5


def test_the_program_itself_leaves_the_same(require: Callable[[str], Path], tmp_path: Path) -> None:
    """The other test calls the commands inside one process; this one starts the program as people do."""
    program = require("changeset")
    maker = Maker(7)
    maker.repository()
    name = maker.packages[0].name
    files = {
        **maker.files,
        ".changeset/config.json": '{"privatePackages": true, "format": false}',
        ".changeset/calm-canary-returns.md": f'---\n"{name}": minor\n---\n\nNew.\n',
    }
    for side in ("theirs", "ours"):
        for path, text in files.items():
            (tmp_path / side / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / side / path).write_bytes(text.encode())
    done = subprocess.run([program, "version"], cwd=tmp_path / "theirs", capture_output=True, check=False)
    prepared = prepare_version(open_repository(tmp_path / "ours"))
    carry_out(tmp_path / "ours", prepared.work)
    assert (done.returncode, prepared.exit_code) == (0, 0)
    assert tree(tmp_path / "ours") == tree(tmp_path / "theirs")
    assert tree(tmp_path / "ours").keys() != files.keys()


def differences(their: dict[str, Any], our: dict[str, Any]) -> list[str]:
    """What differs after one step, in words."""
    found = [
        f"{what}: theirs {their[what]!r}, ours {our[what]!r}"
        for what in ("code", "said", "head")
        if their.get(what) != our.get(what)
    ]
    if "code" in "".join(found):
        found.append(f"theirs said {their['error']!r}, ours {our['error']!r}")
    left, right = their.get("tree") or {}, our.get("tree") or {}
    found += [
        f"{path}: theirs {left.get(path)!r}, ours {right.get(path)!r}"
        for path in sorted({*left, *right})
        if left.get(path) != right.get(path)
    ]
    return found
