"""What a replay says, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.cli.render.plain import plural, span

if TYPE_CHECKING:
    from crossfade.analysis.backtest import Calibration, Outcome
from crossfade.analysis.sentences import interval

_WORDS = {
    "fail": "✗ it would have been taken back",
    "pass": "✓ it would have been promoted",
    "inconclusive": "· undecided when the trace ends",
}


def outcome_lines(outcome: Outcome) -> list[str]:
    """Say what would have happened, when, and why."""
    rows = [
        ("when", f"{span(outcome.at)} into the trace"),
        ("why", outcome.reason),
        ("evidence", f"{outcome.evidence:.4g}, bound {outcome.bound:.4g}"),
        ("error ratio", interval(outcome.ratio)),
        ("cost", f"{plural(outcome.failed_requests, 'failed request')} of the new version until then"),
    ]
    rows += [("rule", f"{ruling.text}, first at {span(at)}") for at, ruling in outcome.rules]
    return [_WORDS[outcome.verdict], *(f"  {label.ljust(11)}  {text}" for label, text in rows)]


def calibration_lines(calibration: Calibration) -> list[str]:
    """Say how often the judge would have been wrong."""
    return [
        f"{plural(calibration.splits, 'split')} of the stable version against itself: every rollback is a false one",
        f"  {'each request on its own'.ljust(34)}  {_share(calibration.independent)} taken back",
        f"  {'failures of a bucket in one clump'.ljust(34)}  {_share(calibration.clumped)} taken back",
        f"  {'promised'.ljust(34)}  at most {_share(calibration.promised)}",
    ]


def _share(ratio: float) -> str:
    return f"{100 * ratio:.2g} %"
