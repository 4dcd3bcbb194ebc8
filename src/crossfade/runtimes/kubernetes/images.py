"""Which bytes a version is, as far as a cluster tells: pure.

The cluster finds out what a tag means when it starts a container, and says so in the pod's status. What all pods of a
slot ran is written as `NAME:TAG@DIGEST` into an annotation of the slot's Service, which outlives them: when that version
is started anew, it is these bytes that run, also when the tag has moved on since.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from crossfade.runtimes.kubernetes.seeing import container_status, image_of
from crossfade.runtimes.kubernetes.specification import reference
from crossfade.runtimes.port import Instance, Release
from crossfade.traffic.port import Slot

Json = dict[str, Any]
IMAGES: Final = "crossfade.images"
"""An annotation: the versions that ran last in the slot, with their images."""
KEPT: Final = 20
"""Versions of one slot whose images are known."""
_RAN: Final = re.compile(r"(?:docker-pullable://)?(?P<name>[^@]+)@(?P<digest>sha256:[0-9a-f]{64})")


def known(*services: Json | None) -> dict[str, str]:
    """Version → image by digest, as the annotations of `services` say; those that are no such thing say nothing."""
    found: dict[str, str] = {}
    for each in services:
        text = ((each or {}).get("metadata", {}).get("annotations") or {}).get(IMAGES, "{}")
        try:
            told = json.loads(text)
        except ValueError:  # somebody has changed it by hand
            continue
        if isinstance(told, dict):
            found.update({version: image for version, image in told.items() if isinstance(image, str)})
    return found


def with_image(images: Mapping[str, str], version: str, image: str | None) -> dict[str, str]:
    """`images` with that of `version` as the newest; unchanged where it is not known.

    >>> with_image({"1.0.0": "api:1.0.0@sha256:a", "1.1.0": "api:1.1.0@sha256:b"}, "1.0.0", "api:1.0.0@sha256:a")
    {'1.1.0': 'api:1.1.0@sha256:b', '1.0.0': 'api:1.0.0@sha256:a'}
    """
    if image is None:
        return dict(images)
    others = {name: each for name, each in images.items() if name != version}
    return dict([*others.items(), (version, image)][-KEPT:])


def written(images: Mapping[str, str]) -> dict[str, str]:
    """`images` as an annotation; nothing where there are none."""
    return {IMAGES: json.dumps(images)} if images else {}


def by_digest(release: Release, image: str | None) -> Release:
    """`release` with its image by digest, where `image` is the one that it names: then it runs what it ran before."""
    if image is None or image.partition("@")[0] != reference(release):
        return release
    return replace(release, workload=release.workload.model_copy(update={"image": image}))


def ran(pods: Iterable[Json]) -> str | None:
    """The image by digest that all of `pods` ran; None where the cluster does not tell, or they do not agree."""
    found = {(image_of(each), digest_of(each)) for each in pods if container_status(each).get("imageID")}
    if len(found) != 1:
        return None
    ((named, digest),) = found
    return None if digest is None else f"{named.partition('@')[0]}@{digest}"


def digest_of(pod: Json) -> str | None:
    """The digest under which a registry has what `pod` runs.

    None where it has not run, and where its image was put on the node by other ways: then nobody can pull it by a digest.
    """
    told = _RAN.fullmatch(str(container_status(pod).get("imageID", "")))
    if told is None or _whole(told["name"]) != _whole(_name(image_of(pod))):
        return None  # the same bytes under another name: our registry may not have that digest
    return told["digest"]


def told_apart(instances: Iterable[Instance], pods: Iterable[Json]) -> tuple[Instance, ...]:
    """`instances`, of which those say so that run other bytes than the first of their slot: a tag has moved in between."""
    digests = {each["metadata"]["name"]: digest_of(each) for each in pods}
    first: dict[tuple[Slot, str], tuple[str, str]] = {}
    found: list[Instance] = []
    for each in instances:
        digest = digests.get(each.id)
        if digest is None:
            found.append(each)
            continue
        known, other = first.setdefault((each.slot, each.version), (digest, each.id))
        said = "" if digest == known else f"it runs {digest}, and {other} runs {known} under the same version"
        found.append(replace(each, detail=". ".join(filter(None, (each.detail, said)))))
    return tuple(found)


def _name(reference: str) -> str:
    """An image's name without tag and digest."""
    name = reference.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def _whole(name: str) -> str:
    """`name` as container runtimes tell it.

    >>> _whole("nginx"), _whole("shop/api"), _whole("registry.example/shop/api")
    ('docker.io/library/nginx', 'docker.io/shop/api', 'registry.example/shop/api')
    """
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"
