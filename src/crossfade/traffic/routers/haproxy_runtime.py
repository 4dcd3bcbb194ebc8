"""HAProxy's runtime API: what a target's workers have in memory, and how that becomes what is wanted.

The socket of a master knows all of its workers, also one that was replaced by a reload and still ends
its last requests; the socket of a worker knows itself alone. What is asked and changed, is asked of
each and changed in each.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import ipaddress
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.traffic.port import SLOTS, Slot
from crossfade.traffic.routers.haproxy_config import KEY, PLACES, SetUp, Tables, accepted_in
from crossfade.traffic.routers.route_file import Accepted

LONGEST_SOCKET = 100
TIMEOUT = 10.0
AT_ONCE = 16
"""Commands in one line."""
SETTLING = 0.02
"""Seconds after a new line in which a request that was judged by the old one finds its server."""
_OUT = 0b1101011
"""Bits of a server's administrative state that keep requests away."""
_NOTHING_NEW = ("IP changed", "no need to change", "port changed", "Proxy is disabled")
"""What is no refusal. A proxy is disabled in a worker that a reload replaced: it takes a new line, which is what keeps
a version out, but no new servers; a connection that one of its servers refuses goes to another."""


@dataclass(frozen=True, slots=True)
class Place:
    """One server of a slot: where it leads, and whether requests go there."""

    address: str
    up: bool


@dataclass(frozen=True, slots=True)
class Memory:
    """What one worker has for a target. `marker` is None when it has not loaded our part."""

    marker: str | None
    line: Accepted | None
    places: Mapping[Slot, tuple[Place, ...]]
    flying: Mapping[Slot, int]

    @property
    def tables(self) -> Tables:
        """The addresses that requests go to."""
        return {slot: tuple(place.address for place in self.places[slot] if place.up) for slot in SLOTS}


