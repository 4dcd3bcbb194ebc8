"""Where a key belongs among the keys of a version map: versions that grow go on growing. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from crossfade.core.semver import parse_version

_NUMBERS = re.compile(r"v?(0|[1-9][0-9]*)(?:\.(0|[1-9][0-9]*))?")


def place(keys: Sequence[str | None], key: str) -> int:
    """The index at which `key` is to be inserted.

    Where all keys are versions (`1.2.0`, `v1.2.0`, `1.2`, `1`) and stand in ascending or descending order, that order
    goes on; otherwise the new one comes last.

    >>> place(["1.0.0", "1.2.0", "2.0.0"], "1.10.0"), place(["2.0.0", "1.0.0"], "3.0.0"), place(["1.0.0", "next"], "1.1.0")
    (2, 0, 2)
    """
    ranks = [_rank(each) for each in keys]
    own = _rank(key)
    known = [rank for rank in ranks if rank is not None]
    if own is None or len(known) < len(ranks):
        return len(keys)
    pairs = list(itertools.pairwise(known))
    if all(one < other for one, other in pairs):
        return sum(rank < own for rank in known)
    if all(one > other for one, other in pairs):
        return sum(rank > own for rank in known)
    return len(keys)


def _rank(key: str | None) -> tuple[Any, ...] | None:
    """What the key sorts by; None: it is no version."""
    if key is None:
        return None
    if (numbers := _NUMBERS.fullmatch(key)) is not None:
        return (int(numbers[1]), int(numbers[2] or 0), 0, True, ())
    try:
        return parse_version(key.removeprefix("v")).precedence
    except ValueError:
        return None
