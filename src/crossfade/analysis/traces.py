"""Recorded traffic: JSON lines or CSV, read strictly, as buckets of both arms.

A line is one arm in one bucket:
`{"at": 0, "seconds": 5, "arm": "stable", "requests": 950, "errors": 1, "latency_ms": {"le": [50, 100], "counts": [900, 40, 10]}}`.
`at` is the bucket's start in seconds, ascending; `latency_ms` may be absent; `counts` are per bin (not cumulative), with one more
bin than `le` for what lies above the last bound (it may be left out when it is empty). CSV has the same columns under a header,
with `latency_ms` as JSON. A bucket that has a line for one arm only tells that the other arm had no request.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from crossfade.analysis.values import Arm, ArmSample, Latency, Sample
from crossfade.config.faults import suggest
from crossfade.core.errors import BadInputError

COLUMNS = ("at", "seconds", "arm", "requests", "errors", "latency_ms")
_NEEDED = COLUMNS[:5]
_ARMS: tuple[Arm, Arm] = ("stable", "canary")
_SHOWN = 20
_NEXT = "correct the line; docs/how-to/backtest.md shows the format"


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    at: float
    seconds: float
    arm: Arm
    counts: ArmSample


def read(lines: Iterable[str], *, name: str = "trace") -> tuple[Sample, ...]:
    r"""The buckets of a trace, oldest first; BadInputError tells every bad line as `NAME:LINE`.

    >>> one = '{"at": 0, "seconds": 5, "arm": "canary", "requests": 50, "errors": 2}'
    >>> two = '{"at": 0, "seconds": 5, "arm": "stable", "requests": 950, "errors": 1}'
    >>> sample, = read([one, two])
    >>> sample.canary.errors, sample.stable.requests
    (2, 950)
    """
    faults: list[tuple[int, str]] = []
    buckets: list[dict[Arm, _Row]] = []
    for line, fields in _records(lines, faults, name):
        try:
            row = _row(line, fields)
            _place(row, buckets)
        except ValueError as error:
            faults.append((line, str(error)))
    if faults:
        _refuse(name, faults)
    if not buckets:
        _refuse(name, [(1, "the trace holds no bucket")])
    return tuple([_sample(bucket) for bucket in buckets])


def _records(lines: Iterable[str], faults: list[tuple[int, str]], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each line's fields with its number; the first line that is not empty tells JSON from CSV."""
    numbered = ((i, text.lstrip("\ufeff").strip()) for i, text in enumerate(lines, 1))
    filled = ((i, text) for i, text in numbered if text)
    first = next(filled, None)
    if first is None:
        return
    if not first[1].startswith("{"):
        yield from _csv_records(first, filled, faults, name)
        return
    for i, text in (first, *filled):
        try:
            fields = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            faults.append((i, f"this is not JSON: {str(error).split(': line')[0]}"))
            continue
        if isinstance(fields, dict):
            yield i, fields
        else:
            faults.append((i, "a line holds one JSON object"))


