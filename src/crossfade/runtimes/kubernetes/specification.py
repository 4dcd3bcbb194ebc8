"""From a release to the Deployment and the Service of a slot: names, labels, probes, limits. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from crossfade.cluster.names import SERVICE_PORT, SLOT, VERSION, Target, label
from crossfade.config.model import Component
from crossfade.config.placeholders import fill
from crossfade.config.runtimes import KubernetesRuntime as Settings
from crossfade.core.errors import BadInputError
from crossfade.runtimes.port import Release
from crossfade.traffic.port import Slot

CONTAINER: Final = "app"
PORT_NAME: Final = "http"
SPECIFICATION: Final = "crossfade.specification"
NAME: Final = "CROSSFADE_INSTANCE"
SETTLE: Final = 5.0
"""Longest pause before TERM: until then every proxy has heard that the pod is going."""
RESTARTED_AFTER: Final = 3
"""A pod that is unhealthy gets no traffic; one that stays so for three times as many probes is started again."""
_INSTANCE: Final = "\0instance\0"

Json = dict[str, Any]


def deployment(
    target: Target,
    slot: Slot,
    release: Release,
    count: int,
    *,
    settings: Settings,
    variables: Mapping[str, str],
    blind: bool = False,
) -> Json:
    """The Deployment of `slot`; BadInputError for a workload without image or port, or a strange placeholder.

    `blind`: the router cannot tell what is in flight, so a pod waits for all of the drain's time before TERM.
    """
    labels = {**target.labels, SLOT: slot, "app.kubernetes.io/instance": target.slot(slot)}
    versioned = {**labels, "app.kubernetes.io/version": label(release.version)}
    drain = release.workload.drain.timeout
    pod = _pod(target, slot, release, settings, variables, settle=drain if blind else min(SETTLE, drain))
    digest = hashlib.sha256(json.dumps(pod, sort_keys=True).encode()).hexdigest()
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": target.slot(slot),
            "namespace": target.namespace,
            "labels": versioned,
            "annotations": {VERSION: release.version, SPECIFICATION: digest},
        },
        "spec": {
            "replicas": count,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": max(60, math.ceil(release.workload.ready.deadline)),
            "selector": {"matchLabels": {**target.selector, SLOT: slot}},
            "template": {
                "metadata": {"labels": versioned, "annotations": {VERSION: release.version}},
                "spec": pod,
            },
        },
    }


def reference(release: Release) -> str:
    """The image that the file names for this version; empty where it names none."""
    return fill(release.workload.image or "", {"version": release.version.replace("+", "_")})


def service(target: Target, slot: Slot, annotations: Mapping[str, str]) -> Json:
    """The Service by which routers inside the cluster reach the ready pods of `slot`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": target.slot(slot),
            "namespace": target.namespace,
            "labels": {**target.labels, SLOT: slot},
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "spec": {
            "selector": {**target.selector, SLOT: slot},
            "ports": [{"name": PORT_NAME, "port": SERVICE_PORT, "targetPort": PORT_NAME, "protocol": "TCP"}],
        },
    }


def _pod(
    target: Target, slot: Slot, release: Release, settings: Settings, variables: Mapping[str, str], *, settle: float
) -> Json:
    workload = release.workload
    told: Json = {
        "containers": [_container(target, slot, release, variables, settle)],
        "terminationGracePeriodSeconds": math.ceil(workload.drain.grace + settle),
    }
    if settings.service_account:
        told["serviceAccountName"] = settings.service_account
    if settings.pull_secrets:
        told["imagePullSecrets"] = [{"name": each} for each in settings.pull_secrets]
    return told


def _container(target: Target, slot: Slot, release: Release, variables: Mapping[str, str], settle: float) -> Json:
    workload = release.workload
    if workload.image is None:
        how = "give the component `image:` in crossfade.yaml"
        raise BadInputError("kubernetes.no-image", f"{target.where} names no image", next=how)
    if workload.port is None:
        what, how = f"{target.where} does not say on which port its container listens", "give the component `port:`"
        raise BadInputError("kubernetes.no-port", what, next=f"{how} in crossfade.yaml")
    where = f"{target.component}-{slot}"
    values: dict[str, str | int] = {"port": workload.port, "version": release.version, "instance": _INSTANCE}

    def filled(text: str, field: str) -> str:
        try:
            # `$(NAME)` means something to Kubernetes, and must not where the file only happens to have it.
            return fill(text.replace("$(", "$$("), values).replace(_INSTANCE, f"$({NAME})")
        except ValueError as error:
            how = "correct it in crossfade.yaml"
            raise BadInputError("runtime.placeholder", f"{field}: {error}", where=where, next=how) from error

    chosen = {"PORT": "{port}", "CROSSFADE_VERSION": "{version}", **variables, **workload.environment}
    told: Json = {
        "name": CONTAINER,
        "image": reference(release),
        "ports": [{"name": PORT_NAME, "containerPort": workload.port, "protocol": "TCP"}],
        "env": [
            {"name": NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *({"name": key, "value": filled(value, f"environment.{key}")} for key, value in chosen.items()),
        ],
        **_probes(workload),
    }
    if workload.command:
        told["args"] = [filled(each, f"command[{i}]") for i, each in enumerate(workload.command)]
    if limits := _limits(workload):
        told["resources"] = {"limits": limits}
    if settle > 0:
        told["lifecycle"] = {"preStop": {"sleep": {"seconds": math.ceil(settle)}}}
    return told


def _limits(workload: Component) -> dict[str, str]:
    limits: dict[str, str] = {}
    if workload.resources.memory:
        limits["memory"] = str(workload.resources.memory)
    if workload.resources.cpus:
        limits["cpu"] = f"{max(1, round(workload.resources.cpus * 1000))}m"
    return limits


def _probes(workload: Component) -> Json:
    """Readiness and liveness; until it was healthy once, it has as long as `ready.deadline` says."""
    health = workload.health
    every = max(1, math.ceil(health.interval))  # Kubernetes counts whole seconds
    manner = {"periodSeconds": every, "timeoutSeconds": max(1, math.ceil(health.timeout))}

    def probe(path: str, failures: int) -> Json:
        return {"httpGet": {"path": path, "port": PORT_NAME}, "failureThreshold": failures, **manner}

    return {
        "startupProbe": probe(health.path, math.ceil(workload.ready.deadline / every) + health.failures),
        "livenessProbe": probe(health.path, health.failures * RESTARTED_AFTER),
        "readinessProbe": probe(workload.ready.path or health.path, 1 if workload.ready.path else health.failures),
    }
