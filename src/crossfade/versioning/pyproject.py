"""pyproject.toml: read into what the graph needs, and edited so that nothing but versions and ranges changes. Pure.

PEP 621's `[project]`, dependency groups (PEP 735), build requirements, and Poetry's own tables. A version that is
`dynamic` stands in another file, which is told here and edited by `version_files`. Every edit is read again: it must
hold what was there, with the new version and ranges, or it is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from crossfade.core.errors import BadInputError
from crossfade.core.semver import SemVer, parse_version
from crossfade.versioning import python_ranges
from crossfade.versioning.dynamic_versions import VersionPlace, place_of_version
from crossfade.versioning.pep440 import from_pep440, to_pep440
from crossfade.versioning.values import Bump, Dependency, DependencyKind

Where = tuple[str | int, ...]
"""The path of a value in the document: `("project", "dependencies", 0)`."""

_REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?P<extras>\[[^\]]*\])?(?P<gap>\s*)"
    r"(?:\((?P<inside>[^)]*)\)|(?P<address>@\s*[^;]+?(?:\s(?=;)|$))|(?P<range>[^;]*?))(?P<rest>\s*(?:;.*)?)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One dependency, and where its range stands."""

    dependency: Dependency
    """Its name is written as PEP 503 has it: `navi-core` for `Navi_Core`."""
    at: Where


@dataclass(frozen=True, slots=True)
class PyProject:
    """What a pyproject.toml says about a package."""

    name: str
    version: SemVer | None
    """None: it stands in one of `version_in`."""
    private: bool
    requirements: tuple[Requirement, ...]
    version_at: Where = ("project", "version")
    version_in: tuple[VersionPlace, ...] = ()


def canonical(name: str) -> str:
    """The name of a Python package as PEP 503 compares it.

    >>> canonical("Navi__Core.x")
    'navi-core-x'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pyproject(text: str, where: str) -> PyProject:
    r"""The package in the text; `where` is its path, for errors. BadInputError `versions.*` with file and line.

    >>> found = read_pyproject('[project]\nname = "api"\nversion = "1.0rc1"\ndependencies = ["core[x]>=1,<2"]', "pyproject.toml")
    >>> str(found.version), found.requirements[0].dependency
    ('1.0.0-rc.1', Dependency(name='core', range='>=1,<2', kind='dependencies'))
    """
    tree = _parse(text, where)
    project, poetry = _table(tree, "project"), _table(_table(tree, "tool"), "poetry")
    name = project.get("name") or poetry.get("name")
    if not isinstance(name, str) or not name:
        hint = 'add `[project]` with `name = "…"`, or name another `version` file in the component\'s `source`'
        raise BadInputError("versions.no-name", "the package has no name", where=where, next=hint)
    at: Where = ("project", "version")
    places: tuple[VersionPlace, ...] = ()
    version = project.get("version")
    if version is None and "version" in _strings(project.get("dynamic")):
        places = place_of_version(tree, name, where)
    elif version is None:
        at, version = ("tool", "poetry", "version"), poetry.get("version")
    if not places and not isinstance(version, str):
        hint = 'add `version = "0.0.0"` to `[project]`'
        raise BadInputError("versions.no-version", f"{name} has no version", where=where, next=hint)
    return PyProject(
        name,
        None if places else read_version(str(version), f"{where}:{_line(text, at, str(version))}"),
        any(each.startswith("Private ::") for each in _strings(project.get("classifiers", poetry.get("classifiers")))),
        tuple(_requirements(text, tree, where)),
        at,
        places,
    )


def read_version(text: str, where: str) -> SemVer:
    """The SemVer of a PEP 440 version that stands at `where`; BadInputError says why there is none."""
    try:
        return from_pep440(text)
    except ValueError as error:
        raise BadInputError("versions.bad-version", str(error), where=where, next="correct the version") from None


def write_version(version: str, where: str) -> str:
    """A SemVer version as PEP 440 has it; BadInputError names the file that cannot hold it."""
    try:
        return to_pep440(parse_version(version))
    except ValueError as error:
        hint = "choose a tag that Python knows, such as rc; a snapshot's template may be `dev.{datetime}`"
        raise BadInputError("versions.no-pep440", str(error), where=where, next=hint) from None


@dataclass(frozen=True, slots=True)
class Python:
    """Python's words for ranges, and pyproject.toml."""

    dynamic: bool = False
    """The version stands in another file: this one has its ranges edited alone."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of packages in the graph → in requirements, where the two differ."""

    def is_range(self, range: str) -> bool:
        """Whether it is a range of versions, rather than an address or a path."""
        return python_ranges.is_range(range)

    def satisfies(self, version: str, range: str) -> bool:
        """Whether the SemVer version lies in the range."""
        return python_ranges.satisfies(version, range)

    def is_open(self, range: str) -> bool:
        """Whether it holds every release there is and ever will be."""
        return range.strip() in {"", "*"}

    def raised(self, range: str, version: str, bump: Bump) -> str:
        """The range in the same style that holds the new version; BadInputError where Python has no such version."""
        write_version(version, f"a range {range!r}")
        return python_ranges.raised(range, version, bump)

    def edited(self, text: str, where: str, version: str | None, ranges: Iterable[tuple[Dependency, str]]) -> str:
        """The text with another version and other ranges; every other character stays.

        Ranges are found by name, kind and their old text: extras, markers and comments stay where they are.
        """
        found = read_pyproject(text, where)
        wanted = {(self.names.get(old.name, canonical(old.name)), old.kind, old.range): new for old, new in ranges}
        changes: dict[Where, str] = {}
        if version is not None and not self.dynamic:
            changes[found.version_at] = write_version(version, where)
        for each in found.requirements:
            new = wanted.get((each.dependency.name, each.dependency.kind, each.dependency.range))
            if new is not None and new != each.dependency.range:
                changes[each.at] = _exact(new, each.at, where)
        return _written(text, where, changes)


