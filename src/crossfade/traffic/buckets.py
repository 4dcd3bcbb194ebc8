"""Where on the line from 0 to 1 a user stands: the arithmetic of stickiness.

A user's *bucket* is a 32-bit number: FNV-1a over the characters of an id, started from a basis that
the rollout's salt chooses, and mixed by MurmurHash3's finalizer. Green serves the buckets below its
share of 2³². So a user moves at most once while a share grows, never back, and another salt puts
the users in another order. A router must compute exactly these numbers, in whatever language it has.

References: Fowler, Noll & Vo, FNV-1a, 32 bit (RFC 9923); Appleby, MurmurHash3, `fmix32`.
"""

from __future__ import annotations

from crossfade.core.durations import FULL

SPACE = 2**32
"""Number of buckets."""

LONGEST = 64
"""Characters of an id that count; of a longer one the first and the last 32 do."""

FNV_OFFSET = 2166136261
FNV_PRIME = 16777619
MIX_1 = 2246822507
MIX_2 = 3266489909
FOREIGN = 1
"""Stands for any character that is not printable ASCII."""


def basis(salt: int) -> int:
    """The number that the hash starts from, so that each rollout orders users anew.

    >>> basis(0) == basis(1)
    False
    """
    return mix((FNV_OFFSET ^ salt) % SPACE)


def mix(number: int) -> int:
    """MurmurHash3's 32-bit finalizer: every bit of the result depends on every bit of `number`.

    >>> mix(0), mix(1)
    (0, 1364076727)
    """
    number = (number ^ number >> 16) * MIX_1 % SPACE
    number = (number ^ number >> 13) * MIX_2 % SPACE
    return number ^ number >> 16


def bucket(user: str, salt: int) -> int:
    """The bucket of an id, 0 to 2³² − 1.

    >>> bucket("user-17", salt=1) == bucket("user-17", salt=2)
    False
    """
    if len(user) > LONGEST:
        user = user[: LONGEST // 2] + user[-LONGEST // 2 :]
    number = basis(salt)
    for character in user:
        code = ord(character) if " " <= character <= "~" else FOREIGN
        number = (number ^ code) * FNV_PRIME % SPACE
    return mix(number)


def threshold(points: int) -> int:
    """The bucket from which on green no longer serves, for a share in basis points.

    >>> threshold(0), threshold(2500) / SPACE, threshold(10_000) == SPACE
    (0, 0.25, True)
    """
    return points * SPACE // FULL


def prefix(points: int) -> str:
    """The same share as six hexadecimal digits, to be compared with the start of a random number.

    `gggggg` is above every number and `000000` above none; the error is below 2⁻²⁴.

    >>> prefix(0), prefix(2500), prefix(10_000)
    ('000000', '400000', 'gggggg')
    """
    return "gggggg" if points == FULL else f"{points * 16**6 // FULL:06x}"
