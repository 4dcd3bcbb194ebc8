"""`.changeset/config.json`: the rules as changesets writes them, every fault at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from crossfade.core.errors import BadInputError
from crossfade.versioning.dependents import skipped_dependents
from crossfade.versioning.globs import chosen, glob
from crossfade.versioning.package_json import ECOSYSTEMS, read_json
from crossfade.versioning.values import Compatibility, Ecosystem, Package, Rules

CONFIG_FILE = ".changeset/config.json"
_UNSAFE = "___experimentalUnsafeOptions_WILL_CHANGE_IN_PATCH"
_CHANGELOGS = ("@changesets/cli/changelog", "@changesets/changelog-git")
_COMMITS = ("@changesets/cli/commit",)


class Read(NamedTuple):
    """The rules, and what a person should know about them."""

    rules: Rules
    warnings: tuple[str, ...]


def read_rules(
    text: str,
    packages: Sequence[Package],
    compatibility: Compatibility = "changesets-3",
    *,
    ecosystems: Mapping[str, Ecosystem] = ECOSYSTEMS,
) -> Read:
    """The rules in the text of `config.json`, with patterns for packages resolved.

    Raises BadInputError that lists every fault, and names the line of the first.

    >>> read_rules('{"ignore": ["site-*"]}', [Package("site-a", "1.0.0")]).rules.ignore
    frozenset({'site-a'})
    """
    found = read_json(text, CONFIG_FILE)
    faults = _shape_faults(found, compatibility)
    if faults:
        raise _refused(faults, text)
    names = [package.name for package in packages]
    rules = _rules(found, names, compatibility)
    faults = [*_group_faults(rules), *_private_faults(rules, found)]
    if rules.ignore or not rules.version_private:
        faults += skipped_faults(packages, rules, ecosystems)
    if faults:
        raise _refused(faults, text)
    return Read(rules, tuple(_warnings(found, names)))


def with_ignored(rules: Rules, ignored: Sequence[str], packages: Sequence[Package]) -> Rules:
    """The rules for one run that leaves out these packages; BadInputError if the configuration ignores some already."""
    if not ignored:
        return rules
    if rules.ignore:
        raise BadInputError(
            "versions.ignored-twice",
            "packages to ignore are given here and in the configuration",
            where=CONFIG_FILE,
            next="name them in one of the two places",
        )
    names = {package.name for package in packages}
    unknown = [name for name in ignored if name not in names]
    if unknown:
        raise BadInputError(
            "versions.unknown-package",
            f"{', '.join(unknown)}: no such package in this repository",
            where="--ignore",
            next="correct the name",
        )
    return replace(rules, ignore=frozenset(ignored))


def skipped_faults(packages: Sequence[Package], rules: Rules, ecosystems: Mapping[str, Ecosystem]) -> list[str]:
    """A sentence for each package that takes part but depends on one that does not."""
    return [
        f"{dependent} depends on {skipped}, which takes no part (ignored, private or without a version); ignore both"
        for dependent, skipped in skipped_dependents(packages, rules, ecosystems)
    ]


def _rules(found: Mapping[str, Any], names: Sequence[str], compatibility: Compatibility) -> Rules:
    unsafe, snapshot = found.get(_UNSAFE, {}), found.get("snapshot", {})
    private = found.get("privatePackages", {})
    second = compatibility == "changesets-2"
    if isinstance(private, bool):
        private = {"version": private, "tag": private}
    commit = found.get("commit", False)
    return Rules(
        compatibility,
        fixed=tuple(chosen(names, group) for group in found.get("fixed", ())),
        linked=tuple(chosen(names, group) for group in found.get("linked", ())),
        ignore=frozenset(chosen(names, found.get("ignore", ()))),
        update_internal_dependencies=found.get("updateInternalDependencies", "patch"),
        update_internal_dependents=unsafe.get("updateInternalDependents", "out-of-range"),
        only_update_peer_dependents_when_out_of_range=unsafe.get("onlyUpdatePeerDependentsWhenOutOfRange", False),
        bump_versions_with_workspace_protocol_only=found.get("bumpVersionsWithWorkspaceProtocolOnly", False),
        version_private=private.get("version", second),
        tag_private=private.get("tag", False),
        use_calculated_version=snapshot.get("useCalculatedVersion", False),
        prerelease_template=snapshot.get("prereleaseTemplate"),
        changelog=_generator(found.get("changelog", True), _CHANGELOGS),
        formatter=_formatter(found.get("prettier", True) if second else found.get("format", "auto"), second=second),
        commit=_generator(commit, _COMMITS),
        commit_skips_ci=_skips_ci(commit),
        base_branch=found.get("baseBranch", "main"),
        changed_file_patterns=tuple(found.get("changedFilePatterns", ("**",))),
    )


def _generator(setting: Any, known: Sequence[str]) -> bool | str:
    """Whether the built-in one is used, or the name of another program, which cannot be run here."""
    if isinstance(setting, bool):
        return setting
    name = setting if isinstance(setting, str) else str(setting[0])
    return True if name in known else name


def _skips_ci(commit: Any) -> bool:
    if isinstance(commit, list):
        options = commit[1] or {}
        return options.get("skipCI") in {"version", True}
    return commit is True


def _formatter(setting: Any, *, second: bool) -> Any:
    if second:
        return "auto" if setting else None
    return setting or None


# --- faults -----------------------------------------------------------------------------------------------------------


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _groups(value: Any) -> bool:
    return isinstance(value, list) and all(_texts(each) for each in value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _program(value: Any) -> bool:
    pair = 2
    return isinstance(value, str) or (
        isinstance(value, list)
        and len(value) >= pair
        and isinstance(value[0], str)
        and (value[1] is None or isinstance(value[1], dict))
    )


_Check = Callable[[Any], bool]
_CHECKS: Mapping[str, tuple[_Check, str]] = {
    "baseBranch": (lambda value: isinstance(value, str), "the name of a branch"),
    "access": (lambda value: value in ("public", "restricted"), "public or restricted"),
    "changedFilePatterns": (_texts, "a list of patterns"),
    "format": (
        lambda value: value is False or value in ("auto", "prettier", "oxfmt", "deno", "dprint"),
        "auto, prettier, oxfmt, deno, dprint or false",
    ),
    "ignore": (_texts, "a list of names or patterns"),
    "fixed": (_groups, "a list of lists of names or patterns"),
    "linked": (_groups, "a list of lists of names or patterns"),
    "updateInternalDependencies": (lambda value: value in ("patch", "minor"), "patch or minor"),
    "bumpVersionsWithWorkspaceProtocolOnly": (_flag, "true or false"),
    "changelog": (
        lambda value: value is False or _program(value),
        "false, the name of a generator, or a list of its name and its options",
    ),
    "commit": (
        lambda value: _flag(value) or _program(value),
        "true, false, the name of a generator, or a list of its name and its options",
    ),
}
_INNER: Mapping[str, Mapping[str, tuple[_Check, str]]] = {
    "privatePackages": {"version": (_flag, "true or false"), "tag": (_flag, "true or false")},
    "snapshot": {
        "useCalculatedVersion": (_flag, "true or false"),
        "prereleaseTemplate": (lambda value: isinstance(value, str) and value != "", "a text such as {tag}-{datetime}"),
    },
    _UNSAFE: {
        "onlyUpdatePeerDependentsWhenOutOfRange": (_flag, "true or false"),
        "updateInternalDependents": (lambda value: value in ("always", "out-of-range"), "always or out-of-range"),
    },
}


def _shape_faults(found: Mapping[str, Any], compatibility: Compatibility) -> list[str]:
    faults = []
    for key, (fits, expected) in _CHECKS.items():
        lenient = key == "changelog" and found.get(key) is True and compatibility == "crossfade"
        if key in found and not fits(found[key]) and not lenient:
            faults.append(f"{key} is {expected}")
    for key, inner in _INNER.items():
        section = found.get(key, {})
        if key == "privatePackages" and isinstance(section, bool):
            continue
        if not isinstance(section, dict):
            # JavaScript takes a list for an object as well; nothing in it is read.
            faults += [] if isinstance(section, list) and key != "privatePackages" else [f"{key} is an object"]
            continue
        faults += [
            f"{key}.{name} is {expected}"
            for name, (fits, expected) in inner.items()
            if name in section and not fits(section[name])
        ]
    return faults


def _group_faults(rules: Rules) -> list[str]:
    faults = []
    for kind, groups in (("fixed", rules.fixed), ("linked", rules.linked)):
        members = [name for group in groups for name in group]
        faults += [
            f"{name} stands in more than one group of {kind}"
            for name in dict.fromkeys(members)
            if members.count(name) > 1
        ]
    linked = {name for group in rules.linked for name in group}
    both = dict.fromkeys(name for group in rules.fixed for name in group if name in linked)
    return faults + [f"{name} stands in a group of fixed and in one of linked" for name in both]


def _private_faults(rules: Rules, found: Mapping[str, Any]) -> list[str]:
    if rules.tag_private and not rules.version_private and "privatePackages" in found:
        return ["privatePackages.tag needs privatePackages.version"]
    return []


def _warnings(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [
        f"{kind}: {pattern} matches no package"
        for kind in ("fixed", "linked")
        for group in found.get(kind, ())
        for pattern in group
        if not any(glob(pattern).matches(name) for name in names)
    ]


def _refused(faults: Sequence[str], text: str) -> BadInputError:
    key = faults[0].split(" ", 1)[0].split(".")[-1]
    at = text.find(f'"{key}"')
    where = f"{CONFIG_FILE}:{text.count(chr(10), 0, at) + 1}" if at >= 0 else CONFIG_FILE
    return BadInputError(
        "versions.bad-config", "; ".join(faults), where=where, next="correct the configuration; nothing was changed"
    )
