"""A small monorepo in a real git repository, and what builds it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crossfade.artifacts.building.cache import Cache
from crossfade.artifacts.building.deciding import Decider
from crossfade.artifacts.building.running import Stop
from crossfade.artifacts.building.values import Decision, Outcome, Result, Target
from crossfade.artifacts.building.work import Work
from crossfade.config.publishing import Build

CALM = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
COPY = "mkdir -p dist && cat src/* > dist/out.txt"


@dataclass
class Told:
    """Remembers what it was told."""

    begun: list[str] = field(default_factory=list)
    waited: list[str] = field(default_factory=list)
    ended: list[Result] = field(default_factory=list)

    def begin(self, component: str, log: str) -> None:
        del log
        self.begun.append(component)

    def wait(self, component: str, what: str) -> None:
        del what
        self.waited.append(component)

    def end(self, result: Result) -> None:
        self.ended.append(result)


@dataclass
class Repository:
    """A project at `root`; its components are added one by one."""

    root: Path
    targets: dict[str, Target] = field(default_factory=dict)
    edges: dict[str, frozenset[str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=lambda: {"PATH": os.environ["PATH"]})
    told: Told = field(default_factory=Told)
    stop: Stop = field(default_factory=Stop)
    state: Path | None = None

    def write(self, **files: str) -> None:
        self.put(files)

    def put(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=ada", "-c", "user.email=ada@localhost", *arguments],
            cwd=self.root,
            env={**os.environ, **CALM},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "as it is")

    def add(self, name: str, script: str | list[str] = COPY, *, needs: tuple[str, ...] = (), **build: object) -> None:
        command = tuple(script) if isinstance(script, list) else ("sh", "-ec", script)
        version, folder = build.pop("version", None), str(build.pop("folder", name))
        self.targets[name] = Target(name, folder, Build(command=command, **build), version)  # type: ignore[arg-type]  # what a test says
        self.edges[name] = frozenset(needs)

    def read_only(self, name: str) -> None:
        self.targets[name] = Target(name, name, None)
        self.edges[name] = frozenset()

    @property
    def cache(self) -> Cache:
        return Cache((self.state or self.root / ".crossfade") / "builds")

    @property
    def decider(self) -> Decider:
        return Decider(self.root, self.cache, self.targets, self.edges, self.variables)

    def decide(self, *wanted: str, force: bool = False) -> dict[str, Decision]:
        decisions = asyncio.run(self.decider.decide(wanted or self._all(), force=force))
        return {decision.target.component: decision for decision in decisions}

    def build(self, *wanted: str, **options: object) -> dict[str, Result]:
        return {result.component: result for result in asyncio.run(self.run(*wanted, **options)).results}  # type: ignore[arg-type]  # as above

    async def run(self, *wanted: str, force: bool = False, jobs: int = 2, grace: float = 5.0) -> Outcome:
        decider, self.stop = self.decider, Stop()
        decisions = await decider.decide(wanted or self._all(), force=force)
        return await Work(decider, self.told, self.stop, lambda: 1_700_000_000.0, grace=grace).carry_out(
            decisions, jobs=jobs
        )

    def _all(self) -> tuple[str, ...]:
        return tuple(name for name, target in self.targets.items() if target.build is not None)

    def text(self, name: str) -> str:
        return (self.root / name).read_text()


def made_repository(root: Path) -> Repository:
    """A repository with core, and loader that needs it, both committed."""
    root.mkdir(parents=True, exist_ok=True)
    repository = Repository(root)
    repository.git("init", "-q", "-b", "main")
    sources = {"core/src/a.txt": "a\n", "core/src/b.txt": "b\n", "loader/src/l.txt": "l\n"}
    versions = {"core/VERSION": "1.0.0\n", "loader/VERSION": "2.0.0\n"}
    repository.put({**sources, **versions, ".gitignore": ".crossfade/\n*.log\n"})
    repository.add("core")
    repository.add("loader", "mkdir dist; cat ../core/dist/out.txt src/l.txt > dist/out.txt", needs=("core",))
    repository.commit()
    return repository


CONFIGURATION: dict[str, object] = {
    "project": "shop",
    "components": {
        "core": {"source": "core", "build": {"command": ["sh", "-ec", COPY]}},
        "loader": {
            "source": {"path": "loader", "needs": {"core": "*"}},
            "build": {"command": ["sh", "-ec", "mkdir dist; cat ../core/dist/out.txt src/l.txt > dist/out.txt"]},
        },
    },
}


def configured(repository: Repository, components: Mapping[str, object] | None = None) -> Path:
    """Write a crossfade.yaml beside the files; the components are merged over those that there are."""
    both: dict[str, object] = {**CONFIGURATION["components"], **(components or {})}  # type: ignore[dict-item]  # a mapping
    kept = {name: each for name, each in both.items() if each is not None}
    path = repository.root / "crossfade.yaml"
    path.write_text(json.dumps({**CONFIGURATION, "components": kept}))
    return path


def start(repository: Repository, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """`crossfade` in the repository, as a process of its own."""
    away = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CROSSFADE_", "GIT_")
    calm = {key: value for key, value in os.environ.items() if not key.startswith(away)}
    return subprocess.Popen(
        [sys.executable, "-m", "crossfade.cli.main", *arguments],
        cwd=repository.root,
        env={**calm, **CALM, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def statuses(results: Mapping[str, Result]) -> dict[str, str]:
    return {name: result.status for name, result in results.items()}
