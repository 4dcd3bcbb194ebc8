"""Field types that are written as people write them and held as plain numbers.

In a file a number without a unit is an error (`5` of what?): the loader validates with the context
`FROM_FILE`. In Python the plain number is the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

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


def _from_text(parse: Callable[[str], Any], what: str) -> BeforeValidator:
    def convert(value: object, info: ValidationInfo) -> object:
        if isinstance(value, str):
            return parse(value)
        if info.context == FROM_FILE:
            msg = f"{value!r} has no unit: {what}"
            raise ValueError(msg)
        return value

    return BeforeValidator(convert)


Duration = Annotated[
    float,
    _from_text(parse_duration, "write a duration such as 30s, 5m or 1h30m"),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$", "examples": ["30s", "5m", "1h30m"]}),
]
"""Seconds, written `30s`, `5m`, `1h30m`."""

Share = Annotated[
    int,
    _from_text(parse_share, "write a percentage such as 5%"),
    PlainSerializer(format_share, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$", "examples": ["5%", "25%", "0.1%"]}),
]
"""A share of traffic in basis points, written `5%`."""

Ratio = Annotated[
    float,
    _from_text(parse_ratio, "write a percentage such as 1%"),
    PlainSerializer(lambda ratio: f"{ratio * 100:.10g} %", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$", "examples": ["1%", "0.05%"]}),
]
"""A plain ratio, written `1%` (0.01)."""

Size = Annotated[
    int,
    _from_text(parse_size, "write a size such as 10MB"),
    PlainSerializer(lambda size: f"{size}B", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*[kKmMgG]?i?[bB]$", "examples": ["10MB", "64KiB"]}),
]
"""Bytes, written `10MB`."""
