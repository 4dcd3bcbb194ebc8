"""Versions of snapshots: something to try out, below every release, so that no range ever picks it by itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from crossfade.core.errors import BadInputError
from crossfade.versioning.prereleases import require_word
from crossfade.versioning.values import Snapshot

_SUFFIX = re.compile(r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*")


def snapshot_suffix(template: str | None, snapshot: Snapshot) -> str:
    """What stands behind the numbers: `{tag}-{datetime}`, or the template with its words replaced.

    The words are `{commit}`, `{commit-short}`, `{tag}`, `{timestamp}` (milliseconds) and `{datetime}` (UTC).
    Raises BadInputError for a word without a value, for a tag that the template has no place for, and for what cannot
    stand in a version.

    >>> snapshot_suffix(None, Snapshot(1763712000.0, tag="pr12"))
    'pr12-20251121080000'
    >>> snapshot_suffix("{tag}.{commit-short}", Snapshot(0.0, tag="pr12", commit="5114f85a" * 5))
    'pr12.5114f85'
    """
    written = datetime.fromtimestamp(snapshot.moment, UTC).strftime("%Y%m%d%H%M%S")
    if snapshot.tag is not None:
        require_word(snapshot.tag)
    if not template:
        return "-".join(part for part in (snapshot.tag, written) if part)
    if "{tag}" not in template and snapshot.tag is not None:
        raise BadInputError(
            "versions.snapshot-template",
            f"the template {template!r} has no place for the tag {snapshot.tag!r}",
            where="snapshot.prereleaseTemplate",
            next="add {tag} to the template, or leave the tag out",
        )
    values = {
        "commit": snapshot.commit,
        "commit-short": snapshot.commit[:7] if snapshot.commit is not None else None,
        "tag": snapshot.tag,
        "timestamp": str(int(snapshot.moment * 1000)),
        "datetime": written,
    }
    for word, value in values.items():
        if f"{{{word}}}" not in template:
            continue
        if value is None:
            raise BadInputError(
                "versions.snapshot-template",
                f"the template uses {{{word}}}, which has no value here",
                where="snapshot.prereleaseTemplate",
                next="give a tag with --snapshot TAG" if word == "tag" else "run it in a git repository with a commit",
            )
        template = template.replace(f"{{{word}}}", value)
    if _SUFFIX.fullmatch(template) is None:
        raise BadInputError(
            "versions.snapshot-template",
            f"{template!r} cannot stand in a version",
            where="snapshot.prereleaseTemplate",
            next="the words are {tag}, {commit}, {commit-short}, {timestamp} and {datetime}; between them letters, digits, - and .",
        )
    return template