def _exact(range: str, at: Where, where: str) -> str:
    """The range; a bare SemVer, which pins a snapshot, as Python writes one."""
    try:
        parse_version(range)
    except ValueError:
        return range
    return write_version(range, where) if _is_plain(at) else f"=={write_version(range, where)}"


def _written(text: str, where: str, changes: Mapping[Where, str]) -> str:
    """The text with other values at some places; proven by reading it again."""
    import tomlkit  # noqa: PLC0415 - a heavy library, needed only where a pyproject.toml changes

    if not changes:
        return text
    document = tomlkit.parse(text)
    expected = tomllib.loads(text)
    for at, value in changes.items():
        old = str(_get(expected, at))
        new = value if _is_plain(at) else _replaced(old, value)
        _set(expected, at, new)
        held = _get(document, at)
        literal = held.as_string().startswith("'")
        _set(document, at, tomlkit.string(new, literal=literal and "'" not in new))
    edited = tomlkit.dumps(document)
    if tomllib.loads(edited) != expected or _moved(text, edited, len(changes)):
        what = "the file is written in a way that cannot be edited safely"
        hint = "write versions and dependencies as plain strings, one on each line"
        raise BadInputError("versions.toml-shape", what, where=where, next=hint)
    return edited


def _moved(old: str, new: str, changes: int) -> bool:
    """Whether more lines differ than were to be changed."""
    one, other = old.split("\n"), new.split("\n")
    return len(one) != len(other) or sum(a != b for a, b in zip(one, other, strict=True)) > changes


def _is_plain(at: Where) -> bool:
    """Whether the place holds a version or a bare range, rather than a whole requirement."""
    return at[0] == "tool" or at == ("project", "version")


