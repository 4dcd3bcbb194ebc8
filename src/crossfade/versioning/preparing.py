"""From a repository to a plan and its edits: the story of `version`, `status` and pre mode, told once for every command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from crossfade.core.errors import BadInputError
from crossfade.versioning.changeset_files import FOLDER, Found, no_folder, read_changesets
from crossfade.versioning.changesets_config import CONFIG_FILE, read_rules, skipped_faults, with_ignored
from crossfade.versioning.commits import commits_that_added, head
from crossfade.versioning.coverage import Coverage, changed_changesets, changed_packages
from crossfade.versioning.edits import commit_message, edits, touched
from crossfade.versioning.formatters import detected
from crossfade.versioning.package_json import ECOSYSTEMS, Npm
from crossfade.versioning.planning import plan
from crossfade.versioning.prereleases import PRE_FILE, entered, left, parse_pre, pre_text
from crossfade.versioning.values import (
    Compatibility,
    Ecosystem,
    FileEdit,
    Package,
    PreState,
    ReleasePlan,
    Rules,
    Snapshot,
)
from crossfade.versioning.workspace import Repository, read_repository, read_text
from crossfade.versioning.writing import Work


class PreFile(NamedTuple):
    """Pre mode, and the text that tells it."""

    state: PreState | None
    text: str | None


class Pending(NamedTuple):
    """Edits that wait to be carried out at the top of a repository."""

    root: Path
    edits: tuple[FileEdit, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A repository with its rules, its changesets and its pre mode, read once."""

    repository: Repository
    rules: Rules
    found: Found
    before: PreFile
    ecosystems: Mapping[str, Ecosystem]
    warnings: tuple[str, ...] = ()
    ignored_here: bool = False
    """Whether packages are ignored for this run alone, and not by the configuration."""

    @property
    def pre(self) -> PreState | None:
        """Pre mode, None if it is not on."""
        return self.before.state


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `version` would do."""

    plan: ReleasePlan
    work: Work
    warnings: tuple[str, ...] = ()
    nothing: bool = False
    """Whether there is nothing to do at all."""
    exit_code: int = 0
    """What changesets ends with: version 3 takes it for a fault if there is nothing to do."""


def open_repository(
    start: Path,
    *,
    compatibility: Compatibility = "changesets-3",
    ignore: Sequence[str] = (),
    template: str | None = None,
    since: str | None = None,
) -> Opened:
    """Read everything that a plan is made from; BadInputError with file and line for what cannot be used.

    `ignore` and `template` (of a snapshot's suffix) take the place of what the configuration says, for this run.
    With `since` only changesets that were added or changed since HEAD left that reference are read.
    """
    repository = read_repository(start)
    root, packages = repository.root, repository.packages
    ecosystems = {**ECOSYSTEMS, "npm": Npm(keep_bounds=compatibility != "changesets-2")}
    found = read_changesets(root, changed_changesets(root, since) if since is not None else None)
    config = read_text(root, CONFIG_FILE)
    if config is None:
        raise BadInputError(
            "versions.no-config",
            "there is no configuration of changesets",
            where=f"{root}/{CONFIG_FILE}",
            next="write {} into it to begin with the defaults",
        )
    read = read_rules(config, packages, compatibility, ecosystems=ecosystems)
    rules = with_ignored(read.rules, ignore, packages)
    rules = replace(rules, prerelease_template=template) if template is not None else rules
    return Opened(repository, rules, found, read_pre(root), ecosystems, read.warnings, bool(ignore))


def prepare_version(opened: Opened, *, snapshot: Snapshot | None = None) -> Prepared:
    """The plan and every file that follows from it; nothing is written.

    Raises BadInputError for what the plan cannot be made from, and for a snapshot in pre mode.
    """
    rules, repository = opened.rules, opened.repository
    _refuse_left_behind(opened)
    if snapshot is not None and opened.pre is not None and opened.pre.mode == "pre":
        raise BadInputError(
            "versions.snapshot-in-pre-mode",
            "there are no snapshots in pre mode",
            where=PRE_FILE,
            next="leave it with `crossfade change pre exit`, or make the snapshot on another branch",
        )
    opened, moved = _migrated(opened)
    pre, changesets = opened.pre, opened.found.changesets
    if not changesets and (pre is None or pre.mode != "exit"):
        failed = rules.compatibility != "changesets-2"
        return Prepared(ReleasePlan(pre=pre), Work(), opened.warnings, nothing=True, exit_code=int(failed))
    if snapshot is not None and "{commit" in (rules.prerelease_template or ""):
        snapshot = replace(snapshot, commit=head(repository.root))
    made = plan(repository.packages, changesets, pre, rules, snapshot=snapshot, ecosystems=opened.ecosystems)
    written = edits(
        made,
        repository.packages,
        _texts(opened, made),
        rules,
        top=repository.top,
        shas=_shas(opened, made) if rules.changelog is True else {},
        ecosystems=opened.ecosystems,
    )
    return Prepared(made, _work(opened, made, combined(moved, written)), opened.warnings)


def prepare_status(start: Path, *, compatibility: Compatibility = "changesets-3", since: str | None = None) -> Coverage:
    """What is about to be released, and which packages changed; nothing is written.

    With `since` only changesets that were added or changed since then count. Raises BadInputError as `version` does.
    """
    return status_of(open_repository(start, compatibility=compatibility, since=since), since=since)


def status_of(opened: Opened, *, since: str | None = None) -> Coverage:
    """The same for what has been read already."""
    opened, _ = _migrated(opened)
    root, packages, rules = opened.repository.root, opened.repository.packages, opened.rules
    made = plan(packages, opened.found.changesets, opened.pre, rules, ecosystems=opened.ecosystems)
    return Coverage(made, changed_packages(root, packages, rules, since))


def enter_pre(start: Path, tag: str, *, compatibility: Compatibility = "changesets-3") -> Pending:
    """The edits that begin pre mode with this tag; BadInputError if it is on already."""
    repository = read_repository(start)
    return entering(repository.root, repository.packages, tag, compatibility)


def exit_pre(start: Path, *, compatibility: Compatibility = "changesets-3") -> Pending:
    """The edits that end pre mode with the next `version`; BadInputError if it is not on."""
    return leaving(read_repository(start).root, compatibility)


def entering(root: Path, packages: Sequence[Package], tag: str, compatibility: Compatibility) -> Pending:
    """The same as `enter_pre` for packages that have been read already."""
    before = read_pre(root)
    pre, moved = _in_new_shape(before, compatibility, root)
    text = pre_text(entered(pre, tag, packages, compatibility))
    return Pending(root, combined(moved, [FileEdit(PRE_FILE, before.text, text)]))


def leaving(root: Path, compatibility: Compatibility) -> Pending:
    """The same as `exit_pre` for a repository whose top is known."""
    before = read_pre(root)
    pre, moved = _in_new_shape(before, compatibility, root)
    return Pending(root, combined(moved, [FileEdit(PRE_FILE, before.text, pre_text(left(pre)))]))


def combined(first: Sequence[FileEdit], then: Sequence[FileEdit]) -> tuple[FileEdit, ...]:
    """Both after one another, each file written once; what ends as it began is left out.

    >>> combined([FileEdit("a", None, "1")], [FileEdit("a", "1", None), FileEdit("b", None, "2")])
    (FileEdit(path='b', old=None, new='2'),)
    """
    if not first:
        return tuple(then)
    found: dict[str, FileEdit] = {}
    for edit in (*first, *then):
        before = found.get(edit.path, edit)
        found[edit.path] = FileEdit(edit.path, before.old, edit.new)
    return tuple(edit for edit in found.values() if edit.old != edit.new)


def read_pre(root: Path) -> PreFile:
    """Pre mode at the top of a repository; BadInputError if it has no changesets folder."""
    if not (root / FOLDER).is_dir():
        raise no_folder(root)
    text = read_text(root, PRE_FILE)
    return PreFile(parse_pre(text) if text is not None else None, text)


def _in_new_shape(
    before: PreFile, compatibility: Compatibility, root: Path
) -> tuple[PreState | None, tuple[FileEdit, ...]]:
    """Pre mode of changesets 2 in the shape of 3: the changesets that it has used move below `pre`."""
    pre = before.state
    if pre is None or compatibility == "changesets-2" or (pre.changesets is None and pre.initial_versions is None):
        return pre, ()
    moved = []
    for used in pre.changesets or ():
        path, kept = f"{FOLDER}/{used}.md", f"{FOLDER}/pre/{used}.md"
        text = read_text(root, path)
        if text is not None:
            moved += [FileEdit(kept, read_text(root, kept), text), FileEdit(path, text, None)]
    after = replace(pre, changesets=None, initial_versions=None)
    return after, (*moved, FileEdit(PRE_FILE, before.text, pre_text(after)))


def _migrated(opened: Opened) -> tuple[Opened, tuple[FileEdit, ...]]:
    before = opened.before
    pre, moved = _in_new_shape(before, opened.rules.compatibility, opened.repository.root)
    if not moved:
        return opened, ()
    used, texts, changesets = frozenset((before.state and before.state.changesets) or ()), {}, []
    for changeset in opened.found.changesets:
        kept = replace(changeset, id=f"pre/{changeset.id}") if changeset.id in used else changeset
        texts[kept.path] = opened.found.texts[changeset.path]
        changesets.append(kept)
    changesets.sort(key=lambda each: each.id.startswith("pre/"))
    text = pre_text(pre) if pre is not None else None
    return replace(opened, before=PreFile(pre, text), found=Found(tuple(changesets), texts)), moved


def _refuse_left_behind(opened: Opened) -> None:
    rules = opened.rules
    if not opened.ignored_here and (rules.ignore or not rules.version_private):
        return  # the configuration would have been refused for it
    faults = skipped_faults(opened.repository.packages, rules, opened.ecosystems)
    if faults:
        raise BadInputError(
            "versions.left-behind", "; ".join(faults), where=CONFIG_FILE, next="ignore the dependents as well, or none"
        )


def _texts(opened: Opened, made: ReleasePlan) -> dict[str, str]:
    texts = {**opened.repository.texts, **opened.found.texts}
    if opened.before.text is not None:
        texts[PRE_FILE] = opened.before.text
    for path in touched(made, opened.repository.packages, opened.rules):
        text = read_text(opened.repository.root, path) if path not in texts else None
        if text is not None:
            texts[path] = text
    return texts


def _shas(opened: Opened, made: ReleasePlan) -> dict[str, str]:
    root = opened.repository.root
    paths = {_where_it_is(root, changeset.path): changeset.id for changeset in made.changesets}
    return {paths[path]: sha for path, sha in commits_that_added(root, paths).items()}


def _where_it_is(root: Path, path: str) -> str:
    # What has just been moved below `pre` by the change of its shape is known to git by its old path.
    return path if (root / path).exists() else path.replace("/pre/", "/", 1)


def _work(opened: Opened, made: ReleasePlan, written: tuple[FileEdit, ...]) -> Work:
    rules, root = opened.rules, opened.repository.root
    changelogs = tuple(edit.path for edit in written if edit.path.endswith("CHANGELOG.md"))
    formatter = rules.formatter if changelogs else None
    if formatter == "auto" and detected(root) is None:
        formatter = None
    commits = rules.commit is True and not made.snapshot
    return Work(
        written,
        changelogs,
        formatter,
        commit_message(made, rules) if commits else None,
        tuple(edit.path for edit in written) if commits else (),
    )
