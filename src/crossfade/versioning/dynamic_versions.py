"""Where a Python package keeps a version that is `dynamic`: what the build backends' tables say. Pure.

Known are hatchling's `path`, setuptools' `attr` and `file`, pdm's `path` and flit's own module. A version that a plugin
takes from git tags cannot be planned: the plan decides the tags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crossfade.core.errors import BadInputError

_ASSIGNED = r"(?im)^(?:__version__|VERSION)(?: ?: ?str)? *= *(['\"])v?(?P<version>.+?)\1"
"""An assignment to `__version__` or `VERSION`, as hatchling reads it."""
_WHOLE = r"\A\s*(?P<version>\S+)\s*\Z"
_IN_TABLE = 'write the version into `[project]`: `version = "…"`, without `dynamic`'


@dataclass(frozen=True, slots=True)
class VersionPlace:
    """A file that may hold the version, and the pattern whose group `version` is where."""

    path: str
    """Relative to the package's folder."""
    pattern: str


def place_of_version(tree: Mapping[str, Any], name: str, where: str) -> tuple[VersionPlace, ...]:
    """The places to look at, the first that is there holds it; `where` is the path of the pyproject.toml.

    BadInputError `versions.dynamic`: nothing says where, or it comes from git.

    >>> place_of_version({"tool": {"hatch": {"version": {"path": "src/api/__init__.py"}}}}, "api", "pyproject.toml")[0].path
    'src/api/__init__.py'
    """
    tool = _table(tree, "tool")
    hatch = _table(tool, "hatch", "version")
    if hatch.get("source", "regex") in {"regex", "code"} and isinstance(hatch.get("path"), str):
        return (VersionPlace(hatch["path"], _pattern(hatch.get("pattern"), where)),)
    setuptools = _table(tool, "setuptools", "dynamic", "version")
    if isinstance(setuptools.get("file"), str):
        return (VersionPlace(setuptools["file"], _WHOLE),)
    if isinstance(setuptools.get("attr"), str):
        module, _, attribute = setuptools["attr"].rpartition(".")
        return _modules(module, rf"(?m)^{re.escape(attribute)}(?:\s*:\s*\w+)?\s*=\s*(['\"])(?P<version>[^'\"]+)\1")
    pdm = _table(tool, "pdm", "version")
    if pdm.get("source") == "file" and isinstance(pdm.get("path"), str):
        return (VersionPlace(pdm["path"], _ASSIGNED),)
    backend = str(_table(tree, "build-system").get("build-backend", ""))
    if backend.startswith("flit"):
        module = _table(tool, "flit", "module").get("name") or name.replace("-", "_")
        return _modules(str(module), _ASSIGNED)
    what = f"the version of {name} is dynamic, and nothing says in which file it stands"
    if hatch.get("source") == "vcs" or "setuptools_scm" in tool:
        what = f"the version of {name} is taken from git tags, which only exist after a release"
    raise BadInputError("versions.dynamic", what, where=where, next=_IN_TABLE)


def _modules(module: str, pattern: str) -> tuple[VersionPlace, ...]:
    path = module.replace(".", "/")
    files = (f"{path}.py", f"{path}/__init__.py", f"src/{path}.py", f"src/{path}/__init__.py")
    return tuple(VersionPlace(file, pattern) for file in files)


def _pattern(own: Any, where: str) -> str:
    if own is None or own is True:
        return _ASSIGNED
    try:
        groups = re.compile(str(own)).groupindex
    except re.error as error:
        what = f"`tool.hatch.version.pattern` is no regular expression: {error}"
        raise BadInputError("versions.dynamic", what, where=where, next="correct the pattern") from None
    if "version" not in groups:
        what = "`tool.hatch.version.pattern` has no group called version"
        raise BadInputError("versions.dynamic", what, where=where, next="write it such as (?P<version>[^']+)")
    return f"(?m){own}"


def _table(tree: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        found = tree.get(key)
        tree = found if isinstance(found, dict) else {}
    return tree
