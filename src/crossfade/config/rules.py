"""Absolute rules in one line: `[ARM.]METRIC > BOUND [over WINDOW] -> ACTION`.

The unit of a bound follows from its metric, and a bound is held as the metric is measured:
`error_rate` as a ratio (`1%` is 0.01), percentiles in seconds (`800ms` is 0.8), counts as they are.
A metric of the user's own takes every unit: there the unit of the bound says how values are shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from crossfade.config.quantities import DURATION, RATIO, SIZE, Quantity, write_ratio, write_size
from crossfade.config.section import Shorthand
from crossfade.core.durations import format_duration, parse_duration, parse_ratio, parse_size

Unit = Literal["percentage", "duration", "size", "count"]

METRICS: Mapping[str, Unit] = {
    "error_rate": "percentage",
    "p50": "duration",
    "p90": "duration",
    "p95": "duration",
    "p99": "duration",
    "requests": "count",
    "health_failures": "count",
}
"""Every metric that a rule may name without further ado, and how its bound is written."""

BOUND_UNITS = (
    "a percentage for error_rate (held as a ratio), a duration for percentiles (held in seconds), a count for requests and"
    " health_failures; any of them, or a size, for a named metric"
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
    """A bound in whatever unit it is written in."""
    if not isinstance(value, str):
        return value
    match unit_of(value):
        case "percentage":
            return parse_ratio(value)
        case "duration":
            return parse_duration(value)
        case "size":
            return float(parse_size(value))
    msg = f"{value!r} is not a bound: write a number, or one with a unit such as 80%, 200ms or 512MB"
    raise ValueError(msg)


def unit_of(bound: object) -> Unit:
    """The unit in which a bound is written.

    >>> [unit_of(bound) for bound in ("80%", "200ms", "512MB", 18)]
    ['percentage', 'duration', 'size', 'count']
    """
    if isinstance(bound, str):
        for unit, quantity in _UNITS:
            if re.fullmatch(quantity.pattern, bound.strip()):
                return unit
    return "count"


_UNITS: tuple[tuple[Unit, Quantity], ...] = (("percentage", RATIO), ("duration", DURATION), ("size", SIZE))


def with_unit(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a rule, with the unit that its metric has or that its bound is written in.

    >>> with_unit({"metric": "cpu", "above": "90%"})["unit"], with_unit({"metric": "p99", "above": "2s"})["unit"]
    ('percentage', 'duration')
    """
    if rule.get("unit") is not None:
        return rule
    metric, bound = rule.get("metric"), rule.get("above") if rule.get("above") is not None else rule.get("below")
    known = METRICS.get(metric) if isinstance(metric, str) else None
    return {**rule, "unit": known or unit_of(bound)}


def write_bound(unit: Unit, bound: float) -> str:
    """A bound as people write it.

    >>> write_bound("duration", 2.0), write_bound("percentage", 0.01), write_bound("size", 5e8), write_bound("count", 100.0)
    ('2s', '1%', '500MB', '100')
    """
    match unit:
        case "percentage":
            return write_ratio(bound).replace(" ", "")
        case "duration":
            return format_duration(bound)
        case "size":
            return write_size(round(bound))
    return f"{bound:.15g}"


RULE_LINE = Shorthand(
    (FORM, "p99 > 2s -> rollback", "stable.error_rate > 2% over 1m -> pause", "requests < 100 over 5m -> notify"),
    r"^\s*([a-z]+\s*\.\s*)?[a-z0-9_]+\s*[<>]\s*\S+(\s+over\s+\S+)?\s*(->|→)\s*[a-z]+\s*$",
    parse_rule,
)
"""A rule in one line, which may stand for its keys."""
