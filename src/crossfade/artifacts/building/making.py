"""Making one build: run it in an empty place, look at what it made, keep that."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from crossfade.artifacts.building.deciding import Decider, outputs_in
from crossfade.artifacts.building.git import commit_of
from crossfade.artifacts.building.inputs import changed
from crossfade.artifacts.building.running import METADATA, Ran, Stop, last_lines, run
from crossfade.artifacts.building.trees import Aside, digest_of
from crossfade.artifacts.building.values import Audience, BuildError, Decision, Output, Record, Result
from crossfade.artifacts.metadata import BuildMetadata, surroundings
from crossfade.config.publishing import Build
from crossfade.core.durations import format_duration

SHOWN = 20
"""Lines of a failed build's log that are shown."""
_NAMED = 3


class Maker:
    """Makes builds of one project; whoever calls holds the locks."""

    def __init__(
        self, decider: Decider, audience: Audience, stop: Stop, now: Callable[[], float], grace: float
    ) -> None:
        self._decider = decider
        self._cache = decider.cache
        self._audience = audience
        self._stop = stop
        self._now = now
        self._grace = grace

    async def make(self, decision: Decision, build: Build, aside: Aside, *, believed: bool) -> Result:
        """Build it. What was there before comes back unless all went well; `believed` lets the cache have it."""
        target = decision.target
        started = self._now()
        log = self._log(target.component, decision.identity, started)
        metadata = await asyncio.to_thread(self._metadata, decision, started)
        await asyncio.to_thread(aside.take, outputs_in(target))
        result: Result | None = None
        try:
            result = await self._make(decision, build, metadata, log, believed=believed)
            return result
        finally:
            if result is not None and result.good:
                await asyncio.shield(asyncio.to_thread(aside.forget))
            else:
                await asyncio.shield(asyncio.to_thread(aside.put_back, outputs_in(target)))

    async def _make(
        self, decision: Decision, build: Build, metadata: BuildMetadata, log: Path, *, believed: bool
    ) -> Result:
        target, started = decision.target, self._now()
        ran = await self._run(decision, build, metadata, log)
        seconds = self._now() - started
        if ran.ending == "stop":
            return Result(target.component, "interrupted", decision.identity, log=str(log), seconds=seconds)
        if (error := _fault(decision, build, ran, log)) is not None:
            return self._failed(decision, error, log, seconds)
        if metadata.seconds is not None:
            metadata = replace(metadata, seconds=seconds)
        record = Record(
            decision.identity, target.component, target.version, (), "", _known(metadata), started, seconds, str(log)
        )
        return await asyncio.to_thread(self._keep, decision, record, believed=believed)

    async def _run(self, decision: Decision, build: Build, metadata: BuildMetadata, log: Path) -> Ran:
        told = self._cache.folder / "running" / f"{decision.identity}.json"
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text(json.dumps(_known(replace(metadata, seconds=None)), indent=2) + "\n")
        log.parent.mkdir(parents=True, exist_ok=True)
        self._audience.begin(decision.target.component, str(log))
        try:
            return await run(
                build.command,
                folder=self._decider.root / decision.target.folder,
                environment={METADATA: str(told), **self._decider.environment(build)},
                log=log,
                patience=build.timeout,
                stop=self._stop,
                grace=self._grace,
            )
        finally:
            told.unlink(missing_ok=True)

    def _keep(self, decision: Decision, record: Record, *, believed: bool) -> Result:
        """Look at what was made, and keep it if it is what its identity says."""
        target = decision.target
        present = self._decider.present(target)
        if (missing := _missing(decision, present)) is not None:
            return self._failed(decision, missing, Path(record.log), record.seconds)
        record = replace(record, outputs=present, digest=digest_of(present))
        meanwhile = self._changed(decision)
        kept = believed and not meanwhile
        notes = _unkept(meanwhile) if meanwhile else ()
        if kept:
            before = self._cache.find(decision.identity)
            if before is not None and before.digest == record.digest:
                record, notes = before, ("built again, and the same to the byte",)
            else:
                notes = _unlike(before, record) if before is not None else ()
                self._cache.keep(record, decision.parts, self._decider.root / target.folder)
            self._cache.used(decision.identity, target.component, self._now())
        return Result(
            target.component,
            "built",
            decision.identity,
            record,
            log=record.log,
            seconds=record.seconds,
            notes=notes,
            kept=kept,
        )

    def _changed(self, decision: Decision) -> tuple[str, ...]:
        """Inputs that are not any more what they were when the build was identified."""
        return changed(decision.parts, self._decider.files_of(decision.target))

    def _failed(self, decision: Decision, error: BuildError, log: Path, seconds: float) -> Result:
        lines = last_lines(log, SHOWN, self._decider.hidden)
        component = decision.target.component
        return Result(component, "failed", decision.identity, None, error, lines, str(log), seconds)

    def _metadata(self, decision: Decision, started: float) -> BuildMetadata:
        files = frozenset(key.partition(" ")[2] for key in decision.parts if key.startswith("input "))
        commit = commit_of(self._decider.root, files)
        told = surroundings(self._decider.variables, branch=commit.branch)
        tools = {key.partition(" ")[2]: version for key, version in decision.parts.items() if key.startswith("tool ")}
        at = datetime.fromtimestamp(started, UTC)
        metadata = BuildMetadata(
            decision.target.version or "", commit.sha, at, told.number, told.branch, dict(sorted(tools.items())), 0.0
        )
        return metadata if told.date is None else metadata.reproducible(told.date)

    def _log(self, component: str, identity: str, started: float) -> Path:
        stamp = datetime.fromtimestamp(started, UTC).strftime("%Y%m%dT%H%M%S.%f")
        return self._cache.folder / "logs" / component / f"{stamp}-{identity[:8]}.log"


