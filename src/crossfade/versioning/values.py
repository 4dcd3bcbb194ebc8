"""What a release plan is made from, and what it is made of: packages, changesets, rules, notices, planned releases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Literal, NamedTuple, Protocol

DependencyKind = Literal["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"]
KINDS: tuple[DependencyKind, ...] = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
"""In the order in which changesets reads them: of one name in two of them, the later decides about the graph."""

NOTICES = ".changeset/notices"
"""The folder of the notices, relative to the top of the repository."""

Compatibility = Literal["changesets-3", "changesets-2", "crossfade"]


class Bump(IntEnum):
    """How much a version moves; the greater of two wins.

    >>> max(Bump.PATCH, Bump.MINOR), Bump.MINOR.word
    (<Bump.MINOR: 2>, 'minor')
    """

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3

    @property
    def word(self) -> Literal["none", "patch", "minor", "major"]:
        """The word for it in a changeset."""
        return _WORDS[self]


_WORDS: tuple[Literal["none", "patch", "minor", "major"], ...] = ("none", "patch", "minor", "major")
BUMPS: Mapping[str, Bump] = {bump.word: bump for bump in Bump}
"""The bump for each word of a changeset."""


class Dependency(NamedTuple):
    """One entry of a manifest: what is needed, in which versions, and what for."""

    name: str
    range: str
    """As it is written, in the words of the ecosystem: `^1.2.0`, `workspace:*`, `>=1.2,<2`."""
    kind: DependencyKind = "dependencies"


@dataclass(frozen=True, slots=True)
class Package:
    """Something that has a version and stands in a folder of the repository."""

    name: str
    version: str
    """As SemVer 2.0; empty for what has none and is never released."""
    folder: str = "."
    """Relative to the top of the repository, with slashes; `.` is the top itself."""
    manifest: str = "package.json"
    """The file that holds its version, relative to the top of the repository."""
    ecosystem: str = "npm"
    """Whose words its ranges are written in, and how its manifest is edited: a key of `ecosystems`."""
    private: bool = False
    dependencies: tuple[Dependency, ...] = ()


class Change(NamedTuple):
    """What a changeset says about one package."""

    name: str
    bump: Bump


@dataclass(frozen=True, slots=True)
class Changeset:
    """One file of `.changeset`: which packages change, how much, and why."""

    id: str
    """The file's path below `.changeset` without `.md`; those already used by a prerelease begin with `pre/`."""
    releases: tuple[Change, ...] = ()
    summary: str = ""
    sha: str | None = None
    """The commit that added the file, whole."""
    text: str | None = field(default=None, compare=False, repr=False)
    """The whole file, where it was read from one."""

    def place_of(self, name: str) -> str:
        r"""`FILE:LINE` of the line that names a package; the file alone where it has no such line.

        >>> Changeset("calm", text='---\n"core": minor\n---\n').place_of("core")
        '.changeset/calm.md:2'
        """
        named = re.compile(rf"""\s*["']?{re.escape(name)}["']?\s*:""")
        lines = enumerate((self.text or "").split("\n"), 1)
        return next((f"{self.path}:{number}" for number, line in lines if named.match(line)), self.path)

    @property
    def path(self) -> str:
        """Its file, relative to the top of the repository.

        >>> Changeset("calm-canary-returns").path
        '.changeset/calm-canary-returns.md'
        """
        return f".changeset/{self.id}.md"


@dataclass(frozen=True, slots=True)
class PreState:
    """Pre mode, as `.changeset/pre.json` tells it."""

    mode: Literal["pre", "exit"]
    tag: str
    initial_versions: Mapping[str, str] | None = None
    """Versions when pre mode was entered; only changesets 2 keeps them."""
    changesets: tuple[str, ...] | None = None
    """Changesets that a prerelease has used; only changesets 2 keeps them here."""
    others: Mapping[str, object] = field(default_factory=dict)
    """Further keys of the file, kept as they are."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A release for trying out: never the next version, and written over by the next snapshot."""

    moment: float
    """Seconds since 1970."""
    tag: str | None = None
    commit: str | None = None
    """The whole sha of HEAD; needed only by a template that holds `{commit}` or `{commit-short}`."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The users of `component` were told about version `major`: `sent` at that instant (with a time zone), `by` whom, `how`."""

    component: str
    major: int
    sent: datetime
    by: str
    how: str

    @property
    def path(self) -> str:
        """Its file, relative to the top of the repository; a scope is a folder."""
        return f"{NOTICES}/{self.component}-v{self.major}.json"

    def as_text(self) -> str:
        """The file, as JSON."""
        sent = self.sent.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {"component": self.component, "major": self.major, "sent": sent, "by": self.by, "how": self.how}
        return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


