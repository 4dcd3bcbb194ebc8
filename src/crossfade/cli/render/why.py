"""Why a release is where it is: the reason as arithmetic, who can clear it, the next command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossfade.cli.render.plain import one_line, plural, share, span
from crossfade.cli.standing import next_command, seconds_left, step_title, waits_for_person
from crossfade.rollouts.keeping import left_behind

if TYPE_CHECKING:
    from crossfade.engine.views import View
    from crossfade.rollouts.rollout import Rollout

_CLEARED_BY = {
    "held": "anybody who may run crossfade: `retry` or `resume` once the cause is gone, else `abort`",
    "paused": "anybody who may run crossfade: `resume`, else `abort`",
}


def why_lines(
    target: tuple[str, str],
    view: View | None,
    version: str | None,
    blockers: Sequence[str],
    now: float,
    *,
    watched: bool,
    in_service: bool = True,
    lacks: str = "",
) -> list[str]:
    """Say it in a few lines; `lacks` is what is missing of what is trusted."""
    lines = []
    if view is not None and view.rollout.status == "done" and not in_service:
        lines += [f"{target[0]} is out of service in {target[1]}"]
    elif view is not None:
        lines += _rollout(view, now, lacks, watched=watched)
    subject = f"{target[0]} {version}" if version is not None else f"a new release of {target[0]}"
    if blockers:
        lines += [*([""] if lines else []), f"{subject} cannot start in {target[1]}:"]
        lines += [f"  ✗ {one_line(each)}" for each in blockers]
    elif version is not None or view is None or view.rollout.finished:
        lines += [*([""] if lines else []), f"nothing keeps {subject} from {target[1]}"]
        lines += [f"  next      crossfade deploy {target[0]}@{version or 'VERSION'} {target[1]}"]
    return lines


def _rollout(view: View, now: float, lacks: str, *, watched: bool) -> list[str]:
    r = view.rollout
    name = f"{r.plan.component} {r.plan.version} in {r.plan.environment}"
    facts = [("reason", one_line(r.reason))] if r.reason else []
    if r.status == "rolled-back":
        first = f"{name} was taken back"
        facts += [("cause", r.cause), ("cost", f"{plural(r.canary_errors, 'request')} of it failed")]
        facts += [("cleared by", "a new version: fix it, release it")]
    elif r.status == "done":
        first, facts = f"{name} has all of the traffic", []
    elif r.status == "rolling-back":
        first = f"{name} is going back, at {share(r.share)}, {step_title(r)}"
    elif waits_for_person(r):
        first = f"{name} waits for a person, at {share(r.share)}, {step_title(r)}"
        facts.append(
            ("cleared by", _CLEARED_BY.get(r.status, "anybody who may run crossfade: `promote`, else `abort`"))
        )
    else:
        first = f"{name} is under way, at {share(r.share)}, {step_title(r)}"
        facts += _what_it_waits_for(view, now)
    if lacks:
        first = f"{name} is trusted, but not all of it is there" if r.status == "done" else first
        facts += [("missing", one_line(lacks)), ("brought back by", _brought_back(r, watched=watched))]
    facts += _rules(view)
    if not r.finished and not watched:
        facts.append(("stands still", "no worker is alive: start one with `crossfade worker`, or use `status --watch`"))
    if command := next_command(r):
        facts.append(("next", command))
    width = max((len(label) for label, _ in facts), default=0)
    return [first, *(f"  {label.ljust(width)}  {text}" for label, text in facts if text)]


def _brought_back(r: Rollout, *, watched: bool) -> str:
    if watched:
        return "the worker that is alive; `crossfade events` tells how it goes"
    again = f"crossfade deploy {r.plan.component}@{left_behind(r)[1]} {r.plan.environment}"
    return f"a worker: `crossfade worker`, or once: `{again}`"


def _rules(view: View) -> list[tuple[str, str]]:
    """Each rule's value beside its bound; and those that cannot be judged now: nobody should believe that they watch."""
    finding = view.seen.finding if view.seen is not None else None
    if finding is None or view.rollout.finished:
        return []
    known = [("rule", one_line(each)) for each in finding.measured]
    return [*known, *(("not judged", one_line(each)) for each in finding.unknown)]


def _what_it_waits_for(view: View, now: float) -> list[tuple[str, str]]:
    facts = []
    left = seconds_left(view, now)
    if left is not None:
        facts.append(("time", f"{span(left)} left"))
    finding = view.seen.finding if view.seen is not None else None
    if finding is not None:
        facts.append(("judge", one_line(finding.reason)))
    if view.rollout.failures:
        facts.append(
            (
                "failing",
                f"{view.rollout.failures} tries of this step have failed; the last ones are in `crossfade events`",
            )
        )
    return facts
