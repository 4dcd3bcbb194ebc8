"""The port, carried out by a Docker Engine."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from crossfade.config.model import Deployment
from crossfade.config.runtimes import DockerRuntime as Settings
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.runtimes.docker import logs, ports, seeing
from crossfade.runtimes.docker.engine import Engine, Place, engine_at
from crossfade.runtimes.docker.images import Images, Manners
from crossfade.runtimes.docker.records import Records
from crossfade.runtimes.docker.seeing import Seen
from crossfade.runtimes.docker.specification import SPECIFICATION, Target, describe, reference, with_port
from crossfade.runtimes.docker.usage import used
from crossfade.runtimes.docker.values import Care, Wanted
from crossfade.runtimes.docker.watching import watch
from crossfade.runtimes.port import Instance, LogLine, Release, Usage
from crossfade.traffic.port import SLOTS, Slot

_TRIES: Final = 12
"""How often one container is tried: another port each time one is taken, another look when somebody interferes."""
_CANNOT_RUN: Final = (126, 127, 128)
"""Exit codes of a container whose program could not even be begun."""


class DockerRuntime:
    """The instances of one component in one environment, as containers of one engine.

    `folder` is where the run state of the target stands; `settings` are the words of `crossfade.yaml`, `root` the
    folder that its certificates are relative to.
    """

    def __init__(
        self,
        settings: Settings,
        target: Target,
        *,
        folder: Path,
        root: Path,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._target = target
        self._variables = dict(variables or {})
        self._records = Records(folder, target.where)
        tls = settings.tls
        files = None if tls is None else tuple(str(root / each) for each in (tls.ca, tls.certificate, tls.key))
        self._engine: Engine = engine_at(Place(settings.host, files))  # type: ignore[arg-type]  # three texts
        manners = Manners(settings.pull, settings.logins, settings.keep_images)
        self._images = Images(self._engine, self._records, target, manners)

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The runtime that `deployment` describes; its runtime's settings must be Docker's."""
        settings = deployment.settings.runtime
        if not isinstance(settings, Settings):
            raise BadInputError("docker.settings", f"the runtime is {settings.kind}, not docker")
        return cls(
            settings,
            Target(deployment.project, deployment.environment, deployment.component),
            folder=Path(deployment.state) / "containers" / deployment.environment / deployment.component,
            root=Path(deployment.root),
            variables=deployment.settings.variables,
        )

    async def observe(self) -> tuple[Instance, ...]:
        """All instances of both slots, ordered by slot and index; asks the engine, and no instance."""
        wanted = {slot: self._records.wanted(slot) for slot in SLOTS}
        containers = await self._containers()
        runs = [each.run for each in containers if each.run is not None]
        health = await watch(runs, repr((self._engine.place, self._target)), self._records)
        words = await self._last_words([each for each in containers if each.id not in health or health[each.id].detail])
        found: list[Instance] = []
        for slot in SLOTS:
            here = [each for each in containers if each.slot == slot]
            found += [
                seeing.instance(
                    self._target, each, health.get(each.id), wanted=wanted[slot], words=words.get(each.id, "")
                )
                for each in here
            ]
            if all(wanted[slot] is None or each.version == wanted[slot].version for each in here):  # type: ignore[union-attr]  # just tested
                found += seeing.missing(self._target, slot, wanted[slot], (each.index for each in here))
        return tuple(sorted(found, key=lambda each: (SLOTS.index(each.slot), each.index)))

    async def start(self, slot: Slot, release: Release, count: int) -> None:
        """Make `count` instances of `release` run in `slot`; adopts its containers, ends those beyond `count`.

        Raises BadInputError where the image cannot be had, and CrossfadeError `runtime.slot-occupied` when the slot
        holds another version.
        """
        if count < 0:
            how = "ask for 0 or more"
            raise BadInputError("runtime.count", f"{count} instances cannot run", where=self._target.where, next=how)
        self._refuse_other_version(slot, release.version, await self._containers(slot))
        await self._check_networks()
        image = await self._image(slot, release, count) if count else ""
        async with self._records.locked(slot):
            there = await self._containers(slot)
            self._refuse_other_version(slot, release.version, there)
            self._records.want(slot, release.version, count)
            await self._end([each for each in there if each.index >= count])
            await self._all(self._bring_up(slot, index, release, image) for index in range(count))

    async def stop(self, slot: Slot) -> None:
        """End every instance in `slot`: TERM, then KILL after the grace time; nothing but its logs is left."""
        async with self._records.locked(slot):
            there = await self._containers(slot)
            before = self._records.wanted(slot)
            if before is not None:
                self._records.want(slot, before.version, 0)
            await self._end(there)
        if there:
            with contextlib.suppress(CrossfadeError):  # they are in nobody's way, and the next stop tries again
                needed = {each.version for each in await self._containers()}
                await self._images.prune(needed, {each.version for each in there})

    def logs(self, *, slot: Slot | None = None, lines: int = 100, follow: bool = False) -> AsyncIterator[LogLine]:
        """The newest `lines` lines of each instance, oldest first, also of instances that have ended."""
        slots = SLOTS if slot is None else (slot,)

        async def look() -> dict[str, tuple[Seen | None, Path | None]]:
            found: dict[str, tuple[Seen | None, Path | None]] = {}
            for each in slots:
                for index, folder in self._records.saved_logs(each).items():
                    found[self._target.instance(each, index)] = None, folder
            for seen in await self._containers(slot):
                name = self._target.instance(seen.slot, seen.index)
                found[name] = seen, found.get(name, (None, None))[1]
            return found

        return logs.read(self._engine, look, lines=lines, follow=follow)

    async def usage(self) -> Mapping[str, Usage]:
        """What every running container uses, by the instance's id; asked once, without the engine's second of waiting."""
        running = [each for each in await self._containers() if each.status == "running"]
        told = await self._all(self._statistics(each.id) for each in running)
        found = {
            self._target.instance(each.slot, each.index): used(each.slot, stats)
            for each, stats in zip(running, told, strict=True)
        }
        return {name: usage for name, usage in found.items() if usage is not None}

    # -- looking -------------------------------------------------------------------------------------

    async def _containers(self, slot: Slot | None = None) -> list[Seen]:
        """Our containers, in order; those that vanish while we look are not there."""
        wanted = [f"{key}={value}" for key, value in self._target.labels.items()]
        listed = await self._engine.call(lambda client: client.containers(all=True, filters={"label": wanted}))
        inspected = await self._all(self._inspect(each["Id"]) for each in listed)
        seen = (seeing.read(each) for each in inspected if each is not None)
        found = [each for each in seen if each is not None and slot in (None, each.slot)]
        return sorted(found, key=lambda each: (SLOTS.index(each.slot), each.index))

    async def _inspect(self, container: str) -> Mapping[str, Any] | None:
        with _nothing_there():
            found: Mapping[str, Any] = await self._engine.call(lambda client: client.inspect_container(container))
            return found
        return None

    async def _statistics(self, container: str) -> Mapping[str, Any]:
        with _nothing_there():
            told: Mapping[str, Any] = await self._engine.call(
                lambda client: client.stats(container, stream=False, one_shot=True)
            )
            return told
        return {}

    async def _last_words(self, unwell: list[Seen]) -> dict[str, str]:
        said = await self._all(logs.last_words(self._engine, each) for each in unwell)
        return {each.id: words for each, words in zip(unwell, said, strict=True)}

    def _refuse_other_version(self, slot: Slot, version: str, there: Iterable[Seen]) -> None:
        for each in there:
            if each.version != version:
                raise CrossfadeError(
                    "runtime.slot-occupied",
                    f"slot {slot} of {self._target.where} holds {each.version}, so {version} cannot start there",
                    where=f"container {each.name} ({each.status})",
                    next=f"stop slot {slot} first",
                )

    # -- starting ------------------------------------------------------------------------------------

    async def _image(self, slot: Slot, release: Release, count: int) -> str:
        """The id of the release's image; while it is pulled, whoever observes sees how far that is."""

        def tell(text: str) -> None:
            self._records.pulling(slot, Wanted(release.version, count, text))

        try:
            return await self._images.resolve(release.version, reference(release, self._target.where), tell)
        finally:
            self._records.pulled(slot)

    async def _bring_up(self, slot: Slot, index: int, release: Release, image: str) -> None:
        """One container, running: adopted, started, or made; whoever else is at it comes to the same."""
        name = self._target.container(slot, index)
        told = describe(
            self._target, slot, index, release,
            image=image, variables=self._variables, address=self._settings.address, networks=self._settings.networks,
        )  # fmt: skip
        taken: set[int] = set()
        for _ in range(_TRIES):
            there = await self._adopted(name)
            if there is not None and there.status in ("running", "restarting", "paused"):
                return  # also with other settings: what carries traffic is never replaced behind its back
            if there is not None and there.labels.get(SPECIFICATION) != told["Labels"][SPECIFICATION]:
                await self._remove(there)
                there = None
            if there is None:
                port = await ports.choose(self._engine, self._settings.address, name, taken)
                taken.add(port)
                body = with_port(told, self._settings.address, port)
                with _conflict():
                    await self._engine.call(partial(_create, name, body))
                continue
            if await self._started(there):
                return
        raise CrossfadeError(
            "docker.not-started",
            f"the container {name} was made and removed {_TRIES} times",
            where=self._engine.place.host,
            next="see who else works on it: docker events",
            retry=True,
        )

    async def _adopted(self, name: str) -> Seen | None:
        inspected = await self._inspect(name)
        if inspected is None:
            return None
        seen, labels = seeing.read(inspected), inspected["Config"].get("Labels") or {}
        if seen is None or not self._target.labels.items() <= labels.items():
            raise CrossfadeError(
                "docker.name-taken",
                f"a container {name} is there that is not ours",
                where=self._engine.place.host,
                next=f"rename it: docker rename {name} ANOTHER",
            )
        return seen

    async def _started(self, there: Seen) -> bool:
        """Whether it runs now; False when it has to be made again, as its port is taken or somebody removed it."""
        try:
            for network in self._settings.networks:
                if network not in there.networks:
                    await self._join(there.id, network)
            await self._engine.call(lambda client: client.start(there.id))
        except CrossfadeError as error:
            if error.code == "docker.missing":
                return False
            if ports.is_taken(error.what):
                await self._remove(there)
                return False
            now = await self._inspect(there.id) if error.code == "docker.refused" else None
            if now is None or int(now["State"].get("ExitCode") or 0) not in _CANNOT_RUN:
                raise
            await self._remove(there)
            raise BadInputError(
                "docker.cannot-run",
                f"{there.name} cannot run: {error.what.removeprefix('the Docker Engine refuses: ')}",
                where=self._target.where,
                next="correct `command` of the component, or the image",
            ) from error
        return True

    async def _join(self, container: str, network: str) -> None:
        try:
            await self._engine.call(lambda client: client.connect_container_to_network(container, network))
        except CrossfadeError as error:
            if "already exists in network" not in error.what:
                raise

    async def _check_networks(self) -> None:
        for network in self._settings.networks:
            try:
                await self._engine.call(partial(_network, network))
            except CrossfadeError as error:
                if error.code != "docker.missing":
                    raise
                raise BadInputError(
                    "docker.no-network",
                    f"there is no network {network}",
                    where=self._engine.place.host,
                    next=f"docker network create {network}, or correct `runtime.networks`",
                ) from error

    # -- ending --------------------------------------------------------------------------------------

    async def _end(self, containers: Iterable[Seen]) -> None:
        await self._all(self._end_one(each) for each in containers)

    async def _end_one(self, seen: Seen) -> None:
        grace = Care.read(seen.labels).grace
        with _nothing_there():
            await self._engine.call(lambda client: client.stop(seen.id, timeout=math.ceil(grace)))
        data = await logs.whole(self._engine, seen.id, logs.SAVED)
        self._records.save_log(seen.slot, seen.index, data)
        await self._remove(seen)

    async def _remove(self, seen: Seen) -> None:
        """Remove it with its anonymous volumes, and wait until it is gone, whoever removes it."""
        give_up = time.monotonic() + 30
        while await self._inspect(seen.id) is not None:
            with _nothing_there(), _conflict():
                await self._engine.call(lambda client: client.remove_container(seen.id, v=True, force=True))
            if time.monotonic() > give_up:
                how = f"docker rm -f {seen.name}, and look at the engine's log"
                raise CrossfadeError(
                    "docker.not-removed", f"the engine does not remove {seen.name}", next=how, retry=True
                )
            await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311 - so that two who wait do not go in step
        self._records.forget_container(seen.id)

    async def _all(self, each: Iterable[Any]) -> list[Any]:
        """All side by side; the first fault is raised once all have ended, so nothing goes on behind our back."""
        done = await asyncio.gather(*each, return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return done


def _create(name: str, body: Mapping[str, Any], client: Any) -> None:
    client.create_container_from_config(body, name)


def _network(name: str, client: Any) -> None:
    client.inspect_network(name)


@contextlib.contextmanager
def _nothing_there() -> Any:
    try:
        yield
    except CrossfadeError as error:
        if error.code != "docker.missing":
            raise


@contextlib.contextmanager
def _conflict() -> Any:
    """Somebody does the same at this moment: fine."""
    try:
        yield
    except CrossfadeError as error:
        if error.code != "docker.conflict":
            raise
