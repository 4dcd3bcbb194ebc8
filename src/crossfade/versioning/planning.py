"""The release plan: from changesets to new versions, a pure function that is repeated until nothing changes any more."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from crossfade.core.errors import BadInputError
from crossfade.versioning.dependents import Dependents, Edge, accepted, dependents
from crossfade.versioning.drafts import Counting, Draft, Drafts
from crossfade.versioning.groups import match_fixed, match_linked
from crossfade.versioning.package_json import ECOSYSTEMS
from crossfade.versioning.prereleases import next_numbers, with_initial_versions
from crossfade.versioning.snapshots import snapshot_suffix
from crossfade.versioning.values import (
    Bump,
    Changeset,
    Ecosystem,
    Package,
    PlannedRelease,
    PreState,
    ReleasePlan,
    Rules,
    Snapshot,
)

_SECOND = "changesets-2"


def plan(
    packages: Sequence[Package],
    changesets: Sequence[Changeset],
    pre: PreState | None = None,
    rules: Rules | None = None,
    *,
    snapshot: Snapshot | None = None,
    ecosystems: Mapping[str, Ecosystem] = ECOSYSTEMS,
) -> ReleasePlan:
    """What is released, as what, and why; releases in the order in which they came into the plan.

    `packages` are those of every ecosystem in `ecosystems`; one that stands at the top beside others is not among them.

    Raises BadInputError for a changeset that names no package or mixes ignored with other packages, and for a version
    that is none.

    >>> from crossfade.versioning.values import Change, Dependency
    >>> core, app = Package("core", "1.0.0"), Package("app", "2.0.0", dependencies=(Dependency("core", "~1.0.0"),))
    >>> [(each.name, each.new) for each in plan([core, app], [Changeset("new", (Change("core", Bump.MINOR),))]).releases]
    [('core', '1.1.0'), ('app', '2.0.1')]
    """
    rules = rules or Rules()
    current = {package.name: package for package in packages}
    relevant = _relevant(changesets, current, pre, rules)
    graph = dependents(packages, rules, ecosystems)
    counting, numbers = Counting(rules.breaking_below_one), {}
    if pre is not None:
        numbers = next_numbers(current, rules)
        if pre.mode == "pre":
            counting = Counting(rules.breaking_below_one, pre.tag, numbers)
    if pre is not None and rules.compatibility == _SECOND:
        pre = with_initial_versions(pre, packages, [changeset.id for changeset in changesets])
        current = _as_before(current, pre)
    drafts = _flatten(relevant, current, rules)
    if pre is not None and pre.mode == "pre" and rules.compatibility == _SECOND:
        _raise_to_highest(drafts, _flatten(changesets, current, rules))
    search = _Search(drafts, current, graph, counting, rules=rules, ecosystems=ecosystems)
    while True:
        added = search.once()
        fixed = match_fixed(drafts, current, rules)
        if not (match_linked(drafts, current, rules) or added or fixed):
            break
    if pre is not None and pre.mode == "exit":
        _finish_prereleases(drafts, current, numbers, rules)
    suffix = snapshot_suffix(rules.prerelease_template, snapshot) if snapshot is not None else None
    releases = tuple(_planned(draft, counting, suffix, rules) for draft in drafts.values())
    return ReleasePlan(tuple(relevant), releases, pre, snapshot is not None)


def _relevant(
    changesets: Sequence[Changeset], packages: Mapping[str, Package], pre: PreState | None, rules: Rules
) -> list[Changeset]:
    """Those that count now: in pre mode the used ones wait until it is left."""
    skips = {name: rules.skips(package) for name, package in packages.items()}
    for changeset in changesets:
        for name, _ in changeset.releases:
            if name not in skips:
                raise _unknown(changeset, name, packages)
        skipped = [name for name, _ in changeset.releases if skips[name]]
        if skipped and len(skipped) < len(changeset.releases):
            raise BadInputError(
                "versions.mixed-changeset",
                f"it names {', '.join(skipped)}, which take no part (ignored, private or without a version), and others",
                where=changeset.path,
                next="write one changeset for each of the two kinds",
            )
    if pre is None or pre.mode == "exit":
        return list(changesets)
    used = frozenset(pre.changesets or ())
    return [each for each in changesets if not each.id.startswith("pre/") and each.id not in used]


def _unknown(changeset: Changeset, name: str, packages: Mapping[str, Package]) -> BadInputError:
    near = difflib.get_close_matches(name, packages, 1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return BadInputError(
        "versions.unknown-package",
        f"it names {name!r}, which is not a package of this repository",
        where=changeset.place_of(name),
        next=f"{meant}correct the name, or delete the line if the package is gone",
    )


def _as_before(packages: Mapping[str, Package], pre: PreState) -> dict[str, Package]:
    before = pre.initial_versions or {}
    return {name: replace(package, version=before.get(name, package.version)) for name, package in packages.items()}


def _flatten(changesets: Sequence[Changeset], packages: Mapping[str, Package], rules: Rules) -> Drafts:
    """One draft for each package that a changeset names, with the highest bump."""
    drafts: Drafts = {}
    for changeset in changesets:
        for name, bump in changeset.releases:
            package = packages[name]
            if rules.skips(package):
                continue
            draft = drafts.get(name)
            if draft is None:
                drafts[name] = Draft(name, bump, package.version, [changeset.id], "changeset")
            else:
                draft.bump = max(draft.bump, bump)
                draft.changesets.append(changeset.id)
    return drafts


def _raise_to_highest(drafts: Drafts, all_drafts: Drafts) -> None:
    # Changesets 2 counts from the version before pre mode: what earlier prereleases brought still counts.
    for name, draft in drafts.items():
        draft.bump = all_drafts[name].bump


class _Search:
    """Finds those that must be released because of what they depend on, or of what is built into them."""

    def __init__(
        self,
        drafts: Drafts,
        packages: Mapping[str, Package],
        graph: Dependents,
        counting: Counting,
        *,
        rules: Rules,
        ecosystems: Mapping[str, Ecosystem],
    ) -> None:
        self.drafts, self.packages, self.graph = drafts, packages, graph
        self.counting, self.rules, self.ecosystems = counting, rules, ecosystems
        self.embedders: dict[str, list[str]] = {}
        for name, parts in rules.embeds.items():
            for part in parts:
                self.embedders.setdefault(part, []).append(name)

    def once(self) -> bool:
        """Go through all releases, those that are found on the way too; whether any was found."""
        queue = list(self.drafts.values())
        known = len(queue)
        for draft in queue:  # grows while it is walked
            next_version = self.counting.next(draft.name, draft.old, draft.bump)
            for edge in self.graph[draft.name]:
                bump = self._bump(draft, next_version, edge)
                if bump is not None:
                    queue.append(self._add(edge.dependent, bump, draft))
            if draft.bump is not Bump.NONE:
                waiting = [self.packages[name] for name in self.embedders.get(draft.name, ()) if self._waits(name)]
                queue += [
                    self._add(package, Bump.PATCH, draft, "embeds")
                    for package in waiting
                    if not self.rules.skips(package)
                ]
        return len(queue) > known

    def _waits(self, name: str) -> bool:
        known = self.drafts.get(name)
        return known is None or known.bump is Bump.NONE

    def _bump(self, draft: Draft, next_version: str, edge: Edge) -> Bump | None:
        """What the dependent needs because of this release; None if nothing, or nothing new."""
        known = self.drafts.get(edge.dependent.name)
        if self.rules.skips(edge.dependent):
            return Bump.NONE if known is None else None
        if draft.bump is Bump.NONE:
            return None
        found: Bump | None = None
        waits = known is None or known.bump is Bump.NONE
        second = self.rules.compatibility == _SECOND
        if not waits and not second:
            return None
        for entry in edge.entries:
            if (
                second
                and entry.kind == "peerDependencies"
                and self._breaks_peer(draft, next_version, edge, entry.range)
            ):
                if known is None or known.bump is not Bump.MAJOR:
                    found = Bump.MAJOR
            elif waits and self._leaves(draft, next_version, edge, entry.range):
                found = max(found or Bump.NONE, Bump.NONE if entry.kind == "devDependencies" else Bump.PATCH)
        return None if known is not None and known.bump is found else found

    def _leaves(self, draft: Draft, next_version: str, edge: Edge, range: str) -> bool:
        ecosystem = self.ecosystems[edge.dependent.ecosystem]
        meant = accepted(range, draft.old, self.packages[draft.name].folder, ecosystem) if range else None
        if meant is None:
            return False
        return self.rules.update_internal_dependents == "always" or not ecosystem.satisfies(next_version, meant)

    def _breaks_peer(self, draft: Draft, next_version: str, edge: Edge, range: str) -> bool:
        if draft.bump < Bump.MINOR:
            return False
        if not self.rules.only_update_peer_dependents_when_out_of_range:
            return True
        return self._leaves(draft, next_version, edge, range)

    def _add(self, package: Package, bump: Bump, because: Draft, verb: str = "depends on") -> Draft:
        known = self.drafts.get(package.name)
        if known is not None and bump is Bump.MAJOR:
            known.bump = Bump.MAJOR
            return known
        draft = Draft(package.name, bump, package.version, why=f"{verb} {because.name}")
        self.drafts[package.name] = draft
        return draft


def _finish_prereleases(
    drafts: Drafts, packages: Mapping[str, Package], numbers: Mapping[str, int], rules: Rules
) -> None:
    """What had a prerelease gets a release, even if nothing else asks for it any more."""
    for name, package in packages.items():
        if rules.skips(package) or not numbers.get(name):
            continue
        if name not in drafts:
            drafts[name] = Draft(name, Bump.PATCH, package.version, why="had a prerelease")
        elif drafts[name].bump is Bump.NONE:
            drafts[name].bump = Bump.PATCH


def _planned(draft: Draft, counting: Counting, suffix: str | None, rules: Rules) -> PlannedRelease:
    new = counting.next(draft.name, draft.old, draft.bump)
    if suffix is not None and draft.bump is not Bump.NONE:
        new = f"{new if rules.use_calculated_version else '0.0.0'}-{suffix}"
    bump = counting.effective(draft.old, draft.bump)
    return PlannedRelease(draft.name, draft.old, new, bump, tuple(draft.changesets), draft.why)
