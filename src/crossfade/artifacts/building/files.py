"""The files of a project that git does not ignore, and what a build sees of each."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crossfade.artifacts.building.git import in_repository, listed
from crossfade.artifacts.building.globs import holds
from crossfade.artifacts.building.memo import Memo, is_executable
from crossfade.core.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Listing:
    """Files relative to the project's folder, sorted. `tracked` are those under version control."""

    paths: tuple[str, ...]
    tracked: frozenset[str]

    def under(self, place: str) -> tuple[str, ...]:
        """The file at `place`, or all that are in the folder there.

        >>> Listing(("a", "a/b", "a/c/d", "ab"), frozenset()).under("a")
        ('a', 'a/b', 'a/c/d')
        """
        if place == ".":
            return self.paths
        first, last = bisect_left(self.paths, f"{place}/"), bisect_left(self.paths, f"{place}0")  # 0 comes after /
        at = bisect_left(self.paths, place)
        itself = self.paths[at : at + 1] if self.paths[at : at + 1] == (place,) else ()
        return (*itself, *self.paths[first:last])


def list_files(root: Path, folders: Iterable[str]) -> Listing:
    """Every file in `folders` of the project at `root` that git does not ignore; all of them where there is no git.

    BadInputError: git does not answer.
    """
    wanted = _outermost(folders)
    paths: set[str] = set()
    tracked: set[str] = set()
    if in_repository(root):
        cached = set(listed(root, wanted, "--cached"))
        _spread(root, {*cached, *listed(root, wanted, "--others", "--exclude-standard")}, paths)
        tracked = cached & paths
    else:
        for folder in wanted:
            paths.update(_walk(root, folder))
    return Listing(tuple(sorted(paths)), frozenset(tracked))


def see(root: Path, path: str, memo: Memo, inside: str) -> str | None:
    """What a build sees of a file: its content and whether it may be run, or where a link leads and what is there.

    `inside` is the folder whose files are seen anyway: what a link leads to there is not looked at twice. None where
    there is nothing any more. BadInputError: it cannot be read.
    """
    whole = f"{root}/{path}"
    try:
        status = os.lstat(whole)
        if stat.S_ISREG(status.st_mode):
            return ("x:" if is_executable(status) else "f:") + memo.sha256(whole, status)
        if stat.S_ISLNK(status.st_mode):
            return f"l:{os.readlink(whole)}" + _behind(root, whole, memo, inside)  # noqa: PTH115 - a plain text
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadInputError(
            "build.unreadable",
            f"{path} cannot be read: {error.strerror or error}",
            next="see to it that you may read it",
        ) from None
    return None  # sockets, pipes and devices are no content


def _behind(root: Path, link: str, memo: Memo, inside: str) -> str:
    """The content that a link leads to, where the build would read through it to files that are not seen anyway."""
    real = os.path.realpath(link)
    within = os.path.realpath(root / inside)
    if holds(within, real) or holds(real, within) or not os.path.exists(real):  # noqa: PTH110 - plain texts
        return ""
    if os.path.isfile(real):  # noqa: PTH113 - plain texts
        return f"={memo.sha256(real)}"
    folder = Path(real)
    listing = list_files(folder, ["."]) if os.path.isdir(real) else Listing((), frozenset())  # noqa: PTH112 - a plain text
    seen = []
    for name in listing.paths:
        whole = f"{real}/{name}"
        status = os.lstat(whole)
        if stat.S_ISREG(status.st_mode):
            seen.append(f"{name}={memo.sha256(whole, status)}")
    return "=" + "|".join(seen)


def _spread(root: Path, names: Iterable[str], into: set[str]) -> None:
    """Add what is there; a repository within the repository is one name to git, and all of its files to a build."""
    for name in names:
        try:
            mode = os.lstat(f"{root}/{name}").st_mode
        except OSError:
            continue  # deleted, and still in the index
        if stat.S_ISDIR(mode):
            inner = name.rstrip("/")
            into.update(f"{inner}/{each}" for each in list_files(root / inner, ["."]).paths)
        else:
            into.add(name)


def _walk(root: Path, folder: str) -> Iterator[str]:
    top = os.path.normpath(f"{root}/{folder}")
    if not os.path.isdir(top):  # noqa: PTH112 - a plain text
        yield os.path.normpath(folder)
        return
    for here, folders, files in os.walk(top):
        below = os.path.relpath(here, root)
        if ".git" in folders or ".git" in files:
            inner = below if below != "." else ""
            yield from (os.path.join(inner, each) for each in list_files(Path(here), ["."]).paths)  # noqa: PTH118 - plain texts
            folders.clear()
            continue
        links = [name for name in folders if os.path.islink(f"{here}/{name}")]  # noqa: PTH114 - plain texts
        for name in (*files, *links):
            yield name if below == "." else f"{below}/{name}"


def _outermost(folders: Iterable[str]) -> list[str]:
    """The folders without those that are within another."""
    kept: list[str] = []
    for folder in sorted(set(folders), key=lambda each: (each != ".", each)):
        if not any(holds(other, folder) for other in kept):
            kept.append(folder)
    return kept
