"""Pre mode: versions such as 2.0.0-next.3 until it is left, and then the release that they led to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from crossfade.core.errors import BadInputError
from crossfade.core.semver import parse_version
from crossfade.versioning.drafts import unusable
from crossfade.versioning.ranges import npm_version
from crossfade.versioning.values import Compatibility, Package, PreState, Rules

PRE_FILE = ".changeset/pre.json"


def require_word(tag: str) -> None:
    """BadInputError (`versions.bad-tag`) for a tag that no version can have behind its numbers.

    >>> require_word("next")
    """
    try:
        parse_version(f"1.0.0-{tag}")
    except ValueError:
        raise BadInputError(
            "versions.bad-tag",
            f"{tag!r} cannot stand in a version, as in 1.0.0-{tag}",
            where="tag",
            next="take letters, digits and hyphens, such as next",
        ) from None


def next_numbers(packages: Mapping[str, Package], rules: Rules) -> dict[str, int]:
    """Name → the number that its next prerelease has; a group shares its highest."""
    everyone = rules.compatibility == "changesets-2"
    numbers = {
        name: _next_number(package) for name, package in packages.items() if everyone or not rules.skips(package)
    }
    for group in (*rules.fixed, *rules.linked):
        highest = max((_next_number(packages[name]) for name in group), default=0)
        numbers.update(dict.fromkeys(group, highest))
    return numbers


def _next_number(package: Package) -> int:
    version = npm_version(package.version)
    if version is None:
        raise unusable(package.name, package.version)
    words = version.exact.prerelease
    if len(words) < 2:  # noqa: PLR2004 - the tag and the number
        return 0
    if not words[1].isdigit():
        raise BadInputError(
            "versions.bad-prerelease",
            f"{package.name} has the version {package.version}, whose second word is no number",
            where=package.manifest,
            next="in pre mode versions look like 2.0.0-next.3; set this one by hand",
        )
    return int(words[1]) + 1


def parse_pre(text: str) -> PreState:
    """Pre mode as `pre.json` tells it: BadInputError with the line for anything else.

    >>> parse_pre('{"mode": "pre", "tag": "next"}').tag
    'next'
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInputError(
            "versions.bad-json",
            f"not JSON: {error.msg}",
            where=f"{PRE_FILE}:{error.lineno}",
            next="repair the file, or take it back with git checkout",
        ) from None
    if not isinstance(found, dict) or found.get("mode") not in {"pre", "exit"} or not isinstance(found.get("tag"), str):
        raise BadInputError(
            "versions.bad-pre-state",
            'pre mode is told by "mode" (pre or exit) and "tag"',
            where=PRE_FILE,
            next='it looks like {"mode": "pre", "tag": "next"}; repair it, or delete it to leave pre mode',
        )
    initial, used = found.pop("initialVersions", None), found.pop("changesets", None)
    mode, tag = found.pop("mode"), found.pop("tag")
    return PreState(
        mode,
        tag,
        {str(key): str(value) for key, value in initial.items()} if isinstance(initial, dict) else None,
        tuple(map(str, used)) if isinstance(used, list) else None,
        found,
    )


def pre_text(pre: PreState) -> str:
    """The text of `pre.json`.

    >>> print(pre_text(PreState("exit", "next")), end="")
    {
      "mode": "exit",
      "tag": "next"
    }
    """
    found: dict[str, object] = {"mode": pre.mode, "tag": pre.tag}
    if pre.initial_versions is not None:
        found["initialVersions"] = dict(pre.initial_versions)
    if pre.changesets is not None:
        found["changesets"] = list(pre.changesets)
    return json.dumps(found | dict(pre.others), indent=2, ensure_ascii=False) + "\n"


def entered(pre: PreState | None, tag: str, packages: Sequence[Package], compatibility: Compatibility) -> PreState:
    """Pre mode with this tag. One that is being left may be entered again.

    BadInputError if it was never left, or for a tag that no version can have.
    """
    if pre is not None and pre.mode == "pre":
        raise BadInputError(
            "versions.in-pre-mode",
            f"pre mode is on already, with the tag {pre.tag}",
            where=PRE_FILE,
            next="leave it with `crossfade change pre exit` first",
        )
    require_word(tag)
    if compatibility != "changesets-2":
        return PreState("pre", tag)
    initial = {package.name: package.version for package in packages}
    return PreState("pre", tag, initial, pre.changesets or () if pre else ())


def left(pre: PreState | None) -> PreState:
    """Pre mode about to end with the next `version`; BadInputError if it is not on."""
    if pre is None:
        raise BadInputError(
            "versions.not-in-pre-mode",
            "pre mode is not on",
            where=PRE_FILE,
            next="enter it with `crossfade change pre enter TAG`",
        )
    return replace(pre, mode="exit")


def with_initial_versions(pre: PreState, packages: Sequence[Package], changesets: Sequence[str]) -> PreState:
    """Changesets 2: packages that are new since then are remembered as well, and so are the changesets used."""
    initial = dict(pre.initial_versions or {})
    for package in packages:
        initial.setdefault(package.name, package.version)
    return replace(pre, initial_versions=initial, changesets=tuple(changesets))
