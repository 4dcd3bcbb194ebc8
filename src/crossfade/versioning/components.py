"""One component of crossfade.yaml as a package of the graph: its folder is read, and nothing is decided.

An npm package goes by the name in its package.json, since that is what others depend on; everything else goes by its
component's name, so that a Python package and an npm package of the same name are two things.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from crossfade.config.publishing import Source
from crossfade.core.errors import BadInputError
from crossfade.versioning.dynamic_versions import VersionPlace
from crossfade.versioning.ledger import LEDGER, UNRELEASED
from crossfade.versioning.package_json import package_of, read_json
from crossfade.versioning.pyproject import canonical, read_pyproject
from crossfade.versioning.values import Package
from crossfade.versioning.version_files import read_assigned, read_version_file

Reader = Callable[[str], str | None]
"""Path relative to the top → the text of the file, None if it is not there."""


@dataclass(frozen=True, slots=True)
class Member:
    """A package of the graph, and what is known about it beside its versions."""

    package: Package
    component: str | None
    """Its name in crossfade.yaml; None: it is not named there."""
    own_name: str
    """The name in its own file, under which it is published; the component's where it has no file."""
    version_file: str | None = None
    """The file that holds a dynamic version, relative to the top, instead of the manifest."""
    version_place: VersionPlace | None = None


def read_component(name: str, source: Source, read: Reader, ledger: Mapping[str, str], where: str) -> Member:
    """The package that a component's source describes; `where` is its place in crossfade.yaml, for errors.

    Dependencies are those of its own files, with the names that they have there.
    """
    folder = posixpath.normpath(source.path)
    if folder == ".." or folder.startswith("../"):
        hint = "move crossfade.yaml to the top of the repository"
        what = f"{name} stands outside the folder of crossfade.yaml: {source.path}"
        raise BadInputError("versions.outside", what, where=where, next=hint)
    kind = source.version or _kind(name, folder, read, where)
    if kind == "ledger":
        package = Package(name, ledger.get(name, UNRELEASED), folder, LEDGER, "ledger")
        member = Member(package, name, name)
    else:
        path = posixpath.normpath(f"{folder}/{kind}")
        text = read(path)
        if text is None:
            hint = "correct the component's `source`, or write the file"
            raise BadInputError("versions.no-file", f"there is no {path} for {name}", where=where, next=hint)
        describe = {"package.json": _npm, "pyproject.toml": _python, "VERSION": _plain}[kind]
        member = describe(name, folder, path, text, read)
    private = member.package.private or source.private
    return replace(member, package=replace(member.package, private=private))


def _kind(name: str, folder: str, read: Reader, where: str) -> str:
    for file in ("package.json", "pyproject.toml", "VERSION"):
        if read(posixpath.normpath(f"{folder}/{file}")) is not None:
            return file
    what = f"nothing in {folder} tells the version of {name}"
    hint = "write a VERSION file there, or let its `source` have `version: ledger`"
    raise BadInputError("versions.no-file", what, where=where, next=hint)


def _npm(name: str, folder: str, path: str, text: str, read: Reader) -> Member:  # noqa: ARG001 - one shape for all
    package = package_of(read_json(text, path), folder, path)
    if not package.version:
        hint = 'add "version": "0.0.0"'
        raise BadInputError("versions.no-version", f"{package.name} has no version", where=path, next=hint)
    return Member(package, name, package.name)


def _python(name: str, folder: str, path: str, text: str, read: Reader) -> Member:
    found = read_pyproject(text, path)
    dependencies = tuple(each.dependency for each in found.requirements)
    package = Package(name, str(found.version or ""), folder, path, "python", found.private, dependencies)
    if found.version is not None:
        return Member(package, name, found.name)
    for place in found.version_in:
        file = posixpath.normpath(f"{folder}/{place.path}")
        module = read(file)
        if module is not None:
            package = replace(package, version=read_assigned(module, place, file), ecosystem="python-dynamic")
            return Member(package, name, found.name, file, place)
    looked = ", ".join(posixpath.normpath(f"{folder}/{place.path}") for place in found.version_in)
    what = f"the version of {found.name} is dynamic, and the file that holds it is not there"
    raise BadInputError("versions.no-file", what, where=path, next=f"write one of {looked}")


def _plain(name: str, folder: str, path: str, text: str, read: Reader) -> Member:  # noqa: ARG001 - one shape for all
    return Member(Package(name, read_version_file(text, path), folder, path, "version-file"), name, name)


def python_names(members: Mapping[str, Member]) -> dict[str, str]:
    """Package's name in the graph → its name as Python packages name it in requirements."""
    return {
        name: canonical(member.own_name)
        for name, member in members.items()
        if member.package.ecosystem in {"python", "python-dynamic"}
    }