Notices = Mapping[tuple[str, int], Notice]
"""Notices by component and major."""


class PlannedRelease(NamedTuple):
    """What happens to one package; a bump of `none` has its ranges rewritten and is not released."""

    name: str
    old: str
    new: str
    bump: Bump
    changesets: tuple[str, ...] = ()
    """Ids of the changesets that name it."""
    why: str = ""
    """For a person: what brought it into the plan."""


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """All that follows from the changesets, and nothing is written yet."""

    changesets: tuple[Changeset, ...] = ()
    releases: tuple[PlannedRelease, ...] = ()
    pre: PreState | None = None
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """How versions follow from changesets; the names are those of `.changeset/config.json` in our spelling."""

    compatibility: Compatibility = "changesets-3"
    fixed: tuple[tuple[str, ...], ...] = ()
    linked: tuple[tuple[str, ...], ...] = ()
    ignore: frozenset[str] = frozenset()
    update_internal_dependencies: Literal["patch", "minor"] = "patch"
    update_internal_dependents: Literal["out-of-range", "always"] = "out-of-range"
    only_update_peer_dependents_when_out_of_range: bool = False
    bump_versions_with_workspace_protocol_only: bool = False
    version_private: bool = False
    """Whether private packages get versions; true by default in changesets 2, false in changesets 3."""
    tag_private: bool = False
    use_calculated_version: bool = False
    prerelease_template: str | None = None
    changelog: bool | str = True
    """Whether CHANGELOG.md files are written, in the default format; a text names a generator that cannot be run here."""
    formatter: Literal["auto", "prettier", "oxfmt", "deno", "dprint"] | None = None
    """The program that formats changelogs after they are written."""
    commit: bool | str = False
    """Whether the result of `version` is committed; a text names a generator of messages that cannot be run here."""
    commit_skips_ci: bool = False
    base_branch: str = "main"
    changed_file_patterns: tuple[str, ...] = ("**",)
    breaking_below_one: Literal["minor", "major"] = "major"
    """What a breaking change does to a version below 1.0.0; changesets makes it 1.0.0."""
    embeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name → those whose build becomes part of its own: it is released again whenever one of them is."""

    def skips(self, package: Package) -> bool:
        """Whether the package takes no part: ignored, private where those have no versions, or without a version.

        >>> Rules().skips(Package("site", "1.0.0", private=True)), Rules(version_private=True).skips(Package("site", ""))
        (True, True)
        """
        return package.name in self.ignore or (package.private and not self.version_private) or not package.version


class Ecosystem(Protocol):
    """What differs between ecosystems: how ranges read, and how a manifest is edited. Pure, text in and text out."""

    def is_range(self, range: str) -> bool:
        """Whether the text is a range of versions at all (a URL or a path is not)."""
        ...

    def satisfies(self, version: str, range: str) -> bool:
        """Whether the SemVer version lies in the range; false for what is no range."""
        ...

    def raised(self, range: str, version: str, bump: Bump) -> str:
        """The range in the same style that holds the new version."""
        ...

    def edited(self, text: str, where: str, version: str | None, ranges: Iterable[tuple[Dependency, str]]) -> str:
        """The manifest's text with another version (or the same, if None) and other ranges, all else kept.

        `where` is the manifest's path for errors: BadInputError.
        """
        ...


class FileEdit(NamedTuple):
    """What a file will hold: text, or nothing if it is deleted; `old` is what it held (None: it was not there)."""

    path: str
    """Relative to the top of the repository, with slashes."""
    old: str | None
    new: str | None
