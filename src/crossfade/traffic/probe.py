"""Proof by real requests: what is asked through the listener, and which answers mean that routes are in force.

Every router answers a request that bears the target's token itself: the slot which it would have gone to, and
the line that decided so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from crossfade.core.errors import UnreachableError
from crossfade.traffic.headers import PROBE_HEADER, SLOT_HEADER
from crossfade.traffic.port import SLOTS, Routes, Slot, other
from crossfade.traffic.routers.route_file import Accepted, parse

PLAIN = 4
"""Plain requests of one confirmation; the line that each returns would be proof by itself."""
TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the data plane said: the slot that a request would reach, and the line that decided it.

    `more` is what the answer says after the line, `headers` are its own with their names in lower case.
    """

    slot: str
    accepted: Accepted | None
    more: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Expectation:
    """A request to ask with, by its headers, and what its answer must say: these routes, and this slot (None: either)."""

    headers: Mapping[str, str]
    slot: Slot | None
    routes: Routes

    def met_by(self, answer: Answer | None) -> bool:
        """Whether `answer` says so; one that is none (None) does not."""
        if answer is None or answer.accepted is None or answer.accepted.routes != self.routes:
            return False
        return self.slot in (None, answer.slot)


def expectations(routes: Routes, override_header: str, plain: int = PLAIN) -> list[Expectation]:
    """What proves `routes`: plain requests, and one for each side of the override.

    >>> routes = Routes({"blue": ("127.0.0.1:1",), "green": ("127.0.0.1:2",)}, green=0, stable="blue")
    >>> [each.slot for each in expectations(routes, "X-Canary", plain=1)]
    ['blue', 'blue', 'green']
    """
    routes = routes.whole()
    canary, off = other(routes.stable), next((slot for slot in SLOTS if routes.weight(slot) == 0), None)
    return [
        *[Expectation({}, other(off) if off else None, routes)] * plain,
        Expectation({override_header: "never"}, routes.stable, routes),
        Expectation({override_header: "always"}, canary if routes.upstreams[canary] else routes.stable, routes),
    ]


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks the data plane at `address` (HOST:PORT) as those who know `token`; `read` takes a line for what it says."""

    address: str
    token: str
    read: Callable[[str], Accepted | None] = parse

    async def ask(self, *requests: Mapping[str, str]) -> list[Answer | None]:
        """The answers to requests with these headers, in order.

        None is one of somebody who does not know us: the last, for they are not bothered further.
        `UnreachableError` when nobody answers.
        """
        return await asyncio.to_thread(self._ask, requests)

    def ask_once(self, headers: Mapping[str, str]) -> Answer | None:
        """The answer to one request, on a connection of its own: of several workers any may take it."""
        host, _, port = self.address.rpartition(":")
        try:
            with contextlib.closing(HTTPConnection(host.strip("[]"), int(port), timeout=TIMEOUT)) as connection:
                connection.request("GET", "/", headers={PROBE_HEADER: self.token, **headers})
                answer = connection.getresponse()
                line, _, more = answer.read().decode(errors="replace").partition("\n")
        except (OSError, HTTPException) as error:
            raise UnreachableError(
                "router.no-answer",
                f"nobody answers on {self.address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self.address}",
                next="the next step of a rollout starts a router of our own again; start one of yours yourself",
            ) from error
        told = {name.lower(): value for name, value in answer.getheaders()}
        slot = told.get(SLOT_HEADER.lower())
        return Answer(slot, self.read(line), more, told) if slot else None

    def _ask(self, requests: tuple[Mapping[str, str], ...]) -> list[Answer | None]:
        answers: list[Answer | None] = []
        for headers in requests:
            answers.append(self.ask_once(headers))
            if answers[-1] is None:
                break
        return answers
