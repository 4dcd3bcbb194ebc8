"""From a release to what a shim is told: placeholders filled, everything checked before anything starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossfade.config.placeholders import fill
from crossfade.core.errors import BadInputError
from crossfade.runtimes.port import Release
from crossfade.runtimes.shim.folder import PORT


@dataclass(frozen=True, slots=True)
class Restarts:
    """How an instance that ended is started again: seconds, growing by `factor` from `first` to `cap`.

    A run of at least `stable` seconds counts as a fresh beginning.
    """

    first: float = 0.2
    factor: float = 2.0
    cap: float = 30.0
    stable: float = 30.0


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What an instance inherits of Crossfade's own environment: all but Crossfade's own settings.

    >>> inherited({"PATH": "/bin", "DATABASE_URL": "postgresql://secret", "CROSSFADE_TOKEN": "secret"})
    {'PATH': '/bin'}
    """
    return {
        name: value for name, value in environ.items() if name != "DATABASE_URL" and not name.startswith("CROSSFADE_")
    }


def specify(
    release: Release, *, name: str, root: Path, host: str, variables: Mapping[str, str], restarts: Restarts
) -> dict[str, Any]:
    """The content of `spec.json` for the instance `name`; BadInputError for a placeholder that does not exist."""
    workload = release.workload
    values = {"port": PORT, "version": release.version, "instance": name}

    def filled(text: str, field: str) -> str:
        if PORT in text:
            raise BadInputError("runtime.nul", f"{field} holds a NUL byte", where=name, next="remove it")
        try:
            return fill(text, values)
        except ValueError as error:
            raise BadInputError(
                "runtime.placeholder", f"{field}: {error}", where=name, next="correct it in crossfade.yaml"
            ) from error

    environment = {
        "PORT": PORT,
        "CROSSFADE_VERSION": release.version,
        **{key: filled(value, f"environment.{key}") for key, value in {**variables, **workload.environment}.items()},
    }
    return {
        "format": 1,
        "instance": name,
        "version": release.version,
        "argv": [filled(each, f"command[{index}]") for index, each in enumerate(workload.command)],
        "directory": os.path.normpath(root / filled(workload.directory, "directory")),
        "environment": environment,
        "host": host,
        "health": {key: getattr(workload.health, key) for key in ("path", "interval", "timeout", "failures")},
        "ready": workload.ready.path or workload.health.path,
        "grace": workload.drain.grace,
        "logs": {"max_size": workload.logs.max_size, "keep": workload.logs.keep},
        "restart": asdict(restarts),
    }


def check(spec: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Raise BadInputError when the command or its folder is not there or cannot be executed."""
    where = f"{spec['instance']} {spec['version']}"
    directory = Path(spec["directory"])
    if PORT not in spec["directory"] and not directory.is_dir():
        raise BadInputError(
            "runtime.directory-missing",
            f"the working directory {directory} {'is not a directory' if directory.exists() else 'does not exist'}",
            where=where,
            next="create it, or correct `directory` of the component (it is relative to crossfade.yaml)",
        )
    program = spec["argv"][0]
    if PORT in program:
        return
    if "/" not in program:
        path = spec["environment"].get("PATH", environ.get("PATH", os.defpath))
        if shutil.which(program, path=path) is None:
            raise BadInputError(
                "runtime.command-missing",
                f"the command {program} is not found",
                where=where,
                next=f"install it, or write its path; looked in {path}",
            )
        return
    file = directory / program
    if not file.is_file():
        raise BadInputError(
            "runtime.command-missing",
            f"the command {file} {'is not a file' if file.exists() else 'does not exist'}",
            where=where,
            next="correct `command` of the component (a path is relative to its `directory`)",
        )
    if not os.access(file, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise BadInputError(
            "runtime.command-not-executable",
            f"the command {file} is not executable",
            where=where,
            next=f"chmod +x {file}, or put its interpreter first",
        )
