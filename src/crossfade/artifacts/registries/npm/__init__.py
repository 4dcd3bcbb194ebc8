"""Registries that speak npm's protocol: a document for each package, its versions in it, and dist-tags that lead to them.

One idea: a version is uploaded under a name that nobody follows, read back, and only then led to. `latest` never goes
back because of a release; only a withdrawal takes it back.
"""

from crossfade.artifacts.registries.npm.dist_tags import dist_tag
from crossfade.artifacts.registries.npm.registry import NpmRegistry

__all__ = ["NpmRegistry", "dist_tag"]
