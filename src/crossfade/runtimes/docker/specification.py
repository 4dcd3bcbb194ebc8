"""From a release to what the engine is told about one container: names, labels, limits. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from crossfade.config.placeholders import fill
from crossfade.core.errors import BadInputError
from crossfade.runtimes.docker.values import CARE, Care
from crossfade.runtimes.port import Release
from crossfade.traffic.port import Slot

PROJECT: Final = "crossfade.project"
ENVIRONMENT: Final = "crossfade.environment"
COMPONENT: Final = "crossfade.component"
SLOT: Final = "crossfade.slot"
INDEX: Final = "crossfade.index"
VERSION: Final = "crossfade.version"
IMAGE: Final = "crossfade.image"
SPECIFICATION: Final = "crossfade.specification"


@dataclass(frozen=True, slots=True)
class Target:
    """One component in one environment of one project.

    >>> Target("shop", "production", "api").container("blue", 0)
    'crossfade-shop-production-api-blue-0'
    """

    project: str
    environment: str
    component: str

    @property
    def labels(self) -> dict[str, str]:
        """What all of its containers carry."""
        return {PROJECT: self.project, ENVIRONMENT: self.environment, COMPONENT: self.component}

    @property
    def where(self) -> str:
        """How it is called in errors."""
        return f"{self.component} in {self.environment}"

    def instance(self, slot: Slot, index: int) -> str:
        """The id of an instance."""
        return f"{self.component}-{slot}-{index}"

    def container(self, slot: Slot, index: int) -> str:
        """The name of its container: always the same, so the engine refuses a second one."""
        return f"crossfade-{self.project}-{self.environment}-{self.instance(slot, index)}"

    def image(self, version: str, reference: str) -> tuple[str, str]:
        """Name and tag by which the engine keeps the image of a version, whatever becomes of other tags.

        The same version may have run another image under another `image:`, so the tag tells them apart.

        >>> Target("shop", "production", "Api").image("1.0.0+b1", "shop/api:1.0.0")
        ('crossfade/shop/production/api', '1.0.0_b1-86bb52f4')
        """
        parts = (self.project, self.environment, self.component)
        tag = f"{version.replace('+', '_')}-{hashlib.sha256(reference.encode()).hexdigest()[:8]}"
        return "/".join(("crossfade", *map(_plain, parts))), tag


def _plain(name: str) -> str:
    """A name as the grammar of images allows it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def reference(release: Release, where: str) -> str:
    """The image that the release names, with its version in it (`+`, which no tag may hold, as `_`)."""
    if release.workload.image is None:
        raise BadInputError(
            "docker.no-image", f"{where} names no image", next="give the component `image:` in crossfade.yaml"
        )
    return fill(release.workload.image, {"version": release.version.replace("+", "_")})


def container_port(release: Release, where: str) -> int:
    """The port on which the container listens."""
    if release.workload.port is None:
        raise BadInputError(
            "docker.no-port",
            f"{where} does not say on which port its container listens",
            next="give the component `port:` in crossfade.yaml",
        )
    return release.workload.port


def describe(
    target: Target,
    slot: Slot,
    index: int,
    release: Release,
    *,
    image: str,
    variables: Mapping[str, str],
    address: str,
    networks: tuple[str, ...],
) -> dict[str, Any]:
    """What the engine's API is told to create, but for the host's port; BadInputError for a strange placeholder.

    `image` is the id of the image, so that every instance runs the same bytes.
    """
    workload = release.workload
    port = container_port(release, target.where)
    name = target.instance(slot, index)
    values: dict[str, str | int] = {"port": port, "version": release.version, "instance": name}

    def filled(text: str, field: str) -> str:
        try:
            return fill(text, values)
        except ValueError as error:
            how = "correct it in crossfade.yaml"
            raise BadInputError("runtime.placeholder", f"{field}: {error}", where=name, next=how) from error

    chosen = {**variables, **workload.environment}
    environment = {
        "PORT": str(port),
        "CROSSFADE_VERSION": release.version,
        **{key: filled(value, f"environment.{key}") for key, value in chosen.items()},
    }
    limits = workload.resources
    # No more swap than memory: an instance that swaps is slow before it is dead, and nobody sees why.
    memory = {"Memory": limits.memory, "MemorySwap": limits.memory} if limits.memory else {}
    logs = {"max-size": str(workload.logs.max_size), "max-file": str(workload.logs.keep + 1)}
    told: dict[str, Any] = {
        "Image": image,
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "ExposedPorts": {f"{port}/tcp": {}},
        "HostConfig": {
            "RestartPolicy": {"Name": "unless-stopped"},
            "Init": True,  # so that a program without a handler ends on TERM, and orphans are reaped
            "LogConfig": {"Type": "json-file", "Config": logs},
            **memory,
            **({"NanoCpus": round(limits.cpus * 1e9)} if limits.cpus else {}),
        },
    }
    if workload.command:
        told["Cmd"] = [filled(each, f"command[{i}]") for i, each in enumerate(workload.command)]
    told["Labels"] = {
        **target.labels,
        SLOT: slot,
        INDEX: str(index),
        VERSION: release.version,
        IMAGE: image,
        CARE: Care.of(release).text(),
        SPECIFICATION: _digest(told, address, networks),
    }
    return told


def with_port(told: Mapping[str, Any], address: str, port: int) -> dict[str, Any]:
    """`told`, published on one port of the host."""
    inside = next(iter(told["ExposedPorts"]))
    binding = {inside: [{"HostIp": address.strip("[]"), "HostPort": str(port)}]}
    return {**told, "HostConfig": {**told["HostConfig"], "PortBindings": binding}}


def _digest(told: Mapping[str, Any], address: str, networks: tuple[str, ...]) -> str:
    text = json.dumps([told, address, sorted(networks)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
