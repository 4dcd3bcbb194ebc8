"""Builds that are kept: `IDENTITY/` holds the outputs and what is known about them, whole or not at all.

builds/IDENTITY/record.json   what was built, from when, its outputs with their digests, its metadata
builds/IDENTITY/parts.json    what identified it: compared with the next build to say why that is needed
builds/IDENTITY/outputs/…     the outputs themselves
builds/newest/COMPONENT       the identity that this component had last
builds/logs/COMPONENT/…       what builds printed
builds/locks/…                who works on what
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossfade.artifacts.building.durable import replace_file, sync_folder
from crossfade.artifacts.building.identity import Parts
from crossfade.artifacts.building.trees import copy
from crossfade.artifacts.building.values import Output, Record
from crossfade.core.locks import locked, try_lock

_IDENTITY = re.compile(r"[0-9a-f]{64}")
_WORK = re.compile(r"\.(?:new|old)-([0-9a-f]{64})-.*")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was thrown away, and what is still there. Sizes are in bytes."""

    builds: int
    logs: int
    freed: int
    left: int


class Cache:
    """The kept builds in one folder. Whoever writes or restores an entry holds `locked(identity)`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locked(self, identity: str, **told: Any) -> contextlib.AbstractAsyncContextManager[None]:
        """Be the only one, over all processes, who works on this identity."""
        return locked(self._lock(identity), **told)

    def outputs(self, identity: str) -> Path:
        """The folder of the kept outputs; paths in it are as they are below the component's folder."""
        return self.folder / identity / "outputs"

    def metadata(self, identity: str) -> Path:
        """The file of the build's metadata."""
        return self.folder / identity / "build-metadata.json"

    def find(self, identity: str) -> Record | None:
        """The kept build, or None. A record that cannot be read is none."""
        return _record(self.folder / identity / "record.json", identity)

    def parts(self, identity: str) -> Parts | None:
        """What identified a kept build."""
        try:
            found = json.loads((self.folder / identity / "parts.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def used(self, identity: str, component: str, at: float) -> None:
        """This is what `component` has now; `at` (seconds since 1970) is what pruning by age counts from."""
        with contextlib.suppress(OSError):  # only the age would be wrong
            os.utime(self.folder / identity / "record.json", (at, at))
        if self.newest(component) != identity:
            place = self.folder / "newest"
            place.mkdir(parents=True, exist_ok=True)
            replace_file(place / component, identity.encode())

    def newest(self, component: str) -> str | None:
        """The identity that `component` had last."""
        try:
            text = (self.folder / "newest" / component).read_text()
        except (OSError, ValueError):
            return None
        return text if _IDENTITY.fullmatch(text) else None

    def keep(self, record: Record, parts: Parts, source: Path) -> None:
        """Keep a build whose outputs lie below `source`; CorruptError: they are not what the record says.

        All is written beside and moved into its place at the very end. An older entry of this identity gives way.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._work(record.identity):
            shutil.rmtree(leftover, ignore_errors=True)
        new = Path(tempfile.mkdtemp(dir=self.folder, prefix=f".new-{record.identity}-"))
        try:
            (new / "outputs").mkdir()
            copy(source, new / "outputs", record.outputs)
            replace_file(new / "parts.json", json.dumps(parts, sort_keys=True).encode())
            replace_file(new / "build-metadata.json", (json.dumps(dict(record.metadata), indent=2) + "\n").encode())
            replace_file(new / "record.json", _written(record))
            self.drop(record.identity)
            new.rename(self.folder / record.identity)
            sync_folder(self.folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    def drop(self, identity: str) -> None:
        """Forget a kept build at once."""
        place = self.folder / identity
        if place.is_dir():
            gone = self.folder / f".old-{identity}-{os.getpid()}"
            place.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def prune(
        self, *, now: float, older_than: float | None, larger_than: int | None, components: Iterable[str]
    ) -> Pruned:
        """Throw away kept builds not used for `older_than` seconds, then the oldest until at most `larger_than` bytes are left.

        What `components` have now stays, and so does what somebody is working on.
        """
        current = {self.newest(component) for component in components}
        entries = sorted(self._entries())
        left = sum(size for _, size, _ in entries)
        builds = freed = 0
        for used_at, size, identity in entries:
            old = older_than is not None and now - used_at > older_than
            much = larger_than is not None and left > larger_than
            if (old or much) and identity not in current and self._throw_away(identity):
                builds, freed, left = builds + 1, freed + size, left - size
        logs = self._prune_logs(now, older_than)
        self._sweep()
        return Pruned(builds, logs, freed, left)

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        """When each kept build was used last, its size, its identity."""
        if not self.folder.is_dir():
            return
        for place in self.folder.iterdir():
            if _IDENTITY.fullmatch(place.name):
                with contextlib.suppress(OSError):
                    sizes = [each.lstat().st_size for each in place.rglob("*") if not each.is_dir()]
                    yield (place / "record.json").stat().st_mtime, sum(sizes), place.name

    def _throw_away(self, identity: str) -> bool:
        handle = try_lock(self._lock(identity))
        if handle is None:
            return False
        try:
            self.drop(identity)
            self._lock(identity).unlink(missing_ok=True)
        finally:
            os.close(handle)
        return True

    def _prune_logs(self, now: float, older_than: float | None) -> int:
        if older_than is None:
            return 0
        old = [each for each in (self.folder / "logs").glob("*/*.log") if now - each.stat().st_mtime > older_than]
        for each in old:
            each.unlink(missing_ok=True)
        return len(old)

    def _sweep(self) -> None:
        """What was left by somebody who was killed."""
        for place in self.folder.iterdir() if self.folder.is_dir() else ():
            if match := _WORK.fullmatch(place.name):
                handle = try_lock(self._lock(match[1]))
                if handle is not None:
                    shutil.rmtree(place, ignore_errors=True)
                    os.close(handle)

    def _work(self, identity: str) -> list[Path]:
        return [*self.folder.glob(f".new-{identity}-*"), *self.folder.glob(f".old-{identity}-*")]

    def _lock(self, identity: str) -> Path:
        return self.folder / "locks" / identity


def _written(record: Record) -> bytes:
    fields = {
        "identity": record.identity,
        "component": record.component,
        "version": record.version,
        "digest": record.digest,
        "started": record.started,
        "seconds": record.seconds,
        "log": record.log,
        "metadata": dict(record.metadata),
        "outputs": [output.as_json() for output in record.outputs],
    }
    return (json.dumps(fields, indent=1) + "\n").encode()


def _record(path: Path, identity: str) -> Record | None:
    try:
        fields = json.loads(path.read_bytes())
        outputs = tuple(Output(**each) for each in fields.pop("outputs"))
        record = Record(outputs=outputs, **fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return record if record.identity == identity else None
