"""From the files of the project to the parts of each build's identity."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crossfade.artifacts.building import lock_files
from crossfade.artifacts.building.checks import idle, outputs_of, selection_of, tracked
from crossfade.artifacts.building.files import Listing, list_files, see
from crossfade.artifacts.building.globs import holds
from crossfade.artifacts.building.memo import Memo
from crossfade.artifacts.building.programs import files_named
from crossfade.artifacts.building.trees import is_partial
from crossfade.artifacts.building.values import Target


@dataclass(frozen=True)
class Reader:
    """Reads what builds would see. `made` are the outputs of all builds: never anybody's input, as is `hidden`."""

    root: Path
    memo: Memo
    made: tuple[str, ...]
    hidden: tuple[str, ...] = ()

    def list(self, targets: Iterable[Target]) -> Listing:
        """All files that may be inputs of `targets`; BadInputError: a build's outputs hold what is under version control."""
        folders = {glob.prefix for target in targets for glob in selection_of(target).meant}
        folders |= {path for target in targets for path in outputs_of(target)}
        listing = list_files(self.root, [each for each in folders if os.path.lexists(self.root / each)])
        for target in targets:
            _refuse_tracked(target, listing)
        never = {path for each in (*self.made, *self.hidden) for path in listing.under(each)}
        return Listing(
            tuple(path for path in listing.paths if path not in never and not is_partial(path)), listing.tracked
        )

    def parts(self, target: Target, listing: Listing) -> dict[str, str]:
        """The parts of `target`'s identity that are files; BadInputError: a glob that matches none of `listing`."""
        selection = selection_of(target)
        near = sorted({path for glob in selection.meant for path in listing.under(glob.prefix)})
        if target.build is not None and (missing := selection.idle(near)):
            raise idle(target.component, missing)
        paths = selection.choose(near)
        if target.build is not None:
            named = files_named(target.build.command, target.folder, self.root)
            paths = sorted({*paths, *(path for path in named if not self._never(path))})
        seen = {path: see(self.root, path, self.memo, target.folder) for path in paths}
        found = {f"input {path}": digest for path, digest in seen.items() if digest is not None}
        return {**found, **self._locks(target)}

    def _never(self, path: str) -> bool:
        return any(holds(each, path) for each in (*self.made, *self.hidden))

    def _locks(self, target: Target) -> dict[str, str]:
        """What the lock files above the component pin; those in its own folder are inputs like any other."""
        found = {}
        for folder in _above(target.folder):
            for name in lock_files.NAMES:
                path = posixpath.normpath(posixpath.join(folder, name))
                try:
                    found[f"lock {path}"] = lock_files.pinned(name, (self.root / path).read_bytes())
                except OSError:
                    continue
        return found


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """The files that differ between two readings of the same build's inputs."""
    mine = {key for key in before.keys() | after.keys() if key.startswith(("input ", "lock "))}
    return tuple(sorted(key.partition(" ")[2] for key in mine if before.get(key) != after.get(key)))


def _refuse_tracked(target: Target, listing: Listing) -> None:
    for output in outputs_of(target):
        source = next((path for path in listing.under(output) if path in listing.tracked), None)
        if source is not None:
            raise tracked(target.component, output, source)


def _above(folder: str) -> Iterator[str]:
    here = folder
    while here not in (".", ""):
        here = posixpath.dirname(here) or "."
        yield here