def _known(metadata: BuildMetadata) -> Mapping[str, str]:
    return {key: value for key, value in metadata.as_json().items() if value}


def _fault(decision: Decision, build: Build, ran: Ran, log: Path) -> BuildError | None:
    component = decision.target.component
    if ran.ending == "timeout":
        return BuildError(
            "build.timeout",
            f"{component}: the build was ended, because it took longer than {format_duration(build.timeout)}",
            where=str(log),
            next="see where it hangs, or give it a longer `build.timeout`",
        )
    if ran.code == 0:
        return None
    return BuildError(
        "build.failed",
        f"{component}: the build {_ended(ran.code)}",
        where=str(log),
        next=f"mend what it says, and run `crossfade build {component}` again",
    )


def _ended(code: int) -> str:
    try:
        return f"was ended by {signal.Signals(code - 128).name}" if code > 128 else f"failed with exit code {code}"  # noqa: PLR2004 - how a shell tells a signal
    except ValueError:
        return f"failed with exit code {code}"


def _missing(decision: Decision, present: tuple[Output, ...]) -> BuildError | None:
    """The error for an output that was not made, or in which there is nothing."""
    for output in outputs_in(decision.target):
        there = [each for each in present if each.path == output or each.path.startswith(f"{output}/")]
        if not there:
            what = f"the build did not make its output {output}"
        elif all(each.kind == "folder" for each in there):
            what = f"the build left its output {output} empty"
        else:
            continue
        return BuildError(
            "build.no-output",
            f"{decision.target.component}: {what}",
            where=str(decision.target.folder),
            next="name what it makes in `build.outputs`, or mend the command",
        )
    return None


def _unkept(files: tuple[str, ...]) -> tuple[str, ...]:
    names = ", ".join(files[:_NAMED]) + (f" and {len(files) - _NAMED} more" if len(files) > _NAMED else "")
    what = f"not kept for the next time: {names} changed while it was built"
    return (f"{what}; if the build writes that, name it in `outputs` or leave it out of `inputs` with !",)


def _unlike(before: Record, now: Record) -> tuple[str, ...]:
    was = {output.path: output for output in before.outputs}
    is_ = {output.path: output for output in now.outputs}
    paths = sorted(path for path in was.keys() | is_.keys() if was.get(path) != is_.get(path))
    return (f"two builds of the same inputs differ: {', '.join(paths[:_NAMED])}",)
