"""What identifies a build, and what sets one apart from another. Pure.

The parts of an identity are a flat mapping from what it is (`input src/a.ts`) to its value or digest, so that one
digest over it is the identity, and comparing two of them says why a build is needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

FORMAT = "1"
"""Counts up when the same parts would no longer lead to the same outputs."""

Parts = Mapping[str, str]
_SHOWN = ("platform", "tool", "version")
"""Kinds of parts whose values people can read."""


def identity_of(parts: Parts) -> str:
    """The digest over all parts (sha256, hex), whatever their order.

    >>> identity_of({"a": "1", "b": "2"}) == identity_of({"b": "2", "a": "1"})
    True
    >>> identity_of({"a": "1"}) == identity_of({"a1": ""})
    False
    """
    canonical = json.dumps({"": FORMAT, **parts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def secret(value: str) -> str:
    """What stands for the value of a variable: enough to see that it changed.

    >>> secret("hunter2")[:8]
    'f52fbd32'
    """
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()


def differences(before: Parts, now: Parts) -> tuple[str, ...]:
    """Why the two are not the same build, a few words each, what people change most first.

    >>> differences({"input a.ts": "1", "tool node": "20"}, {"input a.ts": "2", "input b.ts": "3", "tool node": "22"})
    ('a.ts changed', 'b.ts is new', 'node 20 → 22')
    """
    found = [(_weight(key), key, text) for key, text in _differences(before, now)]
    return tuple(text for _, _, text in sorted(found))


def _differences(before: Parts, now: Parts) -> Iterator[tuple[str, str]]:
    for key in before.keys() | now.keys():
        was, is_ = before.get(key), now.get(key)
        if was != is_:
            yield key, _told(key, was, is_)


def _told(key: str, was: str | None, is_: str | None) -> str:
    kind, _, name = key.partition(" ")
    what = name or f"its {kind}"
    if kind == "dependency" and was is not None and is_ is not None:
        return f"{name} changed, which it needs"
    if was is None:
        return f"{what} is new"
    if is_ is None:
        return f"{what} is gone"
    return f"{what} {was} → {is_}" if kind in _SHOWN else f"{what} changed"


def _weight(key: str) -> int:
    kinds = ("command", "input", "lock", "outputs", "version", "variable", "dependency", "tool", "platform")
    kind = key.partition(" ")[0]
    return kinds.index(kind) if kind in kinds else len(kinds)