def _csv_records(
    first: tuple[int, str], rest: Iterator[tuple[int, str]], faults: list[tuple[int, str]], name: str
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The lines of a CSV file by column."""
    try:
        header = [column.strip() for column in next(csv.reader([first[1]]))]
    except csv.Error as error:
        _refuse(name, [(first[0], f"this is neither JSON nor CSV: {error}")])
    missing = [column for column in _NEEDED if column not in header]
    if missing or len(set(header)) != len(header):
        what = f"the header has no column {', '.join(missing)}" if missing else "the header names a column twice"
        _refuse(name, [(first[0], f"{what} (a trace is JSON lines, or CSV with the columns {', '.join(COLUMNS)})")])
    for i, text in rest:
        try:
            cells = next(csv.reader([text], strict=True))
        except csv.Error as error:
            faults.append((i, f"this is not CSV: {error}"))
            continue
        if len(cells) != len(header):
            faults.append((i, f"{len(cells)} cells under {len(header)} columns"))
            continue
        fields: dict[str, Any] = {key: cell.strip() for key, cell in zip(header, cells, strict=True)}
        try:
            for key in ("at", "seconds", "requests", "errors"):
                fields[key] = json.loads(fields[key], parse_constant=_no_constant)
            latency = fields.pop("latency_ms", "")
            if latency:
                fields["latency_ms"] = json.loads(latency, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            faults.append((i, "at, seconds, requests and errors are numbers, latency_ms is a JSON object"))
            continue
        yield i, fields


def _no_constant(text: str) -> NoReturn:
    msg = f"{text} is not a number"
    raise ValueError(msg)


def _row(line: int, fields: Mapping[str, Any]) -> _Row:
    """One line as values; ValueError says what is wrong with it."""
    for key in fields:
        if key not in COLUMNS:
            msg = f"there is no field {key!r}: {suggest(key, COLUMNS)}"
            raise ValueError(msg)
    for key in _NEEDED:
        if key not in fields:
            msg = f"{key} is missing"
            raise ValueError(msg)
    arm = fields["arm"]
    if arm not in _ARMS:
        msg = f"the arm is {arm!r}: write stable or canary"
        raise ValueError(msg)
    seconds = _number(fields, "seconds")
    if seconds <= 0:
        msg = "seconds must be more than 0"
        raise ValueError(msg)
    latency = fields.get("latency_ms")
    counts = ArmSample(
        _count(fields["requests"], "requests"),
        _count(fields["errors"], "errors"),
        None if latency is None else _latency(latency),
    )
    return _Row(line, _number(fields, "at"), seconds, arm, counts)


def _latency(value: Any) -> Latency:
    if not isinstance(value, dict) or set(value) != {"le", "counts"}:
        msg = "latency_ms is an object with le and counts"
        raise ValueError(msg)
    le, counts = value["le"], value["counts"]
    if not isinstance(le, list) or not isinstance(counts, list):
        msg = "le and counts are lists"
        raise ValueError(msg)  # noqa: TRY004 - callers turn ValueError into a fault with its line
    bounds = tuple([_number({"le": bound}, "le") for bound in le])
    bins = tuple([_count(count, "counts") for count in counts])
    return Latency(bounds, bins + (0,) * (len(bounds) + 1 - len(bins)) if len(bins) == len(bounds) else bins)


def _number(fields: Mapping[str, Any], key: str) -> float:
    value = fields[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15 or not math.isfinite(value):  # noqa: PLR2004 - beyond it seconds lose their fractions
        msg = f"{key} is {value!r}: write a number"
        raise ValueError(msg)
    return float(value)


def _count(value: Any, key: str) -> int:
    number = _number({key: value}, key)
    if number < 0 or number != int(number):
        msg = f"{key} is {value!r}: write a whole number from 0"
        raise ValueError(msg)
    return int(number)


def _place(row: _Row, buckets: list[dict[Arm, _Row]]) -> None:
    """Put a row into its bucket; ValueError when it is out of order, twice there, or does not fit."""
    if not buckets:
        buckets.append({row.arm: row})
        return
    newest = buckets[-1]
    first = next(iter(newest.values()))
    if row.at == first.at:
        if row.arm in newest:
            msg = f"the {row.arm} arm at {row.at:g} is there already, in line {newest[row.arm].line}"
            raise ValueError(msg)
        if row.seconds != first.seconds:
            msg = (
                f"the bucket at {row.at:g} is {first.seconds:g} s long in line {first.line} and {row.seconds:g} s here"
            )
            raise ValueError(msg)
        newest[row.arm] = row
        return
    if row.at < first.at:
        msg = f"at {row.at:g} comes after {first.at:g} in line {first.line}: sort the trace by `at`"
        raise ValueError(msg)
    if row.at < first.at + first.seconds - 1e-6:
        msg = f"the bucket at {row.at:g} overlaps the one at {first.at:g} in line {first.line}"
        raise ValueError(msg)
    buckets.append({row.arm: row})


def _sample(bucket: Mapping[Arm, _Row]) -> Sample:
    first = next(iter(bucket.values()))
    nothing = ArmSample(0, 0)
    stable, canary = (bucket[arm].counts if arm in bucket else nothing for arm in _ARMS)
    return Sample(first.at, first.seconds, stable, canary)


def _refuse(name: str, faults: list[tuple[int, str]]) -> NoReturn:
    """Every fault in one error, the first one as its place."""
    shown = [f"{name}:{line}: {what}" for line, what in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        shown.append(f"… and {len(faults) - _SHOWN} more")
    code = "backtest.bad-trace"
    raise BadInputError(code, "\n".join(shown), where=f"{name}:{faults[0][0]}", next=_NEXT)
