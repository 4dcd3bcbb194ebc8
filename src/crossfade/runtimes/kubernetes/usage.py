"""What pods use, as the cluster's metrics API tells it: pure.

>>> pod = {"metadata": {"name": "api-1", "labels": {"crossfade.slot": "blue"}}, "spec": {},
...        "status": {"containerStatuses": [{"name": "app", "state": {"running": {"startedAt": "2026-11-21T16:00:00Z"}}}]}}
>>> told = {"metadata": {"name": "api-1"}, "timestamp": "2026-11-21T16:00:30Z",
...         "containers": [{"name": "app", "usage": {"cpu": "250m", "memory": "64Mi"}}]}
>>> used([pod], [told])
{'api-1': Usage(slot='blue', memory=67108864, cpu_seconds=None, cpu=0.25)}
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from crossfade.runtimes.kubernetes.seeing import container_status, moment, slot_of
from crossfade.runtimes.kubernetes.specification import CONTAINER
from crossfade.runtimes.port import Usage

Json = dict[str, Any]
_UNITS: Final = {
    **{unit + "i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
}


def used(pods: Iterable[Json], told: Iterable[Json]) -> dict[str, Usage]:
    """The usage of each of `pods` that runs, by its name; without those of which nothing newer than their start is told.

    Of a pod only the component's own container counts: others were put beside it by the cluster.
    """
    measured = {each["metadata"]["name"]: each for each in told}
    found: dict[str, Usage] = {}
    for pod in pods:
        name, slot = pod["metadata"]["name"], slot_of(pod)
        began = (container_status(pod).get("state", {}).get("running") or {}).get("startedAt")
        one = measured.get(name)
        if slot is None or began is None or one is None or moment(one.get("timestamp")) < moment(began):
            continue
        usage = next((each["usage"] for each in one["containers"] if each["name"] == CONTAINER), None)
        if usage is not None:
            found[name] = Usage(slot, round(quantity(usage["memory"])), cpu=float(quantity(usage["cpu"])))
    return found


def quantity(text: str) -> Decimal:
    """A number as Kubernetes writes it, with a unit of 1000, of 1024, or an exponent.

    >>> [float(quantity(each)) for each in ("12m", "123456n", "64Mi", "1.5k", "1e3", "2")]
    [0.012, 0.000123456, 67108864.0, 1500.0, 1000.0, 2.0]
    """
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return Decimal(text.removesuffix(unit)) * factor
    return Decimal(text)
