"""What every file will hold once the plan is carried out; nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crossfade.core.errors import BadInputError
from crossfade.versioning.changesets_changelog import ChangelogSources, entry, inserted
from crossfade.versioning.changesets_config import CONFIG_FILE
from crossfade.versioning.package_json import ECOSYSTEMS
from crossfade.versioning.prereleases import PRE_FILE, pre_text
from crossfade.versioning.updates import rewritten
from crossfade.versioning.values import (
    Bump,
    Ecosystem,
    FileEdit,
    Package,
    ReleasePlan,
    Rules,
)


def touched(plan: ReleasePlan, packages: Iterable[Package], rules: Rules) -> list[str]:
    """Files that `edits` has to know besides manifests and changesets: changelogs, and `pre.json` in pre mode."""
    named = {package.name: package for package in packages}
    paths = [changelog_path(named[each.name]) for each in plan.releases if rules.changelog and each.bump]
    return [*paths, PRE_FILE] if plan.pre is not None else paths


def changelog_path(package: Package) -> str:
    """The package's changelog, relative to the top.

    >>> changelog_path(Package("core", "1.0.0", "packages/core"))
    'packages/core/CHANGELOG.md'
    """
    return "CHANGELOG.md" if package.folder == "." else f"{package.folder}/CHANGELOG.md"


def edits(
    plan: ReleasePlan,
    packages: Iterable[Package],
    texts: Mapping[str, str],
    rules: Rules,
    *,
    top: Package | None = None,
    shas: Mapping[str, str] | None = None,
    ecosystems: Mapping[str, Ecosystem] = ECOSYSTEMS,
) -> tuple[FileEdit, ...]:
    """What follows from a plan: manifests, changelogs, consumed changesets and pre mode, in the order of writing.

    `texts` holds every manifest, every changeset, and those of `touched` that are there, by path; `top` is the manifest
    at the top whose ranges follow; `shas` tells the commit of each changeset, by id. A file that stays the same is not
    among the edits.
    """
    _refuse_foreign_programs(rules)
    named = {package.name: package for package in packages}
    releases = {release.name: release for release in plan.releases}
    folders = {name: package.folder for name, package in named.items()}
    sources = ChangelogSources(plan, folders, shas or {}, rules)
    found: list[FileEdit] = []
    for release in plan.releases:
        package, ecosystem = named[release.name], ecosystems[named[release.name].ecosystem]
        ranges = rewritten(package, releases, folders, rules, ecosystem=ecosystem, snapshot=plan.snapshot)
        old = texts[package.manifest]
        found.append(
            FileEdit(package.manifest, old, ecosystem.edited(old, package.manifest, release.new or None, ranges))
        )
        said = entry(release, package, sources, ecosystem) if rules.changelog else None
        if said is not None:
            path = changelog_path(package)
            found.append(FileEdit(path, texts.get(path), inserted(texts.get(path), package.name, said)))
    if top is not None and all(package.manifest != top.manifest for package in named.values()):
        ecosystem = ecosystems[top.ecosystem]
        ranges = rewritten(top, releases, folders, rules, ecosystem=ecosystem, snapshot=plan.snapshot)
        if ranges:
            old = texts[top.manifest]
            found.append(FileEdit(top.manifest, old, ecosystem.edited(old, top.manifest, None, ranges)))
    found += _consumed(plan, named, texts, rules)
    return tuple(each for each in found if each.old != each.new)


def _consumed(
    plan: ReleasePlan, packages: Mapping[str, Package], texts: Mapping[str, str], rules: Rules
) -> Iterable[FileEdit]:
    """Changesets go; in pre mode they wait below `pre`, or in the list of `pre.json`, until it is left."""
    second = rules.compatibility == "changesets-2"
    waiting = plan.pre is not None and plan.pre.mode == "pre"
    if plan.pre is not None and not plan.snapshot:
        if plan.pre.mode == "exit":
            yield FileEdit(PRE_FILE, texts.get(PRE_FILE, ""), None)
        elif second:
            yield FileEdit(PRE_FILE, texts.get(PRE_FILE), pre_text(plan.pre))
    if waiting and second:
        return
    for changeset in plan.changesets:
        if any(rules.skips(packages[name]) for name, _ in changeset.releases):
            continue
        text = texts[changeset.path]
        if waiting:
            kept = f".changeset/pre/{changeset.id}.md"
            yield FileEdit(kept, texts.get(kept), text)
        yield FileEdit(changeset.path, text, None)


def _refuse_foreign_programs(rules: Rules) -> None:
    for key, setting in (("changelog", rules.changelog), ("commit", rules.commit)):
        if isinstance(setting, str):
            hint = " (it asks GitHub, with a token)" if "github" in setting else ""
            raise BadInputError(
                "versions.foreign-program",
                f"{key} names {setting}, a program for Node.js{hint}, which is not run here",
                where=CONFIG_FILE,
                next=f'set "{key}" to "@changesets/cli/{key}" or to false',
            )


def released(plan: ReleasePlan) -> list[str]:
    """`name@version` of everything that gets a version, in the order of the plan."""
    return [f"{each.name}@{each.new}" for each in plan.releases if each.bump is not Bump.NONE]


def commit_message(plan: ReleasePlan, rules: Rules) -> str:
    """The message of the commit that holds the new versions, as changesets writes it."""
    names = released(plan)
    listed = "\n".join(f"  {name}" for name in names)
    tail = "\n[skip ci]\n" if rules.commit_skips_ci else ""
    return f"RELEASING: Releasing {len(names)} package(s)\n\nReleases:\n{listed}\n{tail}"