def _replaced(requirement: str, range: str) -> str:
    """The requirement with another range, all else kept: `core[x] (>=1) ; python_version > "3"`."""
    match = _REQUIREMENT.fullmatch(requirement)
    assert match is not None  # noqa: S101 - it was read by the same pattern
    part = "inside" if match["inside"] is not None else "range"
    return requirement[: match.start(part)] + range + requirement[match.end(part) :]


def _requirements(text: str, tree: Mapping[str, Any], where: str) -> Iterator[Requirement]:
    project = _table(tree, "project")
    lists: list[tuple[Where, Any, DependencyKind]] = [
        (("project", "dependencies"), project.get("dependencies"), "dependencies")
    ]
    for extra, entries in _table(project, "optional-dependencies").items():
        lists.append((("project", "optional-dependencies", extra), entries, "optionalDependencies"))
    for group, entries in _table(tree, "dependency-groups").items():
        lists.append((("dependency-groups", group), entries, "devDependencies"))
    lists.append((("build-system", "requires"), _table(tree, "build-system").get("requires"), "devDependencies"))
    for at, entries, kind in lists:
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, str):
                yield Requirement(_dependency(entry, kind, f"{where}:{_line(text, at, entry)}"), (*at, index))
    yield from _poetry(_table(_table(tree, "tool"), "poetry"))


def _poetry(poetry: Mapping[str, Any]) -> Iterator[Requirement]:
    top: Where = ("tool", "poetry")
    tables: list[tuple[Where, Mapping[str, Any], DependencyKind]] = [
        ((*top, "dependencies"), _table(poetry, "dependencies"), "dependencies"),
        ((*top, "dev-dependencies"), _table(poetry, "dev-dependencies"), "devDependencies"),
    ]
    for group, table in _table(poetry, "group").items():
        at = (*top, "group", group, "dependencies")
        tables.append((at, _table(table, "dependencies"), "devDependencies"))
    for at, table, kind in tables:
        for name, value in table.items():
            several = value if isinstance(value, list) else [value]
            for index, each in enumerate(several if name != "python" else ()):
                here = (*at, name, index) if isinstance(value, list) else (*at, name)
                held = each.get("version") if isinstance(each, dict) else each
                if isinstance(held, str):
                    below = (*here, "version") if isinstance(each, dict) else here
                    yield Requirement(Dependency(canonical(name), held, kind), below)
                elif isinstance(each, dict):
                    path = each.get("path") or each.get("url") or each.get("git") or ""
                    yield Requirement(Dependency(canonical(name), f"@ {path}", kind), here)


def _dependency(text: str, kind: DependencyKind, where: str) -> Dependency:
    match = _REQUIREMENT.fullmatch(text)
    written = (match["address"] or match["inside"] or match["range"] or "").strip() if match else ""
    if match is None or not (written.startswith("@") or python_ranges.is_range(written)):
        what = f"{text!r} is not a dependency that can be read (PEP 508)"
        raise BadInputError("versions.bad-range", what, where=where, next='write it such as "core[fast]>=1.2,<2"')
    return Dependency(canonical(match["name"]), written, kind)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        place = f"{where}:{line[1] if line else text.count(chr(10)) + 1}"
        what = f"not TOML: {str(error).split(' (at')[0]}"
        raise BadInputError(
            "versions.bad-toml", what, where=place, next="repair the file; nothing was changed"
        ) from None


def _table(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def _strings(found: Any) -> list[str]:
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _get(tree: Any, at: Where) -> Any:
    for part in at:
        tree = tree[part]
    return tree


def _set(tree: Any, at: Where, value: Any) -> None:
    _get(tree, at[:-1])[at[-1]] = value


def _line(text: str, at: Where, value: str) -> int:
    """The line on which a value stands, as far as plain text tells: after the header of its table."""
    lines = text.splitlines()
    header = next((number for number, line in enumerate(lines) if line.strip().startswith(f"[{at[0]}")), 0)
    return next((number for number in range(header, len(lines)) if value in lines[number]), header) + 1
