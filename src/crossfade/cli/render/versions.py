"""Releases before they are made: the plan as a table, the files that change, what is not covered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from crossfade.cli.render.plain import one_line, plural
from crossfade.versioning.coverage import Coverage, as_changesets_json, status_lines
from crossfade.versioning.values import Bump, PlannedRelease

if TYPE_CHECKING:
    from crossfade.engine.release import Release
    from crossfade.versioning.commit_log import Start
    from crossfade.versioning.proposals import Proposals

_STYLE = {Bump.MAJOR: "red", Bump.MINOR: "cyan", Bump.PATCH: "green", Bump.NONE: "dim"}
_SHOWN = 12


def release_view(release: Release) -> RenderableType:
    """What is released, as what and why, the greatest changes first; which files change; what majors lack."""
    if release.prepared.nothing:
        return Text("there is nothing to release: no changeset says so")
    rows = _rows([each for each in release.plan.releases if each.bump is not Bump.NONE])
    paths = [edit.path for edit in release.prepared.work.edits]
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    parts: list[RenderableType] = [rows, Text(f"\nfiles: {', '.join(paths[:_SHOWN])}{more}", style="dim")]
    parts += [Text(f"✗ {lacking}", style="red") for lacking in release.lacking]
    return Group(*parts)


def _rows(releases: Sequence[PlannedRelease]) -> Text:
    """Lines of our own, not a table: a release of a thousand packages is laid out without being measured twice."""
    names, bumps, olds, news = (
        max((len(text) for text in column), default=0)
        for column in (
            [each.name for each in releases],
            [each.bump.word for each in releases],
            [each.old for each in releases],
            [each.new for each in releases],
        )
    )
    rows = Text(no_wrap=True, overflow="ellipsis")
    for each in sorted(releases, key=lambda each: (-each.bump, each.name)):
        rows.append(f"{each.name:<{names}}  ").append(f"{each.bump.word:<{bumps}}", _STYLE[each.bump])
        rows.append(f"  {each.old:<{olds}}  ").append(f"→ {each.new:<{news}}", "bold")
        rows.append(f"  {one_line(each.why)}\n", "dim")
    rows.rstrip()
    return rows


def release_object(release: Release) -> dict[str, Any]:
    """The release as JSON."""
    plan = release.plan
    return {
        "releases": [
            {
                "name": each.name,
                "old": each.old,
                "new": each.new,
                "bump": each.bump.word,
                "changesets": list(each.changesets),
                "why": each.why,
            }
            for each in plan.releases
        ],
        "changesets": [each.id for each in plan.changesets],
        "files": [
            {"path": edit.path, "what": "deleted" if edit.new is None else "changed" if edit.old is not None else "new"}
            for edit in release.prepared.work.edits
        ],
        "lacking": [str(each) for each in release.lacking],
    }


def coverage_lines(coverage: Coverage, lacking: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """What is about to be released, and what changed without a changeset."""
    lines = status_lines(coverage.plan, verbose=verbose)
    yield from lines or ["nothing is about to be released"]
    if lacking:
        yield f"✗ changed, and no changeset says so: {', '.join(lacking)}"
        yield "  next:  crossfade change add; with --empty where nobody will notice"


def coverage_object(coverage: Coverage, lacking: Sequence[str]) -> dict[str, Any]:
    """The same as JSON: what `changeset status --output` writes, and what changed."""
    told = {"preState": None, **as_changesets_json(coverage.plan)}
    return {**told, "changed": list(coverage.changed), "lacking": list(lacking)}


def proposal_lines(found: Proposals, start: Start, written: Sequence[str]) -> Iterator[str]:
    """The drafts, and the commits that suggest none."""
    for index, proposal in enumerate(found.proposals):
        names = ", ".join(f"{each.name} {each.bump.word}" for each in proposal.releases)
        also = f" (they touched {', '.join(proposal.also)} as well)" if proposal.also else ""
        yield f"{written[index] if written else '·'}  {names}{also}"
        yield from (f"     {line}" for line in proposal.summary.splitlines() if line.strip())
    for unclear in found.unclear:
        yield f"?  {unclear.commit.sha[:7]} {one_line(unclear.commit.subject)}: {unclear.why}"
    rest = len(found.quiet) + len(found.covered) + len(found.cancelled)
    if rest:
        yield f"{plural(rest, 'commit')} need none"
    if not found.proposals:
        yield f"no commit {start.why} suggests a changeset"
    elif not written:
        yield "write them with --write, then read and correct them"


def proposals_object(found: Proposals, written: Sequence[str]) -> dict[str, Any]:
    """The drafts as JSON."""
    return {
        "drafts": [
            {
                "changes": [{"name": each.name, "bump": each.bump.word} for each in proposal.releases],
                "summary": proposal.summary,
                "commits": list(proposal.commits),
                "also": list(proposal.also),
            }
            for proposal in found.proposals
        ],
        "unclear": [{"commit": each.commit.sha, "why": each.why} for each in found.unclear],
        "written": list(written),
    }
