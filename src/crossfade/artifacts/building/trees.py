"""Outputs as they lie in a folder: read, compared, copied, and set aside while a build runs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from crossfade.artifacts.building.durable import sync_folder
from crossfade.artifacts.building.memo import Memo, is_executable
from crossfade.artifacts.building.values import BuildError, Output

_BLOCK = 1 << 20
_PARTIAL = "%new"
"""What follows the name of a copy under way; a quoted name never ends so."""
_MODES = {True: 0o755, False: 0o644}


class CorruptError(Exception):
    """A kept file is not what it was when it was kept."""


def scan(folder: Path, outputs: Iterable[str], memo: Memo) -> tuple[Output, ...]:
    """All that is at `outputs` below `folder`, sorted by path; what is not there is left out.

    BuildError: something there is neither file, folder nor link, or an output is a link, whose files would not be kept.
    """
    found: list[Output] = []
    for output in outputs:
        if (folder / output).is_symlink():
            raise BuildError(
                "build.output-link",
                f"the output {output} is a link, and what it leads to would not be kept",
                where=str(folder / output),
                next="let the build write files and folders of its own",
            )
        if os.path.lexists(folder / output):
            found += _scan(folder, os.path.normpath(output), memo)
    return tuple(sorted(found, key=lambda each: each.path))


def _scan(folder: Path, path: str, memo: Memo) -> Iterator[Output]:
    whole = f"{folder}/{path}"
    status = os.lstat(whole)
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(whole))  # noqa: PTH115 - a plain text
        yield Output(path, "link", hashlib.sha256(target).hexdigest(), len(target))
    elif stat.S_ISREG(status.st_mode):
        yield Output(path, "file", memo.sha256(whole, status), status.st_size, is_executable(status))
    elif stat.S_ISDIR(status.st_mode):
        names = os.listdir(whole)  # noqa: PTH208 - plain texts
        if not names:
            yield Output(path, "folder", "", 0)
        for name in names:
            yield from _scan(folder, f"{path}/{name}", memo)
    else:
        raise BuildError(
            "build.output-kind",
            f"the output {path} is neither a file nor a folder nor a link",
            where=whole,
            next="let the build write files",
        )


def digest_of(outputs: Iterable[Output]) -> str:
    """One digest over all outputs (sha256, hex).

    >>> digest_of([]) == hashlib.sha256().hexdigest()
    True
    """
    whole = hashlib.sha256()
    for each in sorted(outputs, key=lambda output: output.path):
        line = f"{each.kind}\0{int(each.executable)}\0{each.sha256}\0{each.path}\n"
        whole.update(line.encode(errors="surrogateescape"))
    return whole.hexdigest()


def copy(source: Path, target: Path, outputs: Sequence[Output]) -> None:
    """Copy `outputs` from one folder to another, each as a whole; CorruptError: the source is not what they say."""
    folders = {(target / output.path).parent for output in outputs}
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for output in outputs:
        _copy(source / output.path, target / output.path, output)
    for folder in folders:
        sync_folder(folder)


def tidy(folder: Path, outputs: Iterable[str]) -> None:
    """Take away what a copy that was killed has left beside `outputs`; what is left within them is no output anyway."""
    for output in outputs:
        _partial(folder / output).unlink(missing_ok=True)


def is_partial(path: str) -> bool:
    """Whether a file is a copy under way, or one that was killed.

    >>> is_partial("core/.crossfade-0123456789abcdef.new"), is_partial("core/new")
    (True, False)
    """
    return path.rpartition("/")[2].startswith(".crossfade-") and path.endswith(".new")


def settle(source: Path, folder: Path, wanted: Sequence[Output], present: Sequence[Output]) -> None:
    """Make what is at `folder` exactly `wanted`: take away what is too much, then copy what is missing or differs."""
    keep, there = frozenset(wanted), frozenset(present)
    for output in present:
        if output not in keep:
            place = folder / output.path
            if output.kind != "folder":
                place.unlink(missing_ok=True)
                place = place.parent
            _remove_empty(place, folder)
    copy(source, folder, [each for each in wanted if each not in there])


class Aside:
    """What was at the outputs before a build, put back when the build fails or is killed.

    The mark is made once everything was moved: before it, what is still in its place is what was there; after it, what
    is in a place was made by the build. Each step may be the last before a crash, and is then done again.
    """

    def __init__(self, place: Path, folder: Path) -> None:
        self._place = place
        self._folder = folder
        self._mark = place / "%taken"

    @property
    def left_over(self) -> bool:
        """Whether a build was killed before its end."""
        return self._place.is_dir()

    def take(self, outputs: Iterable[str]) -> None:
        """Move what is there aside, so that a build begins with nothing of an earlier one."""
        self._place.mkdir(parents=True)
        for output in outputs:
            source = self._folder / output
            if os.path.lexists(source):
                _move(source, self._place / quote(output, safe=""))
        self._mark.touch()

    def put_back(self, outputs: Iterable[str]) -> None:
        """Let the outputs be what they were."""
        if self._mark.exists():
            for output in outputs:
                _remove(self._folder / output)
            self._mark.unlink()
        for saved in sorted(self._place.iterdir()):
            if not saved.name.endswith(_PARTIAL):
                place = self._folder / unquote(saved.name)
                _remove(place)
                place.parent.mkdir(parents=True, exist_ok=True)
                _move(saved, place)
        self.forget()

    def forget(self) -> None:
        """Throw away what was there before, at once."""
        gone = self._place.with_name(f"{self._place.name}%gone")
        _remove(gone)
        if self._place.is_dir():
            self._place.rename(gone)
            _remove(gone)


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f"{target.name}{_PARTIAL}")
        _remove(partial)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, partial, symlinks=True)
        else:
            shutil.copy2(source, partial, follow_symlinks=False)
        partial.rename(target)
        _remove(source)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_empty(place: Path, top: Path) -> None:
    """Remove folders that have become empty, upwards."""
    while place != top:
        try:
            place.rmdir()
        except OSError:
            return
        place = place.parent


def _partial(place: Path) -> Path:
    return place.with_name(f".crossfade-{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}.new")


def _copy(source: Path, place: Path, output: Output) -> None:
    if output.kind == "folder":
        place.mkdir(exist_ok=True)
    elif output.kind == "link":
        _copy_link(source, place, output)
    else:
        _copy_file(source, place, output)


def _copy_link(source: Path, place: Path, output: Output) -> None:
    target = os.readlink(source)  # noqa: PTH115 - a plain text
    if hashlib.sha256(os.fsencode(target)).hexdigest() != output.sha256:
        raise CorruptError(output.path)
    with contextlib.suppress(FileNotFoundError):
        place.unlink()
    place.symlink_to(target)


def _copy_file(source: Path, place: Path, output: Output) -> None:
    digest = hashlib.sha256()
    partial = _partial(place)
    try:
        with source.open("rb") as reader, partial.open("wb") as writer:
            while block := reader.read(_BLOCK):
                digest.update(block)
                writer.write(block)
            if digest.hexdigest() != output.sha256:
                raise CorruptError(output.path)
            os.fchmod(writer.fileno(), _MODES[output.executable])
            writer.flush()
            os.fsync(writer.fileno())
        partial.replace(place)
    except FileNotFoundError as error:
        raise CorruptError(output.path) from error
    finally:
        partial.unlink(missing_ok=True)
