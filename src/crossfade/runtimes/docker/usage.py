"""What a container uses, as the engine's statistics tell it: pure.

>>> used("blue", {"cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
...               "memory_stats": {"usage": 9_000_000, "stats": {"inactive_file": 2_000_000}}})
Usage(slot='blue', memory=7000000, cpu_seconds=1.5, cpu=None)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossfade.runtimes.port import Usage
from crossfade.traffic.port import Slot


def used(slot: Slot, told: Mapping[str, Any]) -> Usage | None:
    """Memory without the files that may be dropped at any time, and processor time; None where nothing is told.

    Control groups of version 1 call those files `total_inactive_file`, of version 2 `inactive_file`.
    """
    memory, processor = told.get("memory_stats") or {}, (told.get("cpu_stats") or {}).get("cpu_usage") or {}
    if "usage" not in memory or "total_usage" not in processor:
        return None
    details = memory.get("stats") or {}
    files = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
    return Usage(slot, max(0, int(memory["usage"]) - files), cpu_seconds=processor["total_usage"] / 1e9)
