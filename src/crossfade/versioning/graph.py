"""Components of every ecosystem in one graph: crossfade.yaml and the files that it leads to.

A changeset may call a component by its name in crossfade.yaml or by the name in its own files; both lead to one package.
Packages of a workspace that crossfade.yaml does not name are in the graph as well where `.changeset/config.json` is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from crossfade.config.document import Document, parse
from crossfade.config.faults import Path as At
from crossfade.config.faults import suggest
from crossfade.config.load import LoadedProject
from crossfade.config.publishing import Source
from crossfade.core.errors import BadInputError
from crossfade.versioning.changesets_config import CONFIG_FILE, read_rules
from crossfade.versioning.components import Member, python_names, read_component
from crossfade.versioning.ledger import LEDGER, read_ledger
from crossfade.versioning.package_json import Npm, package_of, read_json
from crossfade.versioning.pyproject import Python, canonical
from crossfade.versioning.values import Change, Changeset, Dependency, Ecosystem, Package, Rules
from crossfade.versioning.version_files import InLedger, VersionFile
from crossfade.versioning.workspace import MANIFEST, Repository, read_repository, read_text

_LISTS = ("pnpm-workspace.yaml", "lerna.json")
"""Files that list packages at the top, beside package.json."""
_PYTHON = {"python", "python-dynamic"}


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything in a repository that has a version, read once."""

    repository: Repository
    """The packages of every ecosystem, and the text of every file that holds their versions and ranges.

    A ledger that is not there yet has the empty text.
    """
    members: Mapping[str, Member]
    """Name of each package → what else is known about it."""
    rules: Rules
    ecosystems: Mapping[str, Ecosystem]
    warnings: tuple[str, ...] = ()
    needs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Name of a package → names of packages that crossfade.yaml lets it need → as they are called there."""
    config: str = "crossfade.yaml"
    """The path of crossfade.yaml, relative to the top."""

    @property
    def packages(self) -> tuple[Package, ...]:
        """All packages, by folder."""
        return self.repository.packages

    def of_component(self, component: str) -> Package:
        """The package of a component of crossfade.yaml; BadInputError where it has no source."""
        for member in self.members.values():
            if member.component == component:
                return member.package
        known = [each.component for each in self.members.values() if each.component]
        hint = suggest(component, known) if known else "give a component a `source`"
        what = f"there is no component {component!r} with a source"
        raise BadInputError("versions.unknown-component", what, where=self.config, next=hint)

    def named(self, name: str, where: str) -> str:
        """The package that is meant by either of its names; BadInputError with the nearest match, or with both meanings.

        A package's own name in the graph goes before everything else.
        """
        if name in self.members:
            return name
        meant = [each for each, member in self.members.items() if name in {member.component, member.own_name}]
        if len(meant) == 1:
            return meant[0]
        if meant:
            what = f"{name!r} is the name of several packages: {', '.join(meant)}"
            raise BadInputError("versions.ambiguous", what, where=where, next=f"write {' or '.join(meant)}")
        known = dict.fromkeys(
            each for package, member in self.members.items() for each in (package, member.component, member.own_name)
        )
        what = f"there is no package or component {name!r}"
        hint = suggest(name, [each for each in known if each])
        raise BadInputError("versions.unknown-package", what, where=where, next=hint)

    def place_of(self, name: str, needed: str) -> str:
        """`FILE:LINE` where a package says that it needs another: in crossfade.yaml, or in its manifest."""
        member, called = self.members[name], self.needs.get(name, {}).get(needed)
        embedded = needed in self.rules.embeds.get(name, ())
        if member.component and (called or embedded):
            at: At = ("components", member.component, "source", *(("needs", called) if called else ("embeds",)))
            mark = parse(read_text(self.repository.root, self.config) or "", self.config).mark(at, at_key=True)
            return f"{self.config}:{mark.line}"
        manifest = member.package.manifest
        said = re.compile(rf"(?<![\w/-]){re.escape(self.members[needed].own_name)}(?![\w/-])")
        lines = enumerate(self.repository.texts.get(manifest, "").split("\n"), 1)
        return next((f"{manifest}:{number}" for number, line in lines if said.search(line)), manifest)

    def resolved(self, changesets: Sequence[Changeset]) -> tuple[Changeset, ...]:
        """The changesets with the names that packages have in the graph; BadInputError names the file."""
        return tuple(replace(each, releases=tuple(self._changes(each))) for each in changesets)

    def _changes(self, changeset: Changeset) -> Iterator[Change]:
        seen: dict[str, str] = {}
        for name, bump in changeset.releases:
            package = self.named(name, changeset.place_of(name))
            if package in seen:
                what = f"{seen[package]!r} and {name!r} are the same package"
                where = changeset.place_of(name)
                raise BadInputError("versions.named-twice", what, where=where, next="keep one of the two lines")
            seen[package] = name
            yield Change(package, bump)


def read_graph(loaded: LoadedProject) -> Graph:
    """The graph of a project and the rules for it. BadInputError with file and line for what does not fit together."""
    reading = _Reading(loaded)
    members = reading.members()
    names = python_names(members)
    ecosystems: dict[str, Ecosystem] = {
        "npm": Npm(keep_bounds=loaded.project.versioning.compatibility != "changesets-2"),
        "python": Python(names=names),
        "python-dynamic": Python(dynamic=True, names=names),
        "version-file": VersionFile(),
        "ledger": InLedger(),
    }
    members, needs = reading.connected(members, ecosystems)
    packages = tuple(each.package for each in members.values())
    rules, warnings = reading.rules(members, packages, ecosystems)
    repository = replace(reading.repository, packages=packages, texts=reading.texts)
    return Graph(repository, members, rules, ecosystems, warnings, needs, reading.file)


class _Reading:
    """One pass over the files that crossfade.yaml leads to; each is read once."""

    def __init__(self, loaded: LoadedProject) -> None:
        self.project = loaded.project
        self.root = loaded.path.resolve().parent
        self.file = loaded.path.name
        self.texts: dict[str, str] = {}
        self.config = self.read(CONFIG_FILE)
        self.repository = self._workspace()
        self.texts.update(self.repository.texts)
        self._document: Document | None = None

    def read(self, path: str) -> str | None:
        """The text of a file below the top; None if it is not there."""
        if path not in self.texts:
            text = read_text(self.root, path)
            if text is None:
                return None
            self.texts[path] = text
        return self.texts[path]

    def members(self) -> dict[str, Member]:
        """The packages, by folder, without what connects them."""
        ledger = read_ledger(self.read(LEDGER))
        self.texts.setdefault(LEDGER, "")
        found = [
            read_component(name, component.source, self.read, ledger, self.where(("components", name, "source")))
            for name, component in self.project.components.items()
            if component.source is not None
        ]
        named = {each.package.manifest for each in found}
        listed = self.repository.packages if self.config is not None else ()
        found += [Member(each, None, each.name) for each in listed if each.manifest not in named]
        # As the packages of a workspace alone are ordered, so that it makes no difference who else is there.
        found.sort(key=lambda each: (self._place(each.package), each.package.name))
        members: dict[str, Member] = {}
        folders: dict[str, str] = {}
        for each in found:
            package = each.package
            if package.name in members:
                self._refuse_same_name(each, members[package.name])
            if package.folder in folders and each.component:
                what = f"{folders[package.folder]} and {package.name} stand in one folder, and would have one changelog"
                where = self.where(("components", each.component, "source"))
                raise BadInputError(
                    "versions.same-folder", what, where=where, next="give each of them a folder of its own"
                )
            members[package.name] = each
            folders[package.folder] = package.name
        return members

    def connected(
        self, members: Mapping[str, Member], ecosystems: Mapping[str, Ecosystem]
    ) -> tuple[dict[str, Member], dict[str, dict[str, str]]]:
        """The packages with what they need inside the graph, and what crossfade.yaml lets them need."""
        by_python_name = {python: name for name, python in python_names(members).items()}
        others = {name for name, each in members.items() if each.package.ecosystem != "npm"}
        by_component = {each.component: each.package for each in members.values() if each.component}
        connected, needs = {}, {}
        for name, member in members.items():
            package = member.package
            if package.ecosystem in _PYTHON:
                own = tuple(
                    each._replace(name=by_python_name[canonical(each.name)])
                    for each in package.dependencies
                    if canonical(each.name) in by_python_name
                )
            else:
                # An npm package that depends on `redis` does not depend on a component that happens to be called so.
                own = tuple(each for each in package.dependencies if each.name not in others)
            source = self.project.components[member.component].source if member.component else None
            further = self._needed(member, source, by_component, ecosystems, own) if source else {}
            needs[name] = {each.name: called for called, each in further.items()}
            package = replace(package, dependencies=(*own, *further.values()))
            connected[name] = replace(member, package=package)
        return connected, {name: each for name, each in needs.items() if each}

    def rules(
        self, members: Mapping[str, Member], packages: Sequence[Package], ecosystems: Mapping[str, Ecosystem]
    ) -> tuple[Rules, tuple[str, ...]]:
        """How versions follow from changesets here, and what a person should know about that."""
        versioning = self.project.versioning
        house = versioning.compatibility == "crossfade"
        rules = Rules(versioning.compatibility, version_private=True, tag_private=True)
        warnings: tuple[str, ...] = ()
        if self.config is not None:
            text = _with_private(self.config) if house else self.config
            rules, warnings = read_rules(text, packages, versioning.compatibility, ecosystems=ecosystems)
        elif not house:
            rules = read_rules("{}", packages, versioning.compatibility, ecosystems=ecosystems).rules
        packaged = {each.component: name for name, each in members.items() if each.component}
        embeds = {
            packaged[name]: tuple(packaged[each] for each in component.source.embeds if each in packaged)
            for name, component in self.project.components.items()
            if component.source is not None and component.source.embeds
        }
        breaking = versioning.breaking_below_one if house else "major"
        return replace(rules, breaking_below_one=breaking, embeds=embeds), warnings

    def where(self, at: At) -> str:
        """`crossfade.yaml:LINE` of a place in it."""
        return f"{self.file}:{self.document().mark(at, at_key=True).line}"

    def document(self) -> Document:
        """crossfade.yaml with the place of everything in it; only looked at when there is something to tell."""
        if self._document is None:
            self._document = parse(self.read(self.file) or "", self.file)
        return self._document

    def _workspace(self) -> Repository:
        """The workspace at the top; one without packages where there is none, or only crossfade.yaml names any."""
        text = self.read(MANIFEST)
        top = package_of(read_json(text, MANIFEST), ".", MANIFEST, needs_name=False) if text is not None else None
        alone = {each.source.path for each in self.project.components.values() if each.source} == {"."}
        here = Repository(self.root, "root" if alone else "crossfade", (), top, {})
        # A package.json that only holds tools, beside Python for one, has no name, and is no package.
        lists = (top is not None and top.name) or any((self.root / each).exists() for each in _LISTS)
        if self.config is None or not lists:
            return here
        found = read_repository(self.root)
        if found.root != self.root:
            return here
        return found if found.tool != "root" or alone else replace(found, tool="crossfade")

    def _place(self, package: Package) -> str:
        return str(self.root) if package.folder == "." else f"{self.root}/{package.folder}"

    def _refuse_same_name(self, one: Member, other: Member) -> None:
        places = f"{other.package.manifest} and {one.package.manifest}"
        what = f"two packages are called {one.package.name}: in {places}"
        named = one.component or other.component or ""
        hint = "give the component that is not an npm package another name in crossfade.yaml"
        raise BadInputError("versions.same-name", what, where=self.where(("components", named)), next=hint)

    def _needed(
        self,
        member: Member,
        source: Source,
        by_component: Mapping[str, Package],
        ecosystems: Mapping[str, Ecosystem],
        own: Sequence[Dependency],
    ) -> dict[str, Dependency]:
        """What crossfade.yaml lets a component need: the name there → the dependency on its package."""
        found: dict[str, Dependency] = {}
        for called, written in source.needs.items():
            at: At = ("components", str(member.component), "source", "needs", called)
            needed = by_component.get(called)
            if needed is None:
                what = f"{member.component} needs {called}, which has no version: it has no `source`"
                raise BadInputError("versions.no-source", what, where=self.where(at), next=f"give {called} a `source`")
            if any(each.name == needed.name for each in own):
                what = f"{member.component} needs {called} twice: {member.package.manifest} says so as well"
                raise BadInputError("versions.needed-twice", what, where=self.where(at), next="take it away here")
            ecosystem = ecosystems[member.package.ecosystem]
            if not ecosystem.is_range(written):
                what = f"{written!r} is no range of versions"
                raise BadInputError("versions.bad-range", what, where=self.where(at), next='write it such as "^1.2.0"')
            if not ecosystem.satisfies(needed.version, written):
                what = f"{member.component} needs {called} {written}, and {called} is at {needed.version}"
                hint = "write a range that holds today's version; releases keep it up to date from then on"
                raise BadInputError("versions.out-of-range", what, where=self.where(at), next=hint)
            found[called] = Dependency(needed.name, written)
        return found


def _with_private(text: str) -> str:
    """The text of config.json, in which private packages have versions unless it says otherwise.

    What is deployed is private as a rule, and is what people here want to release; changesets 3 would leave it out.
    """
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if not isinstance(found, dict) or "privatePackages" in found:
        return text
    opened = text.index("{") + 1
    return f'{text[:opened]}"privatePackages":{{"version":true,"tag":true}}{"," if found else ""}{text[opened:]}'
