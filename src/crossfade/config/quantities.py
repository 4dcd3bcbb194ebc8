"""Field types that are written as people write them and held as plain numbers.

In a file a number without a unit is an error (`5` of what?): the loader validates with the context
`FROM_FILE`. In Python the plain number is the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from crossfade.core.durations import (
    format_duration,
    format_share,
    parse_duration,
    parse_ratio,
    parse_share,
    parse_size,
)

FROM_FILE = {"units": "required"}
"""Validation context of values that a person wrote."""

_LONGEST = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Quantity:
    """A kind of number with a unit: its name, an example of each way to write it, and its writer."""

    name: str
    examples: tuple[str, ...]
    pattern: str
    write: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Written(Quantity):
    """The annotation of a number that is written with a unit, which `parse` reads; ValueError says what is wrong."""

    parse: Callable[[str], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read before the number's own type does, and write as text."""
        text = core_schema.plain_serializer_function_ser_schema(self.write, return_schema=core_schema.str_schema())
        return core_schema.with_info_before_validator_function(self._read, handler(source), serialization=text)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What an editor may expect."""
        return {"type": "string", "pattern": self.pattern, "examples": list(self.examples)}

    def _read(self, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str):
            return self.parse(value)
        if info.context == FROM_FILE:
            expected = f"write a {self.name} such as {_either(self.examples)}"
            plain = isinstance(value, int | float) and not isinstance(value, bool)
            msg = f"{value!r} has no unit: {expected}" if plain else f"this is not a {self.name}: {expected}"
            raise ValueError(msg)
        return value


def _either(examples: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(examples[:-1]), examples[-1])))


def _seconds(text: str) -> float:
    seconds = parse_duration(text)
    if seconds > _LONGEST:
        msg = f"{text} is longer than ten years"
        raise ValueError(msg)
    if abs(seconds * 1000 - round(seconds * 1000)) > 1e-6 * max(1.0, seconds):
        msg = f"{text} is finer than a millisecond"
        raise ValueError(msg)
    return seconds


def _bytes(text: str) -> int:
    try:
        return parse_size(text)
    except OverflowError:
        msg = "this size is too large"
        raise ValueError(msg) from None


def write_ratio(ratio: float) -> str:
    """A ratio as a percentage, exact enough to be read back.

    >>> write_ratio(0.01), write_ratio(0.0005)
    ('1 %', '0.05 %')
    """
    return f"{ratio * 100:.10f}".rstrip("0").rstrip(".") + " %"


def write_size(size: int) -> str:
    """Bytes in the largest unit that is exact.

    >>> write_size(10_000_000), write_size(65536), write_size(4097)
    ('10MB', '64KiB', '4097B')
    """
    for unit, factor in (
        ("GB", 1000**3),
        ("GiB", 1024**3),
        ("MB", 1000**2),
        ("MiB", 1024**2),
        ("KB", 1000),
        ("KiB", 1024),
    ):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"


_PERCENT = r"^\s*\d+(\.\d+)?\s*%\s*$"
DURATION = Written("duration", ("30s", "5m", "1h30m"), r"^(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+$", format_duration, _seconds)
SHARE = Written("percentage", ("5%", "25%", "0.1%"), _PERCENT, format_share, parse_share)
RATIO = Written("percentage", ("1%", "0.05%"), _PERCENT, write_ratio, parse_ratio)
SIZE = Written("size", ("10MB", "64KiB"), r"^\d+(\.\d+)?\s*([kKmMgG][iI]?)?[bB]$", write_size, _bytes)

Duration = Annotated[float, DURATION]
"""Seconds, written `30s`, `5m`, `1h30m`."""

Share = Annotated[int, SHARE]
"""A share of traffic in basis points, written `5%`."""

Ratio = Annotated[float, RATIO]
"""A plain ratio, written `1%` (0.01)."""

Size = Annotated[int, SIZE]
"""Bytes, written `10MB`."""
