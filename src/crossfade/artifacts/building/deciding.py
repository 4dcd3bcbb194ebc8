"""What is to be done about each component, and why: nothing is built here, and nothing is written but the memo."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from crossfade.artifacts.building.cache import Cache
from crossfade.artifacts.building.checks import PlaceOf, check, outputs_of
from crossfade.artifacts.building.files import Listing
from crossfade.artifacts.building.identity import Parts, differences, identity_of, secret
from crossfade.artifacts.building.inputs import Reader
from crossfade.artifacts.building.memo import Memo
from crossfade.artifacts.building.programs import program_of, tells_its_version
from crossfade.artifacts.building.running import environment_of
from crossfade.artifacts.building.schedule import Edges, closure, order
from crossfade.artifacts.building.trees import scan
from crossfade.artifacts.building.values import Decision, Output, Record, Target
from crossfade.artifacts.metadata import tool_versions, tools_of
from crossfade.config.publishing import Build
from crossfade.core.errors import BadInputError


class Decider:
    """Knows the project at `root`, its components and what is kept of their builds.

    `edges` map a component to those that it depends on, and `place_of` tells where a component says so, as `FILE:LINE`;
    `variables` are the environment of whoever builds.
    """

    def __init__(
        self,
        root: Path,
        cache: Cache,
        targets: Mapping[str, Target],
        edges: Edges,
        variables: Mapping[str, str],
        *,
        place_of: PlaceOf | None = None,
    ) -> None:
        self.root = root
        self.cache = cache
        self.targets = targets
        self.edges = {name: edges.get(name, frozenset()) & targets.keys() for name in targets}
        self.variables = variables
        self.place_of = place_of
        self.memo = Memo(cache.folder / "memo" / f"{secret(str(root))[:16]}.json")
        made = tuple(path for target in targets.values() for path in outputs_of(target))
        self.reader = Reader(root, self.memo, made, (os.path.relpath(cache.folder.parent, root),))

    @property
    def hidden(self) -> tuple[str, ...]:
        """Values that are never shown: those that builds are passed through."""
        names = {name for target in self.targets.values() if target.build for name in target.build.pass_through}
        return tuple(self.variables[name] for name in sorted(names) if name in self.variables)

    def needed(self, wanted: Iterable[str]) -> Edges:
        """The edges among `wanted` and all that they depend on."""
        names = closure(self.edges, wanted)
        return {name: self.edges[name] for name in sorted(names)}

    async def decide(self, wanted: Iterable[str], *, force: bool = False) -> tuple[Decision, ...]:
        """A decision for each of `wanted` and all that they depend on, dependencies first.

        `force` has the builds that are named made again. BadInputError: something that a person wrote cannot be built.
        """
        named = frozenset(wanted)
        edges = self.needed(named)
        check(self.targets, edges, self.place_of)
        chosen = [self.targets[name] for name in edges]
        for target in chosen:
            self._refuse_unbuildable(target)
        tools, listing = await asyncio.gather(self._tools(chosen), asyncio.to_thread(self.reader.list, chosen))
        return await asyncio.to_thread(self._decide, edges, tools, listing, named if force else frozenset())

    def files_of(self, target: Target) -> Parts:
        """What `target` would read at this very moment."""
        return self.reader.parts(target, self.reader.list([target]))

    def present(self, target: Target) -> tuple[Output, ...]:
        """The outputs as they lie in the component's folder."""
        return scan(self.root / target.folder, outputs_in(target), self.memo)

    def environment(self, build: Build) -> dict[str, str]:
        """All that the build sees of the environment."""
        return environment_of(build, self.variables)

    def _decide(
        self, edges: Edges, tools: Mapping[str, Parts], listing: Listing, forced: frozenset[str]
    ) -> tuple[Decision, ...]:
        made: dict[str, Decision] = {}
        for name in order(edges):
            target = self.targets[name]
            parts = {
                **self.reader.parts(target, listing),
                **self._own(target),
                **tools.get(name, {}),
                **{f"dependency {each}": made[each].identity for each in edges[name]},
            }
            made[name] = self._judge(target, parts, force=name in forced)
        return tuple(made.values())

    def _judge(self, target: Target, parts: Parts, *, force: bool) -> Decision:
        identity = identity_of(parts)
        if target.build is None:
            return Decision(target, identity, parts, "read")
        record = self.cache.find(identity)
        if force:
            return Decision(target, identity, parts, "build", ("asked for by --force",), forced=True)
        if record is None:
            return Decision(target, identity, parts, "build", self._why(target.component, identity, parts))
        if off := out_of_place(record, self.present(target)):
            return Decision(target, identity, parts, "restore", off)
        return Decision(target, identity, parts, "keep")

    def _why(self, component: str, identity: str, parts: Parts) -> tuple[str, ...]:
        newest = self.cache.newest(component)
        if newest is None:
            return ("it was never built here",)
        before = self.cache.parts(newest)
        if before is None or newest == identity:
            return ("its last build is no longer kept",)
        return differences(before, parts)

    def _own(self, target: Target) -> dict[str, str]:
        """The parts of the identity that are not files: what is run, with what, for what."""
        build = target.build
        if build is None:
            return {}
        passed = {name: self.variables[name] for name in build.pass_through if name in self.variables}
        parts = {
            "command": json.dumps(build.command),
            "folder": target.folder,
            "outputs": json.dumps(sorted(outputs_in(target))),
            "platform": f"{platform.system()} {platform.machine()}",
            **({"version": target.version} if target.version is not None else {}),
            **{f"variable {name}": secret(value) for name, value in {**passed, **build.environment}.items()},
        }
        if not tells_its_version(build.command):
            program = program_of(build.command, self.root / target.folder, self.environment(build).get("PATH", ""))
            parts[f"program {build.command[0]}"] = self._content(program)
        return parts

    def _content(self, program: Path) -> str:
        try:
            return self.memo.sha256(str(program))
        except OSError:
            return str(program)  # may be run, and not be read

    async def _tools(self, targets: Iterable[Target]) -> Mapping[str, Parts]:
        """For each component the versions of the tools that its build runs with; each tool is asked once."""
        used: dict[str, tuple[str, ...]] = {}
        searches: dict[str, dict[str, str]] = {}
        for target in targets:
            if target.build is not None:
                there = [name for name in _MANIFESTS if (self.root / target.folder / name).is_file()]
                used[target.component] = tools_of(target.build.command, manifests=there)
                searches[target.component] = self.environment(target.build)
        answers: dict[str, dict[str, str]] = {}
        for path in {each.get("PATH", "") for each in searches.values()}:
            here = [name for name, each in searches.items() if each.get("PATH", "") == path]
            asked = sorted({tool for name in here for tool in used[name]})
            answers[path] = await tool_versions(asked, searches[here[0]], directory=str(self.root))
        return {
            name: {
                f"tool {tool}": found for tool in tools if (found := answers[searches[name].get("PATH", "")].get(tool))
            }
            for name, tools in used.items()
        }

    def _refuse_unbuildable(self, target: Target) -> None:
        folder = self.root / target.folder
        if not folder.is_dir():
            raise BadInputError(
                "build.no-folder",
                f"{target.component}: there is no folder {target.folder}",
                where=str(self.root),
                next="name the component's folder in `source.path`",
            )
        if target.build is not None:
            program_of(target.build.command, folder, self.environment(target.build).get("PATH", ""))


_MANIFESTS = ("package.json", "pyproject.toml")


def outputs_in(target: Target) -> tuple[str, ...]:
    """Its outputs, relative to its own folder."""
    return tuple(os.path.relpath(path, target.folder) for path in outputs_of(target))


def out_of_place(record: Record, present: Iterable[Output]) -> tuple[str, ...]:
    """How the outputs that are there differ from a kept build; empty where they do not."""
    there = {output.path: output for output in present}
    if not there and record.outputs:
        return ("its outputs are not there",)
    wanted = {output.path: output for output in record.outputs}
    missing = [f"{path} is missing" for path in wanted.keys() - there.keys()]
    other = [f"{path} differs" for path in wanted.keys() & there.keys() if wanted[path] != there[path]]
    more = [f"{path} does not belong there" for path in there.keys() - wanted.keys()]
    return (*sorted(missing), *sorted(other), *sorted(more))
