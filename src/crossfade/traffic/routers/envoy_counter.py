"""Envoy's own counters read four times a second, and what they grew by told as the counter tells it.

Envoy raises a counter for each slot, class and latency bin when a request has ended, without a message to
anybody, so nothing is ever lost between it and us, and nothing that we do can hold it up. The second that
growth belongs to is the one before the reading; readings are made when a second ends.

    python -m crossfade.traffic.routers.envoy_counter --folder DIR --probe /path/of/admin.sock
"""

from __future__ import annotations

import argparse
import contextlib
import re
import threading
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

from crossfade.traffic.counter import ADDRESSES, CLIENT_LEFT, Counter
from crossfade.traffic.port import SLOTS, Counts, Slot
from crossfade.traffic.routers.envoy_admin import asked, connect
from crossfade.traffic.tally import BOUNDS_MS, Tally
from crossfade.traffic.whole_files import replace

READINGS = 4
"""Readings in a second."""
_NAME = re.compile(r"crossfade\.requests\.arm\.(blue|green)\.seen\.(|-|(\d)xx_(-|\d+))\.end\.(.*)")
RUN = "counter.run"
"""The file that names the run of Envoy which was read last: a counter that is started again adds nothing twice."""
_QUERY = "/stats?filter=^crossfade\\.requests\\.&format=json"
_LEFT = "DC"
_BROKEN_OFF = {"UC", "UPE", "UR"}
"""How Envoy names it that the instance ended an answer which had begun: the connection, the protocol, the stream."""


class Kind(NamedTuple):
    """What one of Envoy's counters counts: a status that stands for its class, and a latency for its bin."""

    slot: Slot
    status: int
    ms: float | None


def kind_of(name: str) -> Kind | None:
    """What Envoy means by the counter `name`; None when it is not ours.

    >>> kind_of("crossfade.requests.arm.blue.seen.2xx_0.end.-")
    Kind(slot='blue', status=200, ms=0.5)
    >>> kind_of("crossfade.requests.arm.green.seen..end.DC").status, kind_of("cluster.blue.upstream_rq_200")
    (499, None)
    >>> kind_of("crossfade.requests.arm.blue.seen.2xx_0.end.UPE"), kind_of("crossfade.requests.arm.blue.seen.1xx_-.end.UC").status
    (Kind(slot='blue', status=0, ms=None), 100)
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    slot = next(slot for slot in SLOTS if slot == match[1])
    ends = set(match[5].split(","))
    if match[3] is None:  # no answer: the visitor left, or there was none
        return Kind(slot, CLIENT_LEFT if _LEFT in ends else 0, None)
    if match[3] in "234" and ends & _BROKEN_OFF:
        return Kind(slot, 0, None)
    return Kind(slot, int(match[3]) * 100, None if match[4] == "-" else middle(int(match[4])))


def middle(place: int) -> float:
    """A latency in the bin `place`, in ms.

    >>> from crossfade.traffic.tally import bin_of
    >>> all(bin_of(middle(place)) == place for place in range(len(BOUNDS_MS) + 1))
    True
    """
    if place == 0:
        return BOUNDS_MS[0] / 2
    if place >= len(BOUNDS_MS):
        return BOUNDS_MS[-1] * 1.1
    return (BOUNDS_MS[place - 1] + BOUNDS_MS[place]) / 2


class Growth:
    """By how much each counter has grown since the last reading: pure.

    >>> growth = Growth()
    >>> growth.of("run 1", {"a": 5}, fresh=False), growth.of("run 1", {"a": 7, "b": 1}), growth.of("run 2", {"a": 1})
    ({}, {'a': 2, 'b': 1}, {'a': 1})
    """

    def __init__(self) -> None:
        self._run = ""
        self._last: Mapping[str, int] = {}

    def of(self, run: str, sums: Mapping[str, int], *, fresh: bool = True) -> dict[str, int]:
        """What came since the last reading; `fresh`: a run that is new to us began under our eyes."""
        if run != self._run:
            self._last = {} if fresh else sums
        self._run, before, self._last = run, self._last, sums
        return {name: count - before.get(name, 0) for name, count in sums.items() if count > before.get(name, 0)}


class ToldInTime(Tally):
    """Tells of a second only once it has been read to its end."""

    def counts(self, since: float, now: float) -> Counts:
        """The closed buckets that start at or after `since`."""
        return super().counts(since, now if self.alive_at is None else min(now, self.alive_at))


class Reader:
    """One connection to Envoy's admin socket at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: HTTPConnection | None = None
        self._run = ""

    def read(self) -> tuple[str, dict[str, int]] | None:
        """The name of the run and its sums; None when nobody answers."""
        try:
            if self._connection is None:
                self._connection = connect(self._path)
                self._run = asked(self._connection, "/server_info")["node"]["id"]
            return self._run, {
                row["name"]: row["value"] for row in asked(self._connection, _QUERY)["stats"] if "name" in row
            }
        except (OSError, HTTPException, ValueError, KeyError, TypeError):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return None


class EnvoyCounter(Counter):
    """The sums of Envoy, kept by second."""

    def __init__(self, folder: Path, labels: str) -> None:
        super().__init__(folder, labels)
        self.tally = ToldInTime()
        self._run = ""

    def run(self, probe: str, header: str = "") -> None:  # noqa: ARG002 - Envoy has no need of it
        """Count until the folder is gone."""
        self._listener.close()  # nobody sends anything
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        reader, growth = Reader(probe), Growth()
        while (self._folder / ADDRESSES).exists():
            due = (int(time.time() * READINGS) + 1) / READINGS
            time.sleep(max(due - time.time(), 0))
            seen = reader.read()
            if seen is None:
                continue
            late = time.time() - due > 1 / READINGS
            self._add(growth.of(*seen, fresh=self._is_new(seen[0])), time.time() if late else due)

    def _is_new(self, run: str) -> bool:
        """Whether no counter of this folder has read that run before: then all that it has counted is still to be told."""
        if run == self._run:
            return True
        known = self._folder / RUN
        seen_before = known.exists() and known.read_text() == run
        replace(known, run.encode())
        self._run = run
        return not seen_before

    def _add(self, grown: Mapping[str, int], now: float) -> None:
        for name, count in grown.items():
            kind = kind_of(name)
            for _ in range(count if kind is not None else 0):
                self.tally.add(now - 0.001, *kind)  # type: ignore[misc]  # looked at in the line above
        self.tally.prove(now)


def main() -> None:
    """Read the flags and count."""
    parser = argparse.ArgumentParser(description="Reads what Envoy counts.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--probe", required=True, help="Envoy's admin socket")
    parser.add_argument("--header", default="", help="not needed here")
    parser.add_argument("--labels", default="", help="Prometheus labels of every series")
    flags = parser.parse_args()
    counter = EnvoyCounter(flags.folder, flags.labels)
    counter.open()
    with contextlib.suppress(KeyboardInterrupt):
        counter.run(flags.probe)


if __name__ == "__main__":
    main()
