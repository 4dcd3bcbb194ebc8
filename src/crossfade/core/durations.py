"""Quantities as people write them: durations (`5m`), shares (`5%`), sizes (`10MB`).

Durations are seconds (float). Shares are basis points (int, 0–10,000; 1 = 0.01 %), so that weights
add up exactly. Sizes are bytes (int).
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

FULL = 10_000
"""All of the traffic, in basis points."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_BYTES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?i?b)", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds from `250ms`, `2s`, `5m`, `1h30m`, `2d`; ValueError says what is expected.

    >>> parse_duration("1h30m"), parse_duration("250ms")
    (5400.0, 0.25)
    """
    compact = text.strip().replace(" ", "")
    pieces = list(_PIECE.finditer(compact))
    if not pieces or "".join(p.group(0) for p in pieces) != compact:
        msg = f"{text!r} is not a duration: write a number and a unit (ms, s, m, h, d), such as 30s or 1h30m"
        raise ValueError(msg)
    return sum(float(p.group(1)) * _SECONDS[p.group(2)] for p in pieces)


def format_duration(seconds: float) -> str:
    """Seconds as people write them, exact to the millisecond.

    >>> [format_duration(s) for s in (0, 0.25, 5, 90, 5400, 172800)]
    ['0s', '250ms', '5s', '1m30s', '1h30m', '2d']
    """
    left = round(seconds * 1000)
    sign, left = ("-", -left) if left < 0 else ("", left)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return sign + ("".join(parts) or "0s")


def parse_share(text: str) -> int:
    """Basis points from a percentage; ValueError outside 0–100 % or finer than 0.01 %.

    >>> parse_share("5%"), parse_share("0.1 %"), parse_share("100%")
    (500, 10, 10000)
    """
    ratio = parse_ratio(text)
    points = Decimal(str(ratio)) * FULL
    if not 0 <= points <= FULL or points != points.to_integral_value():
        msg = f"{text!r} is not a share of traffic: write 0% to 100%, in steps of 0.01%"
        raise ValueError(msg)
    return int(points)


def format_share(points: int) -> str:
    """A share as a percentage with no needless zeros.

    >>> [format_share(p) for p in (0, 10, 500, 10000)]
    ['0 %', '0.1 %', '5 %', '100 %']
    """
    return f"{points / 100:.2f}".rstrip("0").rstrip(".") + " %"


def parse_ratio(text: str) -> float:
    """A plain ratio from a percentage (it may exceed 100 %).

    >>> parse_ratio("1%"), parse_ratio("150%")
    (0.01, 1.5)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None:
        msg = f"{text!r} is not a percentage: write a number and a percent sign, such as 5%"
        raise ValueError(msg)
    try:
        return float(Decimal(match.group(1)) / 100)
    except InvalidOperation as error:  # pragma: no cover - the pattern admits numbers only
        raise ValueError(str(error)) from error


def parse_size(text: str) -> int:
    """Bytes from `512KiB`, `10MB`, `1GB`.

    >>> parse_size("10MB"), parse_size("64KiB")
    (10000000, 65536)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        msg = f"{text!r} is not a size: write a number and a unit (B, KB, MB, GB, KiB, MiB, GiB), such as 10MB"
        raise ValueError(msg)
    return int(float(match.group(1)) * _BYTES[match.group(2).lower()])


def format_size(size: int) -> str:
    """Bytes as people read them, to one decimal.

    >>> format_size(999), format_size(10_000_000)
    ('999 B', '10 MB')
    """
    for unit, factor in (("GB", 1000**3), ("MB", 1000**2), ("KB", 1000)):
        if size >= factor:
            return f"{size / factor:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} B"
