"""Carrying edits out, all or none: whoever is killed on the way leaves a note from which the next run goes on.

The note, `.changeset/.versions.json`, holds every edit. It is there as a whole before the first file changes, and goes
when the last step is done. A file that holds something else than before, after, or a part of what was being written,
was changed by somebody in between: then nothing more is written, and a person decides.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossfade.core.errors import BadInputError, CrossfadeError, ExitCode
from crossfade.versioning.formatters import run_formatter
from crossfade.versioning.git import git
from crossfade.versioning.values import FileEdit
from crossfade.versioning.workspace import read_text, unwritable

NOTE = ".changeset/.versions.json"
_DRAFT = f"{NOTE}.new"


class UnfinishedError(CrossfadeError):
    """Some files are written and others are not; the note tells what is left, and the next run goes on from it."""

    exit_code = ExitCode.INCOMPLETE


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done to the repository: files first, then the formatter over changelogs, then the commit."""

    edits: tuple[FileEdit, ...] = ()
    formatted: tuple[str, ...] = ()
    """Files for the formatter."""
    formatter: str | None = None
    """Its name, or `auto`; None for none."""
    message: str | None = None
    """Message of the commit; None for no commit."""
    paths: tuple[str, ...] = ()
    """Files that the commit takes."""


def carry_out(root: Path, work: Work, *, before_each: Callable[[str], None] = lambda _: None) -> None:
    """Do the work; safe to be killed at any moment, and then for `resume` to finish.

    `before_each` hears what is about to be done: the path of a file, or note, format, commit, done. BadInputError where
    nothing can be written, UnfinishedError where the rest cannot.
    """
    before_each("note")
    _write_note(root, work)
    _finish(root, work, before_each)


def pending(root: Path) -> Work | None:
    """What an earlier run began and did not finish."""
    text = read_text(root, NOTE)
    if text is None:
        return None
    try:
        found = json.loads(text)
        edits = tuple(FileEdit(*edit) for edit in found["edits"])
        return Work(edits, tuple(found["formatted"]), found["formatter"], found["message"], tuple(found["paths"]))
    except (ValueError, KeyError, TypeError):
        raise BadInputError(
            "versions.bad-note",
            "the note of an unfinished run cannot be read",
            where=NOTE,
            next="see `git status`, take the files back with `git checkout`, and delete the note",
        ) from None


def resume(root: Path, *, before_each: Callable[[str], None] = lambda _: None) -> Work | None:
    """Finish what an earlier run began, and tell what it was; None if nothing was left.

    Raises BadInputError if somebody changed one of its files in between.
    """
    work = pending(root)
    if work is None:
        with contextlib.suppress(OSError):  # what cannot be removed is told when a note is to be written
            (root / _DRAFT).unlink()
        return None
    for edit in work.edits:
        now = read_text(root, edit.path)
        torn = now is not None and edit.new is not None and edit.new.startswith(now)
        if now not in {edit.old, edit.new} and not torn:
            raise _changed_meanwhile(edit.path)
    _finish(root, work, before_each)
    return work


def _finish(root: Path, work: Work, before_each: Callable[[str], None]) -> None:
    for edit in work.edits:
        before_each(edit.path)
        try:
            _write(root, edit)
        except OSError as error:
            raise UnfinishedError(
                "versions.half-written",
                f"it cannot be written: {error.strerror}; other files are written already",
                where=edit.path,
                next="see what stands in its place, and whether the disk is full; then `crossfade version` goes on",
            ) from None
    if work.formatter is not None and work.formatted:
        # From here on the files are no longer what the edits say.
        work = replace(work, edits=())
        before_each("format")
        _write_note(root, work)
        run_formatter(root, str(work.formatter), work.formatted)
    message = work.message
    if message is not None:
        before_each("commit")
        _write_note(root, replace(work, edits=(), formatter=None))
        _commit(root, message, work.paths)
    before_each("done")
    (root / NOTE).unlink()


def _write(root: Path, edit: FileEdit) -> None:
    path = f"{root}/{edit.path}"
    if edit.new is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - thousands are deleted; this is the quickest way
        return
    content = edit.new.encode("utf-8", "surrogateescape")
    # In place, as an editor would: links and permissions stay. The note makes up for what a kill tears.
    try:
        _put(path, content)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _put(path, content)


def _put(path: str, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        written = 0
        while written < len(content):
            written += os.write(handle, content[written:])
    finally:
        os.close(handle)


def _write_note(root: Path, work: Work) -> None:
    found = {
        "note": "An unfinished `version`; run it again to finish it.",
        "edits": [list(edit) for edit in work.edits],
        "formatted": work.formatted,
        "formatter": work.formatter,
        "message": work.message,
        "paths": work.paths,
    }
    draft = root / _DRAFT
    try:
        with draft.open("w", encoding="utf-8") as file:
            json.dump(found, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(root / NOTE)
    except OSError as error:
        raise unwritable(_DRAFT, error) from None


def _commit(root: Path, message: str, paths: Sequence[str]) -> None:
    if git(root, "log", "-1", "--format=%B").strip() == message.strip():
        return  # an earlier run got as far as this
    known = set(git(root, "ls-files", "-z", "--", *paths).split("\0"))
    here = [path for path in paths if path in known or (root / path).exists()]
    if here:
        git(root, "add", "--", *here)
    git(root, "commit", "-m", message, "--allow-empty")


def _changed_meanwhile(path: str) -> BadInputError:
    return BadInputError(
        "versions.changed-meanwhile",
        "the file was changed while versions were being written",
        where=path,
        next="see `git diff`; take the file back with `git checkout`, then run it again",
    )
