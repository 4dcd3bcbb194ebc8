"""npm's packages, packed by the real `npm pack` and then made final: versions in their ranges, the same bytes every time.

No script of a package is run (`prepare`, `prepack`, …): what is packed is what the build has made, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossfade.artifacts.npm_names import checked_name
from crossfade.artifacts.port import Coordinate
from crossfade.artifacts.workspace_ranges import resolved
from crossfade.core.durations import format_duration
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.core.semver import parse_version

TIMEOUT = 300.0
"""Seconds that npm may take for `_AT_ONCE` packages."""
_AT_ONCE = 100
_EPOCH = 499162500
"""1985-10-26, the time that npm gives every file: ZIP knows none before 1980, and 0 is no date to some."""
_SCRIPTS = ("prepublish", "prepublishOnly", "prepare", "prepack", "postpack", "publish", "postpublish")
_EXAMPLES = (".example", ".sample", ".template", ".defaults", ".dist")


@dataclass(frozen=True, slots=True)
class Packed:
    """A package's tarball. `skipped` are scripts of its package.json that `npm publish` would have run."""

    at: Coordinate
    tarball: Path
    skipped: tuple[str, ...] = ()


async def pack(
    folders: Mapping[Coordinate, Path], into: Path, *, versions: Mapping[str, str], npm: str = "npm"
) -> tuple[Packed, ...]:
    """Pack each of `folders`, which hold the packages that the plan says, into a tarball below `into`.

    `versions` are the versions of the workspace's packages by npm's names, which `workspace:` ranges stand for. Packing the
    same folders again makes the same bytes. BadInputError: a folder that is not what the plan says, a range that means
    nothing outside the workspace, a file that looks like a secret; nothing is written then.
    """
    manifests = {at: _checked(at, folder) for at, folder in folders.items()}
    final = {at: _final(at, manifest, folders[at], versions) for at, manifest in manifests.items()}
    program = _found(npm)
    packed = {}
    with tempfile.TemporaryDirectory(prefix=".packing-", dir=_made(into)) as scratch:
        for number, some in enumerate(_batches(folders)):
            raw = await _npm_pack(program, [folders[at] for at in some], _made(Path(scratch) / str(number)))
            for at, path in zip(some, raw, strict=True):
                body = await asyncio.to_thread(_rewritten, at, path, final[at])
                scripts = manifests[at].get("scripts") or {}
                skipped = tuple(name for name in _SCRIPTS if name in scripts)
                packed[at] = Packed(at, await asyncio.to_thread(_written, Path(scratch) / _file(at), body), skipped)
        # All of them are well: only now they are put where others look.
        return tuple(replace(packed[at], tarball=packed[at].tarball.replace(into / _file(at))) for at in folders)


def _file(at: Coordinate) -> str:
    return f"{at.name.replace('/', '+')}-{at.version}.tgz"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _batches(wanted: Iterable[Coordinate]) -> list[list[Coordinate]]:
    """What one npm process packs at once: npm gives @shop/core and shop-core the same file, so never those two.

    >>> [[at.name for at in some] for some in _batches(Coordinate(name, "1.0.0") for name in ("@a/b", "c", "a-b"))]
    [['@a/b', 'c'], ['a-b']]
    """
    batches: dict[int, dict[str, Coordinate]] = {}
    for at in wanted:
        file = f"{at.name.removeprefix('@').replace('/', '-')}-{at.version}"
        number = 0
        while file in (batch := batches.setdefault(number, {})) or len(batch) >= _AT_ONCE:
            number += 1
        batch[file] = at
    return [list(batch.values()) for batch in batches.values()]


def _checked(at: Coordinate, folder: Path) -> dict[str, Any]:
    """The folder's package.json, when it is of the package that the plan says."""
    path = folder / "package.json"
    manifest = _manifest(at, path)
    found = Coordinate(str(manifest.get("name")), str(manifest.get("version")))
    if found != at:
        raise BadInputError(
            "npm.unexpected-version",
            f"the release is of {at}, and the folder holds {found}",
            where=str(path),
            next="version and publish from the same commit: run `crossfade version` first, or check out its commit",
        )
    checked_name(at.name, where=str(path))
    try:
        parse_version(at.version)
    except ValueError as error:
        raise BadInputError(
            "npm.bad-version", f"{at.name}: {error}", where=str(path), next="write a version by SemVer, such as 1.4.0"
        ) from None
    if manifest.get("private"):
        raise BadInputError(
            "npm.private",
            f"{at} is not to be published: its package.json says it is private",
            where=str(path),
            next='remove "private" from it, or the registry from the `publish` of its component',
        )
    return manifest


