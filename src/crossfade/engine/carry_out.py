"""Carrying out one action: the only place from which anything in the world is changed.

Every action may come twice, or late: adapters are idempotent, and the router's fence refuses what is
older than what it has accepted.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable
from typing import Any

import httpx

from crossfade.config.model import Component, Deployment, VersionProof
from crossfade.config.strategies import Smoke
from crossfade.core.errors import BadInputError, CrossfadeError, StaleFenceError, UnreachableError
from crossfade.engine.site import Site
from crossfade.rollouts.rollout import Action, Outcome
from crossfade.runtimes.port import Release

_CONFIRM_TRIES = 20
_CONFIRM_PAUSE = 0.1
_PROBE_TIMEOUT = 5.0

WorkloadOf = Callable[[str], Component | None]
"""The workload that a version was last rolled out with."""


async def carry_out(action: Action, site: Site, deployment: Deployment, workload_of: WorkloadOf) -> Outcome:
    """Do what `action` says; every fault becomes an outcome, with whether trying again may help."""
    try:
        match action.kind:
            case "start":
                release = Release(action.version, _workload(action.version, deployment, workload_of))
                await site.runtime.start(action.slot, release, action.count)
            case "stop":
                await site.runtime.stop(action.slot)
            case "route":
                await _route(action, site, deployment, workload_of)
            case "smoke":
                await _smoke(action, site, deployment)
    except StaleFenceError as error:
        return Outcome(ok=False, error=str(error), retry=True)  # the next try carries a newer fence
    except CrossfadeError as error:
        return Outcome(ok=False, error=str(error), retry=error.retry)
    except OSError as error:
        return Outcome(ok=False, error=f"{type(error).__name__}: {error}", retry=True)
    return Outcome(ok=True)


def _workload(version: str, deployment: Deployment, workload_of: WorkloadOf) -> Component:
    known = workload_of(version)
    if known is None:
        raise BadInputError(
            "rollout.unknown-version",
            f"{deployment.component} {version} was never rolled out in {deployment.environment}",
            next="deploy it: crossfade deploy",
        )
    return known


# -- traffic ----------------------------------------------------------------------------------------------


async def _route(action: Action, site: Site, deployment: Deployment, workload_of: WorkloadOf) -> None:
    """Apply, then ask the data plane: an acknowledgement is never believed."""
    if action.routes is None:
        raise CrossfadeError("engine.no-routes", f"the action {action.id} has no routes")
    await site.router.apply(action.routes, fence=action.fence)
    for _ in range(_CONFIRM_TRIES):
        if await site.router.confirm(action.routes):
            break
        await asyncio.sleep(_CONFIRM_PAUSE)
    else:
        raise UnreachableError(
            "router.unconfirmed",
            "the router accepted the routes but does not act on them",
            where=site.address,
            next="look at the router's log; the routes are applied again",
        )
    known = workload_of(action.proves) if action.proves else None
    proof = known.version_proof if known is not None else None
    if proof is not None:
        await _prove(action.proves, proof, site, header=deployment.settings.router.override_header, action=action)


async def _prove(version: str, proof: VersionProof, site: Site, *, header: str, action: Action) -> None:
    """Ask through the router which version answers."""
    where = f"http://{site.address}{proof.path}"
    try:
        async with httpx.AsyncClient(timeout=_PROBE_TIMEOUT, trust_env=False, verify=_no_authorities()) as client:
            answer = await client.get(where, headers={header: _side(action)})
    except httpx.HTTPError as error:
        what = f"through the router nobody proves the version: {type(error).__name__}"
        raise UnreachableError("rollout.no-proof", what, where=where) from error
    found = answer.headers.get(proof.header) if proof.header else _field(answer, proof.field or "")
    if found is None and answer.is_server_error:  # an instance that is just ending proves nothing, either way
        what = f"through the router the version's proof was answered {answer.status_code}"
        raise UnreachableError("rollout.no-proof", what, where=where)
    if found != version:
        raise BadInputError(
            "rollout.wrong-version",
            f"through the router answers version {found or 'nothing'}, not {version}",
            where=where,
            next="check what was built, and version_proof in crossfade.yaml",
        )


@functools.cache
def _no_authorities() -> ssl.SSLContext:
    """Probes speak plain HTTP. Reading all authorities of the machine for each of them would hold every other rollout up."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _side(action: Action) -> str:
    """What the override header says for a request to reach the action's slot."""
    routes = action.routes
    is_canary = routes is not None and routes.stable != action.slot and routes.weight(action.slot) > 0
    return "always" if is_canary else "never"


def _field(answer: httpx.Response, path: str) -> str | None:
    try:
        value: Any = answer.json()
    except ValueError:
        return None
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return None if value is None else str(value)


# -- smoke tests ------------------------------------------------------------------------------------------


async def _smoke(action: Action, site: Site, deployment: Deployment) -> None:
    """Every smoke test against every instance of the slot, directly; at 100 % through the router, as visitors ask."""
    if action.routes is not None:
        header = {deployment.settings.router.override_header: _side(action)}
        async with httpx.AsyncClient(trust_env=False, verify=_no_authorities(), headers=header) as client:
            for smoke in deployment.settings.strategy.smoke:
                await _ask(client, site.address, smoke)
        return
    addresses = [i.address for i in await site.runtime.observe() if i.slot == action.slot and i.address]
    if not addresses:
        raise BadInputError("rollout.smoke", f"no instance of {action.version} is there to be asked")
    async with httpx.AsyncClient(trust_env=False, verify=_no_authorities()) as client:
        for address in addresses:
            for smoke in deployment.settings.strategy.smoke:
                await _ask(client, address, smoke)


async def _ask(client: httpx.AsyncClient, address: str, smoke: Smoke) -> None:
    where = f"http://{address}{smoke.path}"
    try:
        answer = await client.get(where, timeout=smoke.timeout)
    except httpx.HTTPError as error:
        raise BadInputError(
            "rollout.smoke", f"the smoke test got no answer: {type(error).__name__}", where=where
        ) from error
    if answer.status_code != smoke.status:
        what = f"the smoke test was answered {answer.status_code}, wanted {smoke.status}"
        raise BadInputError("rollout.smoke", what, where=where, next=f"it answered: {answer.text[:200]!r}")
    if smoke.contains is not None and smoke.contains not in answer.text:
        what = f"the smoke test's answer does not contain {smoke.contains!r}"
        raise BadInputError("rollout.smoke", what, where=where, next=f"it answered: {answer.text[:200]!r}")
