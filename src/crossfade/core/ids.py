"""Names that sort by time and never collide.

An id is a prefix, 9 characters of time and 8 of randomness, in Crockford's base 32 (no I, L, O, U),
so ids sort in the order they were made and can be read aloud.
"""

from __future__ import annotations

import os
import re
from typing import TypeGuard

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def make_id(prefix: str, now: float, entropy: bytes) -> str:
    """An id such as `ro_01jd0q3kx_7h2m9k4p`, from a time in seconds and 5 random bytes.

    >>> make_id("ro", 1_700_000_000.0, bytes(5))
    'ro_1hf7yat00_00000000'
    """
    return f"{prefix}_{_base32(int(now * 1000), 9)}_{_base32(int.from_bytes(entropy[:5]), 8)}"


def is_id(word: str | None, prefix: str) -> TypeGuard[str]:
    """Whether a word is an id with this prefix, and not a name that only begins like one.

    >>> is_id("ro_1hf7yat00_00000000", "ro"), is_id("ro_router", "ro"), is_id(None, "ro")
    (True, False, False)
    """
    return word is not None and re.fullmatch(f"{prefix}_[{_ALPHABET}]{{9}}_[{_ALPHABET}]{{8}}", word) is not None


def random_entropy() -> bytes:
    """Five bytes from the operating system, for `make_id`."""
    return os.urandom(5)


def _base32(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
