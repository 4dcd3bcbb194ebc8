"""How the story ended: as one JSON object, and as a summary that a person understands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypedDict

from crossfade.cli.render.plain import count, plural, span
from crossfade.core.durations import FULL, format_share
from crossfade.core.errors import ExitCode
from crossfade.demo.account import bad_span, started_after
from crossfade.engine.views import View
from crossfade.store import AuditRow
from crossfade.traffic.load import Sample, causes

Verdict = Literal["pass", "fail", "inconclusive"]


class BadRelease(TypedDict):
    """What became of the bad release. `seconds_to_rollback`: its first bad answer to its last, seen by visitors."""

    verdict: Verdict
    rolled_back: bool
    seconds_to_rollback: float | None
    failed_requests: int
    canary_requests_after_rollback: int | None


class GoodRelease(TypedDict):
    """What became of the good release. `seconds_to_full`: from its deploy to all of the traffic."""

    promoted: bool
    seconds_to_full: float | None
    failed_requests: int


class Document(TypedDict):
    """What `crossfade demo --json` prints. `dropped_requests` got no answer from any version."""

    bad_release: BadRelease
    good_release: GoodRelease
    dropped_requests: int


@dataclass(frozen=True, slots=True)
class Release:
    """One release, with all that was recorded of it; `called_off` when the story could wait no longer."""

    version: str
    view: View
    events: tuple[AuditRow, ...]
    called_off: bool = False

    @property
    def verdict(self) -> Verdict:
        """What the judge said in the end."""
        r = self.view.rollout
        if r.status == "done":
            return "pass"
        return "fail" if r.turned_at is not None and r.cause != "command" else "inconclusive"

    @property
    def rolled_back(self) -> bool:
        """Whether it was taken back by itself."""
        return self.view.rollout.status == "rolled-back" and not self.called_off

    @property
    def seconds_to_full(self) -> float | None:
        """Seconds from the deploy until the data plane gave it all of the traffic."""
        r = self.view.rollout
        last = max(i for i, step in enumerate(r.plan.steps) if step.kind == "shift" and step.share == FULL)
        if r.status != "done":
            return None
        done = (row.at for row in self.events if row.kind == "step.done" and row.data.get("step") == last)
        return next((at - r.created_at for at in done), None)


@dataclass(frozen=True)
class Outcome:
    """Both releases and every request. `fault` says what is wrong with the bad one, empty when nothing is."""

    fault: str
    bad: Release
    good: Release
    samples: Sequence[Sample]
    slow: bool
    seconds: float

    def failed(self, version: str) -> int:
        """Requests that a version failed."""
        return sum(1 for s in self.samples if s.failed and s.version == version)

    @cached_property
    def dropped(self) -> int:
        """Requests that no version answered."""
        return sum(1 for s in self.samples if s.dropped)

    @cached_property
    def late(self) -> int | None:
        """Requests that the bad release answered although they were sent after it was confirmed to get none."""
        cleared = self.bad.view.rollout.cleared_at
        return None if cleared is None else started_after(self.samples, self.bad.version, cleared)

    @property
    def complaints(self) -> Iterator[str]:
        """What did not go as it should."""
        if not self.fault:
            yield f"{self.bad.version} was asked to have no fault, so there was nothing to take back"
        elif not self.bad.rolled_back:
            yield f"{self.bad.version} {self.fault}, and was not taken back: {_standing(self.bad)}"
        if self.late:
            yield f"{self.bad.version} answered {plural(self.late, 'request')} that came after it was taken back"
        if self.good.view.rollout.status != "done":
            yield f"{self.good.version} is good, and did not get all of the traffic: {_standing(self.good)}"
        elif self.failed(self.good.version):
            yield f"{self.good.version} failed {plural(self.failed(self.good.version), 'request')}"
        if self.dropped:
            yield f"{plural(self.dropped, 'request')} got no answer from any version"

    @property
    def exit_code(self) -> ExitCode:
        """0 only if all went as it should; 2 when a fault that is none was asked for."""
        if not any(self.complaints):
            return ExitCode.DONE
        return ExitCode.INTERNAL if self.fault else ExitCode.BAD_INPUT


def document(outcome: Outcome) -> Document:
    """The outcome for programs."""
    bad, good = outcome.bad, outcome.good
    to_rollback, to_full = bad_span(outcome.samples, bad.version, slow=outcome.slow), good.seconds_to_full
    return {
        "bad_release": {
            "verdict": bad.verdict,
            "rolled_back": bad.rolled_back,
            "seconds_to_rollback": round(to_rollback, 2) if to_rollback is not None and bad.rolled_back else None,
            "failed_requests": outcome.failed(bad.version),
            "canary_requests_after_rollback": outcome.late,
        },
        "good_release": {
            "promoted": good.view.rollout.status == "done",
            "seconds_to_full": None if to_full is None else round(to_full, 2),
            "failed_requests": outcome.failed(good.version),
        },
        "dropped_requests": outcome.dropped,
    }


def describe(outcome: Outcome, *, record: Path) -> Iterator[str]:
    """The outcome for people; `record` is the folder in which the record lies."""
    yield ""
    yield "What happened"
    yield ""
    yield from _table([(outcome.bad.version, _bad(outcome)), (outcome.good.version, _good(outcome))])
    yield ""
    yield f"Failed requests, of {count(len(outcome.samples))} in {span(outcome.seconds)}"
    yield ""
    yield from _table(list(_causes(outcome)))
    yield ""
    yield "The full record"
    yield ""
    yield from (f"  {line}" for line in _record(record))
    complaints = list(outcome.complaints)
    if complaints:
        yield ""
        yield "✗ It did not go as it should:"
        yield from (f"  {complaint}" for complaint in complaints)


def _bad(outcome: Outcome) -> list[str]:
    bad, r = outcome.bad, outcome.bad.view.rollout
    if not bad.rolled_back:
        return [_standing(bad)]
    lines = ["taken back by itself", *_grounds(bad), r.reason]
    seconds = bad_span(outcome.samples, bad.version, slow=outcome.slow)
    if seconds is not None:
        lines.append(f"{span(seconds)} from its first bad answer to its last, as visitors saw it")
    if outcome.late == 0:
        lines.append("and not one request reached it after that")
    return lines


def _grounds(release: Release) -> Iterator[str]:
    """What both versions did until then, as the judge saw it."""
    finding = release.view.seen.finding if release.view.seen is not None else None
    if finding is not None:
        yield (
            f"{count(finding.canary_errors)} of its {plural(finding.canary_requests, 'request')} failed, and"
            f" {count(finding.stable_errors)} of {release.view.rollout.plan.previous}'s {count(finding.stable_requests)}"
        )


def _good(outcome: Outcome) -> list[str]:
    good, full = outcome.good, outcome.good.seconds_to_full
    if full is None:
        return [_standing(good)]
    stages = [row.text for row in good.events if row.kind == "step.done" and row.text.startswith("watch")]
    how = f", proven good {plural(max(len(stages) - 1, 0), 'time')} on the way"
    previous = good.view.rollout.plan.previous
    return [f"all of the traffic after {span(full)}{how}", f"{previous} was drained and ended"]


def _standing(release: Release) -> str:
    r = release.view.rollout
    if r.status == "done":
        return "it got all of the traffic, because nothing spoke against it"
    if release.called_off:
        return f"it was called off at {format_share(max((s for _, s in r.stages), default=0))}, undecided: {_why(r.reason, release)}"
    return f"it was taken back: {r.reason}"


def _why(reason: str, release: Release) -> str:
    held = next((row.text for row in reversed(release.events) if row.kind == "rollout.held"), "")
    finding = release.view.seen.finding if release.view.seen is not None else None
    return held or (finding.reason if finding is not None else reason)


def _causes(outcome: Outcome) -> Iterator[tuple[str, list[str]]]:
    tally = causes([s for s in outcome.samples if not s.dropped])
    for cause, number in sorted(tally.items()):
        status, _, version = cause.partition(" from ")
        yield (f"{version}'s own errors" if version else cause), [f"{count(number)} ({status})"]
    yield "dropped by Crossfade", [count(outcome.dropped)]
    for cause, number in sorted(causes([s for s in outcome.samples if s.dropped]).items()):
        yield "", [f"{count(number)} {cause}"]


def _record(folder: Path) -> list[str]:
    return [f"cd {folder}", "crossfade history; crossfade events; crossfade audit verify"]


def _table(rows: list[tuple[str, list[str]]]) -> Iterator[str]:
    width = max(len(label) for label, _ in rows)
    for label, lines in rows:
        for number, line in enumerate(lines):
            yield f"  {(label if not number else '').ljust(width)}  {line}"
