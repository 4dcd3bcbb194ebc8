"""Words and numbers as people read them; nothing here can upset a terminal."""

from __future__ import annotations

import math
import re
from datetime import datetime

from crossfade.core.durations import format_duration, format_share

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_SECONDS_SHOWN_BELOW = 60


def clean(text: str) -> str:
    r"""`text` without terminal sequences; any other control character becomes `�`. Line ends and tabs stay.

    >>> clean("\x1b[31mred\x1b[0m\x07 alert")
    'red� alert'
    """
    plain = _SEQUENCE.sub("", text)
    return "".join(each if each.isprintable() or each in "\n\t" else "�" for each in plain)


def one_line(text: str) -> str:
    r"""`text` on one line.

    >>> one_line("a\n  b")
    'a b'
    """
    return " ".join(clean(text).split())


def span(seconds: float) -> str:
    """A span of time at the precision that a person needs: whole seconds, tenths below ten.

    >>> span(4.26), span(75.4), span(7384), span(0)
    ('4.3s', '1m15s', '2h3m4s', '0s')
    """
    if 0 < seconds < 10:  # noqa: PLR2004 - tenths matter only here
        return f"{seconds:.1f}s".replace(".0s", "s")
    return format_duration(float(round(max(seconds, 0.0))))


def ago(seconds: float) -> str:
    """How long ago, coarsely.

    >>> ago(2), ago(90), ago(4000), ago(200_000)
    ('now', '1m ago', '1h ago', '2d ago')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit} ago"
    return f"{int(seconds)}s ago" if seconds >= 5 else "now"  # noqa: PLR2004 - a moment


def clock(at: float) -> str:
    """The time of day on this machine's clock."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def day(at: float) -> str:
    """Day and time on this machine's clock."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def share(points: int | None) -> str:
    """A share of traffic; `?` where it is not known."""
    return "?" if points is None else format_share(points)


def count(number: int) -> str:
    """A number with its thousands apart.

    >>> count(22800)
    '22,800'
    """
    return f"{number:,}"


def plural(number: int, word: str) -> str:
    """A counted word.

    >>> plural(1, "request"), plural(1200, "request")
    ('1 request', '1,200 requests')
    """
    return f"{count(number)} {word}{'' if number == 1 else 's'}"


def figure(value: float) -> str:
    """Evidence, to three figures.

    >>> [figure(value) for value in (0.001, 0.895, 42.31, 1030.0, 3e9, math.inf)]
    ['0', '0.895', '42.3', '1,030', '3e+09', '∞']
    """
    if value >= 1e6:  # noqa: PLR2004 - beyond a million the digits tell nothing
        return f"{value:.0e}" if math.isfinite(value) else "∞"
    if value >= 100:  # noqa: PLR2004 - three figures
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 else "0"  # noqa: PLR2004 - evidence below one tells nothing


def percent(part: int, whole: int) -> str:
    """A ratio of counts in percent, to two figures.

    >>> percent(31, 1200), percent(0, 0), percent(3, 9500)
    ('2.6 %', '–', '0.032 %')
    """
    if not whole:
        return "–"
    return f"{100 * part / whole:.2g} %" if part != whole else "100 %"
