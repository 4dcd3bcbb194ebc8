"""The record that nobody can change unnoticed: each entry holds the hash of the one before. Pure.

    hash = SHA-256( canonical JSON of [sequence, previous hash, at, actor, kind, rollout, component,
                                       environment, text, data] )

`data` enters as the exact text that is stored, so a verification never depends on how a number is
printed again. What this proves, and what it cannot, is told in `docs/explanation/audit.md`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

GENESIS = "0" * 64
"""What stands in place of a previous hash in the first entry."""

_MOST_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """What an entry is about."""

    rollout: str | None = None
    component: str | None = None
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry. `at` is the database's time in seconds; `canonical` is the JSON text of `data`."""

    sequence: int
    at: float
    actor: str
    kind: str
    rollout: str | None
    component: str | None
    environment: str | None
    text: str
    canonical: str
    previous: str
    hash: str

    @property
    def data(self) -> dict[str, Any]:
        """The facts of the entry."""
        loaded = orjson.loads(self.canonical)
        return loaded if isinstance(loaded, dict) else {}

    def as_head(self) -> Head:
        """The end of a chain that ends here."""
        return Head(self.sequence, self.hash)


@dataclass(frozen=True, slots=True)
class Head:
    """How long the chain is, and how it ends; noted elsewhere, it proves that nothing before it changed.

    >>> str(Head(2, "abab"))
    '2:abab'
    """

    count: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.count}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """A head as it is printed; ValueError says what is expected.

        >>> Head.parse(f"12:{GENESIS}") == Head(12, GENESIS)
        True
        """
        count, _, ending = text.strip().partition(":")
        if not count.isdecimal() or len(ending) != len(GENESIS) or set(ending) - set("0123456789abcdef"):
            message = f"{text!r} is not a head: write COUNT:HASH, as 'crossfade audit verify' prints it"
            raise ValueError(message)
        return cls(int(count), ending)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with the chain, at or after entry `sequence`."""

    sequence: int
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look at the whole chain says; `head` is where the entries end, as read."""

    head: Head
    faults: tuple[Fault, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was changed, removed, added or reordered."""
        return not self.faults


def canonical(data: Mapping[str, Any]) -> str:
    """The one JSON text of `data`: keys sorted, no spaces, numbers that JSON lacks as text.

    >>> canonical({"b": (1, 2.5), "a": float("inf")})
    '{"a":"inf","b":[1,2.5]}'
    """
    return orjson.dumps(_plain(data), option=orjson.OPT_SORT_KEYS).decode()


def seal(
    head: Head, *, at: float, actor: str, kind: str, subject: Subject, text: str, data: Mapping[str, Any]
) -> AuditRow:
    """The entry that follows `head`.

    >>> first = seal(Head(), at=1.0, actor="ada", kind="note", subject=Subject(), text="hello", data={})
    >>> first.sequence, first.previous == GENESIS, first.hash == digest(first)
    (1, True, True)
    """
    row = AuditRow(
        head.count + 1,
        at,
        _sane(actor),
        kind,
        subject.rollout,
        subject.component,
        subject.environment,
        _sane(text),
        canonical(data),
        head.hash,
        "",
    )
    return replace(row, hash=digest(row))


def digest(row: AuditRow) -> str:
    """The hash that belongs to `row`."""
    fields = [
        row.sequence,
        row.previous,
        row.at,
        row.actor,
        row.kind,
        row.rollout,
        row.component,
        row.environment,
        row.text,
        row.canonical,
    ]
    return hashlib.sha256(orjson.dumps(fields)).hexdigest()


def verify(rows: Iterable[AuditRow], *, head: Head | None = None, anchor: Head | None = None) -> Verification:
    """Check every entry, in the order of their sequence numbers, against the one before it.

    `head` is the database's own note of the end and finds a chain that was cut short. `anchor` is a
    head that was noted elsewhere earlier: it finds a chain that was rewritten as a whole.
    """
    faults: list[Fault] = []
    last, anchored = Head(), anchor is None or anchor == Head()
    for row in rows:
        if len(faults) < _MOST_FAULTS:
            faults += [Fault(row.sequence, what) for what in _wrong(row, last)]
        last = row.as_head()
        anchored = anchored or last == anchor
    if head is not None and head != last:
        faults.append(Fault(last.count, _end_differs(head, last)))
    if not anchored and anchor is not None:
        faults.append(Fault(anchor.count, f"the chain no longer holds the noted head {anchor}"))
    return Verification(last, tuple(faults))


def _wrong(row: AuditRow, last: Head) -> list[str]:
    wrong = []
    if row.sequence != last.count + 1:
        missing = row.sequence - last.count - 1
        wrong.append(f"{missing} entries are missing before it" if missing > 0 else f"it stands after {last.count}")
    elif row.previous != last.hash:
        wrong.append("the entry before it is not the one that it was written after")
    if row.hash != digest(row):
        wrong.append("it was changed after it was written")
    return wrong


def _end_differs(head: Head, last: Head) -> str:
    if head.count > last.count:
        return f"{head.count - last.count} entries are missing at the end"
    if head.count < last.count:
        return f"{last.count - head.count} entries were added beside Crossfade, or its note of the end was set back"
    return "the last entry is not the one that Crossfade wrote last"


def _sane(text: str) -> str:
    """Make text that every database can hold: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case str():
            return _sane(value)
        case Mapping():
            return {_sane(str(key)): _plain(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in (sorted(value) if isinstance(value, set | frozenset) else value)]
        case int() if not -(2**63) <= value < 2**63:
            return str(value)
        case None | bool() | int() | float():
            return value
        case _:
            return _sane(str(value))
