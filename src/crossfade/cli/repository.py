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
    if place.file is None and not any(
        (folder / "crossfade.yaml").exists() for folder in (Path.cwd(), *Path.cwd().parents)
    ):
        return None
    loaded = place.loaded
    return loaded if any(each.source for each in loaded.project.components.values()) else None


def root_of(loaded: LoadedProject | None) -> Path:
    """The top of the repository: where `crossfade.yaml` stands, or `.changeset`."""
    if loaded is not None:
        return loaded.path.resolve().parent
    from crossfade.versioning.workspace import read_repository  # noqa: PLC0415 - heavy

    return read_repository(Path.cwd()).root


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
