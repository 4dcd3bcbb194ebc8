"""When an instance is asked for its health, and by which questions: feeds `Health` from `Probe`s."""

from __future__ import annotations

from crossfade.runtimes.shim.health import Health
from crossfade.runtimes.shim.probe import Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable, Mapping
    from typing import Any

_IMPATIENT = 0.2
"""Longest time between two questions until the first good answer."""


class _Track:
    """One kind of question: its path, when it is due, and the probe under way."""

    __slots__ = ("due", "heard", "path", "probe")

    def __init__(self, path: str, heard: Callable[[bool, str], None]) -> None:
        self.path = path
        self.heard = heard
        self.due = 0.0
        self.probe: Probe | None = None


class Checks:
    """The liveness and readiness probes of one run of a command; one probe when both ask the same path."""

    __slots__ = ("_address", "_interval", "_selector", "_timeout", "_tracks", "health")

    def __init__(self, selector: selectors.BaseSelector, address: tuple[str, int], spec: Mapping[str, Any]) -> None:
        asked = spec["health"]
        self.health = Health(asked["failures"])
        self._selector = selector
        self._address = address
        self._interval = float(asked["interval"])
        self._timeout = float(asked["timeout"])
        self._tracks = [_Track(asked["path"], self._both if asked["path"] == spec["ready"] else self._alive)]
        if asked["path"] != spec["ready"]:
            self._tracks.append(_Track(spec["ready"], self._ready))

    def ask(self, now: float) -> None:
        """Begin what is due, give up what took too long."""
        for track in self._tracks:
            if track.probe is not None:
                track.probe.check(now)
            if track.probe is None and now >= track.due:
                track.due = now + (self._interval if self.health.was_ready else min(self._interval, _IMPATIENT))
                self._begin(track, now)

    @property
    def due(self) -> float:
        """When `ask` must be called next, at the latest."""
        return min(track.probe.ends if track.probe else track.due for track in self._tracks)

    def cancel(self) -> None:
        """Forget the questions under way."""
        for track in self._tracks:
            if track.probe is not None:
                track.probe.cancel()

    def _begin(self, track: _Track, now: float) -> None:
        over = False

        def done(ok: bool, text: str) -> None:  # noqa: FBT001 - the signature of a probe's end
            # It may come before the probe has been made: nobody listens, and the system says so at once.
            nonlocal over
            over = True
            track.probe = None
            track.heard(ok, text)

        probe = Probe(self._selector, self._address, track.path, now=now, timeout=self._timeout, done=done)
        track.probe = None if over else probe

    def _alive(self, ok: bool, text: str) -> None:  # noqa: FBT001 - as above
        self.health.alive(ok=ok, text=text)

    def _ready(self, ok: bool, text: str) -> None:  # noqa: FBT001 - as above
        self.health.ready(ok=ok, text=text)

    def _both(self, ok: bool, text: str) -> None:  # noqa: FBT001 - as above
        self._alive(ok, text)
        self._ready(ok, text)
