"""Versions of snapshots: something to try out, below every release, so that no range ever picks it by itself."""

from __future__ import annotations

from datetime import UTC, datetime

from crossfade.core.errors import BadInputError
from crossfade.versioning.values import Snapshot


def snapshot_suffix(template: str | None, snapshot: Snapshot) -> str:
    """What stands behind the numbers: `{tag}-{datetime}`, or the template with its words replaced.

    The words are `{commit}`, `{commit-short}`, `{tag}`, `{timestamp}` (milliseconds) and `{datetime}` (UTC).
    Raises BadInputError for a word without a value, and for a tag that the template has no place for.

    >>> snapshot_suffix(None, Snapshot(1763712000.0, tag="pr12"))
    'pr12-20251121080000'
    >>> snapshot_suffix("{tag}.{commit-short}", Snapshot(0.0, tag="pr12", commit="5114f85a" * 5))
    'pr12.5114f85'
    """
    written = datetime.fromtimestamp(snapshot.moment, UTC).strftime("%Y%m%d%H%M%S")
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
    return template
