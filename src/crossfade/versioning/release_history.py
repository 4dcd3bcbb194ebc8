"""What was ever released: every tag of a release, with what its manifests asked for at that commit."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self

from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.versioning.compatibility import Released, released_of
from crossfade.versioning.git import git
from crossfade.versioning.package_json import package_of, read_json
from crossfade.versioning.tags import TagScheme, read_tags
from crossfade.versioning.values import Ecosystem, Package


class History(NamedTuple):
    """What the tags tell; `untold` are tags of releases whose manifests cannot be read (moved since, or broken then)."""

    releases: tuple[Released, ...]
    untold: tuple[str, ...]


def read_history(
    root: Path, scheme: TagScheme, packages: Sequence[Package], ecosystems: Mapping[str, Ecosystem]
) -> History:
    """Every release of today's `packages` that a tag stands for; `ecosystems` maps each ecosystem's name to it."""
    by_name = {package.name: package for package in packages}
    releases, untold = [], []
    with FilesAtCommits(root) as files:
        for tag in read_tags(root).values():
            release = scheme.read(tag.name, by_name)
            if release is None:
                continue
            then = _Then(packages, partial(files.text, tag.commit))
            found = then.package(by_name[release.component])
            if found is None:
                untold.append(tag.name)
            else:
                releases.append(
                    released_of(replace(found, version=str(release.version)), then.needed_by(found), ecosystems)
                )
    return History(tuple(releases), tuple(untold))


class FilesAtCommits:
    """Files as they were at commits, by one git process for all of them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, str], str | None] = {}

    def __enter__(self) -> Self:
        git(self._root, "rev-parse", "--git-dir")  # says in words when this is no repository
        self._process = subprocess.Popen(
            ["git", "cat-file", "--batch"], cwd=self._root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def text(self, commit: str, path: str) -> str | None:
        """The text of a file at a commit; None where there is none, or where it is not UTF-8."""
        if (commit, path) not in self._known:
            self._known[commit, path] = self._ask(f"{commit}:{path}")
        return self._known[commit, path]

    def _ask(self, name: str) -> str | None:
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None or "\n" in name:
            return None
        asked.write(name.encode() + b"\n")
        asked.flush()
        head = answers.readline().split()
        if not head:
            raise CrossfadeError("git.failed", "git cat-file ended", where=str(self._root), next="run `git fsck`")
        if head[-1] in (b"missing", b"ambiguous"):
            return None
        content = answers.read(int(head[2]) + 1)[:-1]
        try:
            return content.decode() if head[1] == b"blob" else None
        except UnicodeDecodeError:
            return None


class _Then:
    """The packages of a repository as they were at one commit, read when they are asked for."""

    def __init__(self, packages: Sequence[Package], text: Callable[[str], str | None]) -> None:
        self._packages = packages
        self._text = text

    def package(self, today: Package) -> Package | None:
        """A package as it was; None when its manifest was not there, or was broken."""
        text = self._text(today.manifest)
        if text is None:
            return None
        try:
            return self._read(today, text)
        except BadInputError:
            return None

    def needed_by(self, package: Package) -> list[Package]:
        """Those that it depends on, as they were."""
        needed = {entry.name for entry in package.dependencies}
        return [then for each in self._packages if each.name in needed and (then := self.package(each)) is not None]

    def _read(self, today: Package, text: str) -> Package:
        match PurePosixPath(today.manifest).name:
            case "package.json":
                then = package_of(read_json(text, today.manifest), today.folder, today.manifest)
                return replace(then, name=today.name, ecosystem=today.ecosystem)
            case "pyproject.toml":
                return self._read_pyproject(today, text)
            case _:
                return replace(today, dependencies=())  # a file that holds a version and nothing else

    def _read_pyproject(self, today: Package, text: str) -> Package:
        from crossfade.versioning.pyproject import canonical, read_pyproject  # noqa: PLC0415 - only where there is Python

        found = read_pyproject(text, today.manifest)
        names = {canonical(each.name): each.name for each in self._packages}
        entries = (each.dependency for each in found.requirements)
        asked = tuple(entry._replace(name=names.get(entry.name, entry.name)) for entry in entries)
        return replace(today, version=str(found.version or today.version), dependencies=asked)
