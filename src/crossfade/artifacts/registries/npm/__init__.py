"""Registries that speak npm's protocol: a document for each package, its versions in it, and dist-tags that lead to them.

One idea: a version is uploaded under a name that nobody follows, read back, and only then led to. `latest` never goes
back because of a release; only a withdrawal takes it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossfade.artifacts.registries.npm.dist_tags import dist_tag

if TYPE_CHECKING:
    from crossfade.artifacts.registries.npm.registry import NpmRegistry

__all__ = ["NpmRegistry", "dist_tag"]


def __getattr__(name: str) -> Any:
    """The adapter, once it is asked for: its HTTP client is heavy, and naming a dist-tag needs none."""
    if name != "NpmRegistry":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from crossfade.artifacts.registries.npm.registry import NpmRegistry  # noqa: PLC0415 - heavy, see above

    return NpmRegistry
