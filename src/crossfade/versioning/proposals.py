"""Drafting changesets from commits: what the messages and the touched folders suggest, for a person to decide. Pure.

Commits never decide a version. They are read since the last release or changeset (`commit_log`), those that cancel out are dropped, and
what cannot be understood is listed, so that nothing is lost in silence.

>>> told = propose([Commit("a" * 40, "feat(cart): a discount", ("cart/app.py",))], {"cart": "cart", "web": "web"})
>>> [(proposal.releases, proposal.summary) for proposal in told.proposals]
[((Change(name='cart', bump=<Bump.MINOR: 2>),), 'A discount')]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crossfade.versioning.conventional import Conventional, amends, parse_message, reverts
from crossfade.versioning.values import Bump, Change

_OF_CHANGESETS = re.compile(r"\.changeset/(?!README\.md$)[^/]+\.md")
_WRITTEN_BY_RELEASES = re.compile(r"(?:.*/)?CHANGELOG\.md|\.changeset/.*")


class Commit(NamedTuple):
    """A commit: its full id, its whole message, and the files that it touched.

    Paths are relative to the folder that holds `.changeset`; what lies outside it is not among them.
    """

    sha: str
    message: str
    paths: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.strip("\n").partition("\n")[0].strip()


class Proposal(NamedTuple):
    """A changeset that commits suggest. `also` are components whose files they touched without naming them."""

    releases: tuple[Change, ...]
    summary: str
    commits: tuple[str, ...]
    also: tuple[str, ...] = ()


class Unclear(NamedTuple):
    """A commit that suggests nothing, and why."""

    commit: Commit
    why: str


@dataclass(frozen=True, slots=True)
class Proposals:
    """What a range of commits suggests. Every commit stands in exactly one of these.

    `quiet` are commits that nobody notices who uses a component; `covered` have brought a changeset of their own;
    `cancelled` were taken back, or took one of those back.
    """

    proposals: tuple[Proposal, ...] = ()
    unclear: tuple[Unclear, ...] = ()
    quiet: tuple[Commit, ...] = ()
    covered: tuple[Commit, ...] = ()
    cancelled: tuple[Commit, ...] = ()


class _Understood(NamedTuple):
    commits: tuple[Commit, ...]
    said: Conventional
    bump: Bump
    names: tuple[str, ...]
    also: tuple[str, ...]


def propose(commits: Sequence[Commit], folders: Mapping[str, str], *, grouped: bool = True) -> Proposals:
    """What `commits` (oldest first) suggest for the components, each given with its folder (`.` for the top).

    A scope that names a component says which one it is; otherwise the touched files do. Every feature and everything
    that breaks has a proposal of its own; with `grouped`, repairs of the same components share one, as a list.
    """
    covered = tuple(commit for commit in commits if any(map(_OF_CHANGESETS.fullmatch, commit.paths)))
    left = _without(commits, covered)
    cancelled = _cancelled(left)
    left = _without(left, cancelled)
    scopes = _scopes(folders)
    understood: list[_Understood] = []
    unclear: list[Unclear] = []
    quiet: list[Commit] = []
    for together in _with_amendments(left):
        found = _understand(together, folders, scopes)
        if isinstance(found, str):
            unclear += [Unclear(commit, found) for commit in together]
        elif found.bump is Bump.NONE:
            quiet += together
        else:
            understood.append(found)
    proposals = tuple(_proposal(group) for group in _groups(understood, grouped=grouped))
    return Proposals(proposals, tuple(unclear), tuple(quiet), covered, tuple(cancelled))


def _cancelled(commits: Sequence[Commit]) -> list[Commit]:
    """Commits that were taken back, and those that did it: from the newest on, since a revert may be reverted itself."""
    gone: dict[str, Commit] = {}
    for index in range(len(commits) - 1, -1, -1):
        commit = commits[index]
        back = reverts(commit.message)
        if back is None or commit.sha in gone:
            continue
        older = [each for each in reversed(commits[:index]) if each.sha not in gone]
        if back.shas:
            found = [each for each in older if any(each.sha.startswith(sha) for sha in back.shas)]
            whole = len(found) == len(back.shas)
        else:
            found = [each for each in older if each.subject == back.subject or _told(each) == back.subject][:1]
            whole = bool(found)
        gone |= {each.sha: each for each in found}
        if whole:
            gone[commit.sha] = commit
    return [commit for commit in commits if commit.sha in gone]


def _without(commits: Sequence[Commit], others: Sequence[Commit]) -> list[Commit]:
    shas = {commit.sha for commit in others}
    return [commit for commit in commits if commit.sha not in shas]


def _told(commit: Commit) -> str:
    said = parse_message(commit.message)
    return said.told if said else ""


def _with_amendments(commits: Sequence[Commit]) -> list[tuple[Commit, ...]]:
    """Each commit with the `fixup!`s that belong to it, and commits that say the same in the same words."""
    together: dict[str, list[Commit]] = {}
    for commit in commits:
        subject = amends(commit.message)
        known = subject is not None and subject in together
        together.setdefault(subject if subject is not None and known else commit.subject, []).append(commit)
    return [tuple(each) for each in together.values()]


def _understand(
    commits: tuple[Commit, ...], folders: Mapping[str, str], scopes: Mapping[str, tuple[str, ...]]
) -> _Understood | str:
    """What commits that belong together say; a sentence when they cannot be understood."""
    message = commits[0].message
    said, back = parse_message(message), reverts(message)
    if back is not None:
        said = Conventional("revert", said.scopes if said else (), f"Takes back: {back.subject}", breaking=False)
    if said is None:
        return "its subject is not `type: description`"
    if any(breaking := [each for each in map(_parsed, commits) if each and each.breaking]):
        said = Conventional(said.type, said.scopes, said.told, breaking=True, breaks=breaking[0].breaks)
    bump = said.bump
    if bump is None:
        return f"the type {said.type!r} says nothing about a release"
    touched = _touched((path for commit in commits for path in commit.paths), folders)
    named = tuple(dict.fromkeys(name for scope in said.scopes for name in scopes.get(scope.lower(), ())))
    if bump is not Bump.NONE and not (named or touched):
        return "it names no component, and touches none"
    also = tuple(name for name in touched if name not in named) if named else ()
    return _Understood(commits, said, bump, named or touched, also)


def _parsed(commit: Commit) -> Conventional | None:
    return parse_message(commit.message)


def _scopes(folders: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What a scope may say for each component; what several components answer to is nobody's name.

    It may be the name, the name without its npm scope or without what all names begin with, or the folder.
    """
    shorts = {name: name.rpartition("/")[2].lower() for name in folders}
    common = _shared_beginning(list(shorts.values()))
    answers: dict[str, dict[str, None]] = {}
    for name, folder in folders.items():
        short = shorts[name]
        for answer in (
            name.lower(),
            short,
            short.removeprefix(common),
            folder.lower(),
            folder.lower().rpartition("/")[2],
        ):
            if answer not in ("", "."):
                answers.setdefault(answer, {})[name] = None
    return {answer: tuple(names) for answer, names in answers.items() if len(names) == 1}


