"""Changelogs in the sections of Keep a Changelog: a release's text, and its place in a file that is there already. Pure.

All else in the file stays as it is, byte for byte: the introduction, `[Unreleased]`, older releases, line endings.

>>> first = Release("1.0.0", "2025-11-19", (Entry("Added", "circuit breaker pattern"),))
>>> print(insert_release(None, first, name="shop"), end="")
# Changelog
<BLANKLINE>
What changed for those who use shop, newest first, in the sections of
[Keep a Changelog](https://keepachangelog.com/en/1.1.0/). Versions follow [Semantic Versioning](https://semver.org).
<BLANKLINE>
## [1.0.0] - 2025-11-19
<BLANKLINE>
### Added
<BLANKLINE>
- circuit breaker pattern
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from crossfade.core.errors import BadInputError
from crossfade.core.semver import VERSION
from crossfade.versioning.edits import changelog_path
from crossfade.versioning.markdown import Heading, Reference, blocks, headings, references
from crossfade.versioning.sections import BREAKING, Entry, by_section, entries_of, section_named
from crossfade.versioning.updates import rewritten
from crossfade.versioning.values import (
    Bump,
    Changeset,
    Ecosystem,
    FileEdit,
    Package,
    PlannedRelease,
    ReleasePlan,
    Rules,
)

_TITLE = """\
# Changelog

