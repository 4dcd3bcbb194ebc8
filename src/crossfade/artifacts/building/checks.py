"""Whether what the components say about their builds fits together. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, pairwise, starmap

from crossfade.artifacts.building.globs import Glob, Selection, anchor, holds, select
from crossfade.artifacts.building.schedule import Edges, cycle
from crossfade.artifacts.building.values import Target
from crossfade.core.errors import BadInputError

PlaceOf = Callable[[str, str], str]
"""Where the first says that it depends on the second, as `FILE:LINE`."""


def check(targets: Mapping[str, Target], edges: Edges, place_of: PlaceOf | None = None) -> None:
    """Refuse what cannot be built as it is meant; BadInputError names the component."""
    if around := cycle(edges):
        raise BadInputError(
            "build.cycle",
            f"these wait for each other: {' → '.join(around)}",
            where=", ".join(dict.fromkeys(starmap(place_of, pairwise(around)))) if place_of else "",
            next="take one of them out of `needs`, `embeds` or the package's own dependencies",
        )
    folders = {target.component: _folder(target) for target in targets.values()}
    outputs = [(target.component, path) for target in targets.values() for path in outputs_of(target)]
    for component, path in outputs:
        inside = next((name for name, folder in folders.items() if holds(path, folder)), None)
        if inside is not None:
            what = "its own folder" if inside == component else f"the folder of {inside}"
            raise _overlap(
                component, f"its output {path} holds {what}", "name the folder that only the build writes to"
            )
    for (one, first), (other, second) in combinations(outputs, 2):
        if holds(first, second) or holds(second, first):
            both = (
                f"{one} and {other} both make {max(first, second, key=len)}"
                if one != other
                else (f"its outputs {first} and {second} lie in each other")
            )
            raise _overlap(one, both, "let each output belong to one build")
    for target in targets.values():
        for glob in selection_of(target).meant:
            maker = next(((name, path) for name, path in outputs if holds(path, glob.prefix)), None)
            if maker is not None:
                raise _reads_outputs(target, glob, *maker)


def outputs_of(target: Target) -> tuple[str, ...]:
    """Its outputs, as they read from the project's folder; BadInputError: one leads out of the component's."""
    if target.build is None:
        return ()
    found = []
    for output in target.build.outputs:
        inside = posixpath.normpath(output)
        if inside.startswith("../") or inside in ("..", ".") or output.startswith("/"):
            raise BadInputError(
                "build.output-outside",
                f"{target.component}: the output {output!r} is not in the component's folder",
                next="name a file or a folder below it, such as dist",
            )
        found.append(anchor(_folder(target), inside))
    return tuple(found)


def selection_of(target: Target) -> Selection:
    """Its inputs; BadInputError: a glob leads out of the project."""
    globs: Iterable[str] = target.build.inputs if target.build is not None else ("**",)
    try:
        return select(_folder(target), globs)
    except ValueError as error:
        raise BadInputError(
            "build.input-outside",
            f"{target.component}: {error}",
            next="inputs lie in the folder of crossfade.yaml or below it",
        ) from None


def idle(component: str, globs: Iterable[Glob]) -> BadInputError:
    """The error for inputs that are not there."""
    names = ", ".join(repr(glob.written) for glob in globs)
    return BadInputError(
        "build.no-input",
        f"{component}: no file matches the input {names}",
        next="mend the glob; what git ignores and what builds make are never inputs",
    )


def tracked(component: str, output: str, path: str) -> BadInputError:
    """The error for outputs that hold a source."""
    return _overlap(
        component,
        f"its output {output} holds {path}, which is under version control, and a build replaces its outputs as a whole",
        f"name another output, or take it out of version control: git rm -r --cached {output}",
    )


def _folder(target: Target) -> str:
    try:
        folder = anchor(".", target.folder).rstrip("/")
    except ValueError:
        raise BadInputError(
            "build.no-folder",
            f"{target.component}: {target.folder!r} leads out of the project",
            next="components stand in the folder of crossfade.yaml or below it",
        ) from None
    return "." if folder == "**" else folder


def _reads_outputs(target: Target, glob: Glob, maker: str, path: str) -> BadInputError:
    if maker == target.component:
        return _overlap(
            maker,
            f"it reads {glob.written} and makes {path}",
            "take one of them out: what a build makes is never its input",
        )
    hint = f"name {maker} below `needs` or `embeds` instead: then its build identifies this one as well"
    return _overlap(target.component, f"it reads {glob.written}, which {maker} makes", hint)


def _overlap(component: str, what: str, hint: str) -> BadInputError:
    return BadInputError("build.overlap", f"{component}: {what}", next=hint)