def _shared_beginning(names: Sequence[str]) -> str:
    """What all of several names begin with, up to a mark: `navi-` of navi-core and navi-js."""
    least, greatest = min(names, default=""), max(names, default="")
    same = next((at for at in range(len(least)) if least[: at + 1] != greatest[: at + 1]), len(least))
    shared = least[:same]
    return shared[: max(map(shared.rfind, "-_.")) + 1] if len(names) > 1 else ""


def _touched(paths: Iterable[str], folders: Mapping[str, str]) -> tuple[str, ...]:
    """The components whose files these are; a file belongs to the deepest folder that holds it."""
    deepest = sorted(folders, key=lambda name: -len(_prefix(folders[name])))
    found = {
        next((name for name in deepest if path.startswith(_prefix(folders[name]))), "")
        for path in paths
        if not _WRITTEN_BY_RELEASES.fullmatch(path)
    }
    return tuple(name for name in folders if name in found)


def _prefix(folder: str) -> str:
    return "" if folder in ("", ".") else folder.rstrip("/") + "/"


def _groups(understood: Sequence[_Understood], *, grouped: bool) -> list[list[_Understood]]:
    groups: dict[object, list[_Understood]] = {}
    for index, each in enumerate(understood):
        shared = grouped and each.bump is Bump.PATCH and each.said.type != "revert"
        groups.setdefault(each.names if shared else index, []).append(each)
    return list(groups.values())


def _proposal(group: Sequence[_Understood]) -> Proposal:
    first = group[0]
    summaries = [_summary(each) for each in group]
    summary = summaries[0] if len(group) == 1 else "\n".join(f"- {each}" for each in summaries)
    commits = tuple(commit.sha for each in group for commit in each.commits)
    also = tuple(dict.fromkeys(name for each in group for name in each.also if name not in first.names))
    return Proposal(tuple(Change(name, first.bump) for name in first.names), summary, commits, also)


def _summary(each: _Understood) -> str:
    """The description as a sentence for users, with a word for its section where the bump does not tell it."""
    said, told = each.said, each.said.told
    first = told.split(maxsplit=1)[0]
    told = told[0].upper() + told[1:] if first.isalpha() and first.islower() else told
    if each.bump is Bump.PATCH and (said.type == "security" or "security" in map(str.lower, said.scopes)):
        told = f"security: {told}"
    elif each.bump is Bump.PATCH and said.type in ("perf", "revert"):
        told = f"changed: {told}"
    return f"{told}\n\n{said.breaks}" if said.breaks else told
