"""The repository whose versions a command is about: a project of `crossfade.yaml`, or a workspace of changesets alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from crossfade.cli.place import Place
from crossfade.core.errors import BadInputError

if TYPE_CHECKING:
    from crossfade.config.load import LoadedProject


def project_of(place: Place) -> LoadedProject | None:
    """The project, where a crossfade.yaml says where its sources are; None in a workspace of changesets alone."""
    if place.file is None and not any((folder / "crossfade.yaml").exists() for folder in _here_and_above()):
        return None
    loaded = place.loaded
    return loaded if any(each.source for each in loaded.project.components.values()) else None


def follows_changesets(loaded: LoadedProject | None) -> bool:
    """Whether changesets' own rules hold, exit codes included."""
    return loaded is None or loaded.project.versioning.compatibility != "crossfade"


def root_of(loaded: LoadedProject | None) -> Path:
    """The top of the repository: where `crossfade.yaml` stands, or the top of the workspace."""
    if loaded is not None:
        return loaded.path.resolve().parent
    from crossfade.versioning.workspace import top_of  # noqa: PLC0415 - heavy

    return top_of(Path.cwd())


def finish(place: Place) -> bool:
    """Finish what an earlier run was killed in, and say so; whether there was anything.

    It comes before anything is read: a file that the kill has torn cannot be read, crossfade.yaml among them.
    """
    from crossfade.versioning.writing import resume  # noqa: PLC0415 - heavy

    root = _changesets_top(place)
    work = resume(root) if root is not None else None
    if work is not None:
        place.printer.note(f"an earlier run was cut short; its {len(work.edits)} files are written now")
    return work is not None


def require_finished(place: Place) -> None:
    """BadInputError (`versions.unfinished`) where an earlier run was killed: what would be read is half of a release."""
    from crossfade.versioning.writing import NOTE, pending  # noqa: PLC0415 - heavy

    root = _changesets_top(place)
    if root is not None and pending(root) is not None:
        raise BadInputError(
            "versions.unfinished",
            "an earlier `crossfade version` was cut short, and its files are half written",
            where=NOTE,
            next="run `crossfade version` to finish it",
        )


def names_of(loaded: LoadedProject | None) -> tuple[Path, Callable[[str], str]]:
    """The top of the repository, and what a component or package is called in changesets."""
    if loaded is not None:
        from crossfade.versioning.graph import read_graph  # noqa: PLC0415 - heavy

        graph = read_graph(loaded)
        return graph.repository.root, lambda name: graph.named(name, "crossfade change add")
    from crossfade.config.faults import suggest  # noqa: PLC0415 - only for an error
    from crossfade.versioning.workspace import read_repository  # noqa: PLC0415 - heavy

    repository = read_repository(Path.cwd())
    names = [package.name for package in repository.packages]

    def known(name: str) -> str:
        if name not in names:
            raise BadInputError("versions.unknown-package", f"there is no package {name!r}", next=suggest(name, names))
        return name

    return repository.root, known


def _changesets_top(place: Place) -> Path | None:
    """The folder whose `.changeset` is meant, found without reading a file."""
    if place.file is not None:
        return place.file.resolve().parent
    return next((folder for folder in _here_and_above() if (folder / ".changeset").is_dir()), None)


def _here_and_above() -> tuple[Path, ...]:
    here = Path.cwd()
    return (here, *here.parents)
