"""The process runtime: an instance is a folder with a shim; Crossfade only reads and writes folders.

    {state}/instances/{environment}/{component}/{slot}/
        wanted.json   which version, how many: written before anything is launched
        lock          held while somebody starts or stops in this slot
        0/ 1/ …       one folder for each instance (see `shim.folder`)

Whatever is killed whenever: what is wanted is on disk before it is done, a folder's shim holds its lock
for life, and a late shim runs what the folder says by then. So `start` and `stop` may simply be called
again, and `observe` is nothing but reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

from crossfade.config.model import Deployment, Drain
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.core.locks import locked
from crossfade.runtimes import leftovers
from crossfade.runtimes.log_reading import read_logs
from crossfade.runtimes.port import Instance, LogLine, Release, State, Usage
from crossfade.runtimes.process_usage import measure
from crossfade.runtimes.shim import folder as folders
from crossfade.runtimes.shim.folder import Folder, read_json, write_json
from crossfade.runtimes.specification import Restarts, check, inherited, specify
from crossfade.runtimes.state import inaccessible
from crossfade.traffic.port import SLOTS, Slot

_SHIM = str(Path(__file__).with_name("shim") / "__main__.py")
_MARGIN = 10.0
"""Seconds beyond the grace time after which a shim that should have ended counts as hung."""
_SILENT = 60.0
"""Age of the last heartbeat (one every 5 s) from which a shim counts as hung."""
_LAUNCH = 30.0
"""Seconds that a shim may take until it runs, on a machine that is very busy."""


class ProcessRuntime:
    """The instances of one component in one environment, as processes of this machine.

    `state` is the folder of the run state (`.crossfade`), `root` the folder that `directory` of a
    component is relative to. `environ` is what instances inherit (Crossfade's own environment without
    `CROSSFADE_*` and `DATABASE_URL` when None); `variables` are set on top, a component's own
    `environment` on top of those.
    """

    def __init__(
        self,
        *,
        state: Path,
        environment: str,
        component: str,
        root: Path,
        variables: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        restarts: Restarts | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._folder = Path(os.path.abspath(state)) / "instances" / environment / component  # noqa: PTH100 - resolve() would follow links
        self._component = component
        self._where = f"{component} in {environment}"
        self._root = root
        self._variables = dict(variables or {})
        self._environ = inherited(os.environ if environ is None else environ)
        self._restarts = restarts or Restarts()
        self._host = host

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The runtime that `deployment` describes."""
        return cls(
            state=Path(deployment.state),
            environment=deployment.environment,
            component=deployment.component,
            root=Path(deployment.root),
            variables=deployment.settings.variables,
        )

    async def observe(self) -> tuple[Instance, ...]:
        """All instances of both slots, ordered by slot and index: reads two small files for each."""
        try:
            return tuple(each for slot in SLOTS for each in self._observe_slot(slot))
        except OSError as error:
            raise self._inaccessible(error) from error

    async def start(self, slot: Slot, release: Release, count: int) -> None:
        """Make `count` instances of `release` run in `slot`; adopts living ones, ends those beyond `count`.

        Raises BadInputError when the command cannot run here, and CrossfadeError
        `runtime.slot-occupied` when the slot holds another version.
        """
        if count < 0:
            raise BadInputError(
                "runtime.count", f"{count} instances cannot run", where=self._where, next="ask for 0 or more"
            )
        specs = [self._specify(slot, release, index) for index in range(count)]
        for spec in specs[:1]:
            check(spec, self._environ)
        async with self._locked(slot):
            self._refuse_other_version(slot, release.version)
            write_json(self._wanted_file(slot), {"format": 1, "version": release.version, "count": count})
            for each in self._instances(slot):
                if _index(each) >= count:
                    _ask_to_stop(each)
            wanted = [self._instance(slot, index) for index in range(count)]
            await self._await_end([each for each in wanted if _is_ending(each)])
            await self._launch_missing(list(zip(wanted, specs, strict=True)))

    async def stop(self, slot: Slot) -> None:
        """End every instance in `slot`: TERM, then KILL after the grace time; nothing is left behind."""
        if not self._ever_used(slot):
            return
        async with self._locked(slot):
            folders.remove(self._wanted_file(slot))
            instances = self._instances(slot)
            for each in instances:
                _ask_to_stop(each)
            await self._await_end(instances)

    def logs(self, *, slot: Slot | None = None, lines: int = 100, follow: bool = False) -> AsyncIterator[LogLine]:
        """The newest `lines` lines of each instance, oldest first, also of instances that have ended."""
        slots = SLOTS if slot is None else (slot,)

        def sources() -> dict[str, Path]:
            return {self._name(each, _index(one)): Path(one.log) for each in slots for one in self._instances(each)}

        return read_logs(sources, lines=lines, follow=follow)

    async def usage(self) -> Mapping[str, Usage]:
        """What every running instance uses, all of its processes together; see `port.Measured`."""
        running = [(self._name(slot, _index(each)), slot, each) for slot in SLOTS for each in self._instances(slot)]
        return await asyncio.to_thread(measure, running)

    # -- names -----------------------------------------------------------------------------------

    def _slot(self, slot: Slot) -> Path:
        return self._folder / slot

    def _wanted_file(self, slot: Slot) -> str:
        return str(self._slot(slot) / "wanted.json")

    def _instance(self, slot: Slot, index: int) -> Folder:
        return Folder(str(self._slot(slot) / str(index)))

    def _instances(self, slot: Slot) -> list[Folder]:
        """All folders that there are, by index, ended ones too."""
        try:
            names = os.listdir(self._slot(slot))  # noqa: PTH208 - on the path of every tick
        except OSError:
            return []
        return [self._instance(slot, index) for index in sorted(int(name) for name in names if name.isdigit())]

    def _name(self, slot: Slot, index: int) -> str:
        return f"{self._component}-{slot}-{index}"

    def _specify(self, slot: Slot, release: Release, index: int) -> dict[str, Any]:
        return specify(
            release,
            name=self._name(slot, index),
            root=self._root,
            host=self._host,
            variables=self._variables,
            restarts=self._restarts,
        )

    def _ever_used(self, slot: Slot) -> bool:
        return Path(self._wanted_file(slot)).exists() or bool(self._instances(slot))

    # -- observe ---------------------------------------------------------------------------------

    def _observe_slot(self, slot: Slot) -> list[Instance]:
        wanted = read_json(self._wanted_file(slot)) or {}
        count, version = int(wanted.get("count", 0)), str(wanted.get("version", ""))
        indices = sorted({*range(count), *(_index(each) for each in self._instances(slot))})
        seen = (self._observe(slot, index, version, wanted=index < count) for index in indices)
        return [each for each in seen if each is not None]

    def _observe(self, slot: Slot, index: int, version: str, *, wanted: bool) -> Instance | None:
        folder = self._instance(slot, index)
        held = folders.holder(folder)
        if held is None and not wanted:
            return None
        pid, age = held or (0, 0.0)
        state = _read_steadily(folder)
        if state is None or state["supervisor"]["pid"] != pid:
            return self._unknown(slot, index, version, alive=held is not None, last=state)
        silent = age > _SILENT
        shown: State = "stopping" if state["state"] == "ended" else state["state"]
        return Instance(
            id=self._name(slot, index),
            slot=slot,
            version=state["version"],
            index=index,
            state="unready" if silent and shown == "ready" else shown,
            address=f"{self._host}:{state['port']}" if state["port"] else "",
            since=state["since"],
            restarts=state["restarts"],
            failures=state["failures"],
            pid=(state["command"] or {}).get("pid"),
            detail=f"its supervisor (process {pid}) has been silent for {age:.0f} s" if silent else state["detail"],
        )

    def _unknown(
        self, slot: Slot, index: int, version: str, *, alive: bool, last: Mapping[str, Any] | None
    ) -> Instance:
        """An instance that should be there and of which nothing current is known; `last` is its last word."""
        same = last is not None and last["version"] == version
        known = last if last is not None and same else {}
        detail = "its supervisor is starting"
        if not alive:
            detail = "its supervisor ended without being told to" if known else "it has not been launched"
            detail += _last_words(self._instance(slot, index))
        return Instance(
            id=self._name(slot, index),
            slot=slot,
            version=version,
            index=index,
            state="starting" if alive else "gone",
            address=f"{self._host}:{known['port']}" if known.get("port") else "",
            since=known.get("since", 0.0),
            restarts=known.get("restarts", 0),
            detail=detail,
        )

    # -- start and stop --------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _locked(self, slot: Slot) -> AsyncIterator[None]:
        """One starts or stops in a slot at a time, of all processes; the system lets go when one is killed."""
        try:
            self._slot(slot).mkdir(mode=0o700, parents=True, exist_ok=True)
            async with locked(self._slot(slot) / "lock"):
                yield
        except OSError as error:
            raise self._inaccessible(error) from error

    def _inaccessible(self, error: OSError) -> CrossfadeError:
        return inaccessible(error, self._where, self._folder)

    def _refuse_other_version(self, slot: Slot, version: str) -> None:
        for each in self._observe_slot(slot):
            if each.version != version:
                raise CrossfadeError(
                    "runtime.slot-occupied",
                    f"slot {slot} of {self._where} holds {each.version}, so {version} cannot start there",
                    where=f"{each.id} ({each.state})",
                    next=f"stop slot {slot} first",
                )

    async def _launch_missing(self, wanted: list[tuple[Folder, dict[str, Any]]]) -> None:
        deadline = time.monotonic() + _LAUNCH
        while missing := [(folder, spec) for folder, spec in wanted if not _runs(folder, spec["version"])]:
            if time.monotonic() > deadline:
                name, folder = missing[0][1]["instance"], missing[0][0]
                raise CrossfadeError(
                    "runtime.not-launched",
                    f"the supervisor of {name} did not come up{_last_words(folder)}",
                    where=folder.path,
                    next="try again; when it stays, look at supervisor.err there",
                    retry=True,
                )
            await self._launch(missing)
            await asyncio.sleep(0.005)

    async def _launch(self, missing: list[tuple[Folder, dict[str, Any]]]) -> None:
        """Start a shim in each folder where none lives, side by side, and hear from each."""
        with contextlib.ExitStack() as claims:
            mine = []
            for folder, spec in missing:
                claim = _claim(folder)
                if claim is not None:
                    claims.callback(os.close, claim)
                    mine.append((folder, spec))
            # While the lock is ours no late shim can start, so all that carries the marker is left over.
            await leftovers.end([folder for folder, _ in mine], max((spec["grace"] for _, spec in mine), default=0.0))
            for folder, spec in mine:
                write_json(folder.spec, spec)
        # No await between here and the spawn: a cancelled start has launched all or none.
        begun = [self._spawn(folder) for folder, _ in mine]
        for process in begun:
            await asyncio.to_thread(_hear, process)

    def _spawn(self, folder: Folder) -> subprocess.Popen[bytes]:
        with open(f"{folder.path}/supervisor.err", "wb") as errors:  # noqa: PTH123 - a path of the folder is text
            return subprocess.Popen(
                [sys.executable, "-I", "-S", _SHIM, folder.path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd="/",
                env=self._environ,
                start_new_session=True,
            )

    async def _await_end(self, instances: list[Folder]) -> None:
        """Wait until no shim lives in `instances`; end hung ones by force, then whatever was left."""
        graces = [_grace(each) for each in instances]
        deadline = time.monotonic() + max(graces, default=0.0) + _MARGIN
        while living := [each for each in instances if folders.holder(each) is not None]:
            if time.monotonic() > deadline:
                for each in living:
                    leftovers.kill_shim(each)
            for each in living:
                folders.wake(each)
            await asyncio.sleep(0.02)
        await leftovers.end(instances, max(graces, default=0.0))


def _claim(instance: Folder) -> int | None:
    """The instance's lock, signed by nobody; None when a shim lives there."""
    Path(instance.path).mkdir(mode=0o700, exist_ok=True)
    claim = folders.claim(instance)
    if claim is not None:
        folders.sign(claim, 0)
    return claim


def _is_ending(instance: Folder) -> bool:
    """Whether a shim lives there that was told to stop."""
    return not Path(instance.spec).exists() and folders.holder(instance) is not None


def _index(instance: Folder) -> int:
    return int(instance.path.rpartition("/")[2])


def _hear(process: subprocess.Popen[bytes]) -> None:
    """Wait until a new shim runs or says why not; its first half ends then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_LAUNCH)


def _last_words(instance: Folder) -> str:
    """What a shim said before it ended in a way that it should not."""
    with contextlib.suppress(OSError):
        said = Path(instance.path, "supervisor.err").read_text("utf-8", "replace").strip()
        return f": {said.splitlines()[-1][:300]}" if said else ""
    return ""


def _grace(instance: Folder) -> float:
    """The grace time that its shim works with, in seconds; its spec may be gone already."""
    state = _read_steadily(instance) or read_json(instance.spec) or {}
    return float(state.get("grace", Drain().grace))


def _ask_to_stop(instance: Folder) -> None:
    folders.remove(instance.spec)
    folders.wake(instance)


def _runs(instance: Folder, version: str) -> bool:
    """Whether a shim lives there and has taken up `version`."""
    held = folders.holder(instance)
    state = _read_steadily(instance)
    return (
        held is not None
        and state is not None
        and state["supervisor"]["pid"] == held[0]
        and state["version"] == version
        and state["state"] not in ("stopping", "ended")
    )


def _read_steadily(instance: Folder) -> dict[str, Any] | None:
    """`state.json`, read again when it was just being overwritten in place."""
    state = None
    for _ in range(3):
        state = state or read_json(instance.state)
    return state
