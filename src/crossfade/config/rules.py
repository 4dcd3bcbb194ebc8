"""Absolute rules in one line: `[ARM.]METRIC > BOUND [over WINDOW] -> ACTION`.

The unit of a bound follows from its metric, and a bound is held as the metric is measured:
`error_rate` as a ratio (`1%` is 0.01), percentiles in seconds (`800ms` is 0.8), counts as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from crossfade.config.quantities import write_ratio
from crossfade.config.section import Shorthand
from crossfade.core.durations import format_duration, parse_duration, parse_ratio

METRICS: Mapping[str, str] = {
    "error_rate": "percentage",
    "p50": "duration",
    "p90": "duration",
    "p95": "duration",
    "p99": "duration",
    "requests": "count",
    "health_failures": "count",
}
"""Every metric that a rule may name, and how its bound is written."""

BOUND_UNITS = (
    "a percentage for error_rate (held as a ratio), a duration for percentiles (held in seconds), else a count"
)
"""How a bound is written, for the reference."""

FORM = "error_rate > 1% over 5m -> rollback"
"""The example that every message about a rule shows."""

_RULE = re.compile(
    r"\s*(?:(?P<arm>[^\s.<>=]+)\s*\.\s*)?(?P<metric>[^\s.<>=]+)\s*(?P<sign>[<>]=?|==?)\s*(?P<bound>.+?)"
    r"(?:\s+over\s+(?P<over>.+?))?\s*(?:->|→)\s*(?P<then>\S+)\s*"
)


def parse_rule(text: str) -> dict[str, Any]:
    """The fields of `Rule` that a line stands for; ValueError when it is not such a line.

    >>> parse_rule("stable.error_rate > 2% over 1m -> pause")
    {'metric': 'error_rate', 'above': '2%', 'then': 'pause', 'arm': 'stable', 'over': '1m'}
    >>> parse_rule("health_failures > 3 → rollback")
    {'metric': 'health_failures', 'above': 3, 'then': 'rollback'}
    """
    match = _RULE.fullmatch(text)
    if match is None:
        msg = f"this is not a rule: write it as `{FORM}`"
        raise ValueError(msg)
    if match["sign"] not in "<>":
        msg = f"a rule compares by > or <, not by {match['sign']}"
        raise ValueError(msg)
    number = re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", match["bound"])
    bound: str | float = match["bound"]
    if number is not None:
        bound = float(match["bound"]) if number.group(1) else int(match["bound"])
    rule: dict[str, Any] = {
        "metric": match["metric"],
        "above" if match["sign"] == ">" else "below": bound,
        "then": match["then"],
    }
    return rule | {key: match[key] for key in ("arm", "over") if match[key] is not None}


def read_bound(metric: str, value: object, *, units_required: bool) -> object:
    """A bound as a plain number in the metric's own unit; ValueError when it is written in another.

    >>> read_bound("p99", "800ms", units_required=True), read_bound("error_rate", "1%", units_required=True)
    (0.8, 0.01)
    """
    unit = METRICS.get(metric)
    if unit is None:
        return _read_any(value)
    if isinstance(value, str):
        if unit == "percentage":
            return parse_ratio(value)
        if unit == "duration":
            return parse_duration(value)
        msg = f"{value!r} is not a count: {metric} is compared with a plain number"
        raise ValueError(msg)
    if units_required and unit != "count" and isinstance(value, int | float) and not isinstance(value, bool):
        example = "1%" if unit == "percentage" else "2s or 800ms"
        msg = f"{value!r} has no unit: {metric} is compared with a {unit} such as {example}"
        raise ValueError(msg)
    return value


def _read_any(value: object) -> object:
    """Read a bound whose metric is unknown, so that only the metric is reported."""
    if not isinstance(value, str):
        return value
    for parse in (parse_ratio, parse_duration):
        try:
            return parse(value)
        except ValueError:
            continue
    return value


def write_bound(metric: str, bound: float) -> str:
    """A bound as people write it.

    >>> write_bound("p99", 2.0), write_bound("error_rate", 0.01), write_bound("requests", 100.0)
    ('2s', '1%', '100')
    """
    unit = METRICS.get(metric)
    if unit == "percentage":
        return write_ratio(bound).replace(" ", "")
    return format_duration(bound) if unit == "duration" else f"{bound:.15g}"


RULE_LINE = Shorthand(
    (FORM, "p99 > 2s -> rollback", "stable.error_rate > 2% over 1m -> pause", "requests < 100 over 5m -> notify"),
    r"^\s*([a-z]+\s*\.\s*)?[a-z0-9_]+\s*[<>]\s*\S+(\s+over\s+\S+)?\s*(->|→)\s*[a-z]+\s*$",
    parse_rule,
)
"""A rule in one line, which may stand for its keys."""


def _known(metric: str) -> str:
    if metric not in METRICS:
        msg = f"{metric!r} is not a metric"
        raise ValueError(msg)
    return metric


Metric = Annotated[str, AfterValidator(_known)]
"""The name of a metric that a rule may compare."""