def changes(setup: SetUp, memory: Memory, wanted: Tables) -> tuple[list[str], list[str]]:
    """Commands that bring the missing instances, and those that take the others away.

    >>> setup = SetUp("shop", ":80", "", "t", 9, "X-Canary")
    >>> places = (Place("10.0.0.1:80", True), Place("127.0.0.1:1", False))
    >>> memory = Memory("m", None, {"blue": places, "green": ()}, {})
    >>> come, go = changes(setup, memory, {"blue": ("10.0.0.2:80",), "green": ()})
    >>> come[0], go
    ('set server crossfade_shop_blue/i1 addr 10.0.0.2 port 80', ['set server crossfade_shop_blue/i0 state maint'])
    """
    come, go = [], []
    for slot in SLOTS:
        name = setup.backend(slot)
        missing = Counter(wanted.get(slot, ()))
        free = [number for number, place in enumerate(memory.places[slot]) if not place.up]
        for number, place in enumerate(memory.places[slot]):
            if place.up and missing[place.address]:
                missing[place.address] -= 1
            elif place.up:
                go.append(f"set server {name}/i{number} state maint")
        for address, number in zip(missing.elements(), free, strict=False):
            host, _, port = address.rpartition(":")
            come.append(f"set server {name}/i{number} addr {host.strip('[]')} port {port}")
            come.append(f"set server {name}/i{number} state ready")
    return come, go


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that carries traffic; `prefix` is how its master calls it."""

    api: RuntimeApi
    prefix: str = ""

    async def memory(self, setup: SetUp) -> Memory:
        """What it has for the target."""
        backends = _rows(await self._ask("show stat -1 2 -1"))
        loads = {row["pxname"]: int(row["scur"] or 0) for row in backends}
        if not all(setup.backend(slot) in loads for slot in SLOTS):
            return Memory(None, None, dict.fromkeys(SLOTS, ()), dict.fromkeys(SLOTS, 0))
        marks = f"crossfade_{setup.name}_setup_"
        return Memory(
            marker=next((name for name in loads if name.startswith(marks)), None),
            line=_line(await self._ask(f"show map {setup.map}")),
            places={slot: _places(await self._ask(f"show servers state {setup.backend(slot)}")) for slot in SLOTS},
            flying={slot: loads[setup.backend(slot)] for slot in SLOTS},
        )

    async def put(self, setup: SetUp, line: str, tables: Tables) -> None:
        """New instances first, then the line, and only then nothing more to those that leave."""
        memory = await self.memory(setup)
        if memory.marker is None:
            return
        come, go = changes(setup, memory, tables)
        await self._do(come)
        if memory.line is None or memory.line != accepted_in(line):
            # The map may have been emptied, and then there is nothing to set.
            verb = "set" if (await self._ask(f"show map {setup.map}")).strip() else "add"
            await self._do([f"{verb} map {setup.map} {KEY} {line}"])
        if go:
            await asyncio.sleep(SETTLING)
            await self._do(go)

    async def _do(self, commands: Sequence[str]) -> None:
        for start in range(0, len(commands), AT_ONCE):
            some = commands[start : start + AT_ONCE]
            answer = await self.api.ask("; ".join(self.prefix + command for command in some))
            said = [line for line in answer.splitlines() if line.strip() and not line.startswith(_NOTHING_NEW)]
            if said:
                raise CrossfadeError(
                    "haproxy.refused",
                    f"HAProxy refuses a command: {said[0]}",
                    where=self.api.address,
                    next="what was in force stays; the socket needs `level admin`, and the part must be the one loaded",
                    retry=True,
                )

    async def _ask(self, command: str) -> str:
        return await self.api.ask(self.prefix + command)


@dataclass(frozen=True, slots=True)
class RuntimeApi:
    """The socket at `address`: a path, or HOST:PORT."""

    address: str

    async def workers(self) -> tuple[Worker, ...]:
        """All that carry traffic; the one that takes new connections comes first."""
        table = await self.ask("show proc")
        if not table.startswith("#<PID>"):
            return (Worker(self),)
        rows = [line.split() for line in table.splitlines() if not line.startswith("#")]
        pids = [(int(row[2]), row[0]) for row in rows if len(row) > 2 and row[1] == "worker"]  # noqa: PLR2004 - pid, type, reloads
        if not pids:
            raise UnreachableError(
                "haproxy.unreachable",
                "HAProxy has no worker",
                where=self.address,
                next="the next step of a rollout starts a managed HAProxy again; start an existing one yourself",
            )
        return tuple(Worker(self, f"@!{pid} ") for _, pid in sorted(pids))

    async def answers(self) -> bool:
        """Whether anybody is there."""
        try:
            await self.workers()
        except UnreachableError:
            return False
        return True

    async def busy(self) -> int:
        """Requests under way in all workers, of all targets."""
        tables = [_rows(await self.ask(f"{worker.prefix}show stat -1 2 -1")) for worker in await self.workers()]
        return sum(int(row["scur"] or 0) for rows in tables for row in rows)

    async def ask(self, command: str) -> str:
        """The answer to one line of commands."""
        try:
            async with asyncio.timeout(TIMEOUT):
                reader, writer = await self._connect()
                try:
                    writer.write(command.encode() + b"\n")
                    writer.write_eof()  # a master waits for more otherwise
                    return (await reader.read()).decode(errors="replace")
                finally:
                    writer.close()
        except OSError as error:
            raise UnreachableError(
                "haproxy.unreachable",
                f"HAProxy's runtime API does not answer: {error.strerror or 'it took too long'}",
                where=self.address,
                next="the next step of a rollout starts a managed HAProxy again; start an existing one yourself",
            ) from error

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        limit = 16 * 1024 * 1024
        if "/" not in self.address and ":" in self.address:
            host, _, port = self.address.rpartition(":")
            return await asyncio.open_connection(host.strip("[]"), int(port), limit=limit)
        if len(self.address) <= LONGEST_SOCKET:
            return await asyncio.open_unix_connection(self.address, limit=limit)
        path = Path(self.address)  # longer than a socket's address may be: by way of its folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}", limit=limit)
        finally:
            os.close(folder)


def _rows(text: str) -> list[dict[str, str]]:
    lines = text.removeprefix("# ").splitlines()
    return [row for row in csv.DictReader(lines) if row.get("svname") == "BACKEND"]


def _line(text: str) -> Accepted | None:
    for row in text.splitlines():
        with contextlib.suppress(ValueError):
            _, key, value = row.split(" ", 2)
            if key == KEY:
                return accepted_in(value)
    return None


def _places(text: str) -> tuple[Place, ...]:
    """The servers of one backend, by their number."""
    lines = [line for line in text.splitlines() if line and line != "1"]
    columns = lines[0].removeprefix("# ").split()
    rows = [dict(zip(columns, line.split(), strict=False)) for line in lines[1:]]
    found = {row["srv_name"]: row for row in rows}
    return tuple(_place(found[f"i{number}"]) for number in range(PLACES) if f"i{number}" in found)


def _place(row: Mapping[str, str]) -> Place:
    host = row["srv_addr"]
    with contextlib.suppress(ValueError):
        host = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host  # noqa: PLR2004 - IPv6
    return Place(f"{host}:{row['srv_port']}", up=not int(row["srv_admin_state"]) & _OUT)