def _manifest(at: Coordinate, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInputError(
            "npm.no-package",
            f"package.json of {at} cannot be read: {error}",
            where=str(path),
            next="name the folder of the package, or repair the file",
        ) from None
    if not isinstance(manifest, dict):
        raise BadInputError(
            "npm.no-package", f"package.json of {at} is no object", where=str(path), next="repair the file"
        )
    return manifest


def _final(at: Coordinate, manifest: dict[str, Any], folder: Path, versions: Mapping[str, str]) -> dict[str, Any]:
    try:
        return resolved(manifest, versions)
    except ValueError as error:
        raise BadInputError(
            "npm.open-range",
            f"{at}: {error}",
            where=str(folder / "package.json"),
            next="name a published version, or make the dependency a component of the project",
        ) from None


def _found(npm: str) -> str:
    program = shutil.which(npm)
    if program is None:
        raise CrossfadeError(
            "npm.not-installed",
            f"{npm} is not there, and npm's packages are packed by it",
            where="PATH",
            next="install Node.js with npm",
        )
    return program


async def _npm_pack(program: str, folders: Sequence[Path], scratch: Path) -> list[Path]:
    """The tarballs as npm makes them, in the order of `folders`, from one process."""
    argv = ["pack", *(str(folder.resolve()) for folder in folders), "--json", "--ignore-scripts", "--offline"]
    argv += ["--loglevel=error", "--dry-run=false", f"--pack-destination={scratch}"]
    process = await asyncio.create_subprocess_exec(
        program,
        *argv,
        cwd=scratch,  # away from the workspace, whose settings would choose other files
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "npm_config_update_notifier": "false", "NO_COLOR": "1"},
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            output, complaints = await process.communicate()
    except TimeoutError:
        raise _failed(f"it was not done after {format_duration(TIMEOUT)}", folders) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = complaints.decode(errors="replace").strip().splitlines()
        raise _failed("; ".join(line.removeprefix("npm error ").strip() for line in lines[:3]), folders)
    return _tarballs(output, folders, scratch)


def _tarballs(output: bytes, folders: Sequence[Path], scratch: Path) -> list[Path]:
    try:
        names = [str(each["filename"]) for each in json.loads(output)]
    except (ValueError, KeyError, TypeError):
        raise _failed("it did not say what it made: a newer npm is needed (9 at least)", folders) from None
    if len(names) != len(folders):
        raise _failed(f"{len(folders)} packages became {len(names)} files", folders)
    return [scratch / name.removeprefix("@").replace("/", "-") for name in names]


def _rewritten(at: Coordinate, path: Path, manifest: dict[str, Any]) -> bytes:
    """The tarball with `manifest` in it, in an order and with times that depend on nothing else."""
    with tarfile.open(path, mode="r:gz") as tar:
        files = {member: _body(tar, member) for member in tar if member.isfile()}
    for member in files:
        _check_secret(at, member.name.partition("/")[2])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, body in sorted(
            files.items(), key=lambda each: (each[0].name != "package/package.json", each[0].name)
        ):
            content = _as_text(manifest, body) if member.name == "package/package.json" else body
            info = tarfile.TarInfo(member.name)
            info.size, info.mtime, info.mode = len(content), _EPOCH, 0o755 if member.mode & 0o111 else 0o644
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), compresslevel=9, mtime=0)


def _as_text(manifest: dict[str, Any], before: bytes) -> bytes:
    """The manifest as text: byte for byte what it was, when nothing in it had to be resolved."""
    if json.loads(before) == manifest:
        return before
    return (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()


def _body(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file is not None else b""


def _check_secret(at: Coordinate, path: str) -> None:
    """Whatever is published stays published: a file of secrets must not be among it because nobody left it out."""
    name = path.rpartition("/")[2]
    if (name == ".env" or name.startswith(".env.")) and not name.endswith(_EXAMPLES):
        raise BadInputError(
            "npm.secret-file",
            f"{at} would publish {path}, which looks like a file of secrets",
            where=path,
            next="list what belongs to the package in `files` of its package.json, or leave the file out by .npmignore",
        )


def _written(path: Path, body: bytes) -> Path:
    """Its bytes are on the disk before its name is where others look."""
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    return path


def _failed(why: str, folders: Sequence[Path]) -> CrossfadeError:
    where = ", ".join(map(str, folders[:3])) + (" …" if len(folders) > 3 else "")  # noqa: PLR2004 - as many as a line holds
    return CrossfadeError(
        "npm.pack-failed", f"npm pack failed: {why}", where=where, next="run `npm pack` there by hand"
    )
