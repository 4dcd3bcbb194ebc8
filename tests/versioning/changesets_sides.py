"""The same steps on two sides: by the real changesets, and by us."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from generated_repositories import Case

from crossfade.core.errors import CrossfadeError
from crossfade.versioning.coverage import as_changesets_json
from crossfade.versioning.preparing import enter_pre, exit_pre, open_repository, prepare_status, prepare_version
from crossfade.versioning.values import Snapshot
from crossfade.versioning.writing import Work, carry_out

PEER = Path(__file__).parent / "changesets_peer.mjs"
WHO = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.test",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.test",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def theirs(
    node: Path, modules: Path, cases: list[Case], folder: Path, processes: int = 2
) -> list[list[dict[str, Any]]]:
    """What the real changesets leaves after every step; cases are shared between some processes."""
    folder.mkdir(parents=True)
    running = []
    for number in range(processes):
        share = [
            {"root": str(folder / case.name), "git": case.git, "steps": [_sent(step) for step in case.steps]}
            for case in cases[number::processes]
        ]
        asked, answered = folder / f"cases-{number}.json", folder / f"results-{number}.json"
        asked.write_text(json.dumps(share))
        command = [str(node), str(PEER), str(modules), str(asked), str(answered)]
        running.append((subprocess.Popen(command, env={**os.environ, **WHO}, stdin=subprocess.DEVNULL), answered))
    results: list[list[dict[str, Any]]] = [[] for _ in cases]
    for number, (process, answered) in enumerate(running):
        assert process.wait(280) == 0
        results[number::processes] = json.loads(answered.read_text())
    return results


def ours(case: Case, folder: Path) -> list[dict[str, Any]]:
    """What we leave after every step."""
    root = folder / case.name
    root.mkdir(parents=True)
    told = []
    for step in case.steps:
        result: dict[str, Any] = {"code": 0, "said": None, "error": None}
        try:
            result["said"], result["code"] = _carry_out(root, step)
        except CrossfadeError as error:
            result["code"], result["error"] = 1, str(error)
        if step["do"] not in {"write", "git"}:
            result["tree"] = tree(root)
        if case.git:
            result["head"] = _git(root, "log", "-1", "--format=%B%T")
        told.append(result)
    return told


def tree(root: Path) -> dict[str, str]:
    """Every file below `root` but git's own, by its path, byte for byte."""
    return {
        str(path.relative_to(root)): path.read_bytes().decode("latin1")
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def _sent(step: dict[str, Any]) -> dict[str, Any]:
    if step["do"] != "write":
        return step
    return {**step, "files": {name: text.encode().decode("latin1") for name, text in step["files"].items()}}


def _carry_out(root: Path, step: dict[str, Any]) -> tuple[str | None, int]:
    match step["do"]:
        case "write":
            for name, text in step["files"].items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
        case "git":
            for given in step["commands"]:
                _git(root, *given)
        case "version":
            return None, _version(root, step["now"], step["options"])
        case "pre":
            pending = enter_pre(root, step["tag"]) if step["command"] == "enter" else exit_pre(root)
            carry_out(pending.root, Work(pending.edits))
        case "status":
            coverage = prepare_status(root, **step["options"])
            said = (
                None
                if coverage.missing
                else json.dumps(as_changesets_json(coverage.plan), indent=2, ensure_ascii=False)
            )
            return said, coverage.exit_code
    return None, 0


def _version(root: Path, now: int, options: dict[str, Any]) -> int:
    opened = open_repository(root, ignore=options.get("ignore", ()), template=options.get("snapshotPrereleaseTemplate"))
    tag = options.get("snapshot")
    snapshot = Snapshot(now / 1000, tag if isinstance(tag, str) else None) if tag else None
    prepared = prepare_version(opened, snapshot=snapshot)
    carry_out(opened.repository.root, prepared.work)
    return prepared.exit_code


def _git(root: Path, *given: str) -> str:
    return subprocess.run(["git", *given], cwd=root, capture_output=True, check=False, text=True).stdout
