"""The packages of a repository, found as its package manager finds them: npm, yarn, pnpm, bun, lerna, or one package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossfade.core.errors import BadInputError
from crossfade.versioning.globs import expanded, glob, is_glob
from crossfade.versioning.package_json import package_of, read_json
from crossfade.versioning.values import Package

MANIFEST = "package.json"
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Repository:
    """What stands in a repository, read once."""

    root: Path
    tool: str
    """Which package manager told where the packages are: yarn, pnpm, npm, bun, lerna, or `root` for a single package."""
    packages: tuple[Package, ...]
    """Those that have versions of their own, by folder; the top is among them only if there is no other."""
    top: Package | None
    """The package.json at the top, whose ranges are kept up to date."""
    texts: Mapping[str, str]
    """Path of each manifest → its text."""


def read_repository(start: Path) -> Repository:
    """The repository that `start` lies in: the nearest folder above that lists workspaces, else the nearest package.

    Raises BadInputError with file and line for what cannot be read.
    """
    root, tool, patterns = _root(start.resolve())
    texts: dict[str, str] = {}
    top_text = read_text(root, MANIFEST)
    if top_text is None:
        raise BadInputError(
            "versions.no-package", f"there is no {MANIFEST} at the top", where=str(root), next=f"add a {MANIFEST}"
        )
    texts[MANIFEST] = top_text
    single = tool == "root"
    top = package_of(read_json(top_text, MANIFEST), ".", MANIFEST, needs_name=single)
    if single:
        return Repository(root, tool, (top,), top, texts)
    packages = []
    for folder in _folders(root, patterns):
        path = MANIFEST if folder == "." else f"{folder}/{MANIFEST}"
        text = top_text if folder == "." else read_text(root, path)
        if text is not None:
            texts[path] = text
            packages.append(package_of(read_json(text, path), folder, path))
    return Repository(root, tool, tuple(packages), top, texts)


def top_of(start: Path) -> Path:
    """The top of the repository that `start` lies in, without reading its packages."""
    return _root(start.resolve())[0]


def read_text(root: Path, path: str) -> str | None:
    """The text of a file, None if it is not there; bytes that are no UTF-8 survive a write by `write_text`."""
    try:
        handle = os.open(f"{root}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _all_of(handle).decode("utf-8", "surrogateescape")
        finally:
            os.close(handle)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadInputError(
            "versions.unreadable", f"it cannot be read: {error.strerror}", where=path, next="is it a file you may read?"
        ) from None


def unwritable(where: str, error: OSError) -> BadInputError:
    """The error for a file that cannot be written, and was not."""
    return BadInputError(
        "versions.unwritable",
        f"it cannot be written: {error.strerror}",
        where=where,
        next="see what stands in its place, who may write there, and whether the disk is full; nothing was changed",
    )


def _all_of(handle: int) -> bytes:
    # Thousands of small files are read: the first piece is nearly always the whole.
    pieces = [os.read(handle, _PIECE)]
    while len(pieces[-1]) == _PIECE:
        pieces.append(os.read(handle, _PIECE))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _root(start: Path) -> tuple[Path, str, Sequence[str]]:
    for folder in (start, *start.parents):
        found = _tool(folder)
        if found is not None:
            return folder, *found
    for folder in (start, *start.parents):
        if (folder / MANIFEST).is_file():
            return folder, "root", ()
    raise BadInputError(
        "versions.no-package",
        f"there is no {MANIFEST} here or above",
        where=str(start),
        next="run it in the repository",
    )


def _tool(folder: Path) -> tuple[str, Sequence[str]] | None:
    """The package manager whose files stand in the folder, and its patterns; asked in the order of changesets."""
    text = read_text(folder, MANIFEST)
    workspaces = read_json(text, str(folder / MANIFEST)).get("workspaces") if text is not None else None
    as_list = workspaces if isinstance(workspaces, list) else None
    nested = workspaces.get("packages") if isinstance(workspaces, dict) else None
    either = as_list if as_list is not None else nested if isinstance(nested, list) else None
    if either is not None and (folder / "yarn.lock").exists():
        return "yarn", either
    pnpm = _pnpm(folder)
    if pnpm:
        return "pnpm", pnpm
    if as_list is not None and (folder / "package-lock.json").exists():
        return "npm", as_list
    if either is not None and ((folder / "bun.lock").exists() or (folder / "bun.lockb").exists()):
        return "bun", either
    lerna = read_text(folder, "lerna.json")
    if lerna is not None:
        settings = read_json(lerna, "lerna.json")
        if settings.get("useWorkspaces") is not True:
            return "lerna", settings.get("packages") or ["packages/*"]
    if (folder / "rush.json").exists():
        raise BadInputError(
            "versions.rush",
            "a Rush repository has no package at the top, without which changesets finds no dependents",
            where=str(folder / "rush.json"),
            next="name its packages as components in crossfade.yaml",
        )
    return None


def _pnpm(folder: Path) -> list[str] | None:
    name = "pnpm-workspace.yaml"
    text = read_text(folder, name)
    if text is None:
        return None
    found = _simple_packages(text)
    if found is not None:
        return found
    from ruamel.yaml import YAML  # noqa: PLC0415 - few files need it, and it is slow to import
    from ruamel.yaml.error import MarkedYAMLError  # noqa: PLC0415 - as above

    try:
        settings: Any = YAML(typ="safe").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadInputError(
            "versions.bad-yaml",
            f"not YAML: {error.problem}",
            where=f"{folder / name}:{line}",
            next="repair the file; nothing was changed",
        ) from None
    patterns = settings.get("packages") if isinstance(settings, dict) else None
    return [str(each) for each in patterns] if isinstance(patterns, list) else None


def _simple_packages(text: str) -> list[str] | None:
    """The patterns, if the file holds nothing but a plain list of them; None if it takes a YAML parser to tell."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if not lines or lines[0] != "packages:":
        return None
    found = []
    for line in lines[1:]:
        item = line.strip()
        if not item.startswith("- "):
            return None
        value = item[2:].strip()
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" and value[0] not in value[1:-1]
        if not quoted or "\\" in value:
            return None
        found.append(value[1:-1])
    return found


