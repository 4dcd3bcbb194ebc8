"""Reading conventional commits (https://www.conventionalcommits.org): type, scopes, and what they break. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crossfade.versioning.values import Bump

BUMPS: dict[str, Bump] = {
    "feat": Bump.MINOR,
    "feature": Bump.MINOR,
    "fix": Bump.PATCH,
    "bugfix": Bump.PATCH,
    "hotfix": Bump.PATCH,
    "perf": Bump.PATCH,
    "security": Bump.PATCH,
    "revert": Bump.PATCH,
}
"""What a type means for those who use the component."""

QUIET = frozenset({"build", "chore", "ci", "docs", "doc", "refactor", "release", "style", "test", "tests"})
"""Types that those who use the component do not notice, unless they say that they break something."""

_SUBJECT = re.compile(r"(?P<type>[A-Za-z][\w-]*)(?:\((?P<scope>[^()]+)\))?(?P<loud>!)?:[ \t]+(?P<told>\S.*)")
_BREAKING = re.compile(
    r"^BREAKING[ -]CHANGE(?::[ \t]+|[ \t]+#)(?P<told>.*(?:\n(?![A-Za-z][\w-]*(?::[ \t]|[ \t]#)).*)*)", re.MULTILINE
)
_GIT_REVERT = re.compile(r'(?:Revert|Reapply) "(?P<subject>.*)"(?:\s*\(#\d+\))?')
_REVERTED = re.compile(r"^This reverts commit ([0-9a-f]{7,64})", re.MULTILINE)
_REFERS = re.compile(r"^Refs:[ \t]*((?:[0-9a-f]{7,64}(?:,[ \t]*)?)+)", re.MULTILINE)
_SHA = re.compile(r"[0-9a-f]{7,64}")
_FIXUP = re.compile(r"(?:fixup|squash|amend)! (?P<subject>.+)")


@dataclass(frozen=True, slots=True)
class Conventional:
    """What one commit says: its type (lower case), scopes, description, and the text of its BREAKING CHANGE, if any."""

    type: str
    scopes: tuple[str, ...]
    told: str
    breaking: bool
    breaks: str = ""

    @property
    def bump(self) -> Bump | None:
        """How much it changes for those who use the component; None for a type that is not known.

        >>> parse_message("feat(cart)!: another shape").bump, parse_message("docs: a typo").bump
        (<Bump.MAJOR: 3>, <Bump.NONE: 0>)
        """
        if self.breaking:
            return Bump.MAJOR
        return Bump.NONE if self.type in QUIET else BUMPS.get(self.type)


@dataclass(frozen=True, slots=True)
class Reverts:
    """What a commit takes back: commits by their (possibly shortened) ids, or else one by its subject."""

    shas: tuple[str, ...]
    subject: str


def parse_message(message: str) -> Conventional | None:
    r"""What a commit's message says; None when it is not conventional.

    >>> parse_message("fix(core,loader): a leak\n\nBREAKING CHANGE: `open` closes first\n")
    Conventional(type='fix', scopes=('core', 'loader'), told='a leak', breaking=True, breaks='`open` closes first')
    >>> parse_message("Fixed a leak") is None
    True
    """
    subject, _, body = message.strip("\n").partition("\n")
    match = _SUBJECT.fullmatch(subject.strip())
    if match is None:
        return None
    breaking = _BREAKING.search(body)
    breaks = breaking["told"].strip() if breaking else ""
    scopes = tuple(filter(None, (scope.strip() for scope in (match["scope"] or "").split(","))))
    loud = bool(match["loud"]) or breaking is not None
    return Conventional(match["type"].lower(), scopes, match["told"].strip(), loud, breaks)


def reverts(message: str) -> Reverts | None:
    r"""What a commit takes back; None for one that takes nothing back.

    >>> reverts('Revert "feat: a cart"\n\nThis reverts commit 0123456789abcdef.')
    Reverts(shas=('0123456789abcdef',), subject='feat: a cart')
    """
    subject, _, body = message.strip("\n").partition("\n")
    by_git, said = _GIT_REVERT.fullmatch(subject.strip()), parse_message(message)
    if by_git is None and (said is None or said.type != "revert"):
        return None
    shas = _REVERTED.findall(body)
    if said is not None and not shas:
        shas = [sha for line in _REFERS.findall(body) for sha in _SHA.findall(line)]
    return Reverts(tuple(dict.fromkeys(shas)), by_git["subject"] if by_git else said.told if said else "")


def amends(message: str) -> str | None:
    """The subject of the commit that a `fixup!`, `squash!` or `amend!` belongs to; None for any other commit.

    >>> amends("fixup! fixup! feat: a cart")
    'feat: a cart'
    """
    subject = message.strip("\n").partition("\n")[0].strip()
    match = None
    while found := _FIXUP.fullmatch(subject):
        match, subject = found, found["subject"]
    return subject if match else None
