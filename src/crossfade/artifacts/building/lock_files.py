"""What a lock file above a component says about the packages of others; its own workspace's versions are left out. Pure.

A lock file at the top pins what is installed for all components, so a build depends on it. It also repeats the versions
of the workspace's own packages, and those change with every release: they are told by each component's own files.
"""

from __future__ import annotations

import hashlib
import json
import re

NAMES = (
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Cargo.lock",
    "go.sum",
    ".nvmrc",
    ".node-version",
    ".python-version",
    ".tool-versions",
)
"""Files that pin what builds below them run with."""

_UV_OWN = re.compile(r"^source = \{ (?:editable|virtual|workspace|directory) =", re.MULTILINE)


def pinned(name: str, content: bytes) -> str:
    """The digest of what the lock file called `name` pins.

    >>> lock = b'{"packages": {"": {"version": "1.0.0"}, "node_modules/left-pad": {"version": "1.3.0"}}}'
    >>> pinned("package-lock.json", lock) == pinned("package-lock.json", lock.replace(b"1.0.0", b"2.0.0"))
    True
    >>> pinned("package-lock.json", lock) == pinned("package-lock.json", lock.replace(b"1.3.0", b"1.3.1"))
    False
    """
    if name in ("package-lock.json", "npm-shrinkwrap.json"):
        content = _npm(content)
    elif name == "uv.lock":
        content = _uv(content)
    return hashlib.sha256(content).hexdigest()


def _npm(content: bytes) -> bytes:
    try:
        packages = json.loads(content)["packages"]
        foreign = {path: each for path, each in packages.items() if "node_modules/" in path}
    except (ValueError, KeyError, TypeError, AttributeError):
        return content  # an older form, or one that we do not know: then all of it counts
    return json.dumps(foreign, sort_keys=True).encode()


def _uv(content: bytes) -> bytes:
    head, *packages = content.decode(errors="replace").split("[[package]]")
    return "[[package]]".join([head, *(each for each in packages if not _UV_OWN.search(each))]).encode()
