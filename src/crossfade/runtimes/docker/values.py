"""What the parts of this runtime tell one another. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crossfade.runtimes.port import Release

CARE: Final = "crossfade.care"


@dataclass(frozen=True, slots=True)
class Care:
    """How an instance is looked after; it stands in a label, so that any Crossfade can do it."""

    path: str
    ready: str
    interval: float
    timeout: float
    failures: int
    grace: float

    @classmethod
    def of(cls, release: Release) -> Care:
        """What the release asks for."""
        health, workload = release.workload.health, release.workload
        ready = workload.ready.path or health.path
        return cls(health.path, ready, health.interval, health.timeout, health.failures, workload.drain.grace)

    @classmethod
    def read(cls, labels: Mapping[str, str]) -> Care:
        """What a container's labels say; the usual where they say nothing that can be read."""
        try:
            return cls(**json.loads(labels[CARE]))
        except (KeyError, TypeError, ValueError):
            return cls("/healthz", "/healthz", 1.0, 2.0, 3, 10.0)

    def text(self) -> str:
        """As it stands in the label."""
        names = ("path", "ready", "interval", "timeout", "failures", "grace")
        return json.dumps({name: getattr(self, name) for name in names}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one container, and where it listens."""

    container: str
    started: str
    address: str
    inside: str
    """The port on which the program itself listens, as Docker writes it: 8000/tcp."""
    care: Care


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a slot should hold; `pulling` says how far a pull for it is, for a person."""

    version: str
    count: int
    pulling: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """The bytes of a version: the image's id, and how to get it again (`digest`, NAME@sha256:…) where it can be."""

    version: str
    reference: str
    id: str
    digest: str | None
    pulled: bool
    used: float