What changed for those who use {name}, newest first, in the sections of
[Keep a Changelog](https://keepachangelog.com/en/1.1.0/). Versions follow [Semantic Versioning](https://semver.org).
"""
_RELEASE = re.compile(
    rf"\[?v?(?P<version>{VERSION})(?![\w.])\]?(?:\([^)]*\))?(?:[ \t]*[-–—:(]?[ \t]*(?P<date>\d{{4}}-\d\d-\d\d)\)?)?(?P<more>.*)"
)
_UNRELEASED = re.compile(r"\[?unreleased\]?(?![\w]).*", re.IGNORECASE)
_COMPARED = re.compile(r"(?P<base>.*/)(?P<old>[^/]+?)(?P<dots>\.{2,3})(?P<new>[^/]+)")
_HEAD = re.compile(r"HEAD|main|master|develop|trunk", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Release:
    """One release of one component, as its changelog tells it. `date` is `2025-11-19`, or None where a file has none."""

    version: str
    date: str | None
    entries: tuple[Entry, ...]

    def as_text(self, level: int = 2) -> str:
        """The release as Markdown that ends with a newline; `level` is that of its heading."""
        heading = f"{'#' * level} [{self.version}]" + (f" - {self.date}" if self.date else "")
        parts = [heading]
        for section, entries in by_section(self.entries).items():
            parts += [f"{'#' * (level + 1)} {section}", "\n".join(entry.as_item() for entry in entries)]
        return "\n\n".join(parts) + "\n"


class _Standing(NamedTuple):
    """A release in a file: where it begins and ends (lines from 0), the heading's level, and what it says."""

    line: int
    end: int
    level: int
    release: Release


def release_of(
    planned: PlannedRelease, changesets: Mapping[str, Changeset], date: str, *, updated: Sequence[tuple[str, str]] = ()
) -> Release:
    """What the changelog says about a planned release.

    `changesets` are those of the plan, by id; `updated` are dependencies, each with the version that it was brought to.
    A release that nobody wrote a word for says why it is made.

    >>> planned = PlannedRelease("web", "1.0.0", "1.0.1", Bump.PATCH, why="fixed with core")
    >>> release_of(planned, {}, "2025-11-19").entries[0].text
    'No change of its own (fixed with core).'
    """
    entries: list[Entry] = []
    for each in planned.changesets:
        changeset = changesets[each]
        bump = next((change.bump for change in changeset.releases if change.name == planned.name), Bump.NONE)
        if bump is not Bump.NONE:
            entries += entries_of(changeset.summary, bump)
    if updated:
        entries.append(Entry("Changed", "Updated dependencies: " + ", ".join(f"{name} {new}" for name, new in updated)))
    if not entries:
        why = f" ({planned.why})" if planned.why else ""
        entries.append(Entry("Changed", f"No change of its own{why}."))
    return Release(planned.new, date, tuple(entries))


def changelog_edits(
    plan: ReleasePlan,
    packages: Sequence[Package],
    texts: Mapping[str, str],
    rules: Rules,
    *,
    date: str,
    ecosystems: Mapping[str, Ecosystem],
    tags: Mapping[str, str] | None = None,
) -> tuple[FileEdit, ...]:
    """What the changelog of every release will hold, in the order of the plan.

    `texts` are changelogs that are there, by path (`edits.touched` names them); `date` is `2025-11-19`; `tags` tells the
    git tag of each release, for links. Dependencies whose ranges the release rewrites are named. A snapshot is told
    nobody, and its changelogs stay as they are. Components in one folder share its changelog only if one of them alone
    is released: BadInputError (`changelog.shared`).
    """
    if plan.snapshot:
        return ()
    named = {package.name: package for package in packages}
    folders = {name: package.folder for name, package in named.items()}
    releases = {release.name: release for release in plan.releases}
    changesets = {changeset.id: changeset for changeset in plan.changesets}
    found: dict[str, tuple[str, FileEdit]] = {}
    for release in (each for each in plan.releases if each.bump is not Bump.NONE):
        package = named[release.name]
        path = changelog_path(package)
        if path in found:
            raise BadInputError(
                "changelog.shared",
                f"{found[path][0]} and {release.name} would both write the same changelog",
                where=path,
                next="give each of them a folder of its own in its `source`",
            )
        ranges = rewritten(
            package, releases, folders, rules, ecosystem=ecosystems[package.ecosystem], snapshot=plan.snapshot
        )
        moved = dict.fromkeys(entry.name for entry, _ in ranges if entry.kind != "devDependencies")
        moved |= dict.fromkeys(each for each in rules.embeds.get(release.name, ()) if each in releases)
        updated = [(name, releases[name].new) for name in moved if releases[name].bump is not Bump.NONE]
        told = release_of(release, changesets, date, updated=updated)
        old, tag = texts.get(path), (tags or {}).get(release.name)
        found[path] = (
            release.name,
            FileEdit(path, old, insert_release(old, told, name=release.name, tag=tag, where=path)),
        )
    return tuple(edit for _, edit in found.values() if edit.old != edit.new)


def insert_release(
    text: str | None, release: Release, *, name: str, tag: str | None = None, where: str = "CHANGELOG.md"
) -> str:
    """The changelog with `release` in it: above all other releases, and below what is unreleased.

    `text` is None for a file that is not there yet. Where the file ends with link references, the release gets one like
    theirs, which leads to its `tag` (its version in the older tag's place, when None). A release that is there already
    with the same words changes nothing; with other words it is a BadInputError (`changelog.exists`), and so is a file in
    the midst of a merge (`changelog.conflict`).
    """
    if text is None or not text.strip():
        return _TITLE.format(name=name) + "\n" + release.as_text()
    lines = text.split("\n")
    _refuse_conflict(lines, where)
    standing = tuple(_standing(lines))
    for each in standing:
        if each.release.version == release.version:
            if by_section(each.release.entries) == by_section(release.entries):
                return text
            raise BadInputError(
                "changelog.exists",
                f"{release.version} stands in the changelog of {name} already, with other words",
                where=f"{where}:{each.line + 1}",
                next="take that part out, then run this again",
            )
    at, level = _place(lines, standing)
    ending = "\r\n" if lines[0].endswith("\r") else "\n"
    start = sum(len(line) + 1 for line in lines[:at])
    before, after = text[:start], _with_link(text[start:], standing, release.version, tag, ending)
    return (
        _parted(before, ending)
        + release.as_text(level).replace("\n", ending)
        + (ending if after.strip() else "")
        + after
    )


def read_releases(text: str) -> tuple[Release, ...]:
    r"""Every release that a changelog tells, in its order; sections of other names are left out.

    >>> read_releases("## [1.0.0] - 2025-11-19 [YANKED]\n\n### Fixed\n\n- a leak\n")[0].entries
    (Entry(section='Fixed', text='a leak', breaking=False),)
    """
    return tuple(each.release for each in _standing(text.split("\n")))


def _standing(lines: Sequence[str]) -> Iterator[_Standing]:
    found = tuple(headings(lines))
    links = {each.line for each in references(lines)}
    for index, heading in enumerate(found):
        match = _RELEASE.fullmatch(heading.text)
        if match is None:
            continue
        end = next((each.line for each in found[index + 1 :] if each.level <= heading.level), len(lines))
        inside = [each for each in found[index + 1 :] if each.line < end]
        entries = tuple(_entries(lines, inside, end, links))
        yield _Standing(heading.line, end, heading.level, Release(match["version"], match["date"], entries))


def _entries(lines: Sequence[str], inside: Sequence[Heading], end: int, links: set[int]) -> Iterator[Entry]:
    for index, heading in enumerate(inside):
        section = section_named(heading.text)
        if section is None:
            continue
        following = inside[index + 1].line if index + 1 < len(inside) else end
        told = [lines[number].rstrip("\r") for number in range(heading.end, following) if number not in links]
        for text in blocks(told):
            yield Entry(section, text.removeprefix(BREAKING).lstrip(), breaking=text.startswith(BREAKING))


def _place(lines: Sequence[str], standing: Sequence[_Standing]) -> tuple[int, int]:
    """The line (from 0) that a new release stands before, and the level of its heading."""
    if standing:
        return standing[0].line, standing[0].level
    found = tuple(headings(lines))
    closing = _closing_references(lines)
    for index, heading in enumerate(found):
        if _UNRELEASED.fullmatch(heading.text):
            after = (each.line for each in found[index + 1 :] if each.level <= heading.level)
            return next(after, closing), heading.level
    return closing, 2


def _closing_references(lines: Sequence[str]) -> int:
    """The first line of the link references that a file ends with; its end where there are none."""
    links, at = {each.line for each in references(lines)}, len(lines)
    first = at
    while at and (at - 1 in links or not lines[at - 1].strip()):
        at -= 1
        first = at if at in links else first
    return first


def _with_link(after: str, standing: Sequence[_Standing], version: str, tag: str | None, ending: str) -> str:
    """The rest of a file with a link for the new release, made like the newest one that it has."""
    lines = after.split("\n")
    by_label = {each.label.lower(): each for each in references(lines)}
    previous = standing[0].release.version if standing else None
    older = next((by_label[key] for key in (previous or "", f"v{previous}") if key.lower() in by_label), None)
    unreleased = by_label.get("unreleased")
    address, moved = _addresses(unreleased, older, previous, version, tag)
    if address is None or version.lower() in by_label:
        return after
    if unreleased is not None and moved is not None:
        lines[unreleased.line] = lines[unreleased.line].replace(unreleased.address, moved)
    at = unreleased.line + 1 if unreleased is not None else older.line if older is not None else 0
    lines.insert(at, f"[{version}]: {address}{ending.removesuffix(chr(10))}")
    if at == len(lines) - 1 and not after.endswith("\n"):
        lines[at - 1] += ending.removesuffix("\n")
        lines[at] = lines[at].removesuffix("\r")
    return "\n".join(lines)


def _addresses(
    unreleased: Reference | None, older: Reference | None, previous: str | None, version: str, tag: str | None
) -> tuple[str | None, str | None]:
    """Where the new release's link leads, and where `[Unreleased]` leads from now on; None for what cannot be told."""
    compared = _COMPARED.fullmatch(unreleased.address) if unreleased else None
    if compared and _HEAD.fullmatch(compared["new"]):
        new = _tag_like(compared["old"], previous, version, tag)
        if new is None:
            return None, None
        start, dots = compared["base"], compared["dots"]
        return f"{start}{compared['old']}{dots}{new}", f"{start}{new}{dots}{compared['new']}"
    if older is None:
        return None, None
    compared = _COMPARED.fullmatch(older.address)
    if compared:
        new = _tag_like(compared["new"], previous, version, None)
        return (f"{compared['base']}{compared['new']}{compared['dots']}{new}", None) if new else (None, None)
    start, slash, last = older.address.rpartition("/")
    new = _tag_like(last, previous, version, None)
    return (f"{start}{slash}{new}" if new else None), None


def _tag_like(old: str, previous: str | None, version: str, tag: str | None) -> str | None:
    """The new release's tag inside an address, in the style of an older one."""
    for spelled in (previous, quote(previous or "", safe="")):
        if spelled and spelled in old:
            return old.replace(spelled, quote(version, safe=""))
    return quote(tag, safe="@") if tag else None


def _parted(text: str, ending: str) -> str:
    """The text with an empty line at its end, unless it has one."""
    if not text.strip("\ufeff"):
        return text
    missing = 0 if text.endswith(ending * 2) else 1 if text.endswith("\n") else 2
    return text + ending * missing


def _refuse_conflict(lines: Sequence[str], where: str) -> None:
    for number, line in enumerate(lines):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            raise BadInputError(
                "changelog.conflict",
                "the changelog is in the midst of a merge",
                where=f"{where}:{number + 1}",
                next="resolve the conflict, then run this again",
            )
