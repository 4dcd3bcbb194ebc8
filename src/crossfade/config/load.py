"""`crossfade.yaml` as a typed project: read it, tell every fault at once, resolve one target."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from crossfade.config.checks import remarks, unknown_metrics
from crossfade.config.document import Document, parse
from crossfade.config.explain import explain
from crossfade.config.faults import ConfigError, Fault, Mark, suggest
from crossfade.config.faults import Path as Where
from crossfade.config.model import Component, Deployment, Environment, Project
from crossfade.config.quantities import FROM_FILE
from crossfade.config.remarks import Remark
from crossfade.core.errors import BadInputError

NAME = "crossfade.yaml"
"""What the file is called."""

_LARGEST = 1_000_000
_ROUNDS = 6
_Section = TypeVar("_Section", Component, Environment)


@dataclass(frozen=True, slots=True)
class LoadedProject:
    """A project without faults, the file that it is from, and what is likely not meant in it."""

    path: Path
    project: Project
    warnings: tuple[Fault, ...]


def find(start: Path) -> Path:
    """The nearest `crossfade.yaml` in `start` or a folder above it; BadInputError says where it looked.

    `start` may also be the file itself.
    """
    start = Path(os.path.abspath(start))  # noqa: PTH100 - resolve() would follow links out of the folder that was meant
    if start.is_file():
        return start
    for folder in (start, *start.parents):
        if os.path.lexists(folder / NAME):
            return folder / NAME
    code = "config.not-found"
    raise BadInputError(
        code,
        f"there is no {NAME} here",
        where=f"looked in {start} and every folder above it",
        next="run `crossfade init` to write one, or name one with --file FILE",
    )


def load(path: Path) -> LoadedProject:
    """The project in the file at `path`; ConfigError holds every fault."""
    file = _shown(path)
    return load_text(_read(path, file), path, file=file)


def load_text(text: str, path: Path, *, file: str = NAME) -> LoadedProject:
    """The project in `text`, as if it stood in `path`; ConfigError holds every fault.

    >>> text = 'project: shop, components: {api: {command: [serve, "{port}"]}}, environments: {live: {}}'
    >>> load_text("{" + text + "}", Path("crossfade.yaml")).project.environments["live"].strategy.kind
    'canary'
    """
    document = parse(text, file)
    faults = [_at(document, remark) for remark in unknown_metrics(document.tree)]
    warnings: list[Fault] = []
    project: Project | None = None
    tree: Mapping[str, Any] = document.tree
    broken: set[Where] = set()
    # What is faulty is cut away and the rest is looked at again, so that no fault hides another.
    for _ in range(_ROUNDS):
        try:
            project = Project.model_validate(tree, context=FROM_FILE, strict=True)
            break
        except ValidationError as error:
            new = [(where, fault) for where, fault in explain(error, document) if not _touches(broken, [where])]
            faults += [fault for _, fault in new]
            paths = {where for where, _ in new}
            if not paths:
                break
            broken |= paths | {_target(tree, path) for path in paths if _target(tree, path)}
            tree = _without(tree, paths)
    if project is not None:
        for remark in remarks(project):
            if not _touches(broken, remark.paths):
                (faults if remark.fatal else warnings).append(_at(document, remark))
    if faults or project is None:
        raise ConfigError(file, faults)
    return LoadedProject(path, project, tuple(sorted(warnings, key=lambda each: (each.mark.line, each.mark.column))))


def resolve(loaded: LoadedProject, component: str, environment: str, state: Path | None = None) -> Deployment:
    """All that rolling out `component` in `environment` needs; BadInputError names the nearest match.

    `state` is the folder of the run state, by default `.crossfade` beside the file. The workload's
    variables hold those of the environment already.
    """
    project = loaded.project
    workload = _named("component", component, project.components, loaded.path)
    settings = _named("environment", environment, project.environments, loaded.path)
    runs = workload.command or (workload.image and settings.runtime.kind != "process")
    if not runs:
        code = "config.not-deployable"
        raise BadInputError(
            code,
            f"{component} does not run anywhere: it has no `command`",
            where=_shown(loaded.path),
            next="name a component that runs, or give this one a `command`; what is only published goes by `crossfade publish`",
        )
    root = Path(os.path.abspath(loaded.path)).parent  # noqa: PTH100 - a linked file still belongs to its own folder
    return Deployment(
        project=project.project,
        component=component,
        environment=environment,
        root=str(root),
        state=os.path.abspath(state if state is not None else root / ".crossfade"),  # noqa: PTH100 - as above
        workload=workload.model_copy(update={"environment": {**workload.environment, **settings.variables}}),
        instances=settings.instances if settings.instances is not None else workload.instances,
        settings=settings,
    )


def _named(kind: str, name: str, known: Mapping[str, _Section], path: Path) -> _Section:
    if name in known:
        return known[name]
    raise BadInputError(
        f"config.unknown-{kind}",
        f"there is no {kind} {name!r}",
        where=_shown(path),
        next=suggest(name, known),
    )


def _at(document: Document, remark: Remark) -> Fault:
    return document.fault(remark.code, remark.paths[0], remark.what, remark.hint)


def _touches(broken: Iterable[Where], paths: Iterable[Where]) -> bool:
    """Whether one of `paths` is above or below something broken: then it may only follow from it."""
    return any(one[: len(other)] == other[: len(one)] for one in paths for other in broken)


_STAND_INS: Mapping[str, Any] = {
    "project": "unnamed",
    "components": {"unnamed": {"command": ("unnamed",)}},
    "environments": {"unnamed": {}},
}


def _without(tree: Mapping[str, Any], paths: Iterable[Where]) -> Mapping[str, Any]:
    """The tree without what is at `paths`; what is needed at the top is stood in for."""
    cut = _cut(tree, [_target(tree, path) for path in paths])
    for key, stand_in in _STAND_INS.items():
        if not cut.get(key):
            cut[key] = stand_in
    return cut


def _target(tree: Mapping[str, Any], path: Where) -> tuple[str, ...]:
    """What goes with a fault: its key, the list that its item is in, or the section that lacks its key."""
    names: list[str] = []
    here: Any = tree
    for part in path:
        if not isinstance(here, Mapping) or not isinstance(part, str) or part not in here:
            break
        names.append(part)
        here = here[part]
    return tuple(names)


def _cut(tree: Mapping[str, Any], targets: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    below: dict[str, list[tuple[str, ...]]] = {}
    for first, *rest in filter(None, targets):
        below.setdefault(first, []).append(tuple(rest))
    return {
        key: _cut(value, below[key]) if key in below else value
        for key, value in tree.items()
        if () not in below.get(key, ())
    }


def _shown(path: Path) -> str:
    """The path as short as it can be told."""
    try:
        relative = os.path.relpath(path)
    except (ValueError, OSError):
        return str(path)
    return relative if not relative.startswith("..") else str(path)


def _read(path: Path, file: str) -> str:
    data = _bytes(path, file)
    if len(data) > _LARGEST:
        raise _unreadable(
            file,
            "config.too-large",
            f"{file} is larger than {_LARGEST // 1_000_000} MB",
            "it is not the file that was meant",
        )
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        column = data.index(b"\0") - data.rfind(b"\n", 0, data.index(b"\0"))
        raise ConfigError(
            file,
            [
                Fault(
                    "config.encoding",
                    "there is a NUL byte here: this is not a text file in UTF-8",
                    file,
                    Mark(line, column),
                )
            ],
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        what = f"the byte 0x{data[error.start]:02x} here is not UTF-8"
        raise ConfigError(
            file, [Fault("config.encoding", what, file, Mark(line, column), hint="save the file as UTF-8")]
        ) from None


def _bytes(path: Path, file: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _unreadable(
                file, "config.not-a-file", f"{file} is a folder", f"name the file in it: {Path(file) / NAME}"
            )
        if not stat.S_ISREG(mode):
            raise _unreadable(file, "config.not-a-file", f"{file} is not a regular file", "name a file")
        with path.open("rb") as stream:
            return stream.read(_LARGEST + 1)
    except FileNotFoundError:
        where = f"looked in {Path(os.path.abspath(path)).parent}"  # noqa: PTH100 - names the folder that was meant
        code = "config.not-found"
        raise BadInputError(
            code, f"there is no {file}", where=where, next="run `crossfade init` to write one"
        ) from None
    except PermissionError:
        raise _unreadable(
            file, "config.unreadable", f"{file} may not be read by this user", f"try `ls -l {file}`"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(file, "config.unreadable", f"{file} cannot be read: {reason}", "check the path") from None


def _unreadable(file: str, code: str, what: str, hint: str) -> BadInputError:
    return BadInputError(code, what, where=file, next=hint)
