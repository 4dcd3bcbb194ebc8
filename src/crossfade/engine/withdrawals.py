"""Taking a version back everywhere: what people follow first (pointers, image tags), then what they install.

A version's bytes stay where they are, for those who hold on to them; names lead to the version before, and whoever looks
at the version is told why. What cannot be taken back is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crossfade.artifacts.journal import Fault
from crossfade.artifacts.port import Coordinate, Kind, Registry, Withdrawal
from crossfade.artifacts.targets import Target, targets
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.core.reference import Reference
from crossfade.core.semver import SemVer
from crossfade.engine.publications import Checkout
from crossfade.rollouts.rollout import Event
from crossfade.store.store import Store
from crossfade.versioning.tags import read_tags

_FIRST: Sequence[Kind] = ("cdn", "oci", "pypi", "npm")
"""What takes effect at once comes first; what people have to install again, last."""


@dataclass(frozen=True, slots=True)
class Step:
    """One version to be taken back in one registry; `back_to` is what its names lead to afterwards."""

    target: Target
    back_to: Coordinate | None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """How it went: what was done and left, or why it failed."""

    step: Step
    withdrawal: Withdrawal | None
    fault: Fault | None = None


async def plan(
    checkout: Checkout, registries: Mapping[str, Registry], releases: Sequence[Reference], back_to: SemVer | None
) -> tuple[Step, ...]:
    """Where each of `releases` is published, and what is led back to: `back_to`, else the newest earlier release there.

    Nothing is changed. BadInputError where a release is published nowhere.
    """
    steps: list[Step] = []
    for release in releases:
        found = [
            Step(target, await _before(checkout, registries[target.registry], target, release, back_to))
            for target in _targets(checkout, release.component, release.version)
            if target.at in await registries[target.registry].find([target.at])
        ]
        if not found:
            raise BadInputError(
                "withdraw.nothing",
                f"{release} is published nowhere",
                where=", ".join(each.to for each in checkout.project.components[release.component].publish),
                next="see `crossfade publish --list` for what is",
            )
        steps += found
    late = {each.component: index for index, each in enumerate(reversed(checkout.versioned))}
    return tuple(sorted(steps, key=lambda s: (_FIRST.index(s.target.kind), late[s.target.component])))


def planned(steps: Sequence[Step]) -> tuple[Withdrawn, ...]:
    """The withdrawal before it is begun: nothing done, nothing left, nothing failed."""
    return tuple(Withdrawn(step, None) for step in steps)


async def withdraw(
    registries: Mapping[str, Registry], steps: Sequence[Step], store: Store, *, reason: str, actor: str
) -> tuple[Withdrawn, ...]:
    """Carry `steps` out, one after another; one that fails keeps no other from being tried. Safe to be repeated."""
    return tuple([await _one(registries, step, store, reason, actor) for step in steps])


async def _one(registries: Mapping[str, Registry], step: Step, store: Store, reason: str, actor: str) -> Withdrawn:
    target = step.target
    facts = {"item": target.key, "at": str(target.at), "back_to": str(step.back_to or ""), "reason": reason}
    try:
        done = await registries[target.registry].withdraw(target.at, reason=reason, back_to=step.back_to)
    except CrossfadeError as error:
        text = f"{target.at} ({target.key}) could not be withdrawn: {error.what}"
        event = Event("withdrawal.failed", text, actor, {**facts, "code": error.code})
        store.publications.remember(target.component, [event])
        return Withdrawn(step, None, Fault.of(error))
    event = Event(
        "withdrawal.done",
        f"{target.at} ({target.key}) is withdrawn: {reason}",
        actor,
        {**facts, "done": list(done.done), "left": list(done.left)},
    )
    store.publications.remember(target.component, [event])
    return Withdrawn(step, done)


async def _before(
    checkout: Checkout, registry: Registry, target: Target, release: Reference, back_to: SemVer | None
) -> Coordinate | None:
    """What the names of a version lead back to in one registry, or None where there is nothing."""
    candidates = [back_to] if back_to is not None else _earlier(checkout, release)
    at = {
        each.at: each
        for version in candidates
        for each in _targets(checkout, release.component, version)
        if each.registry == target.registry
    }
    there = await registry.find(list(at))
    usable = [coordinate for coordinate in at if coordinate in there and there[coordinate].withdrawn is None]
    if back_to is not None and not usable:
        raise BadInputError(
            "withdraw.back-to",
            f"{release.component} {back_to} cannot be led back to: it is not published there, or it is withdrawn itself",
            where=target.registry,
            next="name another version with --to, or leave it away: the newest earlier release is taken then",
        )
    return usable[0] if usable else None


def _earlier(checkout: Checkout, release: Reference) -> list[SemVer]:
    """The releases before, newest first, as git's tags have them."""
    released = checkout.released(release.component, read_tags(checkout.root))
    return [version for version in released if version < release.version and not version.prerelease]


def _targets(checkout: Checkout, component: str, version: SemVer) -> tuple[Target, ...]:
    """Where one version of a component is, or was to be."""
    here = tuple(
        replace(each, version=version, spelled=checkout.spell(component, version))
        for each in checkout.versioned
        if each.component == component
    )
    return targets(checkout.project, here, {}, checkout.origin)
