"""Groups: fixed ones are released together, linked ones share a version when they are released."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from crossfade.versioning.drafts import Draft, Drafts, unusable
from crossfade.versioning.ranges import Version, npm_version
from crossfade.versioning.values import Bump, Package, Rules


def match_fixed(drafts: Drafts, packages: Mapping[str, Package], rules: Rules) -> bool:
    """Give every member of a fixed group the group's highest version and bump; whether anything changed."""
    changed = False
    for group, releasing, bump, version in _released(rules.fixed, drafts, packages):
        for name in group:
            if rules.skips(packages[name]):
                continue
            if name not in drafts:
                drafts[name] = Draft(name, bump, version, why=f"fixed with {releasing[0].name}")
                changed = True
            else:
                changed |= _raise(drafts[name], bump, version)
    return changed


def match_linked(drafts: Drafts, packages: Mapping[str, Package], rules: Rules) -> bool:
    """Give those of a linked group that are released its highest version and bump; whether anything changed."""
    changed = False
    for _, releasing, bump, version in _released(rules.linked, drafts, packages):
        for draft in releasing:
            changed |= _raise(draft, bump, version)
    return changed


def highest_version(group: Sequence[str], packages: Mapping[str, Package]) -> str:
    """The highest version in a group, whether released or not; of equal ones the first."""
    best: tuple[Version, str] | None = None
    for name in group:
        text = packages[name].version
        if not text and best is None:
            continue  # as changesets has it: only what comes after a version must have one
        version = npm_version(text)
        if version is None:
            raise unusable(name, text)
        if best is None or version.key > best[0].key:
            best = (version, text)
    return best[1] if best else ""


def _released(
    groups: Iterable[Sequence[str]], drafts: Drafts, packages: Mapping[str, Package]
) -> Iterator[tuple[Sequence[str], list[Draft], Bump, str]]:
    """Groups of which any member is released: with those members, the highest of their bumps, the group's highest version."""
    for group in groups:
        found = [drafts[name] for name in group if name in drafts]
        if releasing := [draft for draft in found if draft.bump is not Bump.NONE]:
            yield group, releasing, max(draft.bump for draft in releasing), highest_version(group, packages)


def _raise(draft: Draft, bump: Bump, version: str) -> bool:
    if draft.bump is bump and draft.old == version:
        return False
    draft.bump, draft.old = bump, version
    return True
