"""What ranges that mean something only inside a workspace become when a package leaves it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SECTIONS = ("dependencies", "peerDependencies", "optionalDependencies", "devDependencies")
_WORKSPACE = "workspace:"
_LOCAL = ("link:", "portal:", "catalog:", "file:..", "file:/", "file:~")


def resolved(manifest: dict[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """A manifest whose ranges mean the same to everybody; ValueError names one that cannot.

    `versions` are those of the workspace's packages. What is only needed to develop the package may stay local: nobody
    else ever installs it.

    >>> it = {"name": "js", "dependencies": {"core": "workspace:^", "x": "workspace:lib@~"}}
    >>> resolved(it, {"core": "1.2.0", "lib": "2.0.1"})["dependencies"]
    {'core': '^1.2.0', 'x': 'npm:lib@~2.0.1'}
    """
    changed = dict(manifest)
    for section in _SECTIONS:
        ranges = manifest.get(section)
        if isinstance(ranges, dict):
            changed[section] = {
                name: _range(name, str(written), versions, local=section == "devDependencies")
                for name, written in ranges.items()
            }
    return changed


def _range(name: str, written: str, versions: Mapping[str, str], *, local: bool) -> str:
    if written.startswith(_WORKSPACE):
        return _from_workspace(name, written.removeprefix(_WORKSPACE), versions)
    if written.startswith(_LOCAL) and not local:
        message = f"its dependency {name} is {written!r}, which leads nowhere once it is published"
        raise ValueError(message)
    return written


def _from_workspace(name: str, written: str, versions: Mapping[str, str]) -> str:
    alias, at, rest = written.rpartition("@")
    target, wanted = (alias, rest) if at and alias else (name, written)
    if target not in versions:
        message = f"its dependency {name} is 'workspace:{written}', and the project has no package {target}"
        raise ValueError(message)
    version = versions[target]
    if wanted in ("^", "~"):
        meant = wanted + version
    elif wanted in ("", "*") or wanted.startswith((".", "/")):
        meant = version
    else:
        meant = wanted
    return meant if target == name else f"npm:{target}@{meant}"
