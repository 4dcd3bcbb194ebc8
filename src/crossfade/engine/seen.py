"""What people are shown of the world: as it was at a rollout's last look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from crossfade.analysis.values import Finding
from crossfade.runtimes.port import Instance
from crossfade.traffic.port import RouterView


@dataclass(frozen=True, slots=True)
class Seen:
    """Instances (None: the runtime did not answer), the router, and what the judge says."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="strings")
    """A ratio without an upper end survives JSON."""

    instances: tuple[Instance, ...] | None
    router: RouterView
    finding: Finding | None


SEEN: TypeAdapter[Seen] = TypeAdapter(Seen)
"""Reads and writes what was seen as JSON."""


def read_seen(stored: Mapping[str, Any] | None) -> Seen | None:
    """What was stored of the last look; None where there is nothing that can be read any more.

    A look is shown and never decided by: one of another shape is as good as none, until the next.

    >>> read_seen({"of": "another shape"}) is None
    True
    """
    try:
        return None if stored is None else SEEN.validate_python(stored)
    except ValidationError:
        return None
