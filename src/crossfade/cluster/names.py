"""What our objects in a cluster are called, and the labels by which they are known to be ours. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from crossfade.traffic.port import Slot

MANAGER: Final = "crossfade"
PROJECT: Final = "crossfade.project"
ENVIRONMENT: Final = "crossfade.environment"
COMPONENT: Final = "crossfade.component"
SLOT: Final = "crossfade.slot"
VERSION: Final = "crossfade.version"
"""An annotation: versions may hold what no label may."""
ROUTES: Final = "crossfade.routes"
"""An annotation: the line of `route_file`, with its fence."""
SERVICE_PORT: Final = 80
"""Port of every Service of ours, whatever the pods listen on."""
LONGEST: Final = 63


@dataclass(frozen=True, slots=True)
class Target:
    """One component in one environment of one project, in one namespace.

    >>> Target("shop", "production", "api", "default").slot("blue")
    'shop-api-production-blue'
    """

    project: str
    environment: str
    component: str
    namespace: str

    @property
    def labels(self) -> dict[str, str]:
        """What all of its objects carry."""
        return {
            "app.kubernetes.io/managed-by": MANAGER,
            "app.kubernetes.io/name": label(self.component),
            PROJECT: label(self.project),
            ENVIRONMENT: label(self.environment),
            COMPONENT: label(self.component),
        }

    @property
    def selector(self) -> dict[str, str]:
        """The labels that no other target has."""
        return {name: self.labels[name] for name in (PROJECT, ENVIRONMENT, COMPONENT)}

    @property
    def where(self) -> str:
        """How it is called in errors."""
        return f"{self.component} in {self.environment}, namespace {self.namespace}"

    def slot(self, slot: Slot) -> str:
        """The name of a slot's Deployment, and of its Service."""
        return self.named(slot)

    def named(self, last: str) -> str:
        """The name of an object of this target that ends with `last`."""
        return cut(f"{self.project}-{self.component}-{self.environment}", f"-{last}")


def cut(name: str, end: str = "") -> str:
    """`name` and `end` as the name of an object: at most 63 characters; names that differ stay different.

    >>> cut("shop-api", "-blue"), len(cut("x" * 80, "-blue"))
    ('shop-api-blue', 63)
    """
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if plain == name and len(plain) + len(end) <= LONGEST:
        return plain + end
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain[: LONGEST - len(end) - 9].rstrip('-')}-{mark}{end}"


def label(value: str) -> str:
    """`value` as the value of a label.

    >>> label("1.4.0+b7"), label("api")
    ('1.4.0_b7', 'api')
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "_", value)[:LONGEST].strip("_.-")


def selects(labels: dict[str, str]) -> str:
    """`labels` as a label selector of the API."""
    return ",".join(f"{name}={value}" for name, value in labels.items())
