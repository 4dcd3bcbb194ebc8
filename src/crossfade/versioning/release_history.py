"""What was ever released: every tag of a release, with what its manifests asked for at that commit."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.versioning.compatibility import Released, released_of
from crossfade.versioning.git import git
from crossfade.versioning.package_json import package_of, read_json
from crossfade.versioning.tags import TagScheme, read_tags
from crossfade.versioning.values import Dependency, Ecosystem, Package

if TYPE_CHECKING:
    from crossfade.config.load import LoadedProject
    from crossfade.versioning.graph import Graph

Text = Callable[[str], str | None]
"""The text of a file at one commit, by its path; None for none."""
Reader = Callable[[str, Text], Package | None]
"""The package of a name as it was at a commit. None, or a BadInputError: it was not there, or was broken."""


class History(NamedTuple):
    """What the tags tell; `untold` are tags of releases whose manifests cannot be read (moved since, or broken then)."""

    releases: tuple[Released, ...]
    untold: tuple[str, ...]


def read_history(
    root: Path, scheme: TagScheme, names: Collection[str], read: Reader, ecosystems: Mapping[str, Ecosystem]
) -> History:
    """Every release of the packages `names` that a tag stands for; `ecosystems` maps each ecosystem's name to it."""
    releases, untold = [], []
    with FilesAtCommits(root) as files:
        for tag in read_tags(root).values():
            release = scheme.read(tag.name, names)
            if release is None:
                continue
            then = cache(partial(_read, read, partial(files.text, tag.commit)))
            package = then(release.component)
            if package is None:
                untold.append(tag.name)
                continue
            needed = {entry.name for entry in package.dependencies if entry.name in names}
            beside = [found for name in sorted(needed) if (found := then(name)) is not None]
            releases.append(released_of(replace(package, version=str(release.version)), beside, ecosystems))
    return History(tuple(releases), tuple(untold))


def in_workspace(packages: Sequence[Package]) -> Reader:
    """Reads npm packages where their manifests stand today."""
    today = {package.name: package for package in packages}

    def read(name: str, text: Text) -> Package | None:
        package = today[name]
        manifest = text(package.manifest)
        found = (
            None
            if manifest is None
            else package_of(read_json(manifest, package.manifest), package.folder, package.manifest)
        )
        return None if found is None else replace(found, name=name)

    return read


def in_graph(loaded: LoadedProject, graph: Graph) -> Reader:
    """Reads components of every ecosystem where they stand today, with what crossfade.yaml let them need and embed then.

    What is embedded is needed in exactly the version that it had.
    """
    from crossfade.versioning.components import python_names, read_component  # noqa: PLC0415 - only where there is a file
    from crossfade.versioning.ledger import LEDGER, read_ledger  # noqa: PLC0415 - as above
    from crossfade.versioning.pyproject import canonical  # noqa: PLC0415 - as above

    by_python_name = {python: name for name, python in python_names(graph.members).items()}
    by_component = {each.component: name for name, each in graph.members.items() if each.component}
    workspace = in_workspace(graph.packages)

    def own(name: str, text: Text) -> Package | None:
        component = graph.members[name].component
        source = loaded.project.components[component].source if component else None
        if component is None or source is None:
            return workspace(name, text)
        return read_component(component, source, text, read_ledger(text(LEDGER)), graph.config).package

    def read(name: str, text: Text) -> Package | None:
        package = own(name, text)
        if package is None:
            return None
        entries = list(package.dependencies)
        if package.ecosystem.startswith("python"):
            entries = [entry._replace(name=by_python_name.get(canonical(entry.name), entry.name)) for entry in entries]
        source = _source_then(text(graph.config), graph.config, graph.members[name].component)
        needs = {str(called): str(wanted) for called, wanted in _mapping(source.get("needs")).items()}
        entries += [
            Dependency(by_component[called], wanted) for called, wanted in needs.items() if called in by_component
        ]
        for called in filter(by_component.__contains__, source.get("embeds") or ()):
            embedded = own(by_component[called], text)
            if embedded is not None:
                exact = f"=={embedded.version}" if package.ecosystem.startswith("python") else embedded.version
                entries.append(Dependency(by_component[called], exact))
        return replace(package, name=name, dependencies=tuple(entries))

    return read


def _read(read: Reader, text: Text, name: str) -> Package | None:
    try:
        return read(name, text)
    except BadInputError:
        return None  # what was broken at that commit spoils nothing else


def _source_then(text: str | None, config: str, component: str | None) -> Mapping[str, Any]:
    """The `source` of a component in crossfade.yaml as it was; empty where there was none, or where it was broken."""
    from crossfade.config.document import parse  # noqa: PLC0415 - only where there is a crossfade.yaml

    try:
        tree = parse(text, config).tree if text is not None else {}
    except BadInputError:
        return {}
    return _mapping(_mapping(_mapping(tree.get("components")).get(component)).get("source"))


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


class FilesAtCommits:
    """Files below `root` as they were at commits, by one git process for all of them."""

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
            self._known[commit, path] = self._ask(
                f"{commit}:./{path}"
            )  # relative to the root, wherever it stands in git
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
