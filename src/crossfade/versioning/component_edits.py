"""What a release changes beside the manifests: modules with a dynamic version, the ledger, needs, version maps. Pure.

Every edit tells what the file held before. Nothing is written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from crossfade.config.document import parse
from crossfade.config.publishing import VersionMap
from crossfade.core.errors import BadInputError
from crossfade.core.semver import parse_version
from crossfade.versioning.graph import Graph
from crossfade.versioning.ledger import LEDGER, read_ledger, write_ledger
from crossfade.versioning.maps import add_entry, map_entry, remove_entry
from crossfade.versioning.object_literals import write_string
from crossfade.versioning.updates import rewritten
from crossfade.versioning.values import Bump, FileEdit, ReleasePlan
from crossfade.versioning.version_files import edited_assigned

_PLAIN = re.compile(r"[\^~]?\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?")
"""What needs no quotes in YAML to be text: three numbers are no number there."""


def component_edits(graph: Graph, plan: ReleasePlan) -> tuple[FileEdit, ...]:
    """The edits of modules, of the ledger and of crossfade.yaml that follow from the plan."""
    found = (*_modules(graph, plan), *_ledger(graph, plan), *_needs(graph, plan))
    return tuple(each for each in found if each.old != each.new)


def map_edits(
    graph: Graph, plan: ReleasePlan, maps: tuple[VersionMap, ...], texts: Mapping[str, str]
) -> tuple[FileEdit, ...]:
    """The edits of version maps: each released component gets its entry. `texts` holds the maps' files by path.

    Snapshots get none: nobody is led to them. BadInputError as `maps.add_entry`, and for a file that is not there.
    """
    if plan.snapshot:
        return ()
    new = dict(texts)
    for settings in maps:
        name = graph.of_component(settings.of).name
        release = next((each for each in plan.releases if each.name == name and each.bump is not Bump.NONE), None)
        if release is not None:
            entry = map_entry(settings, settings.of, parse_version(release.new))
            new[settings.file] = add_entry(_text(new, settings), entry, file=settings.file, name=settings.name)
    return tuple(FileEdit(path, texts.get(path), text) for path, text in new.items() if text != texts.get(path))


def withdrawn_map(settings: VersionMap, version: str, texts: Mapping[str, str]) -> FileEdit | None:
    """The edit that takes the entry of a withdrawn version out of its map; None: it is not there."""
    entry = map_entry(settings, settings.of, parse_version(version))
    old = _text(texts, settings)
    new = remove_entry(old, entry, file=settings.file, name=settings.name)
    return FileEdit(settings.file, old, new) if new != old else None


def _text(texts: Mapping[str, str], settings: VersionMap) -> str:
    if settings.file in texts:
        return texts[settings.file]
    hint = "correct `versioning.maps` in crossfade.yaml, or write the file"
    raise BadInputError("versions.no-file", f"there is no {settings.file}", where=settings.file, next=hint)


def _modules(graph: Graph, plan: ReleasePlan) -> Iterator[FileEdit]:
    for release in plan.releases:
        member = graph.members[release.name]
        if member.version_file is not None and member.version_place is not None and release.new != release.old:
            old = graph.repository.texts[member.version_file]
            new = edited_assigned(old, member.version_place, member.version_file, release.new)
            yield FileEdit(member.version_file, old, new)


def _ledger(graph: Graph, plan: ReleasePlan) -> Iterator[FileEdit]:
    released = {
        each.name: each.new
        for each in plan.releases
        if graph.members[each.name].package.ecosystem == "ledger" and each.new != each.old
    }
    if released:
        old = graph.repository.texts.get(LEDGER) or None
        yield FileEdit(LEDGER, old, write_ledger({**read_ledger(old), **released}))


def _needs(graph: Graph, plan: ReleasePlan) -> Iterator[FileEdit]:
    """Ranges in crossfade.yaml, by the same rule as those in manifests: those of what is released."""
    releases = {each.name: each for each in plan.releases}
    folders = {each.name: each.folder for each in graph.packages}
    changes: dict[tuple[str, ...], str] = {}
    for name, called in graph.needs.items():
        if name not in releases:
            continue
        package = graph.members[name].package
        found = rewritten(
            package,
            releases,
            folders,
            graph.rules,
            ecosystem=graph.ecosystems[package.ecosystem],
            snapshot=plan.snapshot,
        )
        for entry, written in found:
            if entry.name in called:
                at = ("components", str(graph.members[name].component), "source", "needs", called[entry.name])
                changes[at] = written
    if changes:
        old = graph.repository.texts[graph.config]
        yield FileEdit(graph.config, old, _respelled(old, graph.config, changes))


def _respelled(text: str, file: str, changes: Mapping[tuple[str, ...], str]) -> str:
    """crossfade.yaml with other texts at some places, all else kept."""
    document = parse(text, file)
    lines = text.splitlines(keepends=True)
    for at, value in sorted(changes.items(), key=lambda each: document.mark(each[0]).column, reverse=True):
        mark = document.mark(at)
        line = lines[mark.line - 1]
        old = line[mark.column - 1 : mark.column - 1 + mark.width]
        quote = old[0] if old[0] in "\"'" else "" if _PLAIN.fullmatch(value) else '"'
        written = f"'{value}'" if quote == "'" else write_string(value, quote) if quote else value
        lines[mark.line - 1] = line[: mark.column - 1] + written + line[mark.column - 1 + mark.width :]
    edited = "".join(lines)
    again = parse(edited, file)
    for at, value in changes.items():
        held: Any = again.tree
        for part in at:
            held = held[part]
        if held != value:
            where = f"{file}:{document.mark(at).line}"
            what = "this range is written in a way that cannot be edited safely"
            raise BadInputError("versions.yaml-shape", what, where=where, next="write it in quotes on one line")
    return edited