def _folders(root: Path, patterns: Iterable[str]) -> list[str]:
    """Folders that the patterns choose, relative to the top, in the order of their whole paths."""
    found: set[str] = set()
    without = []
    for pattern in patterns:
        if pattern.startswith("!") and not pattern.startswith("!("):
            without.append(glob(_tidy(pattern[1:])))
            continue
        for each in expanded(_tidy(pattern)):
            found.update(_walk(root, "", each.split("/")))
    kept = {folder or "." for folder in found if not any(each.matches(folder) for each in without)}
    return sorted(kept, key=lambda folder: str(root) if folder == "." else f"{root}/{folder}")


def _tidy(pattern: str) -> str:
    tidy = pattern.rstrip("/")
    while tidy.startswith("./"):
        tidy = tidy[2:]
    return tidy or "."


def _walk(root: Path, folder: str, pieces: Sequence[str]) -> Iterator[str]:
    if not pieces:
        yield folder
        return
    piece, rest = pieces[0], pieces[1:]
    if piece == ".":
        yield from _walk(root, folder, rest)
    elif piece == "**":
        yield from _walk(root, folder, rest)
        for name in _below(root, folder):
            if not name.startswith("."):
                yield from _walk(root, _join(folder, name), pieces)
    elif is_glob(piece):
        wanted = glob(piece)
        for name in _below(root, folder):
            if wanted.matches(name):
                yield from _walk(root, _join(folder, name), rest)
    elif piece != "node_modules" and os.path.isdir(f"{root}/{_join(folder, piece)}"):  # noqa: PTH112 - quick, as above
        yield from _walk(root, _join(folder, piece), rest)


def _below(root: Path, folder: str) -> list[str]:
    try:
        with os.scandir(f"{root}/{folder}") as entries:
            return [entry.name for entry in entries if entry.name != "node_modules" and entry.is_dir()]
    except OSError:
        return []


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
