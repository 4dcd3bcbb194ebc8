"""nginx's door for our commands: on loopback, by token, answered by the program in nginx itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.traffic.port import SLOTS, Slot
from crossfade.traffic.routers.nginx_config import TOKEN_HEADER

KNOCKS = 12
"""Questions for each worker before one that never answered is taken for busy with its last requests."""


@dataclass(frozen=True, slots=True)
class State:
    """What nginx has in its memory.

    `set_up` names what it was told, `line` is what is in force (empty: nothing), `flying` maps a worker's
    pid and a slot to the requests that it has under way; `worker` is the pid of the one that answered.
    """

    set_up: str
    worker: int
    line: str
    flying: Mapping[tuple[int, Slot], int]


class NginxControl:
    """The door on port `port` of 127.0.0.1; 0 where there is none yet."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token

    async def state(self) -> State:
        """What is in force now. `UnreachableError` when nobody answers, or somebody who is not ours."""
        return await self._ask("GET")

    async def put(self, line: str) -> State:
        """Put `line` in force, unless one of a higher fence is; what is in force afterwards."""
        return await self._ask("PUT", line)

    async def forget(self) -> State:
        """Leave nothing in force."""
        return await self._ask("DELETE")

    async def rouse(self, workers: Collection[int]) -> None:
        """Speak with each of these workers once.

        A worker's socket to a counter that was away remembers one refusal, and loses one line to it: after this,
        that was the line about our own question.
        """
        silent = set(workers)
        for _ in range(KNOCKS * len(silent)):
            if not silent:
                return
            silent.discard((await self.state()).worker)

    async def _ask(self, method: str, body: str = "") -> State:
        where = f"127.0.0.1:{self._port}"
        if not self._port:
            raise _unreachable("it was never started", where)
        headers = {TOKEN_HEADER: self._token}
        transport = httpx.AsyncHTTPTransport(verify=False)  # plain HTTP
        try:
            async with httpx.AsyncClient(transport=transport, timeout=10, trust_env=False, headers=headers) as client:
                answer = await client.request(method, f"http://{where}/", content=body.encode())
        except httpx.HTTPError as error:
            raise _unreachable(str(error) or type(error).__name__, where) from error
        if answer.status_code == httpx.codes.CONFLICT:
            return await self._ask("GET")
        try:
            told = answer.raise_for_status().json()
            return _state(told)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise _unreachable(f"who answers is not ours ({answer.status_code})", where) from error


def _state(told: Mapping[str, Any]) -> State:
    flying = dict(map(_flying, told["flying"]))
    return State(str(told["set_up"]), int(told["worker"]), str(told.get("line") or ""), flying)


def _flying(entry: tuple[str, int]) -> tuple[tuple[int, Slot], int]:
    key, count = entry
    slot = next(slot for slot in SLOTS if key.endswith(slot))
    return (int(key.removesuffix(slot)), slot), int(count)


def _unreachable(why: str, where: str) -> CrossfadeError:
    return UnreachableError(
        "nginx.unreachable",
        f"nginx does not take commands: {why}",
        where=where,
        next="the next step of a rollout starts it again",
    )
